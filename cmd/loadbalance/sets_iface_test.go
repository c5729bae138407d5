package main

import (
	"fmt"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// TestRuleFollowsInterface: a rule names netifd's interface, whose device is
// called otherwise. No member names one.
func TestRuleFollowsInterface(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, members(netlab.Separate, 3)+`
config rule 'guests'
	option src_iface 'guest'
	option use_policy 'wan2'

config rule 'server'
	option dest_ip '203.0.113.9'
	option use_policy 'wan3'
`)
		n := r.startNetifd()
		up := fmt.Sprintf(`{"interface": "guest", "up": true, "available": true, "l3_device": "%s"}`, netlab.LANDevice)
		const leftOut = "rule 'guests' is left out: interface 'guest' has no device now"
		steps := []struct {
			what, answer, message string
			shares                []int
		}{
			{"down", isDown("guest"), leftOut, []int{0, 10, 10, 10}},
			{"up", up, "ifup guest: ipv4: ", []int{0, 0, 30, 0}},
			{"gone", isDown("lan"), leftOut, []int{0, 10, 10, 10}},
		}
		for _, step := range steps {
			n.answer(step.answer)
			_, messages, code := r.call("hotplug", "ifup", "guest")
			if step.what == "down" {
				_, messages, code = r.call("apply")
			}
			if code != 0 || !strings.Contains(messages, step.message) {
				t.Errorf("%s: exit code %d, messages %q, want %q", step.what, code, messages, step.message)
			}
			expectShares(t, r.lab.Connect(netlab.Traffic{Count: 30}), step.shares...)
			if again := r.must("plan"); again != "" {
				t.Errorf("%s: plan after apply:\n%s", step.what, again)
			}
		}
	})
}
