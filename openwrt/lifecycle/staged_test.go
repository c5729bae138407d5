package lifecycle

import (
	"strings"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// TestStagedChanges: what `uci set` has staged is said not to be in effect, and
// is applied as soon as it is committed, though no event tells of the commit. A
// file that somebody saved is only named.
func TestStagedChanges(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 2, Backend: "nft"})
	d.install()
	if text := d.sh("loadbalance status"); !strings.Contains(text, "no member is configured") || strings.Contains(text, "start it") {
		t.Errorf("without a member, status says:\n%s", text)
	}
	d.write(conffile, configuration(2, ""))
	d.quiet("/etc/init.d/loadbalance restart; reload_config")
	d.monitor()
	d.log.take()

	const uncommitted = "changes of 'uci set' are not in effect before 'uci commit loadbalance'"
	d.quiet("uci set loadbalance.wan1.weight='3'; reload_config")
	d.settle()
	d.log.await(t)
	if len(d.matching(uncommitted)) == 0 {
		t.Errorf("the log of a reload does not say it:\n%s", d.log.text())
	}
	for _, command := range []string{"check", "status", "apply"} {
		if text := d.sh("loadbalance " + command); !strings.Contains(text, uncommitted) {
			t.Errorf("%s does not say it:\n%s", command, text)
		}
	}
	d.expectShares(1, 1)
	d.quiet("uci commit loadbalance; reload_config")
	committed := time.Now()
	d.expectPlan("after the commit")
	if took := time.Since(committed); took > 3*time.Second {
		t.Errorf("the commit was applied after %s", took)
	}
	d.expectShares(3, 1)
	if text := d.sh("loadbalance check; loadbalance status"); strings.Contains(text, uncommitted) || strings.Contains(text, "newer") {
		t.Errorf("after the commit:\n%s", text)
	}

	d.write(conffile, configuration(2, ""))
	if text := d.sh("loadbalance status"); !strings.Contains(text, " is newer than what runs: '/etc/init.d/loadbalance reload' applies it\n") {
		t.Errorf("status does not name a file that was saved:\n%s", text)
	}
	time.Sleep(3 * time.Second) // a look and an apply
	d.expectShares(3, 1)
	d.quiet("/etc/init.d/loadbalance reload")
	d.expectShares(1, 1)

	d.write("var/run/uci/loadbalance", configuration(1, ""))
	d.quiet("/etc/init.d/loadbalance reload")
	d.expectShares(1, 0)
}

// TestRefusedFile: all commands speak of what runs, and first of the refusal.
func TestRefusedFile(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 2, Backend: "nft"})
	d.install()
	d.balance(2)
	d.write(conffile, strings.Replace(members(2), "config member 'wan2'\n", "config member 'wan2'\n\toption weight '0'\n", 1))
	if _, code := d.call("/etc/init.d/loadbalance reload"); code != 2 {
		t.Errorf("reload of a faulty file: exit code %d, want 2", code)
	}
	const why = "loadbalance:8: member 'wan2': option 'weight': '0' is out of range (1 to 1000)\n"
	for _, c := range []struct {
		command, also string
		code          int
	}{
		{"status", "loadbalance is running (nft) as configured\n", 0},
		{"plan", "", 2},
		{"explain --src 10.20.1.1 --dst 203.0.113.7", "wan2", 2},
	} {
		text, code := d.call("loadbalance " + c.command)
		lines := strings.SplitAfterN(text, "\n", 3)
		if code != c.code || len(lines) < 3 || !strings.HasPrefix(lines[0], "the configuration file is refused since 20") ||
			lines[1] != "  "+why || !strings.Contains(lines[2], c.also) || strings.Contains(lines[2], "would") {
			t.Errorf("%s: exit code %d\n%s", c.command, code, text)
		}
		if c.also == "" && lines[2] != "" {
			t.Errorf("%s has something to change:\n%s", c.command, text)
		}
	}
	if text := d.sh("loadbalance status"); !strings.Contains(text, "\nwan2 ") {
		t.Errorf("the member is not shown:\n%s", text)
	}
	for _, metric := range []string{"loadbalance_in_sync 1\n", "loadbalance_config_refused 1\n", `loadbalance_member_up{member="wan2",family="ipv4"} 1`} {
		if text := d.sh("loadbalance metrics"); !strings.Contains(text, metric) {
			t.Errorf("%s is missing in\n%s", metric, text)
		}
	}
	d.expectShares(1, 1)
}
