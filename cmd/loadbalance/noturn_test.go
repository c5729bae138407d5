package main

import (
	"fmt"
	"net/netip"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// TestNoTurnIsUsedUp: packets without a connection, loopback traffic and
// probes leave the order of turns where it stood.
func TestNoTurnIsUsedUp(t *testing.T) {
	for _, c := range []struct {
		name    string
		traffic func(*testing.T, *router)
	}{
		{"invalid packets", sendInvalid},
		{"untracked packets", sendUntracked},
		{"loopback", connectToItself},
		{"probes", probeByMark},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				r := newCampus(t, backend)
				order := newRotation(equalWeights(5)...)
				order.expect(t, r.lab.Connect(netlab.Traffic{Count: 33}))
				r.expectTurnsUsed(family.IPv4, 0, func() { c.traffic(t, r) })
				order.expect(t, r.lab.Connect(netlab.Traffic{Count: 100}))
				r.expectNoSpoofed()
			})
		})
	}
}

// sendInvalid sends 100 packets that belong to no connection.
func sendInvalid(t *testing.T, r *router) {
	const rule = "Prevent NAT leakage"
	before := r.seen("filter", rule)
	check(t, r.lab.SendInvalid(100))
	eventually(t, "the firewall has dropped 100 invalid packets", func() bool {
		return r.seen("filter", rule)-before >= 100
	})
}

// sendUntracked sends 100 packets that connection tracking leaves out, of
// which none may leave, since nothing would translate their source.
func sendUntracked(t *testing.T, r *router) {
	program := "iptables-" + r.backend
	dport := fmt.Sprint(" --dport ", netlab.DiscardPort)
	r.sh(program + " -t raw -A PREROUTING -i lan -p udp" + dport + " -j CT --notrack")
	r.sh(program + " -A FORWARD -m conntrack --ctstate UNTRACKED -m comment --comment untracked -j DROP")
	check(t, r.lab.SendUDP(netlab.Traffic{Count: 100}, 1, 0))
	eventually(t, "the firewall has dropped 100 untracked packets", func() bool {
		return r.seen("filter", "untracked") == 100
	})
}

// connectToItself lets the router talk to itself, by every sort of address
// that it has.
func connectToItself(t *testing.T, r *router) {
	for _, own := range []netip.Addr{
		netip.MustParseAddr("127.0.0.1"), netlab.RouterLAN, r.lab.Uplink(1).Address.Addr(), r.lab.Uplink(4).Address.Addr(),
	} {
		for _, network := range []string{"tcp", "udp"} {
			tally := r.lab.Connect(netlab.Traffic{Network: network, From: r.lab.Router, Server: server(own, netlab.EchoPort), Count: 25})
			expectAll(t, tally)
		}
	}
}

// probeByMark opens the router's sockets with each member's mark.
func probeByMark(t *testing.T, r *router) {
	for i := 1; i <= r.lab.Uplinks(); i++ {
		for _, network := range []string{"tcp", "udp"} {
			tally := r.lab.Connect(netlab.Traffic{Network: network, From: r.lab.Router, Mark: memberMark(i), Count: 20,
				Server: server(netlab.Server(i), netlab.DNSPort)})
			expectOver(t, tally, i)
		}
	}
}
