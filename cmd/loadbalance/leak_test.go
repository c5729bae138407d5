package main

import (
	"fmt"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// lost is the time after which an answer that must not come is given up. One
// that comes later does no harm to the test.
const lost = 300 * time.Millisecond

// TestDeadLinkDoesNotLeak takes an uplink's link away under live connections.
// None of their packets may leave another uplink with the address of the dead
// one, neither before the next apply nor after it, which lets them go on over
// the others.
func TestDeadLinkDoesNotLeak(t *testing.T) {
	for _, topology := range []netlab.Topology{netlab.Separate, netlab.Campus, netlab.P2P} {
		for nat, name := range map[netlab.NAT]string{netlab.Masquerade: "masquerade", netlab.FixedSNAT: "fixed SNAT"} {
			for _, down := range []struct {
				name string
				link func(*netlab.Lab, int) error
			}{{"cut", (*netlab.Lab).CutCable}, {"ifdown", (*netlab.Lab).IfDown}} {
				t.Run(fmt.Sprintf("%v, %s, %s", topology, name, down.name), func(t *testing.T) {
					eachBackend(t, func(t *testing.T, backend string) {
						options := netlab.Options{Topology: topology, Uplinks: 3, NAT: nat, LANHosts: 30, ARPIgnore: 1}
						r := newRouter(t, backend, options, members(topology, 3))
						r.must("apply")
						loseUplink(t, r, 2, down.link)
					})
				})
			}
		}
	}
}

func loseUplink(t *testing.T, r *router, dead int, down func(*netlab.Lab, int) error) {
	t.Helper()
	query := netlab.Traffic{Network: "udp", Server: server(netlab.Server(1), netlab.DNSPort), Count: 30}
	queries, tally := r.lab.Open(query)
	defer queries.Close()
	expectEqual(t, tally)
	connections, tally := r.lab.Open(netlab.Traffic{Count: 30, Parallel: 30})
	defer connections.Close()
	expectEqual(t, tally)
	healthy, cutOff := split(append(queries, connections...), dead)

	check(t, down(r.lab, dead))
	expectAlive(t, healthy, "before the apply")
	cutOff.Check(lost) // their errors are expected, their packets must not leak
	// A third of these is dealt to the dead uplink and lost.
	r.lab.Connect(netlab.Traffic{Network: "udp", Server: server(netlab.Server(2), netlab.DNSPort), Count: 30, Parallel: 30, Timeout: lost})

	r.must("apply")
	cutOff.Check(lost)
	expectAlive(t, healthy, "after the apply")
	for _, flow := range queries {
		seen, err := flow.Exchange(10 * time.Second)
		if uplink := r.lab.UplinkOf(seen.Addr()); err != nil || uplink == 0 || uplink == dead {
			t.Errorf("query of uplink %d: now uplink %d, %v", flow.Uplink, uplink, err)
		}
	}
	tally = r.lab.Connect(netlab.Traffic{Count: 30})
	expectShares(t, tally, 0, 15, 0, 15)
	r.expectNoSpoofed()
}

// split parts flows into those of other uplinks and those of one.
func split(flows netlab.Flows, uplink int) (others, own netlab.Flows) {
	for _, flow := range flows {
		if flow.Uplink == uplink {
			own = append(own, flow)
			continue
		}
		others = append(others, flow)
	}
	return others, own
}

// expectAlive checks that all flows still work and come over the same uplink.
func expectAlive(t *testing.T, flows netlab.Flows, when string) {
	t.Helper()
	if failed, err := flows.Check(10 * time.Second); failed > 0 {
		t.Errorf("%s: %d of %d flows over other uplinks failed: %v", when, failed, len(flows), err)
	}
}

// TestDeadLinkDoesNotLeakItsPrefix: LAN hosts go on using addresses of a dead
// uplink's prefix for a while, which no other provider accepts.
func TestDeadLinkDoesNotLeakItsPrefix(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for _, known := range []struct {
			name   string
			config func(*netlab.Lab) string
		}{
			{"prefix from the main table", func(*netlab.Lab) string { return members(netlab.Separate, 2) }},
			{"prefix configured", fullMembers},
		} {
			t.Run(known.name, func(t *testing.T) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true, NAT66: true}, "")
				r.configure(known.config(r.lab))
				r.must("apply")
				traffic := netlab.Traffic{Network: "udp", Server: server(netlab.Server6(1), netlab.DNSPort),
					Sources: r.lab.LANHosts6(2), Count: 10}
				flows, tally := r.lab.Open(traffic)
				defer flows.Close()
				expectOver(t, tally, 2)
				traffic.Timeout, traffic.Parallel = lost, 10

				check(t, r.lab.IfDown(2))
				flows.Check(lost)
				r.lab.Connect(traffic)
				r.must("apply")
				flows.Check(lost)
				r.lab.Connect(traffic)
				r.expectNoSpoofed()
				if tally := r.lab.Connect(netlab.Traffic{Server: server(netlab.Server6(1), netlab.HTTPPort), Count: 10}); tally.OK() != 10 {
					t.Errorf("hosts with addresses of their own network: %v", tally)
				}

				check(t, r.lab.IfUp(2))
				r.must("apply")
				traffic.Timeout = 0
				expectOver(t, r.lab.Connect(traffic), 2)
			})
		}
	})
}
