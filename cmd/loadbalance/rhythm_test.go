package main

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"loadbalance/internal/netlab"
)

// kind is a sort of connection as a household opens them: a query before a
// page, small and large objects, QUIC.
type kind struct {
	network string
	port    uint16
}

var kinds = []kind{
	{"udp", netlab.DNSPort},
	{"tcp", netlab.HTTPPort},
	{"tcp", netlab.HTTPSPort},
	{"udp", netlab.HTTPSPort},
	{"tcp", netlab.EchoPort},
	{"udp", netlab.EchoPort},
	{"tcp", netlab.DNSPort},
	{"udp", netlab.HTTPPort},
}

// perKind is how many connections of each kind a rhythm has.
const perKind = 400

// TestRhythms lets kinds of connections arrive in a fixed rhythm, of which a
// strict rotation would give each kind an uplink of its own. Both back ends
// load the same order of turns, so that the legacy one needs only a sample.
func TestRhythms(t *testing.T) {
	periods := map[string][]int{"nft": {2, 3, 4, 5, 6, 7, 8}, "legacy": {2, 5}}
	eachBackend(t, func(t *testing.T, backend string) {
		for _, uplinks := range []int{2, 3, 4, 5, 8} { // those of 8 are dealt in parts
			t.Run(fmt.Sprintf("%d uplinks", uplinks), func(t *testing.T) {
				options := netlab.Options{Topology: netlab.Campus, Uplinks: uplinks, LANHosts: 250}
				r := newRouter(t, backend, options, members(netlab.Campus, uplinks))
				r.must("apply")
				for k, period := range periods[backend] {
					expectRhythm(t, r, kinds[:period], k*perKind)
				}
			})
		}
	})
}

// expectRhythm opens connections of some kinds in turn and checks that each
// kind is dealt to every uplink within 10 % of its share. before is how many
// connections of each kind the laboratory has seen: a host never talks to the
// same server of a kind twice, since a UDP socket that happened to get the port
// of an earlier one would continue that one's connection.
func expectRhythm(t *testing.T, r *router, rhythm []kind, before int) {
	t.Helper()
	uplinks, hosts := r.lab.Uplinks(), r.lab.LANHosts()
	dealt := make([][]int, len(rhythm))
	for k := range dealt {
		dealt[k] = make([]int, uplinks+1)
	}
	for j := range perKind * len(rhythm) {
		k, n := j%len(rhythm), before+j/len(rhythm)
		flow, err := r.lab.Dial(netlab.Traffic{
			Network: rhythm[k].network,
			Server:  server(netlab.Server(1+n/len(hosts)), rhythm[k].port),
			Sources: []netip.Addr{hosts[n%len(hosts)]},
		})
		if err != nil {
			t.Fatalf("rhythm of %d, connection %d: %v", len(rhythm), j, err)
		}
		flow.Close()
		dealt[k][flow.Uplink]++
	}
	share := perKind / float64(uplinks)
	for k, counts := range dealt {
		for i := 1; i <= uplinks; i++ {
			if math.Abs(float64(counts[i])-share) > share/10 {
				t.Errorf("rhythm of %d, kind %d, uplink %d: %d connections, want %.1f ± 10 %% (all: %v)",
					len(rhythm), k, i, counts[i], share, counts[1:])
			}
		}
	}
}
