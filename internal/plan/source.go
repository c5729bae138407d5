package plan

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"

	"loadbalance/internal/config"
)

// sourceSlots is the number of slots that hosts are hashed into: what the
// cluster match can tell apart (its node mask has 32 bits).
const sourceSlots = 32

// sourceDraw sends each slot of hosts to a member, so that a host always takes
// the same uplink, without any memory.
func sourceDraw(targets []string, members []config.PolicyMember) []Rule {
	owners := slotOwners(members)
	var rules []Rule
	for slot, owner := range owners {
		if slot == sourceSlots-1 {
			// The rest: also what has no slot, such as packets without an
			// entry in the connection table.
			return append(rules, on(Goto(targets[owner])))
		}
		rules = append(rules, on(Goto(targets[owner]), Slot{slot + 1, sourceSlots}))
	}
	return rules
}

// slotOwners gives every slot to a member, in proportion to the weights. Each
// slot prefers members in an order of its own, which does not depend on who
// else is there (rendezvous hashing), so that when a member goes, little but
// its own slots moves: only as much as the remaining ones' quotas force.
func slotOwners(members []config.PolicyMember) [sourceSlots]int {
	quota := slotQuotas(members)
	type bid struct {
		slot, member int
		score        uint64
	}
	var bids []bid
	for slot := range sourceSlots {
		for i, m := range members {
			bids = append(bids, bid{slot, i, slotScore(slot, m.Name)})
		}
	}
	slices.SortFunc(bids, func(x, y bid) int { return cmp.Compare(y.score, x.score) })
	var owners [sourceSlots]int
	for slot := range owners {
		owners[slot] = -1
	}
	for _, b := range bids {
		if owners[b.slot] < 0 && quota[b.member] > 0 {
			owners[b.slot] = b.member
			quota[b.member]--
		}
	}
	return owners
}

// slotScore is how much a slot likes a member.
func slotScore(slot int, name string) uint64 {
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%d %s", slot, name)
	mixed := splitMix(hash.Sum64()) // FNV's upper bits alone are too regular
	return mixed.next()
}

// slotQuotas divides the slots in proportion to the weights, by largest
// remainders.
func slotQuotas(members []config.PolicyMember) []int {
	sum, left := 0, sourceSlots
	for _, m := range members {
		sum += m.Weight
	}
	quota, remainder := make([]int, len(members)), make([]int, len(members))
	for i, m := range members {
		quota[i] = m.Weight * sourceSlots / sum
		remainder[i] = m.Weight * sourceSlots % sum
		left -= quota[i]
	}
	for ; left > 0; left-- {
		best := 0
		for i := range remainder {
			if remainder[i] > remainder[best] {
				best = i
			}
		}
		quota[best]++
		remainder[best] = -1
	}
	return quota
}
