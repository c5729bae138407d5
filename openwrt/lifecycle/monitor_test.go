package lifecycle

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"loadbalance/internal/netlab"
)

// TestMonitorLifeCycle takes the package with its monitor through everything that
// starts, replaces and ends it.
func TestMonitorLifeCycle(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		d := newDevice(t, netlab.Options{Uplinks: 3, Backend: backend, IPv6: true})
		before := d.dump()
		d.install()
		d.write(conffile, configuration(3, ""))
		d.quiet("/etc/init.d/loadbalance restart; reload_config")
		d.expectPlan("after the start")
		first := d.monitor()

		d.quiet("/etc/init.d/loadbalance start; /etc/init.d/loadbalance restart; /etc/init.d/loadbalance reload")
		d.expectSameMonitor("after a second start, a restart and a reload", first)
		d.quiet("uci set loadbalance.wan1.weight='2'; uci commit loadbalance; reload_config")
		d.expectSameMonitor("after a change of the configuration", first)
		d.expectPlan("after a change of the configuration")
		d.expectShares(2, 1, 1)
		d.quiet("uci delete loadbalance.wan1.weight; uci commit loadbalance; reload_config")
		d.expectPlan("after the change was taken back")

		// Taken anew after each change of the chains: the order of turns goes on
		// where it stood.
		balanced := d.dump()
		check(t, unix.Kill(first.pid, unix.SIGKILL))
		second := d.monitor(first)
		d.expectDump("after the monitor was killed", balanced)
		check(t, d.ifdown(2))
		d.expectPlan("after ifdown")
		d.expectShares(1, 0, 1)
		check(t, d.ifup(2))
		d.expectPlan("after ifup")
		d.expectShares(1, 1, 1)

		balanced = d.dump()
		d.upgrade()
		third := d.monitor(first, second)
		d.expectDump("after the upgrade", balanced)
		d.upgradeByAPK()
		fourth := d.monitor(first, second, third)
		d.expectDump("after an upgrade by apk", balanced)

		d.quiet("uci set loadbalance.globals.monitor='0'; uci commit loadbalance; reload_config")
		d.expectNoMonitor("after monitor '0'")
		d.expectDump("after monitor '0'", balanced)
		d.quiet("uci set loadbalance.globals.monitor='1'; uci commit loadbalance; reload_config")
		d.monitor(first, second, third, fourth)

		d.quiet("uci set loadbalance.globals.enabled='0'; uci commit loadbalance; reload_config")
		d.expectNoMonitor("after enabled '0'")
		d.expectDump("after enabled '0'", before)
		d.quiet("uci set loadbalance.globals.enabled='1'; uci commit loadbalance; reload_config")
		d.monitor()
		d.expectPlan("after enabled '1'")

		d.quiet("/etc/init.d/loadbalance stop")
		d.expectNoMonitor("after the stop")
		d.event("ifup", 1)
		d.settle()
		d.expectDump("after the stop", before)

		d.quiet("/etc/init.d/loadbalance start")
		d.monitor()
		d.remove()
		d.expectNoMonitor("after the removal")
		d.expectDump("after the removal", before)
		if text, code := d.call("ls -d /var/run/loadbalance /usr/share/loadbalance 2> /dev/null"); code == 0 || text != "" {
			t.Errorf("the removal left:\n%s", text)
		}
	})
}

// TestMonitorReplacedUnderLoad: neither the end of a monitor nor the start of
// another one does anything to the traffic.
func TestMonitorReplacedUnderLoad(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		d := newDevice(t, netlab.Options{Uplinks: 5, Backend: backend})
		d.install()
		d.write(conffile, configuration(5, ""))
		d.quiet("/etc/init.d/loadbalance restart")
		first := d.monitor()
		balanced := d.dump()
		load := d.startLoad()
		check(t, unix.Kill(first.pid, unix.SIGKILL))
		d.upgrade()
		second := d.monitor(first)
		check(t, unix.Kill(second.pid, unix.SIGTERM))
		d.monitor(first, second)
		load.expectNoHarm()
		d.expectDump("after the monitor was replaced", balanced)
	})
}

// TestMonitorAtBoot: a boot starts it, also with a file that is partly faulty, and
// later mistakes in it leave the monitor alone.
func TestMonitorAtBoot(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 3, Backend: "nft"})
	d.unpack(binaries.old)
	d.write(conffile, configuration(2, "")+"\nconfig member 'wan3'\n\toption weight 'many'\n")
	d.call("/etc/init.d/loadbalance boot; reload_config")
	monitor := d.monitor()
	d.expectShares(1, 1, 0)
	d.write(conffile, configuration(3, ""))
	d.quiet("reload_config")
	d.expectPlan("after the mistake was corrected")
	d.expectShares(1, 1, 1)
	balanced := d.dump()
	for _, mistake := range []string{"\toption weight 'many'\n", "config 'unclosed\n"} {
		d.write(conffile, configuration(3, "")+mistake)
		d.sh("reload_config")
		d.expectSameMonitor("after a reload with a mistake", monitor)
		d.expectDump("after a reload with a mistake", balanced)
	}
}

// TestMonitorWithoutMember: the package as it is installed changes nothing, and
// has no monitor to no purpose. The first member brings it.
func TestMonitorWithoutMember(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 1, Backend: "nft"})
	before := d.dump()
	d.install()
	d.quiet("/etc/init.d/loadbalance reload")
	d.event("ifup", 1)
	d.settle()
	d.expectNoMonitor("without a member")
	d.expectDump("after the installation", before)
	d.write(conffile, configuration(1, ""))
	d.quiet("/etc/init.d/loadbalance reload")
	d.monitor()
}

// TestStopNextToMonitor: nothing that the monitor has under way brings rules back,
// whenever the stop comes.
func TestStopNextToMonitor(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 2, Backend: "nft"})
	d.install()
	before := d.dump()
	d.write(conffile, configuration(2, ""))
	for range 5 {
		d.quiet("/etc/init.d/loadbalance start")
		d.monitor()
		check(t, d.ifdown(2))
		check(t, d.ifup(2))
		d.quiet("/etc/init.d/loadbalance stop")
		d.expectNoMonitor("after the stop")
		d.settle()
		d.expectDump("after the stop", before)
	}
}

// TestEventScripts: they run on the device as its hotplug scripts do, with the
// functions of OpenWrt, and one that hangs holds up neither the failover nor the
// service's end.
func TestEventScripts(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 2, Backend: "nft"})
	d.install()
	d.write("etc/hotplug.d/loadbalance/10-record", `type default_postinst > /dev/null || exit 1
echo "$ACTION $MEMBER $INTERFACE $HOTPLUG_TYPE" >> /tmp/events
`)
	d.write("etc/hotplug.d/loadbalance/20-hang", `[ "$ACTION $MEMBER" != "offline wan2" ] || sleep 1000
`)
	d.write(conffile, configuration(2, "")+"\tlist track_ip 'gateway'\n")
	d.quiet("/etc/init.d/loadbalance restart")
	d.monitor()
	// Only what changes after its first look is an event.
	probing := func() bool { return strings.Contains(d.sh("loadbalance status --json"), `"health"`) }
	if !holds(probing) {
		t.Fatalf("the monitor does not probe wan2:\n%s", d.sh("loadbalance status"))
	}
	check(t, d.ifdown(2))
	d.expectPlan("after ifdown")
	d.expectEvent("offline wan2 wan2 loadbalance")
	check(t, d.ifdown(1))
	d.expectPlan("after the other went")
	d.quiet("/etc/init.d/loadbalance stop")
	d.expectNoMonitor("after the stop")
}

// expectEvent waits until the recording script has written a line.
func (d *device) expectEvent(line string) {
	d.t.Helper()
	recorded := func() bool {
		text, err := os.ReadFile(d.file("tmp/events"))
		if err != nil && !os.IsNotExist(err) {
			d.t.Error(err)
		}
		return slices.Contains(strings.Split(string(text), "\n"), line)
	}
	if !holds(recorded) {
		d.t.Errorf("no event '%s' was recorded; log:\n%s", line, d.log.text())
	}
}
