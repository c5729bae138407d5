package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// TestMWAN3IsRefused starts beside the traces of a running mwan3, of an enabled
// one, and beside none.
func TestMWAN3IsRefused(t *testing.T) {
	const running = "mwan3 is running"
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
		link := filepath.Join(r.dir, "rc.d", "S19mwan3")
		steps := []struct {
			what       string
			begin, end func()
			apply      int // exit code
			check      int
			message    string
		}{
			{"its chain", func() { r.sh("iptables-" + backend + " -t mangle -N mwan3_hook") },
				func() { r.sh("iptables-" + backend + " -t mangle -X mwan3_hook") }, 1, 1, running},
			{"its ip rules", func() { r.sh("ip rule add priority 2001 fwmark 0x100/0x3f00 lookup 1") },
				func() { r.sh("ip rule del priority 2001") }, 1, 1, running},
			{"its link in rc.d", func() {
				if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(link, nil, 0o755); err != nil {
					t.Fatal(err)
				}
			}, func() { os.Remove(link) }, 0, 1, "mwan3 starts at boot (" + link + ")"},
			{"nothing", func() {}, func() {}, 0, 0, ""},
		}
		for _, step := range steps {
			step.begin()
			before := r.dump()
			_, messages, code := r.call("check")
			if code != step.check || !strings.Contains(messages, step.message) {
				t.Errorf("%s: check: exit code %d, want %d, messages %q, want %q", step.what, code, step.check, messages, step.message)
			}
			_, messages, code = r.call("apply")
			if code != step.apply {
				t.Errorf("%s: apply: exit code %d, want %d, messages %q", step.what, code, step.apply, messages)
			}
			if code == 1 && (!strings.Contains(messages, step.message) || strings.Count(messages, "\n") != 1) {
				t.Errorf("%s: apply: messages %q, want one line with %q", step.what, messages, step.message)
			}
			if code == 1 {
				r.expectSame(step.what, before, r.dump())
			}
			step.end()
		}
		if _, _, code := r.call("stop"); code != 0 {
			t.Errorf("stop: exit code %d", code)
		}
	})
}

// TestAdvice looks for warnings of check, which are no failure, and for the
// same in status.
func TestAdvice(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
		r.must("apply")
		r.sh("ip rule add priority 7500 lookup 77")
		r.sh("ip route add unreachable 192.0.2.0/24 table 301")
		r.sh("iptables-" + backend + " -t mangle -A FORWARD -p icmp -j MARK --set-mark 0x30000000/0xf0000000")
		firewall := "config defaults\n\toption flow_offloading 1\nconfig zone\n\toption name wan\n\toption masq 1\n\tlist device wan1\n"
		if err := os.WriteFile(filepath.Join(r.dir, "config", "firewall"), []byte(firewall), 0o644); err != nil {
			t.Fatal(err)
		}
		r.sh("nft 'table inet clash { chain output { type nat hook output priority 0; meta mark 6666 return; }; }'")
		before := r.dump()
		_, messages, code := r.call("check")
		if code != 0 {
			t.Errorf("check: exit code %d", code)
		}
		if want := "nftables: chain 'inet clash output' matches the mark bits 0xffffffff"; strings.Count(messages, want) != 1 {
			t.Errorf("not once %q in check:\n%s", want, messages)
		}
		status := r.must("status")
		for _, want := range []string{
			"ip rule 7500 (ipv4) is in our range",
			"table 301 (ipv4) of member 'wan1' has a route of another program",
			"mangle (ipv4): chain 'FORWARD' sets the mark bits 0xf0000000, which overlap ours (0x3f000000): connections would change their uplink; give one of the two another mask (here: option mark_mask '0xf000000'",
			"member 'wan2': device 'wan2' is in no firewall zone that masquerades",
			"option flow_offloading is set in /etc/config/firewall",
		} {
			if strings.Count(messages, want) != 1 || strings.Count(status, want) != 1 {
				t.Errorf("not once %q in check:\n%s\nand in status:\n%s", want, messages, status)
			}
		}
		if strings.Contains(messages, "'wan1': device") {
			t.Errorf("check warns of a member in a zone that masquerades:\n%s", messages)
		}
		r.expectSame("check and status", before, r.dump())
	})
}

// TestOwnTargets: a line that is to ask the router itself is told as an error, be
// it by its own address or that of another device, and asks the others.
func TestOwnTargets(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, "")
		own, others := r.lab.Uplink(1).Address.Addr().String(), r.lab.Uplink(2).Address.Addr().String()
		r.configure("config member 'wan1'\n\toption device 'wan1'\n\tlist track_ip '203.0.113.1'\n\tlist track_ip '" + own + "'\n\tlist track_ip '" + others + "'\n" +
			"config member 'wan2'\n\toption device 'wan2'\n")
		r.must("apply")
		m := r.startMonitor()
		_, messages, code := r.call("check")
		status := r.must("status")
		for _, address := range []string{own, others} {
			told := "member 'wan1': track_ip " + address + " is an address of this router"
			if code != 1 || strings.Count(messages, told) != 1 || !strings.Contains(status, told) || m.Log.Count(told) != 1 {
				t.Errorf("%s: check: exit code %d, %s\nstatus:\n%s\nlog:\n%s", address, code, messages, status, m.Log)
			}
		}
		h := r.status().Members[0].IPv4.Health
		if h == nil || len(h.Targets) != 1 || h.Targets[0].Address != "203.0.113.1" {
			t.Errorf("health: %+v", h)
		}
	})
}
