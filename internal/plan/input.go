package plan

import (
	"net/netip"
	"slices"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// Input is everything that a plan depends on, as one look found it.
type Input struct {
	Config  *config.Config
	Uplinks uplink.State
	Kernel  Kernel
	// State is what the last run left; nil if there was none, or if it was lost.
	State    *State
	Verdicts Verdicts
}

// Verdicts are the monitor's, by family and member's name. A member without one
// is online.
type Verdicts map[family.Family]map[string]Verdict

// Verdict is what the monitor holds against a member: each a reason in words,
// or "".
type Verdict struct {
	// Offline: its targets do not answer as they should.
	Offline string `json:"offline,omitempty"`
	// Portal: a captive portal answers in their place.
	Portal string `json:"portal,omitempty"`
	// Full: its line is full, so that others take the turns. That, too, counts for
	// both families where IPv4 has it.
	Full string `json:"full,omitempty"`
	// Spent: it has used up its quota, and comes last. That counts for both
	// families where IPv4 has it.
	Spent string `json:"spent,omitempty"`
}

// Kernel is what a plan needs to know of what the kernel holds.
type Kernel struct {
	// Ours reports whether there is anything of ours: an earlier run made it.
	Ours bool
	// MemberChains are the members' chains. Their indices are recovered from
	// them where State was lost.
	MemberChains []MemberChainMark
	// Rules and Routes are ours, by family.
	Rules  map[family.Family][]uplink.Rule
	Routes map[family.Family][]Route
	// NoIP6Tables reports that ip6tables is not installed: nothing can be done
	// in IPv6.
	NoIP6Tables bool
}

// MemberChainMark is a chain of a member with the mark that it sets.
type MemberChainMark struct {
	Chain      string
	Mark, Mask uint32
}

// State is what one run's plan leaves for the next one's.
type State struct {
	Indices Indices `json:"indices"`
	// Live are the indices of the members that could carry connections, Active of
	// those that were dealt some by a policy that had a choice. Without a live member
	// they are those of the last run that found one: the connections are theirs
	// still.
	Live   map[family.Family][]int `json:"live,omitempty"`
	Active map[family.Family][]int `json:"active,omitempty"`
	// Held names the members that were lost and wait until those that took over
	// are gone (failback 'never').
	Held map[family.Family]map[string]bool `json:"held,omitempty"`
	// Prefixes are the delegated IPv6 prefixes that each member had last.
	Prefixes map[string][]netip.Prefix `json:"prefixes,omitempty"`
	// Unfinished is what is still to be done to the connections of a family: by
	// the run itself, and by the next one if it does not get that far.
	Unfinished map[family.Family]Unfinished `json:"unfinished_connections,omitempty"`
	// Notices are those of the plan: what the log need not say again.
	Notices []string `json:"notices,omitempty"`
}

// Unfinish notes what is still to be done to a family's connections.
func (s *State) Unfinish(f family.Family, what Unfinished) {
	if s.Unfinished == nil {
		s.Unfinished = map[family.Family]Unfinished{}
	}
	s.Unfinished[f] = what
}

// Unfinished names connections whose mark no longer means what it did. What it
// meant cannot be seen in the kernel any more once the chains are written.
type Unfinished struct {
	// Reused are indices that went from one member to another.
	Reused []int `json:"reused,omitempty"`
	// Vacated are indices whose connections are to return to a member that is
	// back.
	Vacated []int `json:"vacated,omitempty"`
	// Freed are destinations that were local.
	Freed []netip.Prefix `json:"freed,omitempty"`
}

// before is what the last run left, or what can be recovered of it.
func (in Input) before() State {
	if in.State != nil {
		return *in.State
	}
	recovered := State{Indices: Indices{Members: map[string]int{}}}
	for _, c := range in.Kernel.MemberChains {
		recovered.Indices.recover(in.Config, c)
	}
	return recovered
}

// candidatesToHold returns the members that have to wait when they are back, if a
// policy has failback 'never': those that waited, and those that the last run found
// live and that are not any more. Nobody took over from one that was never live, so
// the order in which uplinks come up after a start does not matter.
func (b *builder) candidatesToHold(f family.Family) map[string]bool {
	candidates := map[string]bool{}
	for _, m := range b.members {
		index, known := b.before.Indices.Members[m.Name]
		lost := known && slices.Contains(b.before.Live[f], index) && !b.live(m, f)
		if lost || b.before.Held[f][m.Name] {
			candidates[m.Name] = true
		}
	}
	return candidates
}

// withLastPrefixes gives members whose IPv6 is down the delegated prefixes that they
// had last, unless another has them now: main forgets a prefix with its route, but
// LAN hosts use addresses in it for hours, which no other provider may be given.
func withLastPrefixes(now uplink.State, last map[string][]netip.Prefix) uplink.State {
	taken := map[netip.Prefix]bool{}
	for _, m := range now.Members {
		for _, p := range LinePrefixes(m.IPv6) {
			taken[p] = true
		}
	}
	now.Members = slices.Clone(now.Members)
	for i := range now.Members {
		m := &now.Members[i]
		free := slices.DeleteFunc(slices.Clone(last[m.Name]), func(p netip.Prefix) bool { return taken[p] })
		if len(free) == 0 || m.IPv6 != nil && (m.IPv6.Up || len(m.IPv6.Prefixes) > 0) {
			continue
		}
		path := uplink.Path{Reason: "has no IPv6 any more"}
		if m.IPv6 != nil {
			path = *m.IPv6
		}
		path.Prefixes = free
		m.IPv6 = &path
	}
	return now
}

// prefixes are the prefixes of all members by name.
func prefixes(now uplink.State) map[string][]netip.Prefix {
	known := map[string][]netip.Prefix{}
	for _, m := range now.Members {
		if all := LinePrefixes(m.IPv6); len(all) > 0 {
			known[m.Name] = all
		}
	}
	return known
}
