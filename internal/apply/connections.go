package apply

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/ipset"
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
	c.lost = map[family.Family]bool{}
	for _, f := range family.All {
		live := liveIndices(c.Plan, f)
		state := c.state.Families[f.String()]
		gone := without(state.Live, live)
		c.lost[f] = len(live) > 0 && len(gone) > 0 || actual.Ours() && !actual.Remembered
		if len(live) > 0 {
			state.Live = live
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
	return c.lost[f] || len(c.reused) > 0 || c.resumed
}

// noteUnfinished notes for the next run which connections this one is to clean,
// in case it is killed or fails before.
func (c *Changes) noteUnfinished() {
	if !c.cleans() {
		return
	}
	unfinished := &rundir.Unfinished{Reused: c.reused, Freed: map[string][]netip.Prefix{}}
	for f, prefixes := range c.freed {
		unfinished.Freed[f.String()] = prefixes
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
	}
}

// cleanConnections deletes the entries of connections whose mark leads
// nowhere any more, so that their next packet is dealt anew. It runs after the
// chains were written: deleted before, an entry would come back with the old
// mark.
func (e *Engine) cleanConnections(changes *Changes) error {
	var failed []error
	for _, f := range family.All {
		if err := e.cleanFamily(f, changes); err != nil {
			failed = append(failed, fmt.Errorf("connections (%s): %w", f, err))
		}
	}
	return errors.Join(failed...)
}

func (e *Engine) cleanFamily(f family.Family, changes *Changes) error {
	mask := fwmark.Mask(changes.mask)
	if freed := changes.freed[f]; len(freed) > 0 {
		filter := conntrack.Filter{Mark: mask.Mark(mask.Default()), Mask: uint32(mask)}
		_, err := e.Connections.Delete(f, filter, func(entry conntrack.Entry) bool {
			return contains(freed, entry.Original.Destination) &&
				!contains(localEntries(changes.Plan, f), entry.Original.Destination)
		})
		if err != nil {
			return err
		}
	}
	if !changes.searchesMarks(f) {
		return nil
	}
	lost := changes.lostMarks(f, mask)
	if lost == nil {
		return nil
	}
	_, err := e.Connections.Delete(f, conntrack.Filter{}, lost)
	return err
}

// lostMarks returns a condition that holds for connections whose uplink can no
// longer carry them, or nil where there is nothing to look for. Connections
// that came in by an uplink stay with it: nobody but their other end could
// move them.
func (c *Changes) lostMarks(f family.Family, mask fwmark.Mask) func(conntrack.Entry) bool {
	live := liveIndices(c.Plan, f)
	if len(live) == 0 && len(c.reused) == 0 {
		return nil // nowhere to go: better a connection that may come back
	}
	own := map[int]*uplink.Path{}
	for _, m := range c.Plan.Members {
		own[m.Index] = c.path(m.Name, f)
	}
	return func(entry conntrack.Entry) bool {
		index := mask.Value(entry.Mark)
		if !mask.IsMember(index) {
			return false
		}
		if slices.Contains(c.reused, index) {
			return true
		}
		return len(live) > 0 && !slices.Contains(live, index) && !cameIn(entry, own[index])
	}
}

func (c *Changes) path(member string, f family.Family) *uplink.Path {
	for i := range c.uplinks.Members {
		if c.uplinks.Members[i].Name == member {
			return c.uplinks.Members[i].Path(f)
		}
	}
	return nil
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
func without[T comparable](all, some []T) []T {
	known := make(map[T]bool, len(some))
	for _, p := range some {
		known[p] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(p T) bool { return known[p] })
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
