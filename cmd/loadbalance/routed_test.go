package main

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
	"loadbalance/internal/status"
)

// makeRouted takes the address translation from an uplink of its own network
// behind which the LAN is known. Servers see hosts that use it by their own
// addresses, which belong to no uplink. What else leaves by it with an address
// that is not its own is dropped there, and counts as spoofed.
func (r *router) makeRouted(i int) {
	r.t.Helper()
	u := r.lab.Uplink(i)
	r.sh(fmt.Sprintf("iptables-%s -t nat -D POSTROUTING -o %s -j zone_wan_postrouting", r.backend, u.Device))
	for _, step := range []struct {
		in      *netlab.Namespace
		command string
	}{
		{r.lab.Access(i), fmt.Sprintf("iptables-nft -t raw -I PREROUTING -i %s -s %v -j ACCEPT", u.Device, netlab.LANPrefix)},
		{r.lab.Access(i), fmt.Sprintf("ip route add %v via %v", netlab.LANPrefix, u.Address.Addr())},
		{r.lab.Access(i), fmt.Sprintf("ip rule add pref 900 from %v to %v lookup %d", netlab.LANPrefix, netlab.ServerPrefix, 1000+i)},
		{r.lab.World, fmt.Sprintf("ip route add %v via 10.255.%d.2 src %v", netlab.LANPrefix, i, netlab.Server(1))},
	} {
		if _, err := step.in.Run("sh", "-c", step.command); err != nil {
			r.t.Fatal(err)
		}
	}
}

// withoutRouterOn gives a member router_traffic 0.
func withoutRouterOn(member, config string) string {
	return strings.Replace(config, "'"+member+"'\n", "'"+member+"'\n\toption router_traffic '0'\n", 1)
}

// TestLineWithoutNAT: the router's own connections, which begin with the address
// of uplink 1, keep off the routed uplink 2 and are dealt to the others exactly.
// LAN hosts and bound sockets use it.
func TestLineWithoutNAT(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := withoutRouterOn("wan2", members(netlab.Separate, 3))
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, config)
		r.makeRouted(2)
		r.must("apply")
		for _, network := range []string{"tcp", "udp"} {
			expectShares(t, fromRouter(r, netlab.Traffic{Network: network, Parallel: 10, Timeout: 3 * time.Second}, 40), 0, 20, 0, 20)
		}
		expectShares(t, r.lab.Connect(netlab.Traffic{Count: 30}), 10, 10, 0, 10)
		for _, bound := range []netlab.Traffic{{Device: "wan2"}, {Mark: memberMark(2)}, {Sources: []netip.Addr{r.lab.Uplink(2).Address.Addr()}}} {
			expectOver(t, fromRouter(r, bound, 5), 2)
		}
		expectDealt := func(what string, want ...int) {
			t.Helper()
			for i, m := range r.status().Policies[0].Members {
				share, part := m.IPv4, float64(want[i])/float64(want[0]+want[1]+want[2])
				if *share != (status.PolicyShare{Share: share.Share, Dealt: uint64(want[i]), DealtShare: part, ExpectedShare: share.ExpectedShare}) ||
					math.Abs(share.ExpectedShare-part) > 0.01 {
					t.Errorf("%s: %s: %+v, want %d dealt, and as many expected", what, m.Name, *share, want[i])
				}
			}
		}
		expectDealt("dealt", 50, 10, 50)
		if got := r.explain("--dst", "203.0.113.9", "--proto", "udp", "--dport", "80"); !got.Packet.Own || got.members() != "wan1 wan3" {
			t.Errorf("explain, the router's own: %+v", got)
		}
		if got := r.explain("--src", r.lab.LANHosts()[0].String(), "--dst", "203.0.113.9", "--proto", "udp", "--dport", "80").members(); got != "wan1 wan2 wan3" {
			t.Errorf("explain, a LAN host: %s", got)
		}

		// A sticky rule, other weights, and a rule for the routed uplink alone.
		r.configure(strings.Replace(config, "'wan3'\n", "'wan3'\n\toption weight '3'\n", 1) + `
config rule 'kept'
	option dest_ip '203.0.113.50'
	option sticky '1'
config policy 'only'
	list use_member 'wan2'
config rule 'refused'
	option dest_ip '203.0.113.51'
	option use_policy 'only'
`)
		r.must("apply")
		expectShares(t, fromRouter(r, netlab.Traffic{}, 40), 0, 10, 0, 30)
		if own := r.lab.Connect(netlab.Traffic{From: r.lab.Router, Server: server(netlab.Server(50), netlab.HTTPPort), Count: 8}); own.Failed > 0 ||
			own.ByUplink[1] != 8 && own.ByUplink[3] != 8 {
			t.Errorf("by a sticky rule: %v", own)
		}
		refused := netlab.Traffic{Server: server(netlab.Server(51), netlab.HTTPPort)}
		expectOver(t, r.lab.Connect(refused), 0)
		refused.From, refused.Timeout = r.lab.Router, time.Second
		if own := r.lab.Connect(refused); own.OK() > 0 {
			t.Errorf("by a policy of the routed uplink alone: %v", own)
		}
		r.configure(config)
		r.must("apply")
		dealt := func() (n uint64) {
			for _, m := range r.status().Policies[0].Members {
				n += m.IPv4.Dealt
			}
			return n
		}
		if got := dealt(); got != 110+40+8 {
			t.Errorf("%d dealt after two changes", got)
		}
		r.configure(members(netlab.Separate, 3))
		r.must("apply")
		if got := dealt(); got != 110+40+8 {
			t.Errorf("%d dealt without the option", got)
		}
		r.configure(config)
		r.must("apply")

		// With the others gone, main's route is the routed uplink's, and so is the
		// address.
		check(t, r.lab.IfDown(1), r.lab.IfDown(3))
		r.must("apply")
		r.expectTurnsUsed(family.IPv4, 0, func() { expectOver(t, fromRouter(r, netlab.Traffic{}, 5), 2) })
		expectOver(t, r.lab.Connect(netlab.Traffic{Count: 5}), 0)
		r.expectNoSpoofed()
	})
}

// TestLineWithoutNATIsMains: the routed line is main's best one, so unbound
// sockets have its address, which the others translate.
func TestLineWithoutNATIsMains(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, withoutRouterOn("wan1", members(netlab.Separate, 3)))
		r.makeRouted(1)
		r.must("apply")
		expectShares(t, fromRouter(r, netlab.Traffic{}, 40), 0, 0, 20, 20)
		expectShares(t, r.lab.Connect(netlab.Traffic{Count: 30}), 10, 0, 10, 10)
		expectOver(t, fromRouter(r, netlab.Traffic{Device: "wan1"}, 5), 1)
		r.expectNoSpoofed()
	})
}
