package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

func TestDomains(t *testing.T) {
	cfg := balanced("wan1", "wan2")
	cfg.IPSets = []config.IPSet{
		{Name: "films", Domains: []string{"example.org", "films.example"}, Pos: config.Pos{File: "loadbalance", Line: 7}},
		{Name: "live", Domains: []string{"live.example.org", "org"}},
		{Name: "both", Domains: []string{"example.org"}},
		{Name: "six", Domains: []string{"six.example"}, Family: family.IPv6},
		{Name: "plain"},
	}
	text := func(p *Plan) string {
		var lines []string
		for _, d := range p.Domains {
			lines = append(lines, d.Name+" "+strings.Join(d.Sets, ","))
		}
		return strings.Join(lines, "\n")
	}
	const four = `example.org lb_both,lb_films,lb_live
films.example lb_films
live.example.org lb_both,lb_films,lb_live
org lb_live`
	uplinks := world("wan1", "wan2")
	if got, want := text(build(t, cfg, uplinks)), four+"\nsix.example lb_six.6"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	uplinks.IPv6.Enabled = false
	if got := text(build(t, cfg, uplinks)); got != four {
		t.Errorf("without IPv6: got\n%s\nwant\n%s", got, four)
	}
	uplinks.DomainsRefused = "dnsmasq is not installed"
	p := build(t, cfg, uplinks)
	notice := "loadbalance:7: ipset 'films': option 'domain' has no effect: dnsmasq is not installed"
	if len(p.Domains) > 0 || !slices.Contains(p.Notices, notice) {
		t.Errorf("refused: %v, %q", p.Domains, p.Notices)
	}
	if slices.ContainsFunc(p.Notices, func(n string) bool { return strings.Contains(n, "'plain'") }) {
		t.Errorf("a set without domains has a notice: %q", p.Notices)
	}
	plain := balanced("wan1")
	plain.IPSets = cfg.IPSets[4:]
	if got := build(t, plain, uplinks).Notices; slices.ContainsFunc(got, func(n string) bool { return strings.Contains(n, "domain") }) {
		t.Errorf("nobody asks for a domain: %q", got)
	}
	for _, s := range p.IPv4.Sets {
		if s.Name == "lb_films" && !s.Open {
			t.Error("the set forgets what others have entered")
		}
	}
}

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
	want(p, "[{balanced [{wan1 0.5 0.5} {wan2 0.5 0.5}]} {spread [{wan2 0.75 0.75} {wan1 0.25 0.25}]}]")
	p, err := Build(Input{Config: cfg, Uplinks: world("wan1", "wan2"), Kernel: Kernel{NoIP6Tables: true}})
	if err != nil || len(p.IPv6.Chains) > 0 {
		t.Fatal(err, p.IPv6.Chains)
	}
	want(p, "[{balanced [{wan1 0.5 0} {wan2 0.5 0}]} {spread [{wan2 0.75 0} {wan1 0.25 0}]}]")
	p = build(t, cfg, world("wan1", "wan2"), "wan2")
	want(p, "[{balanced [{wan1 1 1} {wan2 0 0}]} {spread [{wan2 0 0} {wan1 1 1}]}]")
}
