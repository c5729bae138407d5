package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/uplink"
)

// The values of option failback that are not the default: only new connections
// return to a member that is back.
const (
	failbackAll   = "all"
	failbackNever = "never"
)

// Fate is what becomes of a live connection.
type Fate uint8

// The fates.
const (
	Keep           Fate = iota
	Forget              // its entry is deleted: its next packet is dealt anew
	ForgetAndReset      // and its LAN client is made to notice
)

// Connections says what becomes of one family's live connections. The zero
// value keeps all of them.
type Connections struct {
	// Search reports whether some may have to go: only then the table of connections
	// is worth a search, which takes some 10 ms.
	Search  bool
	live    []int // indices of members that can carry connections
	reused  []int // that went from one member to another
	vacated []int // whose connections return to a member that is back
	members map[int]memberConnections
	// Former is the mask of the chains that are there, if it is another one than
	// Mask and shares no bit with it; 0 for none.
	Mask, Former fwmark.Mask
	// main is the index of the member by which main's default route leaves, 0
	// for none, local the destinations that do not take it.
	main  int
	local []netip.Prefix
}

// memberConnections is what a member's connections need to be judged.
type memberConnections struct {
	path   *uplink.Path
	onDead Fate
}

// Fate returns what becomes of a connection with a mark, of which the first
// packet went to a destination. Connections that came in by an uplink stay with
// it: nobody but their other end could move them.
func (c Connections) Fate(mark uint32, destination netip.Addr) Fate {
	index := c.Mask.Value(mark)
	m, configured := c.members[index]
	switch {
	case !c.Search || !c.Mask.IsMember(index):
		return Keep
	case slices.Contains(c.reused, index), !configured:
		// Whatever the options say: it is another uplink now, or none any more.
		return ForgetAndReset
	case len(c.live) == 0:
		return Keep // nowhere to go: better a connection that may come back
	case CameIn(m.path, destination):
		return Keep
	case slices.Contains(c.vacated, index):
		return ForgetAndReset
	case slices.Contains(c.live, index):
		return Keep
	}
	return m.onDead
}

// Ends are the addresses of a packet.
type Ends struct{ Source, Destination netip.Addr }

// Adopt returns the mark that a connection is to have. One that was answered and has
// none of ours, because it is older than our chains, gets that of the member by which
// it leaves, if that can be told; a mark of the former mask becomes the same member's
// of the present one. answer are the addresses of answers as they come in.
func (c Connections) Adopt(mark uint32, answered bool, first, answer Ends) uint32 {
	value, rest := c.Former.Value(mark), mark
	local := c.Former != 0 && value == c.Former.Default()
	dealt := local || c.Former != 0 && c.Former.IsMember(value)
	if dealt {
		rest &^= uint32(c.Former)
	}
	switch {
	case mark&uint32(c.Mask) != 0:
		return rest
	case local:
		return rest | c.Mask.Mark(c.Mask.Default())
	case dealt && c.Mask.IsMember(value):
		return rest | c.Mask.Mark(value)
	case !answered:
		return mark
	}
	return mark | c.Mask.Mark(c.lineOf(first, answer))
}

// lineOf returns the index of the member by which a connection leaves: the one
// whose address it has, or that it came in to; else, without address translation,
// the one of main's default route. 0: that cannot be told.
func (c Connections) lineOf(first, answer Ends) int {
	for _, own := range []netip.Addr{answer.Destination, first.Destination} {
		owners := c.owners(own)
		switch {
		case slices.Contains(owners, c.main):
			return c.main
		case len(owners) == 1:
			return owners[0]
		case len(owners) > 1:
			return 0 // twins
		}
	}
	if !family.Contain(c.local, answer.Source) && answer.Destination == first.Source {
		return c.main
	}
	return 0
}

// owners are the members that have an address, or else those that have a prefix
// with it.
func (c Connections) owners(a netip.Addr) []int {
	var exact, within []int
	for index, m := range c.members {
		if m.path != nil && slices.Contains(m.path.Addresses, a) {
			exact = append(exact, index)
		} else if CameIn(m.path, a) {
			within = append(within, index)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return within
}

// LeftToMain reports whether a connection was left to the main table, because
// its destination was local.
func (c Connections) LeftToMain(mark uint32) bool {
	return c.Mask != 0 && c.Mask.Value(mark) == c.Mask.Default()
}

// CameIn reports whether a connection to a destination was opened from outside:
// towards one of the uplink's own addresses. path may be nil.
func CameIn(path *uplink.Path, destination netip.Addr) bool {
	return path != nil && (slices.Contains(path.Addresses, destination) || family.Contain(LinePrefixes(path), destination))
}

// Unfinished is what the next run must know if this one does not get as far as
// the connections.
func (c Connections) Unfinished(freed []netip.Prefix) Unfinished {
	return Unfinished{Reused: c.reused, Vacated: c.vacated, Freed: freed}
}

// connections compares what is planned with what the last run left, and takes
// over what that one did not finish.
func (b *builder) connections() {
	b.plan.Connections = map[family.Family]Connections{}
	reused := reusedIndices(b.before.Indices, b.indices)
	// Also one that was not live: its connections may wait for it (on_dead 'none').
	removed := len(without(b.before.Indices.all(), b.indices.all())) > 0
	for _, f := range family.All {
		live := b.indicesOf(func(m Member) bool { return m.State(f).Online })
		// A policy of one member does not count: what it deals has nowhere to return to.
		active := b.indicesOf(func(m Member) bool {
			return slices.ContainsFunc(b.config.Policies, func(p config.Policy) bool { return b.chooses(p, m.Name, f) })
		})
		// Where no run has left anything, members may have gone unnoticed.
		lost := len(live) > 0 && len(without(b.before.Live[f], live)) > 0 || removed || b.kernel.Ours && b.forgotten
		unfinished, resumed := b.before.Unfinished[f]
		c := Connections{
			Mask:    b.mask,
			live:    live,
			reused:  union(reused, unfinished.Reused),
			vacated: union(b.vacatedIndices(f, live, active), without(unfinished.Vacated, active)),
			members: map[int]memberConnections{},
			Former:  b.formerMask(),
			main:    b.family(f).mainMember(),
		}
		for _, m := range b.members {
			c.members[m.index] = memberConnections{m.paths[f], fates[cmp.Or(m.Track.OnDead, "reset")]}
		}
		if local := b.plan.Family(f).Set(LocalSet(f)); local != nil {
			c.local = local.Entries
		}
		c.Search = lost || resumed || len(c.reused)+len(c.vacated) > 0
		b.plan.Connections[f] = c
		if len(live) == 0 {
			live, active = b.before.Live[f], b.before.Active[f]
		}
		b.plan.State.Live[f], b.plan.State.Active[f] = live, active
	}
}

// formerMask is Connections.Former. Marks of masks that share bits cannot be told
// apart.
func (b *builder) formerMask() fwmark.Mask {
	for _, c := range b.kernel.MemberChains {
		if c.Mask&uint32(b.mask) == 0 && c.Mask != 0 {
			return fwmark.Mask(c.Mask)
		}
	}
	return 0
}

// mainMember returns the index of the member by which main's best default route
// leaves, 0 for none.
func (b *familyBuilder) mainMember() int {
	best := b.main.BestDefault()
	for _, m := range b.members {
		if best != nil && best.Device != "" && m.paths[b.family].Device == best.Device {
			return m.index
		}
	}
	return 0
}

// fates are what becomes of a member's connections when it dies, by option on_dead.
var fates = map[string]Fate{"none": Keep, "clear": Forget, "reset": ForgetAndReset}

// indicesOf returns the indices of some members, in file order.
func (b *builder) indicesOf(holds func(m Member) bool) (indices []int) {
	for _, m := range b.plan.Members {
		if holds(m) {
			indices = append(indices, m.Index)
		}
	}
	return indices
}

// chooses reports whether a policy of several members deals connections to one of
// them, or would if its line were not full.
func (b *builder) chooses(p config.Policy, member string, f family.Family) bool {
	return len(p.Members) > 1 && indexOf(member, b.activeMembers(p, f)) >= 0
}

// vacatedIndices returns the members that have handed everything over to one that is
// back, to a policy with failback 'all': their connections are to return too. A
// member that goes on being dealt something keeps its connections.
func (b *builder) vacatedIndices(f family.Family, live, active []int) []int {
	isBack := func(m *member) bool {
		return !slices.Contains(b.before.Live[f], m.index) && slices.ContainsFunc(b.config.Policies, func(p config.Policy) bool {
			return b.chooses(p, m.Name, f) && failback(p, m) == failbackAll
		})
	}
	if !slices.ContainsFunc(b.members, isBack) {
		return nil
	}
	return slices.DeleteFunc(without(b.before.Active[f], active), func(index int) bool {
		return !slices.Contains(live, index)
	})
}

// reusedIndices returns the indices that have gone from one member to another.
func reusedIndices(old, now Indices) []int {
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
	sort.Slice(reused, func(i, j int) bool { return reused[i] < reused[j] })
	return reused
}

func union[T comparable](a, b []T) []T { return append(slices.Clone(a), without(b, a)...) }

// without returns what is in all but not in some.
func without[T comparable](all, some []T) (rest []T) {
	for _, x := range all {
		if !slices.Contains(some, x) {
			rest = append(rest, x)
		}
	}
	return rest
}

// Stopped is the plan of a service that is stopped: nothing in the kernel. The next
// start has the last run's state, so that connections keep their members.
func Stopped(before State) *Plan {
	before.Held, before.Prefixes, before.Notices = nil, nil, nil
	return &Plan{State: before}
}
