package main

import (
	"fmt"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// tracked are the options of a member that asks two servers.
var tracked = []string{"list track_ip '203.0.113.1'", "list track_ip '203.0.113.2'"}

// fastest are the shortest times that can be configured.
var fastest = []string{"option interval '50ms'", "option timeout '100ms'", "option down '3'", "option up '3'"}

// A line on which everything vanishes, with its link up, is taken out and comes
// back; the others are not suspected.
func TestSilentBlackout(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 5, LANHosts: 50},
			members(netlab.Campus, 5, tracked...))
		r.must("apply")
		m := r.startMonitor()
		for _, i := range []int{2, 5} {
			name := fmt.Sprintf("wan%d", i)
			start := time.Now()
			check(t, r.lab.Blackhole(i))
			r.waitState(name, "offline")
			t.Logf("%s offline after %s", name, time.Since(start))
			tally := r.lab.Connect(netlab.Traffic{Count: 100})
			if tally.Failed > 0 || tally.ByUplink[i] > 0 {
				t.Errorf("with %s offline, %d of 100 connections failed, %d took it", name, tally.Failed, tally.ByUplink[i])
			}
			check(t, r.lab.Restore(i))
			r.waitState(name, "active")
		}
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 100}))
		if n := m.Log.Count("offline: no answer from"); n != 2 {
			t.Errorf("%d members were announced offline instead of 2", n)
		}
	})
}

// A line that stalls for a moment is no dead one, however many connections of a
// LAN host wait for answers in vain; a dead one is found in time all the same.
func TestStallsUnderUnansweredConnections(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Separate, Uplinks: 2}, members(netlab.Separate, 2, tracked...))
		r.must("apply")
		m := r.startMonitor()
		sent := make(chan error, 1)
		go func() {
			sent <- r.lab.SendUDP(netlab.Traffic{Count: 40, Sources: r.lab.LANHosts()[:1]}, 65, 200*time.Millisecond) // for 13 s
		}()
		time.Sleep(time.Second)                                                    // some probes are answered first
		lost := func() int { return m.Log.Count("member 'wan2' (ipv4): offline") } // also for what it lost
		for _, stall := range []time.Duration{1000, 1150, 1300, 1400} {
			before, start := lost(), time.Now()
			check(t, r.lab.Blackhole(2))
			time.Sleep(stall * time.Millisecond)
			check(t, r.lab.Restore(2))
			took := time.Since(start)
			time.Sleep(1200 * time.Millisecond) // a round is missed no later than 0.8 s after it was sent
			if took > 2*time.Second {
				t.Logf("a stall became one of %s on a busy machine", took)
				r.waitState("wan2", "active")
			} else if lost() > before {
				t.Errorf("a stall of %s took the line offline", took)
			}
		}
		s := r.status().Members[1].IPv4
		if s.UnansweredConnections < 10 || s.Health.Loss == 0 {
			t.Errorf("%d connections of wan2 are unanswered, it lost %v of its probes: nothing was tried", s.UnansweredConnections, s.Health.Loss)
		}
		start := time.Now()
		check(t, r.lab.Blackhole(2))
		r.waitState("wan2", "offline")
		took := time.Since(start)
		t.Logf("a blackout is found and in the kernel after %s", took)
		if took > 4*time.Second {
			t.Errorf("a blackout is found after %s", took)
		}
		check(t, <-sent)
	})
}
