package plan

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"sort"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// sourceSlots is the number of slots that hosts are hashed into: what the
// cluster match can tell apart (its node mask has 32 bits).
const sourceSlots = 32

// sourceDraw sends each slot of hosts to a member, so that a host always takes
// the same uplink, without any memory. Target names a member's chain.
func sourceDraw(f family.Family, tier, active []config.PolicyMember, target func(member string) string) []Rule {
	owners := slotOwners(tier, active)
	var rules []Rule
	for slot, owner := range owners {
		if slot == sourceSlots-1 {
			// The rest: also what has no slot, such as packets without an
			// entry in the connection table.
			return append(rules, on(Goto(target(owner))))
		}
		rules = append(rules, on(Goto(target(owner)), sourceSlot(f, slot)))
	}
	return rules
}

// sourceSlot holds for the hosts of one slot, from 0. Of an IPv6 address the cluster
// match hashes only the first 32 bits (xt_cluster.c divides a count of words by the
// size of a word), which all hosts of a LAN share: there the last five bits are the
// slot.
func sourceSlot(f family.Family, slot int) Match {
	if f == family.IPv6 {
		bits := func(n int) netip.Addr { return netip.AddrFrom16([16]byte{15: byte(n)}) }
		return Masked{config.Masked{Address: bits(slot), Mask: bits(sourceSlots - 1)}, true}
	}
	return Slot{slot + 1, sourceSlots}
}

// slotTable names the owner of each slot; "" for none.
type slotTable [sourceSlots]string

// slotOwners gives every slot to an active member, by weight. They are first dealt to
// the whole tier, and then those of dead members again, so that no host of a living
// member moves when another one dies or comes back.
func slotOwners(tier, active []config.PolicyMember) slotTable {
	var owners slotTable
	owners.deal(tier)
	for slot, owner := range owners {
		if indexOf(owner, active) < 0 {
			owners[slot] = ""
		}
	}
	owners.deal(active)
	return owners
}

// deal gives the slots without an owner to the members, up to the quota of each. Each
// slot has an order of its own in which it prefers members (rendezvous hashing): when
// one leaves the configuration, little but its own slots moves.
func (t *slotTable) deal(members []config.PolicyMember) {
	quota := apportion(weightsOf(members), sourceSlots)
	type bid struct {
		slot, member int
		score        uint64
	}
	var bids []bid
	for slot, owner := range t {
		for i, m := range members {
			if owner == m.Name {
				quota[i]--
			}
			if owner == "" {
				bids = append(bids, bid{slot, i, slotScore(slot, m.Name)})
			}
		}
	}
	sort.SliceStable(bids, func(i, j int) bool { return bids[i].score > bids[j].score })
	for _, b := range bids {
		if t[b.slot] == "" && quota[b.member] > 0 {
			t[b.slot] = members[b.member].Name
			quota[b.member]--
		}
	}
}

// slotScore is how much a slot likes a member.
func slotScore(slot int, name string) uint64 {
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%d %s", slot, name)
	mixed := splitMix(hash.Sum64()) // FNV's upper bits alone are too regular
	return mixed.next()
}

func weightsOf(members []config.PolicyMember) []int {
	weights := make([]int, len(members))
	for i, m := range members {
		weights[i] = m.Weight
	}
	return weights
}
