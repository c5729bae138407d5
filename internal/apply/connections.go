package apply

import (
	"net/netip"
	"slices"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
	"loadbalance/internal/uplink"
)

// compareLive finds out whether a member that the last run found live is not
// live any more. Only then is the connection table searched: that costs some
// 10 ms, however few connections there are. What the members had is kept while
// none is live, since their connections are kept too.
func (c *Changes) compareLive(actual *Actual) {
	c.lost, c.vacated = map[family.Family]bool{}, map[family.Family][]int{}
	for _, f := range family.All {
		live, active := liveIndices(c.Plan, f), activeIndices(c.Plan, f)
		state := c.state.Families[f.String()]
		gone := without(state.Live, live)
		c.lost[f] = len(live) > 0 && len(gone) > 0 || actual.Ours() && !actual.Remembered
		c.vacated[f] = c.vacatedIndices(f, state, live, active)
		if len(live) > 0 {
			state.Live, state.Active = live, active
			c.state.Families[f.String()] = state
		}
	}
}

func liveIndices(p *plan.Plan, f family.Family) []int {
	var live []int
	for _, m := range p.Members {
		if m.State(f).Online {
			live = append(live, m.Index)
		}
	}
	return live
}

// cleans says whether there may be connections to clean. While stopping there
// are none: marks mean nothing from then on.
func (c *Changes) cleans() bool {
	return c.mask != 0 && slices.ContainsFunc(family.All[:], c.cleansFamily)
}

func (c *Changes) cleansFamily(f family.Family) bool {
	return c.searchesMarks(f) || len(c.freed[f]) > 0
}

// searchesMarks says whether some connections may carry a mark that is no
// longer good.
func (c *Changes) searchesMarks(f family.Family) bool {
	return c.lost[f] || len(c.vacated[f]) > 0 || len(c.reused) > 0 || c.resumed
}

// noteUnfinished notes for the next run which connections this one is to clean,
// in case it is killed or fails before.
func (c *Changes) noteUnfinished() {
	if !c.cleans() {
		return
	}
	unfinished := &rundir.Unfinished{Reused: c.reused, Freed: map[string][]netip.Prefix{}, Vacated: map[string][]int{}}
	for _, f := range family.All {
		if len(c.freed[f]) > 0 {
			unfinished.Freed[f.String()] = c.freed[f]
		}
		if len(c.vacated[f]) > 0 {
			unfinished.Vacated[f.String()] = c.vacated[f]
		}
	}
	c.state.Unfinished = unfinished
}

// resume takes over what the last run has left undone.
func (c *Changes) resume(unfinished *rundir.Unfinished) {
	if unfinished == nil {
		return
	}
	c.resumed = true
	c.reused = append(c.reused, without(unfinished.Reused, c.reused)...)
	for _, f := range family.All {
		c.freed[f] = append(c.freed[f], without(unfinished.Freed[f.String()], c.freed[f])...)
		// One that is dealt something again meanwhile keeps its connections.
		vacated := without(unfinished.Vacated[f.String()], activeIndices(c.Plan, f))
		c.vacated[f] = append(c.vacated[f], without(vacated, c.vacated[f])...)
	}
}

// fate is what becomes of a connection.
type fate uint8

const (
	keep           fate = iota
	forget              // its entry goes
	forgetAndReset      // and its client is made to notice
)

// judgeOf returns what becomes of a family's connections, or nil where all of
// them stay and need not be searched.
func (c *Changes) judgeOf(f family.Family) func(conntrack.Entry) fate {
	if c.mask == 0 || !c.searchesMarks(f) {
		return nil
	}
	return c.judge(f, fwmark.Mask(c.mask))
}

// judge returns what becomes of connections, or nil where all of them stay.
// Connections that came in by an uplink stay with it: nobody but their other
// end could move them.
func (c *Changes) judge(f family.Family, mask fwmark.Mask) func(conntrack.Entry) fate {
	live := liveIndices(c.Plan, f)
	if len(live) == 0 && len(c.reused) == 0 {
		return nil // nowhere to go: better a connection that may come back
	}
	own, dead := map[int]*uplink.Path{}, map[int]fate{}
	for _, m := range c.Plan.Members {
		own[m.Index] = c.uplinks.Path(m.Name, f)
		dead[m.Index] = onDead(c.member(m.Index))
	}
	return func(entry conntrack.Entry) fate {
		index := mask.Value(entry.Mark)
		switch {
		case !mask.IsMember(index):
			return keep
		case slices.Contains(c.reused, index):
			return forgetAndReset // whatever the options say: it is another uplink now
		case len(live) == 0 || cameIn(entry, own[index]):
			return keep
		case slices.Contains(c.vacated[f], index):
			return forgetAndReset
		case slices.Contains(live, index):
			return keep
		}
		if fate, configured := dead[index]; configured {
			return fate
		}
		return forgetAndReset // of a member that was removed
	}
}

// onDead is what becomes of a member's connections when it dies.
func onDead(m config.Member) fate {
	switch m.Track.OnDead {
	case "none":
		return keep
	case "clear":
		return forget
	}
	return forgetAndReset
}

// member is the configuration of the member with an index; the zero value
// where there is none.
func (c *Changes) member(index int) config.Member {
	for _, planned := range c.Plan.Members {
		for _, m := range c.members {
			if planned.Index == index && planned.Name == m.Name {
				return m
			}
		}
	}
	return config.Member{}
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

// cameIn says whether a connection was opened from outside, towards one of
// the uplink's own addresses.
func cameIn(entry conntrack.Entry, path *uplink.Path) bool {
	return path != nil &&
		(slices.Contains(path.Addresses, entry.Original.Destination) || contains(path.Prefixes, entry.Original.Destination))
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

func localEntries(p *plan.Plan, f family.Family) []netip.Prefix {
	var entries []netip.Prefix
	for _, s := range p.Family(f).Sets {
		if s.Name == plan.LocalSet(f) {
			entries = append(entries, s.Entries...)
		}
	}
	return entries
}

// freedDestinations returns the local destinations that the kernel's sets
// still have and the plan does not: connections there were marked for the main
// table and must be dealt out from now on.
func freedDestinations(wanted *plan.Plan, have []ipset.Set) map[family.Family][]netip.Prefix {
	freed := map[family.Family][]netip.Prefix{}
	for _, f := range family.All {
		for _, want := range wanted.Family(f).Sets {
			for _, old := range have {
				if old.Name == want.Name && old.Name == plan.LocalSet(f) {
					freed[f] = append(freed[f], without(old.Entries, want.Entries)...)
				}
			}
		}
	}
	return freed
}

// without returns what is in all but not in some.
func without[T comparable](all, some []T) (rest []T) {
	known := make(map[T]bool, len(some))
	for _, p := range some {
		known[p] = true
	}
	for _, p := range all {
		if !known[p] {
			rest = append(rest, p)
		}
	}
	return rest
}

// reusedIndices returns the indices that have gone from one member to another.
func reusedIndices(old, now plan.Indices) []int {
	owner := map[int]string{}
	for _, f := range old.Freed {
		owner[f.Index] = f.Name
	}
	for name, index := range old.Members {
		owner[index] = name
	}
	var reused []int
	for name, index := range now.Members {
		if before, known := owner[index]; known && before != name {
			reused = append(reused, index)
		}
	}
	slices.Sort(reused)
	return reused
}
