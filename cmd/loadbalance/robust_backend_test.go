package main

import (
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

func otherBackend(backend string) string {
	if backend == "nft" {
		return "legacy"
	}
	return "nft"
}

// TestBackendSwitch applies with one back end after the other.
func TestBackendSwitch(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Separate, 3)
		r := newRouter(t, backend, netlab.Options{Uplinks: 3, IPv6: true}, config)
		before := r.dump()
		r.must("apply")
		r.expectChainsOnlyIn(backend)
		flows, tally := r.lab.Open(netlab.Traffic{Count: 12})
		defer flows.Close()
		expectEqual(t, tally)
		for _, r.backend = range []string{otherBackend(backend), backend, otherBackend(backend)} {
			r.must("apply")
			r.expectChainsOnlyIn(r.backend)
			if out := r.must("plan"); out != "" {
				t.Errorf("plan still finds work after the switch to %s:\n%s", r.backend, out)
			}
			expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 12}))
		}
		expectCheck(t, flows)
		r.must("stop")
		r.expectSame("after stop", before, r.dump())
	})
}

// TestStopCleansBothBackends stops with the back end that was not used, and
// where both hold chains of ours, as after a system upgrade without our run
// directory.
func TestStopCleansBothBackends(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true}, members(netlab.Separate, 2))
		before := r.dump()
		r.must("apply")
		r.backend = otherBackend(backend)
		r.must("stop")
		r.expectSame("stopped by the other back end", before, r.dump())

		r.backend = backend
		r.must("apply")
		// A copy of our chains in the other back end.
		for _, program := range []string{"iptables", "ip6tables"} {
			r.sh(program + "-" + backend + "-save -t mangle | " + program + "-" + otherBackend(backend) + "-restore")
		}
		r.forget()
		r.must("stop")
		r.expectSame("stopped with chains in both", before, r.dump())
	})
}

// TestSwitchLeavesForeignTable lets another program use the nftables table
// that we created, after we have moved to the legacy back end.
func TestSwitchLeavesForeignTable(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
	r.must("apply")
	r.backend = "legacy"
	r.must("apply")
	r.sh("iptables-nft -t mangle -A FORWARD -j RETURN")
	r.must("stop")
	r.sh("iptables-nft -t mangle -C FORWARD -j RETURN")
}

// TestSwitchDeletesTable moves to the legacy back end and stops: the table
// that iptables-nft created for us goes.
func TestSwitchDeletesTable(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
	r.must("apply")
	r.backend = "legacy"
	r.must("apply")
	r.must("stop")
	if r.nftMangle(family.IPv4) {
		t.Error("the nftables table mangle is still there")
	}
}

// expectChainsOnlyIn fails the test unless one back end holds our chains in
// both families and the other none.
func (r *router) expectChainsOnlyIn(backend string) {
	r.t.Helper()
	for _, program := range []string{"iptables", "ip6tables"} {
		for _, b := range backends {
			has := strings.Contains(r.sh(program+"-"+b+"-save"), "lb_")
			if has != (b == backend) {
				r.t.Errorf("%s in use, but chains of ours in %s-%s: %v", backend, program, b, has)
			}
		}
	}
}

// TestDisabledStops sets option enabled to 0.
func TestDisabledStops(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Separate, 2)
		disabled := config + "config globals g\n\toption enabled 0\n"
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, disabled)
		before := r.dump()
		r.must("apply")
		r.expectSame("disabled from the beginning", before, r.dump())
		want := r.fresh(config)
		r.configure(disabled)
		r.must("apply")
		r.expectSame("disabled while running", before, r.dump())
		r.expectNames(0)
		r.configure(config)
		r.must("apply")
		r.expectApplied("enabled again", want)
	})
}
