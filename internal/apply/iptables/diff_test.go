package iptables

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/plan"
)

func gotoChain(name string) plan.Rule { return plan.Rule{Target: plan.Goto(name)} }

// wanted is a small plan: two policies with a cascade each, one without.
func wanted() plan.Family {
	return plan.Family{
		Jumps: []plan.Jump{
			{Chain: "PREROUTING", Rule: plan.Rule{Target: plan.JumpTo("lb_hook")}},
			{Chain: "OUTPUT", Rule: plan.Rule{Target: plan.JumpTo("lb_out"), Matches: []plan.Match{plan.NotOutDevice("lo")}}},
		},
		Chains: []plan.Chain{
			{Name: "lb_hook", Rules: []plan.Rule{gotoChain("lb_policy_a")}},
			{Name: "lb_policy_a", Cascade: []string{"lb_member_1", "lb_member_2", "lb_member_3"}},
			{Name: "lb_policy_b", Cascade: []string{"lb_member_1", "lb_member_2"}},
			{Name: "lb_policy_c", Rules: []plan.Rule{gotoChain("lb_member_1")}},
		},
	}
}

// tableWith is a table that holds a plan; the policies have dealt 7 and 4.
func tableWith(legacy bool, holds plan.Family) *Table {
	table := &Table{Legacy: legacy, Chains: map[string]*Chain{}}
	for _, chain := range holds.Chains {
		table.Chains[chain.Name] = &Chain{Rules: chain.Len(), Comment: chain.Fingerprint(), Dealt: map[string]uint64{}}
	}
	for _, jump := range holds.Jumps {
		table.Jumps = append(table.Jumps, Jump{jump.Chain, jump.Rule.Args("")})
	}
	if c := table.Chains["lb_policy_a"]; c != nil {
		c.Dealt = map[string]uint64{"lb_member_1": 3, "lb_member_2": 4}
	}
	if c := table.Chains["lb_policy_b"]; c != nil {
		c.Dealt = map[string]uint64{"lb_member_1": 4}
	}
	return table
}

func TestDiff(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Table)
		write  string // for nft
		legacy string // further chains that legacy writes
		gone   string
		jumps  string // added / deleted
	}{
		{"nothing", func(*Table) {}, "", "", "", ""},
		{"a chain is missing", func(h *Table) { delete(h.Chains, "lb_hook") }, "lb_hook", "lb_policy_a lb_policy_b", "", ""},
		{"a chain has another content", func(h *Table) { h.Chains["lb_policy_c"].Comment = "lb:000000000000" }, "lb_policy_c", "lb_policy_a lb_policy_b", "", ""},
		{"a rule was deleted", func(h *Table) { h.Chains["lb_hook"].Rules-- }, "lb_hook", "lb_policy_a lb_policy_b", "", ""},
		{"a rule was added", func(h *Table) { h.Chains["lb_policy_a"].Rules++ }, "lb_policy_a", "lb_policy_b", "", ""},
		{"a rule without our comment", func(h *Table) { h.Chains["lb_hook"].Comment = "" }, "lb_hook", "lb_policy_a lb_policy_b", "", ""},
		{"all were flushed", func(h *Table) {
			for name := range h.Chains {
				h.Chains[name] = &Chain{}
			}
		}, "lb_hook lb_policy_a lb_policy_b lb_policy_c", "", "", ""},
		{"a chain is no longer wanted", func(h *Table) { h.Chains["lb_policy_z"] = &Chain{Rules: 1} }, "", "lb_policy_a lb_policy_b", "lb_policy_z", ""},
		{"a jump is missing", func(h *Table) { h.Jumps = h.Jumps[:1] }, "", "lb_policy_a lb_policy_b", "", "2/1"},
		{"a jump is there twice", func(h *Table) { h.Jumps = append(h.Jumps, h.Jumps[0]) }, "", "lb_policy_a lb_policy_b", "", "2/3"},
		{"another jump of ours", func(h *Table) { h.Jumps = append(h.Jumps, Jump{"FORWARD", "-j lb_hook"}) }, "", "lb_policy_a lb_policy_b", "", "2/3"},
		{"a jump in other words", func(h *Table) { h.Jumps[1].Rule = "-j lb_out" }, "", "lb_policy_a lb_policy_b", "", "2/2"},
	}
	for _, tt := range tests {
		for _, legacy := range []bool{false, true} {
			name := map[bool]string{false: " (nft)", true: " (legacy)"}[legacy]
			t.Run(tt.name+name, func(t *testing.T) {
				have := tableWith(legacy, wanted())
				tt.change(have)
				change := Diff(wanted(), have, nil)
				var written []string
				for _, chain := range change.Write {
					written = append(written, chain.Name)
				}
				slices.Sort(written)
				want := strings.Fields(tt.write)
				if legacy {
					want = append(want, strings.Fields(tt.legacy)...)
				}
				slices.Sort(want)
				if !slices.Equal(written, want) {
					t.Errorf("written %v, want %v", written, want)
				}
				if got := strings.Join(change.Delete, " "); got != tt.gone {
					t.Errorf("deleted %q, want %q", got, tt.gone)
				}
				jumps := ""
				if n := len(change.AddJumps) + len(change.DeleteJumps); n > 0 {
					jumps = string(rune('0'+len(change.AddJumps))) + "/" + string(rune('0'+len(change.DeleteJumps)))
				}
				if jumps != tt.jumps {
					t.Errorf("jumps added/deleted %q, want %q", jumps, tt.jumps)
				}
				empty := tt.write == "" && tt.gone == "" && tt.jumps == ""
				if change.Empty() != empty {
					t.Errorf("empty: %v", change.Empty())
				}
			})
		}
	}
}

// TestDiffOfNothing: with no plan, everything of ours goes and nothing else.
func TestDiffOfNothing(t *testing.T) {
	change := Diff(plan.Family{}, tableWith(true, wanted()), nil)
	if len(change.Write) > 0 || len(change.AddJumps) > 0 {
		t.Errorf("written: %+v", change)
	}
	want := "*mangle\n:lb_hook - [0:0]\n:lb_policy_a - [0:0]\n:lb_policy_b - [0:0]\n:lb_policy_c - [0:0]\n" +
		"-D PREROUTING -j lb_hook\n-D OUTPUT ! -o lo -j lb_out\n" +
		"-X lb_hook\n-X lb_policy_a\n-X lb_policy_b\n-X lb_policy_c\nCOMMIT\n"
	if got := change.Input(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if !Diff(plan.Family{}, &Table{}, nil).Empty() {
		t.Error("nothing against nothing is a change")
	}
}

// TestCascadesContinue: a cascade that is written again begins with the turn
// that would have come next.
func TestCascadesContinue(t *testing.T) {
	starts := map[string]uint64{"lb_policy_a": 2, "lb_policy_b": 5, "lb_policy_gone": 9}
	tests := []struct {
		name   string
		legacy bool
		change func(*Table)
		want   map[string]uint64 // of this change
		after  map[string]uint64
	}{
		{"nothing to do", true, func(*Table) {}, nil,
			map[string]uint64{"lb_policy_a": 2, "lb_policy_b": 5, "lb_policy_gone": 9}},
		{"nft writes only what changed", false, func(h *Table) { h.Chains["lb_policy_a"].Rules++ },
			map[string]uint64{"lb_policy_a": 2 + 7},
			map[string]uint64{"lb_policy_a": 9, "lb_policy_b": 5, "lb_policy_gone": 9}},
		{"legacy starts all counters anew", true, func(h *Table) { h.Chains["lb_hook"].Rules++ },
			map[string]uint64{"lb_policy_a": 2 + 7, "lb_policy_b": 5 + 4},
			map[string]uint64{"lb_policy_a": 9, "lb_policy_b": 9, "lb_policy_gone": 9}},
		{"a chain that is gone", false, func(h *Table) { delete(h.Chains, "lb_policy_b") },
			map[string]uint64{"lb_policy_b": 5},
			map[string]uint64{"lb_policy_a": 2, "lb_policy_b": 5, "lb_policy_gone": 9}},
		{"a deleted chain is forgotten", false, func(h *Table) { h.Chains["lb_policy_gone"] = &Chain{Rules: 1} }, nil,
			map[string]uint64{"lb_policy_a": 2, "lb_policy_b": 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			have := tableWith(tt.legacy, wanted())
			tt.change(have)
			change := Diff(wanted(), have, starts)
			if !maps.Equal(change.Starts, tt.want) {
				t.Errorf("starts %v, want %v", change.Starts, tt.want)
			}
			if after := change.StartsAfter(starts); !maps.Equal(after, tt.after) {
				t.Errorf("afterwards %v, want %v", after, tt.after)
			}
		})
	}
	if len(starts) != 3 || starts["lb_policy_a"] != 2 {
		t.Errorf("the old starts were changed: %v", starts)
	}
	if after := (Change{}).StartsAfter(nil); after == nil || len(after) > 0 {
		t.Errorf("from nothing: %v", after)
	}
}

// TestInput: chains are declared before rules lead to them, jumps are deleted
// before they are added, and chains are deleted last.
func TestInput(t *testing.T) {
	have := tableWith(false, wanted())
	have.Chains["lb_policy_a"].Rules++
	have.Chains["lb_old"] = &Chain{}
	have.Jumps = have.Jumps[:1]
	mark := wanted().Chains[1].Fingerprint()
	want := strings.ReplaceAll(`*mangle
:lb_policy_a - [0:0]
:lb_old - [0:0]
-A lb_policy_a -m statistic --mode nth --every 3 --packet 0 -m comment --comment MARK -g lb_member_2
-A lb_policy_a -m statistic --mode nth --every 2 --packet 0 -m comment --comment MARK -g lb_member_3
-A lb_policy_a -m comment --comment MARK -g lb_member_1
-D PREROUTING -j lb_hook
-A PREROUTING -j lb_hook
-A OUTPUT ! -o lo -j lb_out
-X lb_old
COMMIT
`, "MARK", mark)
	if got := Diff(wanted(), have, nil).Input(); got != want { // 7 turns of 3: begins with the second
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
