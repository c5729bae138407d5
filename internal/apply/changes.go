package apply

import (
	"net/netip"
	"slices"

	"loadbalance/internal/apply/challenge"
	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/apply/sysctl"
	"loadbalance/internal/dealt"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
)

// Changes are the difference between a plan and the kernel. They are not
// changed after Diff made them; what becomes of them is told by a Report.
type Changes struct {
	Plan     *plan.Plan
	Sysctls  sysctl.Changes
	Families map[family.Family]FamilyChanges
	Sets     ipset.Changes

	// before is what the run directory holds, state what it is to hold while the
	// changes are made, and if all of them succeed but for what is unfinished.
	before, state rundir.State
}

// FamilyChanges are the changes of one family.
type FamilyChanges struct {
	Mangle  iptables.Change
	Routing routing.Changes
	// clearOther says that the other back end of iptables may hold chains of ours.
	clearOther bool
	// clean says that some connections may have to go, adopt that some may be
	// older than the chains.
	clean, adopt bool
	// unread says why the family is left as it is; see Kernel.Unread.
	unread error
}

// Empty reports whether the kernel holds what the plan wants.
func (c *Changes) Empty() bool {
	for _, f := range c.Families {
		if !f.Mangle.Empty() || !f.Routing.Empty() || f.unread != nil {
			return false
		}
	}
	return c.Sysctls.Empty() && c.Sets.Empty()
}

// Diff compares a plan with what the kernel holds. before is what the last run
// left in the run directory; nil if it was lost or never was.
func Diff(wanted *plan.Plan, k *Kernel, before *rundir.State) *Changes {
	c := &Changes{
		Plan:     wanted,
		Families: map[family.Family]FamilyChanges{},
		Sets:     ipset.Diff(wanted.IPv4.Sets, wanted.IPv6.Sets, k.Sets),
		state:    rundir.State{State: wanted.State, Families: map[family.Family]rundir.Family{}},
	}
	if before != nil {
		c.before = *before
	}
	for _, f := range family.All {
		changes := c.diffFamily(f, k)
		changes.clean = c.noteUnfinished(f, freedDestinations(f, wanted, k.Sets))
		changes.adopt = len(changes.Mangle.AddJumps) > 0 || wanted.Connections[f].Former != 0
		c.Families[f] = changes
	}
	c.Sysctls = sysctl.Diff(k.sysctls, c.before.Sysctls, wanted.Sysctls, k.Ours() && c.before.Sysctls == nil)
	c.state.Sysctls = c.Sysctls.Records
	return c
}

// diffFamily compares one family, and plans what the next run has to know of
// it.
func (c *Changes) diffFamily(f family.Family, k *Kernel) FamilyChanges {
	want, state := c.Plan.Family(f), c.before.Families[f]
	if err := k.Unread[f]; err != nil {
		c.state.Families[f] = state
		return FamilyChanges{unread: err}
	}
	changes := FamilyChanges{Routing: routing.Diff(f, want.Rules, want.Routes, k.Routing[f])}
	if table := k.Tables[f]; table != nil {
		_, known := c.before.Families[f]
		changes.clearOther = !known || state.Legacy != table.Legacy
		changes.Mangle = iptables.Diff(*want, table, state.Starts)
		state.Legacy = table.Legacy
		state.Starts = changes.Mangle.StartsAfter(state.Starts)
		if exists, asked := k.nftTables[f]; asked && !changes.Mangle.Empty() {
			state.CreatedTable = state.CreatedTable || !exists
		}
		state = dealt.Remember(f, c.Plan, changes.Mangle, table, state)
	}
	c.state.Families[f] = state
	return changes
}

// noteUnfinished notes which connections are to be cleaned, and reports whether
// any may be. freed are the destinations that are local no more.
func (c *Changes) noteUnfinished(f family.Family, freed []netip.Prefix) bool {
	of, planned := c.Plan.Connections[f]
	if !planned {
		return false // the service stops: marks mean nothing from then on
	}
	earlier, resumed := c.before.Unfinished[f]
	for _, p := range earlier.Freed {
		if !slices.Contains(freed, p) {
			freed = append(freed, p)
		}
	}
	if !of.Search && !resumed && len(freed) == 0 {
		return false
	}
	c.state.Unfinish(f, of.Unfinished(freed))
	return true
}

// fate is what becomes of a connection.
func (c *Changes) fate(f family.Family, entry conntrack.Entry) plan.Fate {
	of, to := c.Plan.Connections[f], entry.Original.Destination
	local := c.Plan.Family(f).Set(plan.LocalSet(f))
	if of.LeftToMain(entry.Mark) && family.Contain(c.state.Unfinished[f].Freed, to) && (local == nil || !family.Contain(local.Entries, to)) {
		return plan.Forget
	}
	return of.Fate(entry.Mark, to)
}

// devices are those of the uplinks: no LAN client is behind them.
func (c *Changes) devices(f family.Family) []string {
	var devices []string
	for _, m := range c.Plan.Members {
		if device := m.State(f).Device; device != "" {
			devices = append(devices, device)
		}
	}
	return devices
}

// freedDestinations returns the local destinations that the kernel's sets still have
// and the plan does not: connections there must be dealt out from now on.
func freedDestinations(f family.Family, wanted *plan.Plan, have []ipset.Set) []netip.Prefix {
	local := wanted.Family(f).Set(plan.LocalSet(f))
	i := slices.IndexFunc(have, func(s ipset.Set) bool { return s.Name == plan.LocalSet(f) })
	if local == nil || i < 0 {
		return nil
	}
	return ipset.Missing(local.Entries, have[i].Entries)
}

// protoTCP is TCP's IP protocol number (IANA).
const protoTCP = 6

// hasWaitingClient reports whether an entry is a TCP connection whose client may wait
// in vain. While one is being opened, its client repeats the SYN.
func hasWaitingClient(entry conntrack.Entry) bool {
	return entry.Protocol == protoTCP && !entry.Opening && !entry.Ended
}

// flowOf names a connection as its client sees it.
func flowOf(entry conntrack.Entry) challenge.Flow {
	return challenge.Flow{
		Client: netip.AddrPortFrom(entry.Original.Source, entry.Original.SourcePort),
		Server: netip.AddrPortFrom(entry.Original.Destination, entry.Original.DestinationPort),
	}
}
