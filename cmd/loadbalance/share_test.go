package main

import (
	"fmt"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// TestSharesAreExact deals 1000 connections of ten hosts to five leases behind
// one gateway, in the planned order.
func TestSharesAreExact(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 5}, members(netlab.Campus, 5))
		r.must("apply")
		tally := r.lab.Connect(netlab.Traffic{Count: 1000, Parallel: 10})
		expectShares(t, tally, 0, 200, 200, 200, 200, 200)
		r.expectNoSpoofed()
	})
}

// TestTurnsFollowThePlannedOrder compares single connections with the order,
// also past its end.
func TestTurnsFollowThePlannedOrder(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 5}, members(netlab.Campus, 5))
		r.must("apply")
		newRotation(equalWeights(5)...).expect(t, r.lab.Connect(netlab.Traffic{Count: 600}))
	})
}

// TestTurnsInParts: eight members and weights of 5:3:2 are dealt out in parts,
// in the planned order, which goes on when the chains are written anew.
func TestTurnsInParts(t *testing.T) {
	weighted := members(netlab.Campus, 3)
	for i, weight := range []string{"5", "3", "2"} {
		device := fmt.Sprintf("option device 'vth%d'", i+1)
		weighted = strings.Replace(weighted, device, device+"\n\toption weight '"+weight+"'", 1)
	}
	for _, c := range []struct {
		name    string
		config  string
		weights []int
		parts   int
	}{
		{"8 members", members(netlab.Campus, 8), equalWeights(8), 8},
		{"5:3:2", weighted, []int{5, 3, 2}, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: len(c.weights)}, c.config)
				r.must("apply")
				mangle := "iptables-" + backend + " -t mangle "
				if parts := countLines(r.sh(mangle+"-S"), "-N lb_policy_balanced."); parts != c.parts {
					t.Errorf("%d parts, want %d", parts, c.parts)
				}
				order := newRotation(c.weights...)
				order.expect(t, r.lab.Connect(netlab.Traffic{Count: 230}))
				r.sh(mangle + "-A lb_policy_balanced.3 -j RETURN")
				r.must("apply")
				order.expect(t, r.lab.Connect(netlab.Traffic{Count: 77}))
				// The legacy back end writes all cascades whenever it writes.
				r.configure(c.config + "config policy 'other'\n\tlist use_member 'wan1'\n")
				r.must("apply")
				order.expect(t, r.lab.Connect(netlab.Traffic{Count: 240}))
				if out := r.must("plan"); out != "" {
					t.Errorf("plan still finds work:\n%s", out)
				}
			})
		})
	}
}

func TestSharesFollowWeights(t *testing.T) {
	config := members(netlab.Campus, 3)
	config = strings.Replace(config, "option device 'vth1'", "option device 'vth1'\n\toption weight '3'", 1)
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 3}, config)
		r.must("apply")
		tally := r.lab.Connect(netlab.Traffic{Count: 1000, Parallel: 10})
		expectShares(t, tally, 0, 600, 200, 200)
	})
}

// TestSixtyMembers uses all that the mark mask holds.
func TestSixtyMembers(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 60}, members(netlab.Campus, 60))
		r.must("apply")
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 600, Parallel: 10}))
		r.expectNoSpoofed()
	})
}

func TestSharesAreExactInParallel(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 5}, members(netlab.Campus, 5))
		r.must("apply")
		tally := r.lab.Connect(netlab.Traffic{Count: 5000, Parallel: 200})
		expectShares(t, tally, 0, 1000, 1000, 1000, 1000, 1000)
	})
}

func TestSharesInPartsAreExactInParallel(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 8}, members(netlab.Campus, 8))
		r.must("apply")
		tally := r.lab.Connect(netlab.Traffic{Count: 6400, Parallel: 200})
		expectShares(t, tally, 0, 800, 800, 800, 800, 800, 800, 800, 800)
	})
}

// TestLowestTierIsUsed: the second tier waits until the first has no member
// left.
func TestLowestTierIsUsed(t *testing.T) {
	config := members(netlab.Campus, 3)
	config = strings.Replace(config, "option device 'vth3'", "option device 'vth3'\n\toption metric '2'", 1)
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 3}, config)
		steps := []struct {
			down int
			want []int
		}{
			{0, []int{0, 50, 50, 0}},
			{1, []int{0, 0, 100, 0}},
			{2, []int{0, 0, 0, 100}},
		}
		for _, step := range steps {
			if step.down > 0 {
				check(t, r.lab.IfDown(step.down))
			}
			r.must("apply")
			expectShares(t, r.lab.Connect(netlab.Traffic{Count: 100}), step.want...)
		}
		check(t, r.lab.IfUp(1))
		r.must("apply")
		expectShares(t, r.lab.Connect(netlab.Traffic{Count: 100}), 0, 100, 0, 0)
	})
}

// TestPolicyChoosesMembers: a policy's own weights and tiers stand above the
// members'.
func TestPolicyChoosesMembers(t *testing.T) {
	config := members(netlab.Campus, 4, "option weight '5'") + fmt.Sprintln("config policy 'balanced'",
		"\n\tlist use_member 'wan1 weight=3'",
		"\n\tlist use_member 'wan2 weight=1'",
		"\n\tlist use_member 'wan3 weight=1 metric=2'")
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 4}, config)
		r.must("apply")
		expectShares(t, r.lab.Connect(netlab.Traffic{Count: 400, Parallel: 10}), 0, 300, 100, 0, 0)
		check(t, r.lab.IfDown(1), r.lab.IfDown(2))
		r.must("apply")
		expectShares(t, r.lab.Connect(netlab.Traffic{Count: 100}), 0, 0, 0, 100, 0)
	})
}

// expectShares checks a tally against the exact shares, ±1. The first one is
// of connections over no uplink.
func expectShares(t *testing.T, tally netlab.Tally, want ...int) {
	t.Helper()
	if tally.Failed > 0 {
		t.Errorf("%d connections failed: %v", tally.Failed, tally.Err)
	}
	for i, n := range want {
		if got := tally.ByUplink[i]; got < n-1 || got > n+1 {
			t.Errorf("uplink %d: %d connections, want %d (all: %v)", i, got, n, tally.ByUplink)
		}
	}
}
