package plan

import (
	"maps"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// policies makes policies of lines such as "work: a1 b2", each member with its
// tier. The first one is 'balanced'.
func policies(lines ...string) []config.Policy {
	var all []config.Policy
	for _, line := range lines {
		name, list, _ := strings.Cut(line, ": ")
		p := config.Policy{Name: name}
		for _, word := range strings.Fields(list) {
			p.Members = append(p.Members, config.PolicyMember{Name: word[:1], Weight: 1, Metric: int(word[1] - '0')})
		}
		all = append(all, p)
	}
	return all
}

func words(text string) map[string]bool {
	set := map[string]bool{}
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}

// TestHeld: who is dealt connections while some members have to wait, and who
// goes on waiting.
func TestHeld(t *testing.T) {
	tests := []struct {
		name          string
		policies      []config.Policy
		offline, held string
		active        string // members of each policy, policies parted by ;
		still         string // those that go on waiting
		shown         string // those of which status tells it
	}{
		{"back, while the backup lives", policies("balanced: a1 b2"), "", "a", "b", "a", "a"},
		{"not back yet", policies("balanced: a1 b2"), "a", "a", "b", "a", ""},
		{"the backup is gone", policies("balanced: a1 b2"), "b", "a", "a", "", ""},
		{"nobody is live", policies("balanced: a1 b2"), "a b", "a", "", "a", ""},
		{"of one tier", policies("balanced: a1 b1 c1"), "", "a", "bc", "a", "a"},
		{"a tier that is not in use", policies("balanced: a1 b2 c2"), "", "b", "a", "", ""},
		{"two wait for a third", policies("balanced: a1 b2 c3"), "", "a b", "c", "a b", "a b"},
		{"two waited for a third that is gone", policies("balanced: a1 b1 c2"), "c", "a b", "ab", "", ""},
		{"the lower of two tiers is released first", policies("balanced: a1 b2 c3"), "c", "a b", "a", "", ""},
		{"the only member of a policy", policies("balanced: a1 b2", "only: a1"), "", "a", "b;a", "a", "a"},
		{"the last of one policy waits in another", policies("balanced: a1 b2", "work: a1 c1"), "c", "a", "b;a", "a", "a"},
		{"not in any policy", policies("balanced: b1"), "", "a", "b", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := balanced("a", "b", "c")
			cfg.Policies = tt.policies
			for i := range cfg.Members {
				cfg.Members[i].Track.Failback = failbackNever
			}
			for _, f := range family.All {
				in := Input{Config: cfg, Uplinks: world("a", "b", "c"), Verdicts: Verdicts{f: {}},
					State: &State{Held: map[family.Family]map[string]bool{f: words(tt.held)}}}
				for name := range words(tt.offline) {
					in.Verdicts[f][name] = Verdict{Offline: "no answer"}
				}
				p := Build(in)
				if got := activeText(p, f); got != tt.active {
					t.Errorf("%s: dealt to %q, want %q", f, got, tt.active)
				}
				if !maps.Equal(p.State.Held[f], words(tt.still)) {
					t.Errorf("%s: %v go on waiting, want %q", f, p.State.Held[f], tt.still)
				}
				for _, m := range p.Members {
					s := m.State(f)
					if want := words(tt.shown)[m.Name]; s.Held != want || want != (s.Reason == heldReason) {
						t.Errorf("%s: %s: held %v (%q), want %v", f, m.Name, s.Held, s.Reason, want)
					}
				}
				// Nothing changes when those that were released are forgotten.
				in.State = &p.State
				again := Build(in)
				if got := activeText(again, f); got != tt.active || !maps.Equal(again.State.Held[f], p.State.Held[f]) {
					t.Errorf("%s: the next run deals to %q and holds %v", f, got, again.State.Held[f])
				}
			}
		})
	}
}

func activeText(p *Plan, f family.Family) string {
	var all []string
	for _, policy := range p.Policies {
		text := ""
		for _, m := range policy.Members {
			if m.Share(f) > 0 {
				text += m.Name
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, ";")
}

// TestHeldIsLeftOutEverywhere: in turns, by source and in sticky rules; but
// what belongs to the member's line goes on.
func TestHeldIsLeftOutEverywhere(t *testing.T) {
	for _, balance := range []config.Balance{config.NTH, config.Random, config.Source} {
		cfg := balanced("a", "b", "c")
		cfg.Policies[0].Balance = balance
		cfg.Rules = []config.Rule{{Label: "bank", Name: "bank", Enabled: true, Families: family.All[:], DSCP: -1,
			Sticky: true, Timeout: 600e9, Use: BalancedPolicy}}
		cfg.Members[1].Track.Failback = failbackNever
		p := Build(Input{Config: cfg, Uplinks: world("a", "b", "c"),
			State: &State{Held: map[family.Family]map[string]bool{family.IPv4: {"b": true}, family.IPv6: {"b": true}}}})
		for _, f := range family.All {
			for _, name := range []string{PolicyChain(BalancedPolicy), "lb_rule_bank"} {
				c := chain(t, p.Family(f), name)
				var targets []string
				for _, written := range c.Written(0) {
					for _, r := range written.Rules {
						targets = append(targets, r.Args(""))
					}
				}
				all := strings.Join(targets, "\n")
				if strings.Contains(all, "lb_member_b") || strings.Contains(all, "lb_sticky_bank_2") || !strings.Contains(all, "_") {
					t.Errorf("%s: %s with balance '%s' has:\n%s", f, name, balance, all)
				}
			}
			hook := ""
			for _, r := range chain(t, p.Family(f), hookChain).Rules {
				hook += r.Args("") + "\n"
			}
			if !strings.Contains(hook, "lb_member_b") {
				t.Errorf("%s: what belongs to the held member's line is not sent there:\n%s", f, hook)
			}
		}
	}
}

// TestReasonOfOffline: the verdict's reason in words is the member's, unless
// its link says more.
func TestReasonOfOffline(t *testing.T) {
	uplinks := world("a", "b")
	uplinks.Members[1].IPv4.Up, uplinks.Members[1].IPv4.Reason = false, "device 'b' has no link"
	p := build(t, balanced("a", "b"), uplinks, "a", "b")
	for _, m := range p.Members {
		want := map[string]string{"a": "no answer", "b": "device 'b' has no link"}[m.Name]
		if m.IPv4.Reason != want {
			t.Errorf("%s: %q, want %q", m.Name, m.IPv4.Reason, want)
		}
	}
}
