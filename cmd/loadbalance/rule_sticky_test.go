package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// stickyConfig keeps sources of both families on their uplinks.
func stickyConfig(timeout int) string {
	return members(netlab.Separate, 5) + fmt.Sprintf(`
config rule 'keep'
	option proto 'tcp'
	option dest_port '80'
	option sticky '1'
	option timeout '%d'
`, timeout)
}

const stickyHosts = 50

// TestStickySources: 50 hosts of each family keep their uplinks over 20
// connections, over a re-apply, and until their time limit has passed; they
// leave a dead uplink with the next connection.
func TestStickySources(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 5, IPv6: true, NAT66: true, LANHosts: stickyHosts + 1}, stickyConfig(600))
		r.must("apply")
		first := map[family.Family][]int{}
		for _, f := range family.All {
			first[f] = r.stickyRound(f, 20)
			expectEvenHosts(t, f, first[f])
		}

		r.configure(stickyConfig(600) + "config rule\n\toption dest_ip '192.0.2.1'\n")
		r.must("apply")
		for _, f := range family.All {
			expectMoved(t, "after a re-apply, "+f.String(), first[f], r.stickyRound(f, 1), 0, 0)
		}

		// A shorter limit holds from the next connection on.
		r.configure(stickyConfig(2))
		r.must("apply")
		for _, f := range family.All {
			r.stickyRound(f, 1)
		}
		r.awaitNoSources()
		r.configure(stickyConfig(600)) // a pause of the machine must not end it again
		r.must("apply")
		for _, f := range family.All {
			// Fifty hosts are dealt the 25 turns of five members twice. Without
			// another one in between, they would be dealt the same again.
			expectAll(t, r.lab.Connect(netlab.Traffic{Sources: r.sourcesOf(f)[stickyHosts:], Server: netip.AddrPortFrom(serverOf(f), 80)}))
			again := r.stickyRound(f, 2)
			if slices.Equal(first[f], again) {
				t.Errorf("%s: after the time limit every host has its uplink of before", f)
			}
			expectEvenHosts(t, f, again)
		}
		r.expectNoSpoofed()
	})
}

func TestStickySourcesLeaveDeadUplink(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 5, IPv6: true, NAT66: true, LANHosts: stickyHosts}, stickyConfig(600))
		r.must("apply")
		before := map[family.Family][]int{}
		for _, f := range family.All {
			before[f] = r.stickyRound(f, 1)
		}
		check(t, r.lab.IfDown(2))
		r.must("apply")
		for _, f := range family.All {
			moved := r.stickyRound(f, 5)
			expectMoved(t, "uplink 2 down, "+f.String(), before[f], moved, 2, 0)
			expectMoved(t, "still down, "+f.String(), moved, r.stickyRound(f, 1), 0, 0)
		}
	})
}

// TestStickyLimitIsRenewed: it counts from the last new connection.
func TestStickyLimitIsRenewed(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 5, IPv6: true, NAT66: true, LANHosts: 1}, stickyConfig(600))
		r.must("apply")
		for _, f := range family.All {
			const passed = 595 // of 600 s
			connect := func() {
				t.Helper()
				if tally := r.lab.Connect(netlab.Traffic{Server: netip.AddrPortFrom(serverOf(f), 80)}); tally.OK() != 1 {
					t.Fatal(tally)
				}
			}
			connect()
			source := tcp(1, 1, 80)
			address, _ := source.addresses(r.lab, f)
			r.await(func() bool { return r.secondsLeft(address) <= passed })
			connect()
			if left := r.secondsLeft(address); left <= passed {
				t.Errorf("%s: %d s are left after another connection", f, left)
			}
		}
	})
}

func serverOf(f family.Family) netip.Addr {
	if f == family.IPv6 {
		return netlab.Server6(1)
	}
	return netlab.Server(1)
}

// sourcesOf are the addresses of the LAN's hosts.
func (r *router) sourcesOf(f family.Family) []netip.Addr {
	if f == family.IPv6 {
		return r.lab.LANHosts6(0)
	}
	return r.lab.LANHosts()
}

// stickyRound lets each host connect so many times in turn and returns its
// uplink, which must be the same each time.
func (r *router) stickyRound(f family.Family, connections int) []int {
	r.t.Helper()
	tally := r.lab.Connect(netlab.Traffic{Count: connections * stickyHosts, Parallel: 10, Sources: r.sourcesOf(f)[:stickyHosts],
		Server: netip.AddrPortFrom(serverOf(f), 80)})
	if tally.Failed > 0 || tally.ByUplink[0] > 0 {
		r.t.Fatalf("%s: %v", f, tally)
	}
	uplinks := tally.Sequence[:stickyHosts]
	for i, u := range tally.Sequence {
		if host := i % stickyHosts; u != uplinks[host] {
			r.t.Errorf("%s, host %d: connection %d took uplink %d, the first one %d", f, host, i/stickyHosts, u, uplinks[host])
		}
	}
	return uplinks
}

// expectEvenHosts checks that the hosts were dealt out by the cascade.
func expectEvenHosts(t *testing.T, f family.Family, uplinks []int) {
	t.Helper()
	for uplink, n := range countByUplink(uplinks) {
		if n < stickyHosts/5-1 || n > stickyHosts/5+1 {
			t.Errorf("%s: uplink %d has %d of %d hosts", f, uplink, n, stickyHosts)
		}
	}
}

// awaitNoSources waits until no sticky set holds a source.
func (r *router) awaitNoSources() {
	r.t.Helper()
	r.await(func() bool { return !strings.Contains(r.sh("ipset save"), "add lb_rule.keep.") })
}

// secondsLeft is the time limit of a source in a sticky set.
func (r *router) secondsLeft(source netip.Addr) int {
	r.t.Helper()
	saved := r.sh("ipset save")
	_, rest, found := strings.Cut(saved, " "+source.String()+" timeout ")
	if !found {
		r.t.Fatalf("source %v is in no set:\n%s", source, saved)
	}
	fields := strings.Fields(rest)
	seconds, err := strconv.Atoi(fields[0])
	check(r.t, err)
	return seconds
}

// await polls a condition that comes within seconds.
func (r *router) await(condition func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("waited 30 s in vain")
		}
	}
}
