package plan

import (
	"cmp"
	"slices"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// heldReason is what status shows of a member that is held.
const heldReason = "is back, but failback 'never' waits for the backup to end"

// activeMembers returns the members that a policy deals connections to, by index: the
// live ones of the lowest tier that has one. Those that have used up their quota or
// are held count only where no other member is live.
func (b *builder) activeMembers(p config.Policy, f family.Family) []config.PolicyMember {
	return b.lowestTier(p, f, func(name string) bool { return b.held[f][name] })
}

func (b *builder) lowestTier(p config.Policy, f family.Family, held func(name string) bool) []config.PolicyMember {
	live := b.liveMembers(p, f)
	waits := func(m config.PolicyMember) bool {
		return held(m.Name) && failback(p, b.memberNamed(m.Name)) == failbackNever
	}
	spent := func(m config.PolicyMember) bool { return b.spent(m.Name) != "" }
	for _, last := range []func(config.PolicyMember) bool{spent, waits} {
		if free := membersThat(live, func(m config.PolicyMember) bool { return !last(m) }); len(free) > 0 {
			live = free
		}
	}
	if len(live) == 0 {
		return nil
	}
	byMetric := func(x, y config.PolicyMember) int { return x.Metric - y.Metric }
	return tierOf(live, slices.MinFunc(live, byMetric).Metric)
}

// withRoom leaves out the members whose line is full, as long as another's is not.
// Policies by source keep them: their hosts do not change the line.
func (b *builder) withRoom(p config.Policy, members []config.PolicyMember) []config.PolicyMember {
	free := membersThat(members, func(m config.PolicyMember) bool { return b.full(m.Name) == "" })
	if p.Balance == config.Source || len(free) == 0 {
		return members
	}
	return free
}

// failback is what happens when a member of a policy is back.
func failback(p config.Policy, m *member) string { return cmp.Or(p.Failback, m.Track.Failback) }

// liveMembers returns a policy's live members, by index.
func (b *builder) liveMembers(p config.Policy, f family.Family) []config.PolicyMember {
	var live []config.PolicyMember
	for _, m := range b.members {
		if i := indexOf(m.Name, p.Members); i >= 0 && b.live(m, f) {
			live = append(live, p.Members[i])
		}
	}
	return live
}

// stillHeld returns those of some members that still have to wait: they are not back,
// or held back. All others go together, or one would hold back the next.
func (b *builder) stillHeld(candidates map[string]bool, f family.Family) map[string]bool {
	for {
		b.held[f] = candidates
		held := map[string]bool{}
		for _, m := range b.members {
			if candidates[m.Name] && (!b.live(m, f) || b.heldBack(m, f)) {
				held[m.Name] = true
			}
		}
		if len(held) == len(candidates) {
			return held
		}
		candidates = held
	}
}

// heldBack reports whether some policy would deal connections to a live member if it
// alone were not held. In a tier that is not in use, none is held back.
func (b *builder) heldBack(m *member, f family.Family) bool {
	others := func(name string) bool { return name != m.Name && b.held[f][name] }
	for _, p := range b.config.Policies {
		if indexOf(m.Name, b.activeMembers(p, f)) < 0 && indexOf(m.Name, b.lowestTier(p, f, others)) >= 0 {
			return true
		}
	}
	return false
}

// indexOf returns the index of a member among some, -1 if it is not there.
func indexOf(name string, members []config.PolicyMember) int {
	return slices.IndexFunc(members, func(m config.PolicyMember) bool { return m.Name == name })
}

// tierOf returns those of some members that are of one tier.
func tierOf(members []config.PolicyMember, metric int) []config.PolicyMember {
	return membersThat(members, func(m config.PolicyMember) bool { return m.Metric == metric })
}

func membersThat(members []config.PolicyMember, holds func(config.PolicyMember) bool) (some []config.PolicyMember) {
	for _, m := range members {
		if holds(m) {
			some = append(some, m)
		}
	}
	return some
}

// share is the part of a policy's new connections that a member is dealt.
func (b *builder) share(p config.Policy, name string, f family.Family) float64 {
	active := b.withRoom(p, b.activeMembers(p, f))
	i := indexOf(name, active)
	if i < 0 {
		return 0
	}
	return float64(active[i].Weight) / float64(sum(weightsOf(active)))
}
