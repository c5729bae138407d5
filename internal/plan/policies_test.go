package plan

import (
	"fmt"
	"testing"

	"loadbalance/internal/config"
)

// TestPolicies: shares by weight among the live members of the lowest tier.
func TestPolicies(t *testing.T) {
	cfg := balanced("wan1", "wan2")
	cfg.Policies = append(cfg.Policies, config.Policy{Name: "spread", Members: []config.PolicyMember{
		{Name: "wan2", Weight: 3, Metric: 1}, {Name: "wan1", Weight: 1, Metric: 1}}})
	want := func(p *Plan, wanted string) {
		t.Helper()
		if got := fmt.Sprint(p.Policies); got != wanted {
			t.Errorf("got %s, want %s", got, wanted)
		}
	}
	p := build(t, cfg, world("wan1", "wan2"))
	want(p, "[{balanced [{wan1 0.5 0.5} {wan2 0.5 0.5}] []} {spread [{wan2 0.75 0.75} {wan1 0.25 0.25}] []}]")
	p = Build(Input{Config: cfg, Uplinks: world("wan1", "wan2"), Kernel: Kernel{NoIP6Tables: true}})
	if len(p.IPv6.Chains) > 0 {
		t.Fatal(p.IPv6.Chains)
	}
	want(p, "[{balanced [{wan1 0.5 0} {wan2 0.5 0}] []} {spread [{wan2 0.75 0} {wan1 0.25 0}] []}]")
	p = build(t, cfg, world("wan1", "wan2"), "wan2")
	want(p, "[{balanced [{wan1 1 1} {wan2 0 0}] []} {spread [{wan2 0 0} {wan1 1 1}] []}]")
	cfg.Globals.RouterTraffic = true
	for i := range cfg.Members {
		cfg.Members[i].RouterTraffic = cfg.Members[i].Name != "wan2"
	}
	p = build(t, cfg, world("wan1", "wan2"))
	want(p, "[{balanced [{wan1 0.5 0.5} {wan2 0.5 0.5}] [{wan1 1 1}]} {spread [{wan2 0.75 0.75} {wan1 0.25 0.25}] [{wan1 1 1}]}]")
}
