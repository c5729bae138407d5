package main

import (
	"net/netip"
	"slices"
	"testing"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// routerCases are laboratories for the router's own traffic.
var routerCases = []struct {
	name    string
	options netlab.Options
}{
	{"campus", netlab.Options{Topology: netlab.Campus, Uplinks: 5, ARPIgnore: 1}},
	{"separate, fixed SNAT", netlab.Options{Topology: netlab.Separate, Uplinks: 5, NAT: netlab.FixedSNAT}},
	{"p2p", netlab.Options{Topology: netlab.P2P, Uplinks: 5}},
	{"twins", netlab.Options{Topology: netlab.Twins, Uplinks: 2}},
}

// eachRouterCase runs a test for the router's own traffic in all
// laboratories. before stands before the members in the configuration.
func eachRouterCase(t *testing.T, before string, test func(t *testing.T, r *router)) {
	for _, c := range routerCases {
		t.Run(c.name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				r := newRouter(t, backend, c.options, before+members(c.options.Topology, c.options.Uplinks))
				r.must("apply")
				test(t, r)
				r.expectNoSpoofed()
			})
		})
	}
}

// fromRouter opens flows on the router, one after the other.
func fromRouter(r *router, traffic netlab.Traffic, count int) netlab.Tally {
	traffic.From, traffic.Count = r.lab.Router, count
	traffic.Server = server(netlab.Server(1), netlab.DNSPort)
	return r.lab.Connect(traffic)
}

func TestRouterTrafficIsDealt(t *testing.T) {
	eachRouterCase(t, "", func(t *testing.T, r *router) {
		order := newRotation(equalWeights(r.lab.Uplinks())...)
		for _, network := range []string{"tcp", "udp"} {
			tally := fromRouter(r, netlab.Traffic{Network: network}, 100)
			expectEqual(t, tally)
			order.expect(t, tally)
		}
		// One rotation for the router and the LAN.
		order.expect(t, r.lab.Connect(netlab.Traffic{Count: 50}))
	})
}

func TestBoundSocketsUseTheirUplink(t *testing.T) {
	for name, before := range map[string]string{"router_traffic": "", "no router_traffic": withoutRouterTraffic} {
		t.Run(name, func(t *testing.T) {
			eachRouterCase(t, before, func(t *testing.T, r *router) {
				for i := 1; i <= r.lab.Uplinks(); i++ {
					expectBound(t, r, i)
				}
			})
		})
	}
}

// expectBound opens the router's sockets that are bound to an uplink: by its
// mark, its device, its address, or the last two. An address says nothing where
// it is the one that main's default route gives to unbound sockets, which uplink
// 1 has, or where two uplinks have it.
func expectBound(t *testing.T, r *router, uplink int) {
	t.Helper()
	device, address := r.lab.UplinkDevice(uplink), []netip.Addr{r.lab.Uplink(uplink).Address.Addr()}
	bindings := []netlab.Traffic{{Mark: memberMark(uplink)}, {Device: device}, {Device: device, Sources: address}}
	if uplink != 1 && r.lab.Uplink(1).Address != r.lab.Uplink(uplink).Address {
		bindings = append(bindings, netlab.Traffic{Sources: address})
	}
	for _, binding := range bindings {
		for _, network := range []string{"tcp", "udp"} {
			binding.Network = network
			expectOver(t, fromRouter(r, binding, 20), uplink)
		}
	}
}

// TestSocketsBoundToAnAddressTakeNoTurn: their uplink is chosen by themselves.
func TestSocketsBoundToAnAddressTakeNoTurn(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newCampus(t, backend)
		r.expectTurnsUsed(family.IPv4, 0, func() {
			address := []netip.Addr{r.lab.Uplink(4).Address.Addr()}
			expectOver(t, fromRouter(r, netlab.Traffic{Sources: address}, 20), 4)
		})
	})
}

// TestRouterTrafficLeftToMain: with router_traffic 0 the router's sockets take
// main's default route. The first answer gives the connection the mark of the
// uplink that it came in by, which is that same one.
func TestRouterTrafficLeftToMain(t *testing.T) {
	eachRouterCase(t, withoutRouterTraffic, func(t *testing.T, r *router) {
		order := newRotation(equalWeights(r.lab.Uplinks())...)
		order.expect(t, r.lab.Connect(netlab.Traffic{Count: 7, Server: server(netlab.Server(200), netlab.HTTPPort)}))
		r.expectTurnsUsed(family.IPv4, 0, func() {
			for _, network := range []string{"tcp", "udp"} {
				expectOver(t, fromRouter(r, netlab.Traffic{Network: network}, 50), 1)
			}
		})
		own := r.entries(family.IPv4, func(e conntrack.Entry) bool {
			return e.Original.DestinationPort == netlab.DNSPort && !slices.Contains(r.lab.LANHosts(), e.Original.Source)
		})
		if len(own) < 50 { // the UDP ones at least are all still there
			t.Errorf("the router knows %d connections of its own", len(own))
		}
		for _, e := range own {
			if mark := e.Mark & markMask; mark != 0 && mark != memberMark(1) {
				t.Errorf("a connection of the router to %v has the mark %#x", e.Original.Destination, mark)
				break
			}
		}
		order.expect(t, r.lab.Connect(netlab.Traffic{Count: 50, Server: server(netlab.Server(200), netlab.HTTPPort)}))
	})
}
