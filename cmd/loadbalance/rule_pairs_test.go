package main

import (
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// pairsConfig keeps pairs of source and destination together.
var pairsConfig = members(netlab.Separate, 5) + `
config rule 'keep'
	option sticky '1'
	option sticky_key 'source_dest'
`

// TestStickyPairs: of 50 hosts with 20 sites each, in both families, every pair
// keeps its uplink over 10 connections and a re-apply, and the sites of each host
// spread over all uplinks, which get the same number of pairs.
func TestStickyPairs(t *testing.T) {
	const hosts, sites, uplinks, connections = 50, 20, 5, 10
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: uplinks, IPv6: true, NAT66: true, LANHosts: hosts}, pairsConfig)
		r.must("apply")
		shots := newPacketRange(t, r.lab)
		first := map[family.Family][hosts][]int{}
		for round := range connections {
			if round == connections/2 {
				r.configure(pairsConfig + "config rule\n\toption dest_ip '192.0.2.1'\n")
				r.must("apply")
			}
			shots.forget()
			for _, f := range family.All {
				all := first[f]
				for host := range hosts {
					took := shots.sites(f, host+1, sites, uint16(4000+round))
					if round == 0 {
						all[host] = took
					}
					if !slices.Equal(took, all[host]) || slices.Contains(took, 0) {
						t.Fatalf("%s, host %d: connections %d to each site took the uplinks %v, the first ones %v", f, host+1, round+1, took, all[host])
					}
				}
				first[f] = all
			}
		}
		for _, f := range family.All {
			var all []int
			for host, took := range first[f] {
				for uplink, n := range countByUplink(took) {
					if n < sites/uplinks-1 || n > sites/uplinks+1 {
						t.Errorf("%s: of the %d sites of host %d, uplink %d has %d", f, sites, host+1, uplink, n)
					}
				}
				all = append(all, took...)
			}
			shares := countByUplink(all)
			for uplink := 1; uplink <= uplinks; uplink++ {
				const share = hosts * sites / uplinks
				if n := shares[uplink]; n < share*9/10 || n > share*11/10 {
					t.Errorf("%s: uplink %d has %d of %d pairs", f, uplink, n, hosts*sites)
				}
			}
		}
	})
}

// TestStickyPairsLeaveDeadUplink: pairs are forgotten after their time, and those of
// a dead uplink move with their next connection.
func TestStickyPairsLeaveDeadUplink(t *testing.T) {
	const sites = 20
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 5, IPv6: true, NAT66: true, LANHosts: 1}, pairsConfig)
		r.must("apply")
		shots := newPacketRange(t, r.lab)
		round := func(f family.Family, port uint16) []int { return shots.sites(f, 1, sites, port) }
		r.configure(pairsConfig + "\toption timeout '1'\n")
		r.must("apply")
		for _, f := range family.All {
			round(f, 3999)
		}
		r.awaitNoSources()
		r.configure(pairsConfig)
		r.must("apply")
		before := map[family.Family][]int{}
		for _, f := range family.All {
			before[f] = round(f, 4000)
		}
		check(t, r.lab.IfDown(2))
		r.must("apply")
		for _, f := range family.All {
			moved := round(f, 4001)
			expectMoved(t, "uplink 2 down, "+f.String(), before[f], moved, 2, 0)
			expectMoved(t, "still down, "+f.String(), moved, round(f, 4002), 0, 0)
		}
	})
}

// sites sends a packet of a new connection to each of so many sites, and returns the
// uplinks that they took; 0 for one that did not arrive.
func (r *packetRange) sites(f family.Family, host, sites int, port uint16) []int {
	r.t.Helper()
	positions := map[string]int{}
	for site := range sites {
		p := udp(host, site+1, 443).from(port)
		source, destination := p.addresses(r.lab, f)
		positions[r.put(source, destination, p)] = site
	}
	took, missing := make([]int, sites), sites
	buffer := make([]byte, 2048)
	for deadline := time.Now().Add(arrivalLimit); missing > 0 && time.Now().Before(deadline); {
		n, from, err := unix.Recvfrom(r.in, buffer, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		check(r.t, err)
		link := from.(*unix.SockaddrLinklayer)
		at := max(n-tagLength, 0)
		if site, ours := positions[string(buffer[at:n])]; ours && link.Pkttype == unix.PACKET_HOST && took[site] == 0 {
			took[site] = r.lines[link.Ifindex]
			missing--
		}
	}
	return took
}
