package apply

import (
	"slices"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
)

// The values of option failback that are not the default: only new connections
// return to a member that is back.
const (
	failbackAll   = "all"
	failbackNever = "never"
)

// held returns the members that have to wait when they are back: those that
// waited already, and those that the last run found live and that are not live
// any more. A member that was never live has nobody who took over from it; so
// the order in which uplinks come up after a start does not matter.
func (a *Actual) held(in plan.Input) map[family.Family]map[string]bool {
	held := map[family.Family]map[string]bool{}
	before := a.Indices(in.Config)
	for _, f := range family.All {
		state := a.State.Families[f.String()]
		held[f] = map[string]bool{}
		for _, m := range in.Config.EnabledMembers() {
			if m.Track.Failback != failbackNever {
				continue
			}
			index, known := before.Members[m.Name]
			lost := known && slices.Contains(state.Live, index) && !in.Live(m.Name, f)
			if lost || slices.Contains(state.Held, m.Name) {
				held[f][m.Name] = true
			}
		}
	}
	return held
}

// activeIndices are the members to which some policy deals connections. A
// policy of one member does not count: what it deals has nowhere to return to.
func activeIndices(p *plan.Plan, f family.Family) []int {
	var active []int
	for _, m := range p.Members {
		if slices.ContainsFunc(p.Policies, func(policy plan.Policy) bool { return deals(policy, m.Name, f) }) {
			active = append(active, m.Index)
		}
	}
	return active
}

func deals(policy plan.Policy, member string, f family.Family) bool {
	return len(policy.Members) > 1 && slices.ContainsFunc(policy.Members, func(m plan.PolicyMember) bool {
		return m.Name == member && m.Share(f) > 0
	})
}

// vacatedIndices returns the members that have handed everything over to a
// member that is back and has failback 'all'. Their connections are to return
// too. A member that goes on being dealt something keeps its connections, also
// where it shares a tier with the one that is back.
func (c *Changes) vacatedIndices(f family.Family, before rundir.Family, live, active []int) []int {
	isBack := func(m plan.Member) bool {
		return c.member(m.Index).Track.Failback == failbackAll &&
			slices.Contains(active, m.Index) && !slices.Contains(before.Live, m.Index)
	}
	if !slices.ContainsFunc(c.Plan.Members, isBack) {
		return nil
	}
	return slices.DeleteFunc(without(before.Active, active), func(index int) bool {
		return !slices.Contains(live, index)
	})
}
