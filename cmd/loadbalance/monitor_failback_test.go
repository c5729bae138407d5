package main

import (
	"fmt"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// failbackConfig has a line and its backup; failback is an option of the line.
func failbackConfig(mode string) string {
	return members(netlab.Separate, 1, append(append([]string{"option failback '" + mode + "'"}, tracked...), fastest...)...) +
		fmt.Sprintf("config member 'wan2'\n\toption device '%s'\n\toption metric '2'\n\tlist track_ip '203.0.113.1'\n",
			deviceName(netlab.Separate, 2)) + "\toption interval '50ms'\n\toption timeout '100ms'\n\toption down '3'\n\toption up '3'\n"
}

// TestFailbackByHealth has a line die and come back. What returns to it, and when, is
// the user's choice.
func TestFailbackByHealth(t *testing.T) {
	tests := []struct {
		mode    string
		newOver int  // the line of new connections after the return
		cut     bool // the backup's connections are
	}{
		{"new", 1, false},
		{"all", 1, true},
		{"never", 2, false},
	}
	eachBackend(t, func(t *testing.T, backend string) {
		for _, tt := range tests {
			t.Run(tt.mode, func(t *testing.T) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 2}, failbackConfig(tt.mode))
				r.must("apply")
				r.startMonitor()
				expectOver(t, r.lab.Connect(netlab.Traffic{Count: 10}), 1)
				check(t, r.lab.Blackhole(1))
				r.waitState("wan1", "offline")
				flows, tally := r.lab.Open(netlab.Traffic{Count: 10})
				defer flows.Close()
				expectOver(t, tally, 2)
				check(t, r.lab.Restore(1))
				eventually(t, "wan1 is online again", func() bool {
					s := r.status() // the verdict is there before the chains
					return stateOf(s, "wan1") != "offline" && s.InSync
				})
				expectOver(t, r.lab.Connect(netlab.Traffic{Count: 10}), tt.newOver)
				if tt.cut {
					// The chains are there some milliseconds before.
					eventually(t, "all connections of the backup are cut", func() bool {
						failed, _ := flows.Check(5 * time.Second)
						return failed == 10
					})
				} else if failed, err := flows.Check(5 * time.Second); failed != 0 {
					t.Errorf("%d of 10 connections of the backup were cut: %v", failed, err)
				}
				if tt.mode != "never" {
					return
				}
				check(t, r.lab.Blackhole(2))
				r.waitState("wan2", "offline")
				expectOver(t, r.lab.Connect(netlab.Traffic{Count: 10}), 1)
				check(t, r.lab.Restore(2))
				r.waitState("wan2", "standby")
				expectOver(t, r.lab.Connect(netlab.Traffic{Count: 10}), 1)
			})
		}
	})
}
