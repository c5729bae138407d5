package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// TestSlotsOfTheLivingStay: when a member dies, its slots alone move, and the
// shares of those that are left are right within two slots.
func TestSlotsOfTheLivingStay(t *testing.T) {
	for _, weights := range [][]int{{1, 1}, {1, 1, 1}, {3, 1}, {3, 1, 1}, {1, 2, 3, 4}, {1, 1, 1, 1, 1}, {10, 1, 1, 1, 5, 5}, {1, 1, 1, 1, 1, 1, 1, 1}} {
		var tier []config.PolicyMember
		for i, w := range weights {
			tier = append(tier, config.PolicyMember{Name: fmt.Sprintf("wan%d", i+1), Weight: w, Metric: 1})
		}
		before := slotOwners(tier, tier)
		expectQuotas(t, before, tier, 0)
		for _, dead := range tier {
			living := slices.DeleteFunc(slices.Clone(tier), func(m config.PolicyMember) bool { return m.Name == dead.Name })
			after := slotOwners(tier, living)
			for slot, owner := range after {
				if owner == dead.Name || before[slot] != dead.Name && owner != before[slot] {
					t.Errorf("weights %v, %s dead: slot %d passes from %s to %s", weights, dead.Name, slot, before[slot], owner)
				}
			}
			expectQuotas(t, after, living, 2)
		}
	}
}

func expectQuotas(t *testing.T, owners slotTable, members []config.PolicyMember, tolerance int) {
	t.Helper()
	counts := map[string]int{}
	for _, owner := range owners {
		counts[owner]++
	}
	for i, quota := range apportion(weightsOf(members), sourceSlots) {
		if off := counts[members[i].Name] - quota; off < -tolerance || off > tolerance {
			t.Errorf("%v: %s has %d slots, want %d", members, members[i].Name, counts[members[i].Name], quota)
		}
	}
}

// TestSlotsWithoutAMember: when a member leaves the configuration, hosts of the
// others move only as far as the shares ask for it.
func TestSlotsWithoutAMember(t *testing.T) {
	for n := 2; n <= 8; n++ {
		var tier []config.PolicyMember
		for i := range n {
			tier = append(tier, config.PolicyMember{Name: fmt.Sprintf("wan%d", i+1), Weight: 1, Metric: 1})
		}
		before := slotOwners(tier, tier)
		for i, gone := range tier {
			rest := slices.Delete(slices.Clone(tier), i, i+1)
			moved := 0
			for slot, owner := range slotOwners(rest, rest) {
				if before[slot] != gone.Name && owner != before[slot] {
					moved++
				}
			}
			// Dealt in any order, it would be half of all slots.
			if most := (n + 2) / 2; moved > most {
				t.Errorf("%d members, without %s: %d slots of the others move, want %d at most", n, gone.Name, moved, most)
			}
		}
	}
}

// TestSlotQuotas: slots in proportion to the weights; the largest remainders
// take what is left.
func TestSlotQuotas(t *testing.T) {
	for _, tt := range []struct{ weights, want []int }{
		{[]int{1}, []int{32}},
		{[]int{7, 7}, []int{16, 16}},
		{[]int{3, 1}, []int{24, 8}},
		{[]int{100, 200, 500}, []int{4, 8, 20}},
		{[]int{2, 1}, []int{21, 11}},      // 21.33 and 10.67
		{[]int{1, 2, 4}, []int{5, 9, 18}}, // 4.57, 9.14 and 18.29
		{[]int{1000, 1}, []int{32, 0}},
	} {
		var members []config.PolicyMember
		for _, w := range tt.weights {
			members = append(members, config.PolicyMember{Weight: w})
		}
		if got := apportion(weightsOf(members), sourceSlots); !slices.Equal(got, tt.want) {
			t.Errorf("weights %v: %v, want %v", tt.weights, got, tt.want)
		}
	}
}

// TestPrefixOfNoMember: hosts with an address of a line that is no member leave by
// it, as main says.
func TestPrefixOfNoMember(t *testing.T) {
	uplinks := world("a", "b")
	foreign, of := netip.MustParsePrefix("2001:db8:77::/56"), netip.MustParsePrefix("2001:db8::/56")
	uplinks.IPv6.Routes = []uplink.Route{
		{Destination: family.IPv6.Default(), Type: uplink.Unicast, From: foreign, Device: "c"},
		{Destination: family.IPv6.Default(), Type: uplink.Unicast, From: of, Device: "a"},
		{Destination: family.IPv6.Default(), Type: uplink.Unicast, Device: "c"},
	}
	var got []string
	for _, r := range chain(t, &build(t, balanced("a", "b"), uplinks).IPv6, hookChain).Rules {
		for _, m := range r.Matches {
			if source, ok := m.(Source); ok {
				got = append(got, source.Prefix.String()+" "+r.Target.Args())
			}
		}
	}
	want := []string{"2001:db8::/56 -g lb_member_a", "2001:db8:100::/56 -g lb_member_b", "2001:db8:77::/56 -g lb_member_default"}
	if !slices.Equal(got, want) {
		t.Errorf("rules for sources %q, want %q", got, want)
	}
}
