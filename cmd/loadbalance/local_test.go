package main

import (
	"errors"
	"maps"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// toAny says whether a connection's destination is one of some addresses.
func toAny(targets ...netip.Addr) func(conntrack.Entry) bool {
	return func(e conntrack.Entry) bool {
		for _, a := range targets {
			if e.Original.Destination == a {
				return true
			}
		}
		return false
	}
}

// expectLeftToMain checks that there are connections to the targets, and that all of
// them are left to the main table.
func expectLeftToMain(t *testing.T, r *router, f family.Family, targets ...netip.Addr) {
	t.Helper()
	for _, target := range targets {
		entries := r.entries(f, toAny(target))
		if len(entries) == 0 {
			t.Errorf("the router knows no connection to %v", target)
		}
		for _, e := range entries {
			if e.Mark&markMask != defaultMark {
				t.Errorf("connection to %v has the mark %#x, want %#x", target, e.Mark, defaultMark)
				break
			}
		}
	}
}

// TestLocalTrafficIsNeverDealt connects in all directions between the LAN, the
// guests' LAN, the VPN and the router.
func TestLocalTrafficIsNeverDealt(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newCampus(t, backend)
		lab, lanHost, own := r.lab, r.lab.LANHosts()[7], r.lab.Uplink(2).Address.Addr()
		order := newRotation(equalWeights(5)...)
		order.expect(t, lab.Connect(netlab.Traffic{Count: 17}))
		r.expectTurnsUsed(family.IPv4, 0, func() {
			for _, c := range []struct {
				from *netlab.Namespace
				to   netip.Addr
			}{
				{lab.Client, netlab.GuestHost}, {lab.Client, netlab.VPNHost}, {lab.Client, netlab.RouterLAN}, {lab.Client, own},
				{lab.Guest, lanHost}, {lab.VPN, lanHost},
				{lab.Router, lanHost}, {lab.Router, netlab.GuestHost}, {lab.Router, netlab.VPNHost},
			} {
				for _, network := range []string{"tcp", "udp"} {
					tally := lab.Connect(netlab.Traffic{Network: network, From: c.from, Server: server(c.to, netlab.EchoPort), Count: 30})
					if tally.OK() != 30 {
						t.Errorf("%s to %v: %v", c.from.Name, c.to, tally)
					}
				}
			}
		})
		expectLeftToMain(t, r, family.IPv4, netlab.GuestHost, netlab.VPNHost, netlab.RouterLAN, own, lanHost)
		order.expect(t, lab.Connect(netlab.Traffic{Count: 100}))
		r.expectNoSpoofed()
	})
}

// TestLocalTrafficIsNeverDealtIPv6 is the same for IPv6.
func TestLocalTrafficIsNeverDealtIPv6(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true, NAT66: true}, members(netlab.Separate, 2))
		r.must("apply")
		routerLAN, own, lanHost := netlab.LANPrefix6.Addr().Next(), r.lab.Uplink(2).Address6.Addr(), r.lab.LANHosts6(0)[7]
		r.expectTurnsUsed(family.IPv6, 0, func() {
			for _, to := range []netip.Addr{netlab.VPNHost6, routerLAN, own} {
				tally := r.lab.Connect(netlab.Traffic{Server: server(to, netlab.EchoPort), Count: 30})
				if tally.OK() != 30 {
					t.Errorf("LAN to %v: %v", to, tally)
				}
			}
			tally := r.lab.Connect(netlab.Traffic{From: r.lab.VPN, Server: server(lanHost, netlab.EchoPort), Count: 30})
			if tally.OK() != 30 {
				t.Errorf("VPN to %v: %v", lanHost, tally)
			}
		})
		expectLeftToMain(t, r, family.IPv6, netlab.VPNHost6, routerLAN, own, lanHost)
		r.expectNoSpoofed()
	})
}

// TestVanishedRouteFreesItsConnections: while the VPN stands, connections into
// it are left to the main table; when its route goes, the next packet of each
// is dealt out.
func TestVanishedRouteFreesItsConnections(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		options := netlab.Options{Uplinks: 2, IPv6: true, NAT66: true, LANHosts: 20}
		r := newRouter(t, backend, options, members(netlab.Separate, 2))
		r.must("apply")
		for _, c := range []struct {
			family family.Family
			host   netip.Addr
		}{{family.IPv4, netlab.VPNHost}, {family.IPv6, netlab.VPNHost6}} {
			traffic := netlab.Traffic{Network: "udp", Server: server(c.host, netlab.EchoPort), Count: 20}
			flows, tally := r.lab.Open(traffic)
			defer flows.Close()
			expectOver(t, tally, 0)
			expectLeftToMain(t, r, c.family, c.host)

			check(t, r.lab.DelVPNRoute())
			r.must("apply")
			if left := r.entries(c.family, toAny(c.host)); len(left) > 0 {
				t.Errorf("%d connections to %v are still there, the first with mark %#x", len(left), c.host, left[0].Mark)
			}
			r.expectTurnsUsed(c.family, 20, func() {
				for _, flow := range flows {
					seen, err := flow.Exchange(10 * time.Second)
					check(t, err)
					if r.lab.UplinkOf(seen.Addr()) == 0 && c.family == family.IPv4 {
						t.Errorf("%v is no uplink's address", seen)
					}
				}
			})
			if byMark := countByMark(r.entries(c.family, toAny(c.host))); byMark[memberMark(1)] != 10 || byMark[memberMark(2)] != 10 {
				t.Errorf("connections to %v by mark: %v, want 10 of each uplink", c.host, byMark)
			}

			check(t, r.lab.AddVPNRoute())
			r.must("apply")
			r.expectTurnsUsed(c.family, 0, func() {
				traffic.Network = "tcp"
				expectOver(t, r.lab.Connect(traffic), 0)
			})
		}
		r.expectNoSpoofed()
	})
}

func countByMark(entries []conntrack.Entry) map[uint32]int {
	counts := map[uint32]int{}
	for _, e := range entries {
		counts[e.Mark&markMask]++
	}
	return counts
}

// TestLANInsideWideWAN: uplink 1 lies in 10.0.0.0/8, and so do the LAN, the
// guests and the VPN.
func TestLANInsideWideWAN(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2, WideWAN: true, LANHosts: 20}, members(netlab.Separate, 2))
		r.must("apply")
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 100}))
		expectInbound(t, r, 1)
		expectInbound(t, r, 2)
		for _, local := range []netip.Addr{netlab.GuestHost, netlab.VPNHost, netlab.RouterLAN} {
			tally := r.lab.Connect(netlab.Traffic{Server: server(local, netlab.EchoPort), Count: 20})
			expectOver(t, tally, 0)
		}
		expectLeftToMain(t, r, family.IPv4, netlab.GuestHost, netlab.VPNHost, netlab.RouterLAN)
		// All else in 10.0.0.0/8 is behind uplink 1.
		expectRefusals(t, r, r.lab.Uplink(1).Gateway, map[uint32]int{memberMark(1): 20})
		r.expectNoSpoofed()
	})
}

// TestOwnNetwork: what is in the network of one uplink, its modem say, is asked
// over that uplink and takes no turn. A network that all uplinks share is dealt
// out, each connection over the device that was chosen.
func TestOwnNetwork(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		separate := newRouter(t, backend, netlab.Options{Uplinks: 3, LANHosts: 20}, members(netlab.Separate, 3))
		separate.must("apply")
		separate.expectTurnsUsed(family.IPv4, 0, func() {
			for i := 1; i <= 3; i++ {
				expectRefusals(t, separate, separate.lab.Uplink(i).Gateway, map[uint32]int{memberMark(i): 20})
			}
		})
		separate.expectNoSpoofed()

		campus := newCampus(t, backend)
		expectRefusals(t, campus, campus.lab.Uplink(1).Gateway, map[uint32]int{
			memberMark(1): 4, memberMark(2): 4, memberMark(3): 4, memberMark(4): 4, memberMark(5): 4,
		})
		campus.expectNoSpoofed()
	})
}

// expectRefusals asks a host on which nothing listens. The refusals of 20
// connections show that it was reached; the marks are those of 20 UDP sockets,
// whose connections the router remembers.
func expectRefusals(t *testing.T, r *router, host netip.Addr, want map[uint32]int) {
	t.Helper()
	target := netlab.Traffic{Server: server(host, netlab.EchoPort), Count: 20}
	tally := r.lab.Connect(target)
	if tally.Failed != 20 || !errors.Is(tally.Err, unix.ECONNREFUSED) {
		t.Errorf("%v: %v, want 20 refusals", host, tally)
	}
	check(t, r.lab.SendUDP(target, 1, 0))
	sockets := func(e conntrack.Entry) bool { return e.Protocol == unix.IPPROTO_UDP && e.Original.Destination == host }
	eventually(t, "the router has 20 connections", func() bool { return len(r.entries(family.IPv4, sockets)) == 20 })
	if got := countByMark(r.entries(family.IPv4, sockets)); !maps.Equal(got, want) {
		t.Errorf("connections to %v by mark: %v, want %v", host, got, want)
	}
}
