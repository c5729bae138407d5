package main

import (
	"net/netip"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// TestTopologies runs every direction of traffic in every topology, dual
// stack, on a router whose settings are the least helpful ones: strict reverse
// path filtering, and devices that answer ARP for each other's addresses; with
// main's default routes and without any.
func TestTopologies(t *testing.T) {
	for _, c := range []struct {
		topology netlab.Topology
		uplinks  int
	}{{netlab.Separate, 3}, {netlab.Campus, 5}, {netlab.Twins, 2}, {netlab.P2P, 3}} {
		for _, noDefaults := range []bool{false, true} {
			name := c.topology.String()
			if noDefaults {
				name += " without defaults in main"
			}
			t.Run(name, func(t *testing.T) {
				eachBackend(t, func(t *testing.T, backend string) {
					r := newRouter(t, backend, netlab.Options{
						Topology: c.topology, Uplinks: c.uplinks, IPv6: true, NAT66: true,
						RPFilter: 1, ARPIgnore: 0, NoMainDefaults: noDefaults,
					}, "")
					r.configure(fullMembers(r.lab))
					if !noDefaults {
						r.configure(members(c.topology, c.uplinks)) // the rest is in main
					}
					r.must("apply")
					expectBalancedIPv4(t, r)
					expectBalancedIPv6(t, r)
					r.expectNoSpoofed()
				})
			})
		}
	}
}

func expectBalancedIPv4(t *testing.T, r *router) {
	t.Helper()
	expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 60 * r.lab.Uplinks()}))
	for i := 1; i <= r.lab.Uplinks(); i++ {
		// The provider asks for the uplink's address; the router does not
		// speak first, which would tell it unasked.
		forgetNeighbours(t, r.lab.Access(i))
		expectInbound(t, r, i)
		expectBound(t, r, i)
	}
	expectEqual(t, fromRouter(r, netlab.Traffic{}, 20*r.lab.Uplinks()))
}

// expectBalancedIPv6 deals out what is translated (ULA) and checks that
// everything else uses the uplink that its address belongs to. Neighbour
// discovery must work on the way and takes no turn.
func expectBalancedIPv6(t *testing.T, r *router) {
	t.Helper()
	web := server(netlab.Server6(1), netlab.HTTPPort)
	expectEqual(t, r.lab.Connect(netlab.Traffic{Server: web, Count: 60 * r.lab.Uplinks()}))
	forgetAllNeighbours(t, r)
	r.expectTurnsUsed(family.IPv6, 0, func() {
		for i := 1; i <= r.lab.Uplinks(); i++ {
			u := r.lab.Uplink(i)
			expectOver(t, r.lab.Connect(netlab.Traffic{Server: web, Sources: r.lab.LANHosts6(i), Count: 20}), i)
			for _, binding := range []netlab.Traffic{
				{Device: u.Device}, {Sources: []netip.Addr{u.Address6.Addr()}}, {Mark: memberMark(i)},
			} {
				binding.From, binding.Server, binding.Count = r.lab.Router, web, 10
				expectOver(t, r.lab.Connect(binding), i)
			}
			for _, target := range []netip.Addr{u.Address6.Addr(), r.lab.LANHosts6(i)[3]} {
				tally := r.lab.Inbound(i, netlab.Traffic{Server: server(target, netlab.EchoPort), Count: 100, Parallel: 10})
				if tally.OK() != 100 {
					t.Errorf("uplink %d, to %v: %d of 100 answered: %v", i, target, tally.OK(), tally.Err)
				}
			}
		}
	})
	forgetAllNeighbours(t, r)
	expectEqual(t, r.lab.Connect(netlab.Traffic{Server: web, Count: 20 * r.lab.Uplinks()}))
}

// forgetAllNeighbours lets the router, its providers and the LAN look for each
// other's link-layer addresses again.
func forgetAllNeighbours(t *testing.T, r *router) {
	t.Helper()
	forgetNeighbours(t, r.lab.Router, r.lab.Client)
	for i := 1; i <= r.lab.Uplinks(); i++ {
		forgetNeighbours(t, r.lab.Access(i))
	}
}

func forgetNeighbours(t *testing.T, spaces ...*netlab.Namespace) {
	t.Helper()
	for _, ns := range spaces {
		if _, err := ns.Run("ip", "neigh", "flush", "all"); err != nil {
			t.Fatal(err)
		}
	}
}
