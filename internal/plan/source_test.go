package plan

import (
	"fmt"
	"slices"
	"testing"

	"loadbalance/internal/config"
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
	for i, quota := range slotQuotas(members) {
		if off := counts[members[i].Name] - quota; off < -tolerance || off > tolerance {
			t.Errorf("%v: %s has %d slots, want %d", members, members[i].Name, counts[members[i].Name], quota)
		}
	}
}
