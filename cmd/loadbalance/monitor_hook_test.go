package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// TestHookWakesMonitor: an event beside a living monitor costs one apply, which
// the monitor makes; without a monitor the hook makes it itself.
func TestHookWakesMonitor(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
		p := newPrograms(t)
		p.count()
		r.env = p.env()
		r.must("apply")
		p.started()
		saves := func() int {
			n := 0
			for _, line := range p.started() {
				if strings.Contains(line, "-save") {
					n++
				}
			}
			return n
		}
		r.must("hotplug", "ifup", r.lab.UplinkDevice(1))
		if n := saves(); n != 2 { // one for each family
			t.Errorf("without a monitor an event starts iptables-save %d times", n)
		}
		m := r.startMonitor()
		waitQuiet(t, saves)
		before := time.Now()
		r.must("hotplug", "ifup", r.lab.UplinkDevice(1))
		if took := time.Since(before); took > time.Second {
			t.Errorf("the hook takes %v", took)
		}
		sum := 0
		eventually(t, "the monitor follows the event", func() bool { sum += saves(); return sum > 0 })
		time.Sleep(time.Second) // time for a second one
		if sum += saves(); sum != 2 {
			t.Errorf("beside a monitor an event starts iptables-save %d times", sum)
		}
		_ = m.End(syscall.SIGKILL) // says that it was killed
		r.must("hotplug", "ifup", r.lab.UplinkDevice(1))
		if n := saves(); n != 2 {
			t.Errorf("after the monitor was killed an event starts iptables-save %d times", n)
		}
	})
}

// waitQuiet waits until nothing is started for three seconds, longer than the
// monitor's look after an apply.
func waitQuiet(t *testing.T, started func() int) {
	t.Helper()
	for range 10 {
		time.Sleep(3 * time.Second)
		if started() == 0 {
			return
		}
	}
	t.Fatal("the monitor does not come to rest")
}
