package main

import (
	"net/netip"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// TestDelegatedSourceTakesItsUplink: only the provider that delegated a prefix
// carries its addresses, whatever a rule says; private addresses, which are
// translated, follow the rule or are dealt out.
func TestDelegatedSourceTakesItsUplink(t *testing.T) {
	config := members(netlab.Separate, 3) + `
config rule
	list dest_ip '2001:db8:ffff::a'
	option use_policy 'wan2'
`
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3, IPv6: true, NAT66: true}, config)
		r.must("apply")
		connect := func(uplink, server, count int) netlab.Tally {
			return r.lab.Connect(netlab.Traffic{Count: count, Sources: r.lab.LANHosts6(uplink), Server: netip.AddrPortFrom(netlab.Server6(server), 80)})
		}
		for _, server := range []int{10, 11} {
			expectShares(t, connect(1, server, 20), 0, 20, 0, 0)
			expectShares(t, connect(2, server, 20), 0, 0, 20, 0)
			expectShares(t, connect(3, server, 20), 0, 0, 0, 20)
		}
		expectShares(t, connect(0, 10, 20), 0, 0, 20, 0)
		expectShares(t, connect(0, 11, 300), 0, 100, 100, 100)

		// No other provider takes the prefix of one that is down.
		check(t, r.lab.IfDown(1))
		r.must("apply")
		shots := newPacketRange(t, r.lab)
		for _, server := range []int{10, 11} {
			tag := shots.sendFrom(r.lab.LANHosts6(1)[0], tcp(1, server, 80), family.IPv6)
			if !shots.refused(family.IPv6, tag, arrivalLimit) {
				t.Errorf("server %d: a source of the dead uplink got no answer", server)
			}
			shots.expectNowhere(tag)
		}
		expectShares(t, connect(0, 11, 100), 0, 0, 50, 50)
		r.expectNoSpoofed()
	})
}

// TestPolicyMixesFamilies: in each family the members that have it are used.
func TestPolicyMixesFamilies(t *testing.T) {
	config := members(netlab.Separate, 3) + `
config policy 'mixed'
	list use_member 'wan1'
	list use_member 'wan2'

config policy 'old'
	list use_member 'wan1'

config rule
	option dest_port '80'
	option proto 'tcp'
	option use_policy 'mixed'

config rule
	option dest_port '443'
	option proto 'tcp'
	option use_policy 'old'
`
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3, IPv6: true, NAT66: true}, config)
		r.sh("ip -6 addr flush dev wan1 scope global && ip -6 route flush dev wan1 proto boot")
		r.sh("ip -4 addr flush dev wan2")
		r.must("apply")
		shots := newPacketRange(t, r.lab)
		for range 3 {
			shots.expect("mixed", family.IPv4, 1, tcpTo(80))
			shots.expect("mixed", family.IPv6, 2, tcpTo(80))
			shots.expect("old", family.IPv4, 1, tcpTo(443))
		}
		// The policy's last resort in the family that no member has.
		tag := shots.send(tcp(1, 5, 443), family.IPv6)
		if !shots.refused(family.IPv6, tag, arrivalLimit) {
			t.Error("old, IPv6: no answer")
		}
		shots.expectNowhere(tag)
		tally := r.lab.Connect(netlab.Traffic{Network: "udp", Count: 100, Server: netip.AddrPortFrom(netlab.Server6(5), netlab.EchoPort)})
		expectShares(t, tally, 0, 0, 50, 50)
		r.expectNoSpoofed()
	})
}
