package lifecycle

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// eventsPerUplink, with five uplinks, makes two hundred.
const eventsPerUplink = 40

// TestStorm lets five uplinks come, go and change at the same time. In the first
// half one apply takes its time, so that every hook meets a run that has the lock: it must return all the same, and one apply must do for all of them.
func TestStorm(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		d := newDevice(t, netlab.Options{Uplinks: 5, Backend: backend})
		d.install()
		d.balance(5)
		applies := d.countApplies(backend)

		kill := d.slowApply()
		longest := d.storm(eventsPerUplink / 2)
		// The last ones may not have found out yet that somebody waits already.
		if !holds(func() bool { return len(d.running()) <= 2 }) {
			t.Errorf("programs run while one has the lock and one may wait: %v", d.running())
		}
		kill()
		d.settle()
		if n := applies(); n != 1 {
			t.Errorf("%d applies for the events of which all could be seen by one", n)
		}
		d.expectPlan("after the first storm")

		longest = max(longest, d.storm(eventsPerUplink/2))
		d.settle()
		n := applies()
		if n > 5*eventsPerUplink/2 {
			t.Errorf("%d applies for %d events", n, 5*eventsPerUplink)
		}
		d.expectPlan("after the second storm")
		for i := 1; i <= 5; i++ {
			if !d.up[i] {
				check(t, d.ifup(i))
			}
		}
		d.expectPlan("after all came back")
		d.expectShares(1, 1, 1, 1, 1)
		alone := time.Now()
		d.event("ifup", 1)
		t.Logf("%d events, %d applies; the longest hook took %v under this load, one alone %v",
			5*eventsPerUplink, n, longest, time.Since(alone))
	})
}

// TestStormNextToMonitor: hooks and the monitor see the same changes at the same
// time, and together they come to the same state.
func TestStormNextToMonitor(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		d := newDevice(t, netlab.Options{Uplinks: 5, Backend: backend})
		d.install()
		d.write(conffile, configuration(5, ""))
		d.quiet("/etc/init.d/loadbalance restart")
		monitor := d.monitor()
		d.storm(eventsPerUplink / 2)
		d.expectPlan("after the storm")
		for i := 1; i <= 5; i++ {
			if !d.up[i] {
				check(t, d.ifup(i))
			}
		}
		d.expectPlan("after all came back")
		d.settle()
		d.expectShares(1, 1, 1, 1, 1)
		d.expectSameMonitor("after the storm", monitor)
	})
}

// storm reports so many random events of each uplink, those of different uplinks
// in parallel and in bursts, and returns how long the slowest hook took.
func (d *device) storm(events int) time.Duration {
	var longest time.Duration
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := 1; i <= d.lab.Uplinks(); i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range events {
				duration, err := d.randomEvent(random, i)
				mu.Lock()
				longest = max(longest, duration)
				mu.Unlock()
				if err != nil {
					d.t.Error(err)
					return
				}
			}
		}()
	}
	all.Wait()
	return longest
}

// randomEvent changes an uplink, or only says so, and returns how long the hook
// took.
func (d *device) randomEvent(random *rand.Rand, i int) (time.Duration, error) {
	action, changed := "ifupdate", []string{"DATA"}
	switch random.IntN(4) {
	case 0:
		changed = nil
	case 1, 2:
		d.mu.Lock()
		up := !d.up[i]
		d.mu.Unlock()
		action = "ifdown"
		change := d.lab.IfDown
		if up {
			action, change = "ifup", d.lab.IfUp
		}
		if err := change(i); err != nil {
			return 0, err
		}
		d.report(i, up)
	}
	start := time.Now()
	d.event(action, i, changed...)
	return time.Since(start), nil
}

// slowApply starts an apply that takes its time until it is killed.
func (d *device) slowApply() (kill func()) {
	d.t.Helper()
	d.write("tmp/slow/iptables-save", "#!/bin/sh\n: > /tmp/slow/running\nwhile [ -e /tmp/slow/running ]; do sleep 0.1; done\nkill -9 $PPID\n")
	d.sh("chmod 755 /tmp/slow/iptables-save")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.call("PATH=/tmp/slow:$PATH loadbalance apply")
	}()
	running := d.file("tmp/slow/running")
	if !holds(func() bool { _, err := os.Stat(running); return err == nil }) {
		d.t.Fatal("the slow apply does not get to work")
	}
	return func() {
		check(d.t, os.Remove(running))
		<-ended
	}
}

// countApplies puts a program before iptables-save that counts its calls: every
// apply reads the table once.
func (d *device) countApplies(backend string) (count func() int) {
	d.write("usr/sbin/counted", fmt.Sprintf("#!/bin/sh\necho >> /tmp/applies\nexec iptables-%s-save \"$@\"\n", backend))
	d.sh("chmod 755 /usr/sbin/counted; mv /usr/sbin/counted /usr/sbin/iptables-save; : > /tmp/applies")
	return func() int {
		text, err := os.ReadFile(d.file("tmp/applies"))
		check(d.t, err)
		return strings.Count(string(text), "\n")
	}
}

// TestForeignInterface: events of an interface that is no member's start no
// apply, and an ifupdate that changed nothing not even the program.
func TestForeignInterface(t *testing.T) {
	d := newDevice(t, netlab.Options{Uplinks: 2, Backend: "nft"})
	d.install()
	d.balance(2)
	applies := d.countApplies("nft")
	d.hook("ifup", "lan", netlab.LANDevice)
	d.hook("ifupdate", "lan", netlab.LANDevice, "ADDRESSES")
	d.event("ifupdate", 1)
	d.event("ifup-failed", 1)
	d.settle()
	if n := applies(); n != 0 {
		t.Errorf("%d applies for events that concern no member", n)
	}
	d.event("ifupdate", 1, "ADDRESSES")
	if !holds(func() bool { return applies() == 1 }) {
		t.Errorf("%d applies for an event that concerns a member, want 1", applies())
	}
}
