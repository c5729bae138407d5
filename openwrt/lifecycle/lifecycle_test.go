package lifecycle

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// eachBackend runs a test once per back end of iptables.
func eachBackend(t *testing.T, test func(t *testing.T, backend string)) {
	for _, backend := range []string{"nft", "legacy"} {
		t.Run(backend, func(t *testing.T) { test(t, backend) })
	}
}

// members is a short configuration without the monitor: what one run does and
// logs shows only where no second one looks after the same things.
func members(n int) string { return configuration(n, "\toption monitor '0'\n") }

// balance starts the service with members and without the monitor. That of the
// installation, which had no member to look after, is gone when it returns.
func (d *device) balance(n int) {
	d.t.Helper()
	d.write(conffile, members(n))
	d.quiet("/etc/init.d/loadbalance restart")
	d.expectNoMonitor("after monitor '0'")
}

// configuration is as short as the documentation promises, but for some options
// in the globals.
func configuration(n int, globals string) string {
	var text strings.Builder
	text.WriteString("config globals 'globals'\n\toption enabled '1'\n" + globals)
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&text, "\nconfig member '%s'\n", name(i))
	}
	return text.String()
}

// TestLifeCycle takes the package through everything that a router owner does
// with it, and compares the kernel at every step.
func TestLifeCycle(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		d := newDevice(t, netlab.Options{Uplinks: 3, Backend: backend, IPv6: true})
		before, filesBefore := d.dump(), d.files()
		firewallBefore := d.sh("cat /etc/config/firewall")

		d.install()
		d.expectDump("after the installation, without a member,", before)
		d.expectEnabled(true)
		if got := d.sh("stat -c '%a' /etc/config/loadbalance /etc/init.d/loadbalance /etc/hotplug.d/iface/25-loadbalance"); got != "600\n755\n644\n" {
			t.Errorf("modes of configuration, init script and hook: %q", got)
		}
		d.expectInclude()

		d.balance(3)
		d.expectPlan("after the start")
		d.expectShares(1, 1, 1)
		balanced := d.dump()
		d.log.take()
		d.quiet("/etc/init.d/loadbalance start; /etc/init.d/loadbalance restart; /etc/init.d/loadbalance reload")
		d.expectDump("after a second start, a restart and a reload", balanced)
		d.expectLog()

		check(t, d.ifdown(2))
		d.expectPlan("after ifdown")
		d.expectShares(1, 0, 1)
		d.expectLog("ifdown wan2: ")
		check(t, d.ifup(2))
		d.expectPlan("after ifup")
		d.expectShares(1, 1, 1)
		d.expectLog("ifup wan2: ")

		d.sh("/etc/init.d/firewall stop; /etc/init.d/firewall start")
		if !d.inPlan() {
			t.Errorf("after a stop and start of the firewall the plan is\n%s", d.sh("loadbalance plan"))
		}
		d.expectShares(1, 1, 1)
		if backend == "nft" { // the legacy tables are out of the firewall's reach
			d.expectLog("firewall: ")
		}

		d.quiet("/etc/init.d/loadbalance stop")
		d.expectDump("after the stop", before)
		d.event("ifup", 1)
		d.event("ifdown", 2)
		d.sh("/etc/init.d/firewall stop; /etc/init.d/firewall start")
		d.settle()
		d.expectDump("after events while the service is stopped", before)

		d.quiet("/etc/init.d/loadbalance start")
		d.expectPlan("after the start")
		d.expectLog("stop: ", "apply: ")
		balanced = d.dump()
		configuration := d.sh("cat /" + conffile)
		d.upgrade()
		d.expectDump("after the upgrade", balanced)
		d.expectLog()
		if got := d.sh("loadbalance version"); got != "loadbalance 1.1\n" {
			t.Errorf("the upgrade left %s", got)
		}
		if got := d.sh("cat /" + conffile); got != configuration {
			t.Errorf("the upgrade changed the configuration:\n%s", got)
		}
		d.expectInclude()

		d.remove()
		d.expectDump("after the removal", before)
		check(t, os.Remove(d.file(conffile))) // edited, hence kept
		if got := d.files(); got != filesBefore {
			t.Errorf("the removal left other files:%s", difference(filesBefore, got))
		}
		if got := d.sh("cat /etc/config/firewall"); strings.TrimSpace(got) != strings.TrimSpace(firewallBefore) {
			t.Errorf("the removal left in /etc/config/firewall:\n%s", got)
		}
	})
}

// TestDisabledServiceStaysDown: after a boot without the init script, events do
// nothing.
func TestDisabledServiceStaysDown(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 2, Backend: "nft"})
	before := d.dump()
	d.unpack(binaries.old)
	d.write(conffile, members(2))
	d.event("ifup", 1)
	d.sh(". /usr/share/loadbalance/firewall.include")
	d.settle()
	d.expectDump("after events before the first start", before)
}

// TestFaultyFileAtBoot: what is right in it is applied, and events keep that up.
func TestFaultyFileAtBoot(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 3, Backend: "nft"})
	d.unpack(binaries.old)
	d.write(conffile, members(2)+"\nconfig member 'wan3'\n\toption wieght '2'\n\toption weight 'many'\n")
	if _, code := d.call("/etc/init.d/loadbalance boot"); code != 2 {
		t.Errorf("boot with a faulty file: exit code %d, want 2", code)
	}
	d.expectShares(1, 1, 0)
	check(t, d.ifdown(1))
	if !holds(func() bool { return len(d.matching("ifdown wan1: ")) == 1 }) {
		t.Fatalf("nothing followed ifdown; log:\n%s", d.log.text())
	}
	d.expectShares(0, 1, 0)
}

// TestMistakeWhileRunning: the last accepted configuration goes on, and events
// follow it.
func TestMistakeWhileRunning(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 3, Backend: "nft"})
	d.install()
	d.balance(3)
	d.quiet("reload_config")
	balanced := d.dump()
	d.write(conffile, members(2)+"\nconfig member 'wan3'\n\toption weight 'many'\n")
	d.sh("reload_config")
	d.expectDump("after a reload with a mistake", balanced)
	for _, command := range []string{"start", "reload", "restart"} {
		if _, code := d.call("/etc/init.d/loadbalance " + command); code != 2 {
			t.Errorf("%s with a mistake: exit code %d, want 2", command, code)
		}
	}
	d.log.await(t)
	if len(d.matching("wan3")) == 0 {
		t.Errorf("the log does not tell the mistake:\n%s", d.log.text())
	}
	check(t, d.ifdown(1))
	if !holds(func() bool { return len(d.matching("ifdown wan1: ")) == 1 }) {
		t.Fatalf("nothing followed ifdown; log:\n%s", d.log.text())
	}
	d.expectShares(0, 1, 1)
}

// TestLostRunDirectory: what is in the kernel tells that the service runs, and
// events go by the file.
func TestLostRunDirectory(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 2, Backend: "nft"})
	d.install()
	before := d.rules()
	d.balance(2)
	d.quiet("rm -r /var/run/loadbalance")
	check(t, d.ifdown(2))
	d.expectPlan("after ifdown")
	d.expectShares(1, 0)
	check(t, d.ifup(2))
	d.expectPlan("after ifup")
	d.expectShares(1, 1)
	d.quiet("/etc/init.d/loadbalance stop")
	d.expectSame("after the stop", before, d.rules())
}

// TestCommands are the ones that the init script adds.
func TestCommands(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 2, Backend: "nft"})
	d.install()
	d.write(conffile, members(2))
	if got := d.sh("/etc/init.d/loadbalance plan"); !strings.Contains(got, "iptables-restore") {
		t.Errorf("plan printed:\n%s", got)
	}
	d.sh("/etc/init.d/loadbalance check; /etc/init.d/loadbalance start")
	if got := d.sh("/etc/init.d/loadbalance status"); !strings.Contains(got, "wan2") {
		t.Errorf("status printed:\n%s", got)
	}
	d.quiet("/etc/init.d/loadbalance plan")
	d.write(conffile, "config member\n")
	if _, code := d.call("/etc/init.d/loadbalance check"); code != 2 {
		t.Errorf("check of a faulty file: exit code %d, want 2", code)
	}
	if got := d.sh("/etc/init.d/loadbalance"); !strings.Contains(got, "check") || !strings.Contains(got, "plan") {
		t.Errorf("the help does not name the commands:\n%s", got)
	}
}

// TestDefaultsRunTwice: an installation after a removal that kept everything, or
// a first boot after an upgrade, must not add the include again, nor undo what
// the user made of it.
func TestDefaultsRunTwice(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 1, Backend: "nft"})
	d.install()
	d.sh("uci set firewall.loadbalance.enabled='0'; uci commit firewall")
	once := d.sh("cat /etc/config/firewall")
	d.upgrade()
	if got := d.sh("cat /etc/config/firewall"); got != once {
		t.Errorf("the defaults changed the user's include: want\n%s\ngot\n%s", once, got)
	}
}

func (d *device) expectEnabled(want bool) {
	d.t.Helper()
	if _, code := d.call("/etc/init.d/loadbalance enabled"); (code == 0) != want {
		d.t.Errorf("the service is enabled: %v, want %v", code == 0, want)
	}
}

// expectInclude checks that the firewall runs our include, once.
func (d *device) expectInclude() {
	d.t.Helper()
	text := d.sh("cat /etc/config/firewall")
	if strings.Count(text, "config include 'loadbalance'") != 1 || !strings.Contains(text, "option fw4_compatible '1'") {
		d.t.Errorf("/etc/config/firewall:\n%s", text)
	}
}

// expectShares deals about 60 connections, which are whole blocks of the order of
// turns, and compares what each uplink got with its part. The first block may be
// half used up, and a member's turns lie anywhere in it: ± one part.
func (d *device) expectShares(parts ...int) {
	d.t.Helper()
	sum := 0
	for _, part := range parts {
		sum += part
	}
	connections := 60 / sum * sum
	tally := d.lab.Connect(netlab.Traffic{Count: connections, Parallel: 10})
	if tally.Failed > 0 {
		d.t.Errorf("%d connections failed: %v", tally.Failed, tally.Err)
	}
	for i, part := range parts {
		want := connections * part / sum
		if got := tally.Shares()[i]; got < want-part || got > want+part {
			d.t.Errorf("wan%d: %d of %d connections, want %d (all: %v)", i+1, got, connections, want, tally.Shares())
		}
	}
	d.expectNoSpoofed()
}

func (d *device) expectNoSpoofed() {
	d.t.Helper()
	n, err := d.lab.SpoofedTotal()
	check(d.t, err)
	if n != 0 {
		d.t.Errorf("%d packets left with an address that is not their uplink's", n)
	}
}

// expectLog compares what was logged since the last look with the beginnings of
// the lines.
func (d *device) expectLog(want ...string) {
	d.t.Helper()
	d.settle()
	d.log.await(d.t)
	lines := d.log.take()
	matches := len(lines) == len(want)
	for i := 0; matches && i < len(want); i++ {
		matches = strings.HasPrefix(lines[i], want[i])
	}
	if !matches {
		d.t.Errorf("the log has\n  %s\nwant lines that begin with %q", strings.Join(lines, "\n  "), want)
	}
}

// matching returns the logged lines that contain a text.
func (d *device) matching(text string) []string {
	return slices.DeleteFunc(strings.Split(d.log.text(), "\n"), func(line string) bool { return !strings.Contains(line, text) })
}
