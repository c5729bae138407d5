package plan

import (
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// TestSpent: who is dealt connections while some members have used up their
// quotas, and come last or are offline for it.
func TestSpent(t *testing.T) {
	const why = "its quota of 50 GB is used up"
	tests := []struct {
		name                       string
		policies                   []config.Policy
		last, off, offline, held   string
		active, live, told, reason string
	}{
		{"of one tier", policies("balanced: a1 b1 c1"), "a", "", "", "", "bc", "a b c", "a", "a"},
		{"behind the next tier", policies("balanced: a1 b2 c2"), "a", "", "", "", "bc", "a b c", "a", "a"},
		{"behind all tiers", policies("balanced: a1 b2 c3"), "a b", "", "", "", "c", "a b c", "a b", "a b"},
		{"nobody else works", policies("balanced: a1 b2 c3"), "a b", "", "c", "", "a", "a b", "a b", "a b"},
		{"all of them", policies("balanced: a1 b1 c2"), "a b c", "", "", "", "ab", "a b c", "a b c", "a b c"},
		{"the only member of a policy", policies("balanced: a1 b2", "only: a1"), "a", "", "", "", "b;a", "a b c", "a", "a"},
		{"behind one that waits for failback", policies("balanced: a1 b2"), "b", "", "", "a", "a", "a b c", "b", "b"},
		{"offline as well", policies("balanced: a1 b2"), "a", "", "a", "", "b", "b c", "a", ""},
		{"off", policies("balanced: a1 b1 c1"), "", "a", "", "", "bc", "b c", "a", "a"},
		{"off, and nobody else works", policies("balanced: a1 b2"), "", "a", "b c", "", "", "", "a", "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := balanced("a", "b", "c")
			cfg.Policies = tt.policies
			for i := range cfg.Members {
				cfg.Members[i].Track.Failback = failbackNever
			}
			in := Input{Config: cfg, Uplinks: world("a", "b", "c"), Verdicts: Verdicts{},
				State: &State{Held: map[family.Family]map[string]bool{}}}
			for _, f := range family.All {
				in.State.Held[f], in.Verdicts[f] = words(tt.held), map[string]Verdict{}
				for name := range words(tt.last) {
					in.Verdicts[f][name] = Verdict{Spent: why}
				}
				for name := range words(tt.off) {
					in.Verdicts[f][name] = Verdict{Spent: why, Offline: why}
				}
				for name := range words(tt.offline) {
					in.Verdicts[f][name] = Verdict{Spent: in.Verdicts[f][name].Spent, Offline: "no answer"}
				}
			}
			p := Build(in)
			for _, f := range family.All {
				if got := activeText(p, f); got != tt.active {
					t.Errorf("%s: dealt to %q, want %q", f, got, tt.active)
				}
				for _, m := range p.Members {
					s := m.State(f)
					if s.Online != words(tt.live)[m.Name] || (m.Spent == why) != words(tt.told)[m.Name] || (s.Reason == why) != words(tt.reason)[m.Name] {
						t.Errorf("%s: %s: online %v, reason %q, spent %q", f, m.Name, s.Online, s.Reason, m.Spent)
					}
				}
			}
			told := 0
			for _, notice := range p.Notices {
				if member := p.LeftOut[notice]; strings.Contains(notice, why) && words(tt.told)[member] {
					told++
				}
			}
			if told != len(words(tt.told)) {
				t.Errorf("notices: %q", p.Notices)
			}
		})
	}
}

// A member that comes last can carry its connections still.
func TestConnectionsOfASpentMember(t *testing.T) {
	cfg := balanced("a", "b")
	before := Build(Input{Config: cfg, Uplinks: world("a", "b")})
	p := Build(Input{Config: cfg, Uplinks: world("a", "b"), State: &before.State,
		Verdicts: Verdicts{family.IPv4: {"a": {Spent: "its quota is used up"}}}})
	if got := p.Connections[family.IPv4].Fate(p.Members[0].Mark, address("203.0.113.9")); got != Keep || activeText(p, family.IPv4) != "b" {
		t.Errorf("fate %d, dealt to %q", got, activeText(p, family.IPv4))
	}
}
