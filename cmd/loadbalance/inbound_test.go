package main

import (
	"net/netip"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// withoutRouterTraffic leaves the router's own connections to the main table.
const withoutRouterTraffic = "config globals 'globals'\n\toption router_traffic '0'\n\n"

// inboundCases are uplinks over which connections come in, none of them main's
// default. Twins are asked over both.
var inboundCases = []struct {
	name    string
	options netlab.Options
	uplinks []int
}{
	{"campus", netlab.Options{Topology: netlab.Campus, Uplinks: 5, ARPIgnore: 1}, []int{3}},
	{"separate", netlab.Options{Topology: netlab.Separate, Uplinks: 5}, []int{3}},
	{"p2p", netlab.Options{Topology: netlab.P2P, Uplinks: 5}, []int{3}},
	{"twins", netlab.Options{Topology: netlab.Twins, Uplinks: 2}, []int{1, 2}},
}

// TestInboundIsAnsweredOverItsUplink asks a service on the router and a
// forwarded port of a LAN host, 100 times each, with and without
// router_traffic. Not one of these connections uses up a turn.
func TestInboundIsAnsweredOverItsUplink(t *testing.T) {
	for _, c := range inboundCases {
		t.Run(c.name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				config := members(c.options.Topology, c.options.Uplinks)
				r := newRouter(t, backend, c.options, config)
				for _, text := range []string{config, withoutRouterTraffic + config} {
					r.configure(text)
					r.must("apply")
					r.expectTurnsUsed(family.IPv4, 0, func() {
						for _, i := range c.uplinks {
							expectInbound(t, r, i)
						}
					})
				}
				if c.options.Topology != netlab.Twins { // which cannot be told apart here
					r.expectNoSpoofed()
				}
			})
		})
	}
}

// expectInbound asks over an uplink, from 100 addresses, to the router and to
// a forwarded port.
func expectInbound(t *testing.T, r *router, uplink int) {
	t.Helper()
	// Both twins' packets have the same destination once they reach the
	// router, so that each is asked by addresses of its own.
	var sources []netip.Addr
	for k := range 100 {
		sources = append(sources, netlab.Server(1+uplink%2*100+k))
	}
	for _, port := range []uint16{netlab.EchoPort, netlab.ForwardedPort} {
		for _, network := range []string{"tcp", "udp"} {
			tally := r.lab.Inbound(uplink, netlab.Traffic{
				Network: network, Server: server(r.lab.Uplink(uplink).Public, port), Sources: sources, Count: 100, Parallel: 10,
			})
			if tally.OK() != 100 {
				t.Errorf("uplink %d, %s to port %d: %d of 100 answered: %v", uplink, network, port, tally.OK(), tally.Err)
			}
		}
	}
}

// TestInboundWhileTrafficIsDealt mixes both directions.
func TestInboundWhileTrafficIsDealt(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		options := netlab.Options{Topology: netlab.Campus, Uplinks: 5, ARPIgnore: 1}
		r := newRouter(t, backend, options, members(netlab.Campus, 5))
		r.must("apply")
		dealt := make(chan netlab.Tally)
		go func() { dealt <- r.lab.Connect(netlab.Traffic{Count: 500, Parallel: 10}) }()
		for i := 1; i <= 5; i++ {
			expectInbound(t, r, i)
		}
		expectEqual(t, <-dealt)
		r.expectNoSpoofed()
	})
}

// TestInboundToTierInWaiting: an uplink that is dealt nothing answers too.
func TestInboundToTierInWaiting(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := strings.Replace(members(netlab.Separate, 2), "option device 'wan2'", "option device 'wan2'\n\toption metric '9'", 1)
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, config)
		r.must("apply")
		expectInbound(t, r, 2)
	})
}

// TestInboundAfterWrongAnswers: with arp_ignore 0, the gateway has been told by
// uplink 1 that it has every lease's address. An uplink's own first connection
// puts that right.
func TestInboundAfterWrongAnswers(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		options := netlab.Options{Topology: netlab.Campus, Uplinks: 5, RPFilter: 1, ARPIgnore: 0}
		r := newRouter(t, backend, options, members(netlab.Campus, 5))
		for i := 1; i <= 5; i++ { // only for the gateway to ask for the address
			r.lab.Inbound(i, netlab.Traffic{Timeout: lost})
		}
		r.must("apply")
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 25}))
		for i := 1; i <= 5; i++ {
			expectInbound(t, r, i)
		}
	})
}
