package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// foreignMarks are marks that other programs give to their sockets.
var foreignMarks = map[string]uint32{
	"NetBird": 0x1bd00, "Clash": 6666, "wg-quick": 51820, "sing-box": 0x2024, "a number": 1001,
	"Xray": 255, "OpenClash": 0x162, "all bits but ours": ^uint32(markMask),
}

// TestSocketMarks: a socket with another program's mark is dealt like one
// without, its bits stay, and its connections leave a line that has failed.
func TestSocketMarks(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 5}, members(netlab.Separate, 5))
		for _, mark := range foreignMarks {
			r.countMark(mark)
		}
		r.must("apply")
		for name, mark := range foreignMarks {
			expectEqual(t, fromRouter(r, netlab.Traffic{Mark: mark}, 100))
			expectEqual(t, fromRouter(r, netlab.Traffic{Mark: mark, Network: "udp"}, 100))
			if n := r.counted(mark); n != 200 {
				t.Errorf("%s: behind our chains %d of 200 connections have the mark %#x", name, n, mark)
			}
		}
		var flows netlab.Flows
		for _, mark := range foreignMarks {
			more, tally := r.lab.Open(netlab.Traffic{From: r.lab.Router, Mark: mark, Network: "udp", Count: 5, Server: server(netlab.Server(1), netlab.DNSPort)})
			defer more.Close()
			expectEqual(t, tally)
			flows = append(flows, more...)
		}
		check(t, r.lab.IfDown(2))
		r.must("apply")
		for _, f := range flows {
			if seen, err := f.Exchange(5 * time.Second); err != nil || (f.Uplink != 2) != (seen == f.Seen) {
				t.Errorf("a flow of uplink %d: after the failure of uplink 2 the server sees %v, before %v (%v)", f.Uplink, seen, f.Seen, err)
			}
		}
		for name, mark := range foreignMarks {
			if tally := fromRouter(r, netlab.Traffic{Mark: mark}, 40); fmt.Sprint(tally.Shares()) != "[10 0 10 10 10]" {
				t.Errorf("%s: without uplink 2: %v", name, tally)
			}
		}
	})
}

// countMark counts the first packets of the router's connections that have a
// mark besides ours once they have passed our chains.
func (r *router) countMark(mark uint32) {
	r.t.Helper()
	r.sh(fmt.Sprintf("iptables-%s -A OUTPUT -m conntrack --ctstate NEW -m mark --mark %#x/%#x -m comment --comment mark-%x -j ACCEPT",
		r.backend, mark, ^uint32(markMask), mark))
}

func (r *router) counted(mark uint32) int {
	r.t.Helper()
	for _, line := range strings.Split(r.saved(family.IPv4, "filter"), "\n") {
		if strings.Contains(line, fmt.Sprintf("mark-%x ", mark)) {
			packets, _, _ := strings.Cut(strings.TrimPrefix(line, "["), ":")
			n, err := strconv.Atoi(packets)
			check(r.t, err)
			return n
		}
	}
	r.t.Fatalf("no rule counts the mark %#x", mark)
	return 0
}

// TestForeignBitsInOurMask: a socket whose mark has bits of ours, but is not a
// member's, is left alone: it takes no turn, and nothing is saved.
func TestForeignBitsInOurMask(t *testing.T) {
	const other = 0x80000
	marks := map[string]uint32{"of no member": memberMark(8), "of no member, and others": memberMark(9) | 0x1bd00,
		"main's": defaultMark, "a member's and others": memberMark(2) | other}
	for name, before := range map[string]string{"router_traffic": "", "no router_traffic": withoutRouterTraffic} {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 3}, before+members(netlab.Separate, 3))
				r.must("apply")
				r.expectTurnsUsed(family.IPv4, 0, func() {
					for name, mark := range marks {
						uplink := 1 // that of main's default route
						if mark&markMask == memberMark(2) {
							uplink = 2 // an ip rule looks at our bits alone
						}
						for range 2 {
							expectOver(t, fromRouter(r, netlab.Traffic{Mark: mark, Network: "udp"}, 10), uplink)
						}
						if t.Failed() {
							t.Fatalf("mark %s: %#x", name, mark)
						}
					}
					// Nobody answers: what is saved is what the socket's mark did.
					check(t, r.lab.SendUDP(netlab.Traffic{From: r.lab.Router, Mark: memberMark(2) | other,
						Server: server(netlab.Server(1), 9)}, 2, time.Millisecond))
				})
				for _, e := range r.entries(family.IPv4, func(e conntrack.Entry) bool { return e.Original.DestinationPort == 9 }) {
					if e.Mark != 0 {
						t.Errorf("a connection has the mark %#x of its socket", e.Mark)
					}
				}
				// A member's whole mark is taken (probes have it).
				for i := 1; i <= 3; i++ {
					expectOver(t, fromRouter(r, netlab.Traffic{Mark: memberMark(i)}, 5), i)
				}
			})
		})
	}
}

// TestWholeMarksKeepTheirMeaning: a tunnel for all traffic keeps its own packets
// out of itself by an ip rule that compares the whole mark (NetBird with an exit
// node). With a bit of ours they would go round in circles.
func TestWholeMarksKeepTheirMeaning(t *testing.T) {
	const netbird = 0x1bd00
	for name, before := range map[string]string{"router_traffic": "", "no router_traffic": withoutRouterTraffic} {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 3}, before+members(netlab.Separate, 3))
				r.sh(`set -e
ip link add wt0 type veth peer name wt1
ip link set wt1 up
ip link set wt0 up
ip route add default dev wt0 table 7120
ip rule add priority 110 not fwmark 0x1bd00 lookup 7120`)
				r.must("apply")
				flows, tally := r.lab.Open(netlab.Traffic{From: r.lab.Router, Mark: netbird, Count: 10, Timeout: 2 * time.Second, Server: server(netlab.Server(1), netlab.DNSPort)})
				defer flows.Close()
				expectOver(t, tally, 1)
				expectCheck(t, flows)
				// Without that rule it is a mark like any other.
				r.sh("ip rule del priority 110")
				r.must("apply")
				expectCheck(t, flows)
				if before == "" {
					expectEqual(t, fromRouter(r, netlab.Traffic{Mark: netbird}, 30))
				}
			})
		})
	}
}
