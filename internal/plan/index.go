package plan

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/fwmark"
)

// Indices remembers which index belongs to which member. Connections carry it in
// their mark: it stays with the member's name for as long as possible, wherever its
// section is moved, or they would change their uplink.
type Indices struct {
	// Members are the indices of the members that are configured now.
	Members map[string]int `json:"members"`
	// Freed are those of members that are gone, the oldest first. They are
	// given to others only when no other index is left.
	Freed []FreedIndex `json:"freed,omitempty"`
}

// FreedIndex is an index with the member that had it.
type FreedIndex struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
}

// Assign gives every enabled member an index: the pinned one, else the one
// that it had, else the lowest that nobody has had, else the one that was
// freed first. Members fit into the mask: config sees to that.
func (old Indices) Assign(cfg *config.Config) Indices {
	mask := fwmark.Mask(cfg.Globals.MarkMask)
	assigned := Indices{Members: map[string]int{}}
	taken := map[int]bool{}
	take := func(name string, index int) {
		assigned.Members[name] = index
		taken[index] = true
	}
	members := cfg.EnabledMembers()
	for _, m := range members {
		if m.Mark != 0 {
			take(m.Name, mask.Value(m.Mark))
		}
	}
	known := old.known()
	var fresh []string
	for _, m := range members {
		if m.Mark != 0 {
			continue
		}
		index := known[m.Name]
		if !mask.IsMember(index) || taken[index] {
			fresh = append(fresh, m.Name)
			continue
		}
		take(m.Name, index)
	}
	freed := old.freedBy(assigned, taken)
	for _, name := range fresh {
		take(name, nextIndex(mask, taken, freed))
	}
	assigned.Freed = slices.DeleteFunc(freed, func(f FreedIndex) bool { return taken[f.Index] })
	return assigned
}

// recover takes over the index of the member whose chain this is, also from another
// mask. A member that is no longer configured counts as freed.
func (old *Indices) recover(cfg *config.Config, c MemberChainMark) {
	index := fwmark.Mask(c.Mask).Value(c.Mark)
	if !fwmark.Mask(c.Mask).IsMember(index) || !strings.HasPrefix(c.Chain, memberPrefix) {
		return
	}
	for _, m := range cfg.Members {
		if MemberChain(m.Name) == c.Chain {
			old.Members[m.Name] = index
			return
		}
	}
	freed := FreedIndex{strings.TrimPrefix(c.Chain, memberPrefix), index}
	if !slices.Contains(old.Freed, freed) {
		old.Freed = append(old.Freed, freed)
		sort.Slice(old.Freed, func(i, j int) bool { return old.Freed[i].Index < old.Freed[j].Index })
	}
}

// all returns the indices of the members that are configured.
func (old Indices) all() []int { return slices.Collect(maps.Values(old.Members)) }

// known returns the last known index of every name.
func (old Indices) known() map[string]int {
	known := map[string]int{}
	for _, f := range old.Freed {
		known[f.Name] = f.Index
	}
	maps.Copy(known, old.Members)
	return known
}

// freedBy lists the indices that are remembered but no longer used, the
// oldest first.
func (old Indices) freedBy(now Indices, taken map[int]bool) []FreedIndex {
	var freed []FreedIndex
	add := func(name string, index int) {
		if _, member := now.Members[name]; !member && !taken[index] {
			freed = append(freed, FreedIndex{name, index})
		}
	}
	for _, f := range old.Freed {
		add(f.Name, f.Index)
	}
	for _, name := range slices.Sorted(maps.Keys(old.Members)) {
		add(name, old.Members[name])
	}
	return freed
}

// nextIndex returns the lowest index that is neither taken nor freed, or the
// one that was freed first; 0 if there is none.
func nextIndex(mask fwmark.Mask, taken map[int]bool, freed []FreedIndex) int {
	for index := 1; index <= mask.Capacity(); index++ {
		remembered := slices.ContainsFunc(freed, func(f FreedIndex) bool { return f.Index == index })
		if !taken[index] && !remembered {
			return index
		}
	}
	for _, f := range freed {
		if mask.IsMember(f.Index) && !taken[f.Index] {
			return f.Index
		}
	}
	return 0
}
