package main

import (
	"net/netip"
	"sync"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// TestPoliciesShareByTheirOwnWeights deals 1000 connections by each of two
// policies at the same time; rules choose between them.
func TestPoliciesShareByTheirOwnWeights(t *testing.T) {
	config := members(netlab.Campus, 3) + `
config policy 'first'
	list use_member 'wan1 weight=3'
	list use_member 'wan2'

config policy 'second'
	list use_member 'wan2 weight=2'
	list use_member 'wan3 weight=3'

config rule
	list dest_ip '203.0.113.10'
	option use_policy 'first'

config rule
	list dest_ip '203.0.113.11'
	option use_policy 'second'
`
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 3}, config)
		r.must("apply")
		var tallies [2]netlab.Tally
		var wait sync.WaitGroup
		for i := range tallies {
			wait.Add(1)
			go func() {
				defer wait.Done()
				tallies[i] = r.lab.Connect(netlab.Traffic{Count: 1000, Parallel: 10, Server: netip.AddrPortFrom(netlab.Server(10+i), 80)})
			}()
		}
		wait.Wait()
		expectShares(t, tallies[0], 0, 750, 250, 0)
		expectShares(t, tallies[1], 0, 0, 400, 600)
		r.expectNoSpoofed()
	})
}

// TestChanceIsNearTheShares: five standard deviations of a binomial draw are
// hardly ever left (once in a million times).
func TestChanceIsNearTheShares(t *testing.T) {
	config := members(netlab.Campus, 3) + `
config policy 'dice'
	list use_member 'wan1 weight=3'
	list use_member 'wan2'
	option balance 'random'

config rule
	option use_policy 'dice'
`
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 3}, config)
		r.must("apply")
		tally := r.lab.Connect(netlab.Traffic{Count: 1000, Parallel: 10})
		// √(1000 × 3/4 × 1/4) = 13.7
		if off := tally.ByUplink[1] - 750; tally.OK() != 1000 || tally.ByUplink[1]+tally.ByUplink[2] != 1000 || off < -69 || off > 69 {
			t.Errorf("%v, want about 750 and 250", tally)
		}
	})
}

// TestSourceKeepsHosts follows 250 hosts of each family through re-applies and
// the loss of members.
func TestSourceKeepsHosts(t *testing.T) {
	const hosts = 250
	config := members(netlab.Separate, 5) + "config globals 'globals'\n\toption balance 'source'\n"
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 5, IPv6: true, NAT66: true, LANHosts: hosts}, config)
		apply := func(text string) {
			t.Helper()
			r.configure(text)
			r.must("apply")
		}
		before := map[family.Family][]int{}
		expect := func(when string, lost, most int) {
			t.Helper()
			for _, f := range family.All {
				expectMoved(t, when+", "+f.String(), before[f], r.uplinkOfHosts(f, hosts), lost, most)
			}
		}
		apply(config)
		for _, f := range family.All {
			before[f] = r.uplinkOfHosts(f, hosts)
			// 32 slots give a member 6 or 7: 47 to 55 hosts, and chance.
			for uplink, n := range countByUplink(before[f]) {
				if n < 20 || n > 90 {
					t.Errorf("%s: uplink %d has %d of %d hosts", f, uplink, n, hosts)
				}
			}
		}
		expect("again", 0, 0)
		apply(config + "\tlist bypass '192.0.2.0/24'\nconfig rule\n\toption dest_ip '192.0.2.1'\n")
		expect("after a re-apply", 0, 0)

		check(t, r.lab.IfDown(3))
		apply(config)
		expect("uplink 3 down", 3, 0)
		check(t, r.lab.IfUp(3))
		apply(config)
		expect("uplink 3 back", 0, 0)

		// Without the member, the slots are dealt to the others by quotas: two
		// slots of 32 may pass between them, 8 hosts each and chance.
		apply(config + "config member 'wan5'\n\toption enabled '0'\n")
		expect("member wan5 disabled", 5, 30)
	})
}

// uplinkOfHosts lets every host connect once and returns the uplink of each.
func (r *router) uplinkOfHosts(f family.Family, hosts int) []int {
	r.t.Helper()
	tally := r.lab.Connect(netlab.Traffic{Count: hosts, Parallel: 10, Server: netip.AddrPortFrom(serverOf(f), 80)})
	if tally.Failed > 0 || tally.ByUplink[0] > 0 {
		r.t.Fatalf("%s: %v", f, tally)
	}
	return tally.Sequence
}

func countByUplink(uplinks []int) map[int]int {
	counts := map[int]int{}
	for _, u := range uplinks {
		counts[u]++
	}
	return counts
}

// expectMoved checks that exactly the hosts of the lost uplink (0: none) have
// moved, all of them away from it and not all to the same, and so many others
// at most.
func expectMoved(t *testing.T, when string, before, after []int, lost, most int) {
	t.Helper()
	others := 0
	to := map[int]int{}
	for i := range before {
		switch {
		case after[i] == lost:
			t.Errorf("%s: host %d takes the lost uplink %d", when, i, lost)
		case before[i] == lost:
			to[after[i]]++
		case before[i] != after[i]:
			others++
		}
	}
	if others > most {
		t.Errorf("%s: %d hosts of other uplinks moved, want %d at most", when, others, most)
	}
	if lost != 0 && len(to) < 2 {
		t.Errorf("%s: the hosts of uplink %d went to %v", when, lost, to)
	}
}
