package main

import (
	"testing"

	"loadbalance/internal/netlab"
)

// TestSharesAreExact deals 1000 connections of ten hosts to five leases behind
// one gateway.
func TestSharesAreExact(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 5}, members(netlab.Campus, 5))
		r.must("apply")
		tally := r.lab.Connect(netlab.Traffic{Count: 1000, Parallel: 10})
		expectShares(t, tally, 0, 200, 200, 200, 200, 200)
	})
}

// expectShares checks a tally against the exact shares, ±1. The first one is
// of connections over no uplink.
func expectShares(t *testing.T, tally netlab.Tally, want ...int) {
	t.Helper()
	if tally.Failed > 0 {
		t.Errorf("%d connections failed: %v", tally.Failed, tally.Err)
	}
	for i, n := range want {
		if got := tally.ByUplink[i]; got < n-1 || got > n+1 {
			t.Errorf("uplink %d: %d connections, want %d (all: %v)", i, got, n, tally.ByUplink)
		}
	}
}
