package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
	"loadbalance/internal/status"
)

// policies are what status tells of the policies, by name.
func (r *router) policies() map[string][]status.PolicyMember {
	r.t.Helper()
	var s status.Status
	if err := json.Unmarshal([]byte(r.must("status", "--json")), &s); err != nil {
		r.t.Fatal(err)
	}
	policies := map[string][]status.PolicyMember{}
	for _, p := range s.Policies {
		policies[p.Name] = p.Members
	}
	return policies
}

// TestDealtSharesAreKept compares what status says was dealt with what the
// servers have seen, while applies write some chains anew.
func TestDealtSharesAreKept(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		const rules = `
config policy 'chance'
	option balance 'random'

config rule 'by_chance'
	option dest_ip '203.0.113.60'
	option use_policy 'chance'

config rule 'sticky'
	option dest_ip '203.0.113.50'
	option sticky '1'
`
		config := members(netlab.Separate, 2) + rules
		weighted := strings.Replace(config, "config member 'wan1'", "config member 'wan1'\n\toption weight '3'", 1)
		withoutSticky := strings.Replace(config, "option sticky '1'", "option enabled '0'", 1)
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, "")
		seen := map[string]*[3]int{"balanced": {}, "chance": {}}
		for _, text := range []string{config, weighted, withoutSticky, config} {
			r.configure(text)
			r.must("apply")
			for server, policy := range map[int]string{1: "balanced", 50: "balanced", 60: "chance"} {
				tally := r.lab.Connect(netlab.Traffic{Count: 40, Server: netip.AddrPortFrom(netlab.Server(server), 80)})
				if tally.Failed > 0 {
					t.Fatalf("%d of 40 connections failed: %v", tally.Failed, tally.Err)
				}
				for uplink, n := range tally.ByUplink {
					seen[policy][uplink] += n
				}
			}
			for policy, members := range r.policies() {
				compareDealt(t, policy, members, seen[policy])
			}
		}
		// 80 connections came while wan1 had three quarters, of 320.
		if got := r.policies()["balanced"][0].IPv4.ExpectedShare; math.Abs(got-0.5625) > 0.001 {
			t.Errorf("expected share of wan1: %g, want 0.5625", got)
		}
		row := fmt.Sprintf("balanced  wan1    ipv4    50.0%%  %d (", seen["balanced"][1])
		if text := r.must("status"); !strings.Contains(text, row) {
			t.Errorf("status without %q:\n%s", row, text)
		}
	})
}

func compareDealt(t *testing.T, policy string, members []status.PolicyMember, seen *[3]int) {
	t.Helper()
	for i, m := range members {
		want := seen[i+1]
		share := float64(want) / float64(seen[1]+seen[2])
		if m.IPv4.Dealt != uint64(want) || math.Abs(m.IPv4.DealtShare-share) > 0.001 {
			t.Errorf("%s: %s was dealt %d (%g) of %v", policy, m.Name, m.IPv4.Dealt, m.IPv4.DealtShare, *seen)
		}
	}
}
