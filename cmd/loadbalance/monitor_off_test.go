package main

import (
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// TestMonitorSwitchedOff: with option monitor '0' nobody notices that a line works
// again, so no line is offline any more, also while the monitor still lives.
func TestMonitorSwitchedOff(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Separate, 3, append(tracked[:len(tracked):len(tracked)], fastest...)...)
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, config)
		r.must("apply")
		r.startMonitor()
		check(t, r.lab.Blackhole(2))
		r.waitState(r.lab.UplinkDevice(2), "offline")
		r.configure("config globals 'globals'\n\toption monitor '0'\n" + config)
		r.must("apply")
		time.Sleep(time.Second) // the monitor follows within some 50 ms
		if state := stateOf(r.status(), r.lab.UplinkDevice(2)); state != "active" {
			t.Errorf("the line is %s", state)
		}
		if !r.status().InSync {
			t.Errorf("the kernel holds other rules than a run without a monitor makes: %q", r.status().Drift)
		}
	})
}
