package iptables

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// longPlan is what kernelPlan is, with a cascade of so many slots in
// lb_policy_a: 40 lie in 5 parts of 8.
func longPlan(slots int) plan.Family {
	want := kernelPlan()
	var cascade []string
	for i := range slots {
		cascade = append(cascade, fmt.Sprint("lb_member_", 1+i%3))
	}
	i := slices.IndexFunc(want.Chains, func(c plan.Chain) bool { return c.Name == "lb_policy_a" })
	want.Chains[i].Cascade = cascade
	return want
}

// TestParts: a long cascade is one chain, in the kernel too.
func TestParts(t *testing.T) {
	eachBackend(t, func(t *testing.T, tool Tool) {
		name := tool.name(family.IPv4, "")
		const partName = "lb_policy_a.3"
		expect := func(what string, change Change, write, gone string) {
			t.Helper()
			if tool.Backend == Legacy && write+gone != "" {
				write = "lb_policy_a lb_policy_b" // with the table go all counters
			}
			var names []string
			for _, chain := range change.Write {
				names = append(names, chain.Name)
			}
			if got := strings.Join(names, " "); got != write {
				t.Errorf("%s: writes %q, want %q", what, got, write)
			}
			if got := strings.Join(change.Delete, " "); got != gone {
				t.Errorf("%s: deletes %q, want %q", what, got, gone)
			}
		}
		must := func(change Change) {
			t.Helper()
			if err := tool.Write(family.IPv4, change); err != nil {
				t.Fatal(err)
			}
		}
		must(Diff(kernelPlan(), read(t, tool, family.IPv4), nil))
		short := dump(t, tool)

		must(Diff(longPlan(40), read(t, tool, family.IPv4), nil))
		table := read(t, tool, family.IPv4)
		chain := table.Chains["lb_policy_a"]
		if chain.Rules != 45 || strings.Join(chain.Parts, " ") != "lb_policy_a.1 lb_policy_a.2 lb_policy_a.3 lb_policy_a.4 lb_policy_a.5" {
			t.Errorf("written: %+v", chain)
		}
		expect("written", Diff(longPlan(40), table, nil), "", "")

		run(t, name+" -t mangle -F "+partName)
		repair := Diff(longPlan(40), read(t, tool, family.IPv4), nil)
		expect("a part was flushed", repair, "lb_policy_a", "")
		must(repair)
		run(t, name+" -t mangle -R "+partName+" 2 -j RETURN")
		repair = Diff(longPlan(40), read(t, tool, family.IPv4), nil)
		expect("a rule of a part was replaced", repair, "lb_policy_a", "")
		must(repair)
		run(t, name+" -t mangle -N lb_policy_a.77")
		repair = Diff(longPlan(40), read(t, tool, family.IPv4), nil)
		expect("a part too many", repair, "", "lb_policy_a.77")
		must(repair)
		expect("repaired", Diff(longPlan(40), read(t, tool, family.IPv4), nil), "", "")

		shorten := Diff(kernelPlan(), read(t, tool, family.IPv4), nil)
		expect("shorter again", shorten, "lb_policy_a", "lb_policy_a.1 lb_policy_a.2 lb_policy_a.3 lb_policy_a.4 lb_policy_a.5")
		must(shorten)
		if got := dump(t, tool); got != short {
			t.Errorf("shorter again:\n%s\nbefore:\n%s", got, short)
		}
		must(Diff(longPlan(40), read(t, tool, family.IPv4), nil))
		must(Diff(plan.Family{}, read(t, tool, family.IPv4), nil))
		if table := read(t, tool, family.IPv4); len(table.Chains) > 0 {
			t.Errorf("left: %v", table.Chains)
		}
	})
}

// TestPartsCountOnce: a packet that went through a part is one turn.
func TestPartsCountOnce(t *testing.T) {
	table, err := Parse([]byte(`*mangle
:lb_policy_a - [0:0]
:lb_policy_a.1 - [0:0]
:lb_policy_a.2 - [0:0]
[1:60] -A lb_policy_a -m statistic --mode nth --every 5 --packet 0 -m comment --comment "lb:01" -g lb_member_1
[4:240] -A lb_policy_a -m statistic --mode nth --every 2 --packet 0 -m comment --comment "lb:01" -g lb_policy_a.1
[3:180] -A lb_policy_a -m comment --comment "lb:01" -g lb_policy_a.2
[2:120] -A lb_policy_a.1 -m statistic --mode nth --every 2 --packet 0 -m comment --comment "lb:01" -g lb_member_1
[2:120] -A lb_policy_a.1 -m comment --comment "lb:01" -g lb_member_2
[2:120] -A lb_policy_a.2 -m statistic --mode nth --every 2 --packet 0 -m comment --comment "lb:01" -g lb_member_2
[1:60] -A lb_policy_a.2 -m comment --comment "lb:01" -g lb_member_3
COMMIT
`))
	if err != nil {
		t.Fatal(err)
	}
	chain := table.Chains["lb_policy_a"]
	if len(table.Chains) != 1 || chain.Rules != 7 || chain.Comment != "lb:01" || len(chain.Parts) != 2 {
		t.Errorf("%d chains, %+v", len(table.Chains), chain)
	}
	if chain.Turns() != 8 || len(chain.Dealt) != 3 || chain.Dealt["lb_member_1"] != 3 || chain.Dealt["lb_member_2"] != 4 || chain.Dealt["lb_member_3"] != 1 {
		t.Errorf("%d turns, %v", chain.Turns(), chain.Dealt)
	}
}
