package main

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// newCampus applies five leases behind one gateway, with a hundred hosts in the LAN.
func newCampus(t *testing.T, backend string) *router {
	t.Helper()
	options := netlab.Options{Topology: netlab.Campus, Uplinks: 5, LANHosts: 100, ARPIgnore: 1}
	r := newRouter(t, backend, options, members(netlab.Campus, 5))
	r.must("apply")
	return r
}

// TestRetransmittedSYNStays: the connection's first SYN is lost after the
// router has sent it, and the second takes the same uplink.
func TestRetransmittedSYNStays(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newCampus(t, backend)
		watch, err := r.lab.Watch()
		check(t, err)
		defer watch.Close()
		check(t, r.lab.DropFirstSYN(true))
		r.expectTurnsUsed(family.IPv4, 100, func() {
			expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 100, Parallel: 100, Timeout: time.Minute}))
		})
		packets, err := watch.Packets()
		check(t, err)
		lines := linesBySource(packets)
		if len(lines) != 100 {
			t.Errorf("SYNs of %d sources arrived, want 100", len(lines))
		}
		for source, over := range lines {
			if len(over) < 2 {
				t.Errorf("only one SYN of %v arrived; the first one was dropped", source)
			}
			expectOneLine(t, source, over, r.lab.UplinkOf(source.Addr()))
		}
	})
}

// TestOneWayUDPStays: nothing ever answers, so that every packet finds its
// connection new.
func TestOneWayUDPStays(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		const sockets, rounds = 100, 20
		r := newCampus(t, backend)
		watch, err := r.lab.Watch()
		check(t, err)
		defer watch.Close()
		r.expectTurnsUsed(family.IPv4, sockets, func() {
			check(t, r.lab.SendUDP(netlab.Traffic{Count: sockets}, rounds, 10*time.Millisecond))
		})
		var packets []netlab.Packet
		eventually(t, "all packets arrive", func() bool {
			more, err := watch.Packets()
			check(t, err)
			packets = append(packets, more...)
			return len(packets) >= sockets*rounds
		})
		byUplink := make([]int, 6)
		for source, over := range linesBySource(packets) {
			uplink := r.lab.UplinkOf(source.Addr())
			byUplink[uplink]++
			if len(over) != rounds {
				t.Errorf("%d packets of %v arrived, want %d", len(over), source, rounds)
			}
			expectOneLine(t, source, over, uplink)
		}
		if want := fmt.Sprint([]int{0, 20, 20, 20, 20, 20}); fmt.Sprint(byUplink) != want {
			t.Errorf("sockets by uplink: %v, want %v", byUplink, want)
		}
	})
}

// linesBySource lists the lines over which the packets of each source came.
func linesBySource(packets []netlab.Packet) map[netip.AddrPort][]int {
	lines := map[netip.AddrPort][]int{}
	for _, p := range packets {
		lines[p.Source] = append(lines[p.Source], p.Line)
	}
	return lines
}

func expectOneLine(t *testing.T, source netip.AddrPort, lines []int, want int) {
	t.Helper()
	for _, line := range lines {
		if line != want {
			t.Errorf("%v, an address of uplink %d, came over the lines %v", source, want, lines)
			return
		}
	}
}
