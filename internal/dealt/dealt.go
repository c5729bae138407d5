// Package dealt counts what policies have dealt to members: the kernel's counters end with each
// chain that is written, so the run directory keeps the sums. It owns nothing in the kernel.
package dealt

import (
	"maps"
	"slices"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
)

// Sum is what a policy has dealt in one family since the service was started, by member chain.
// Connections of sticky rules count into the policy that the rule uses.
type Sum struct {
	Count map[string]uint64
	// Expected is by the shares that were in force when the connections came.
	Expected map[string]float64
}

// Total returns how many connections were dealt.
func (s Sum) Total() uint64 {
	var total uint64
	for _, n := range s.Count {
		total += n
	}
	return total
}

// By adds up what a policy has dealt, the router's own connections too. table may be nil.
func By(policy string, state rundir.Family, table *iptables.Table) Sum {
	sum, own := by(policy, state, table), by(plan.OutputPolicy(policy), state, table)
	for chain, n := range own.Count {
		sum.Count[chain] += n
	}
	for chain, n := range own.Expected {
		sum.Expected[chain] += n
	}
	return sum
}

// by adds up what was dealt under one name: in chains that are gone (state) or in the kernel.
func by(policy string, state rundir.Family, table *iptables.Table) Sum {
	known := state.Policies[policy]
	sum := Sum{Count: copied(known.Ended), Expected: copied(known.Expected)}
	if table != nil {
		for _, name := range dealing(state, policy) {
			addCounters(sum.Count, table.Chains[name])
		}
	}
	// Fewer than before: somebody has reset the counters.
	if total := sum.Total(); total > known.Total {
		for chain, share := range known.Shares {
			sum.Expected[chain] += share * float64(total-known.Total)
		}
	}
	return sum
}

// dealing returns the chains that deal for a policy; where that was lost, the policy's own.
func dealing(state rundir.Family, policy string) []string {
	if state.Dealing == nil {
		return []string{plan.PolicyChain(policy)}
	}
	var chains []string
	for name, of := range state.Dealing {
		if of == policy {
			chains = append(chains, name)
		}
	}
	return chains
}

func copied[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}

// addCounters adds what a chain has sent to members.
func addCounters(sums map[string]uint64, chain *iptables.Chain) {
	if chain == nil {
		return
	}
	for target, n := range chain.Dealt {
		if n > 0 && plan.IsMemberChain(target) {
			sums[target] += n
		}
	}
}

// Remember returns a family's state with what was dealt up to now, before the change ends
// counters. What is dealt in the 20 ms until then is not counted; after a run that was killed
// before the change, all counts twice. A stop ends the count.
func Remember(f family.Family, wanted *plan.Plan, change iptables.Change, table *iptables.Table, old rundir.Family) rundir.Family {
	state := old
	state.Dealing, state.Policies = map[string]string{}, map[string]rundir.Policy{}
	for _, chain := range wanted.Family(f).Chains {
		if chain.Policy != "" {
			state.Dealing[chain.Name] = chain.Policy
		}
	}
	ended := slices.Clone(change.Delete)
	for _, chain := range change.Write {
		ended = append(ended, chain.Name)
	}
	if len(state.Dealing) == 0 {
		return state
	}
	remember := func(name string, members []plan.PolicyMember) {
		sum := by(name, old, table)
		policy := rundir.Policy{
			Ended:    copied(old.Policies[name].Ended),
			Total:    sum.Total(),
			Expected: sum.Expected,
			Shares:   map[string]float64{},
		}
		for _, name := range dealing(old, name) {
			if slices.Contains(ended, name) {
				addCounters(policy.Ended, table.Chains[name])
			}
		}
		for _, m := range members {
			policy.Shares[plan.MemberChain(m.Name)] = m.Share(f)
		}
		if len(members) > 0 || policy.Total > 0 {
			state.Policies[name] = policy
		}
	}
	for _, p := range wanted.Policies {
		remember(p.Name, p.Members)
		remember(plan.OutputPolicy(p.Name), p.Output)
	}
	return state
}
