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
