// Package plan computes the complete kernel state that a configuration asks for, as
// plain values. It is pure: no I/O, no clock, no memory. The same input always gives
// the same plan, which can be printed, compared, tested against a file, and walked.
package plan

import (
	"net/netip"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// Plan is everything that we want in the kernel.
type Plan struct {
	IPv4 Family
	IPv6 Family
	// Sysctls are wanted values by their path under /proc/sys, for example
	// "net/ipv4/conf/wan1/rp_filter".
	Sysctls []Sysctl
	// Uplinks is where the members stand. Those whose IPv6 is down have the
	// delegated prefixes that they had last.
	Uplinks uplink.State
	// Members tells what became of each enabled member, in file order.
	Members []Member
	// Connections says, by family, what becomes of live connections.
	Connections map[family.Family]Connections
	// State is what the next run's plan has to know of this one.
	State State
	// Policies tells how each policy deals out new connections, in file order.
	Policies []Policy
	// Notices are for the user: members left out and why, shares that were
	// rounded, and the like. LeftOut has those of them that tell of a member, with
	// its name.
	Notices []string
	LeftOut map[string]string
}

// Family returns the plan of one family.
func (p *Plan) Family(f family.Family) *Family { return family.Pick(f, &p.IPv4, &p.IPv6) }

// Family is the part of a plan that one family's kernel objects hold. The
// zero value means that we want nothing of ours in this family.
type Family struct {
	// Jumps are the rules in built-in chains, one each.
	Jumps []Jump
	// Chains are our own chains, sorted by name.
	Chains []Chain
	Sets   []Set
	Rules  []uplink.Rule // they always carry our protocol number
	Routes []Route
}

// Set returns the set with a name, or nil.
func (f *Family) Set(name string) *Set {
	for i := range f.Sets {
		if f.Sets[i].Name == name {
			return &f.Sets[i]
		}
	}
	return nil
}

// Jump is a rule in a built-in chain of the mangle table that leads to one of
// ours.
type Jump struct {
	Chain string // PREROUTING or OUTPUT
	Rule  Rule
}

// Chain is one of our chains in the mangle table. A long draw lies in several
// chains there, see Written.
type Chain struct {
	Name  string
	Rules []Rule
	// Cascade, where there is one, follows the rules: the chains to which
	// new connections are dealt in turn, one slot each. The cascade may be
	// written with any rotation: it is the same cascade.
	Cascade []string
	// Lots, where there are some, follow the rules: the chains to which new
	// connections are dealt by chance.
	Lots []Lot
	// Policy names the policy whose connections the chain sends to members;
	// empty for a chain that decides by something else.
	Policy string
}

// Lot is a chain's part of what is dealt by chance.
type Lot struct {
	Target string
	Weight int // at least 1
}

// Set is an ipset: of type hash:net, or with a time limit of type hash:ip or, of
// pairs, hash:net,net.
type Set struct {
	Name    string
	Entries []netip.Prefix // sorted
	// Timeout, if not 0, is the default time limit of entries in seconds. The
	// entries are then the kernel's: rules make them.
	Timeout int
	Pairs   bool // of a source and a destination
	// Section names the section of the configuration; empty for other sets.
	Section string
	// Domains are names whose addresses, and those of the names below them,
	// the monitor enters too.
	Domains []string
}

// Route is a route in one of our tables. It always carries our protocol
// number.
type Route struct {
	Table       int
	Type        uplink.RouteType // unicast, blackhole, unreachable or throw
	Destination netip.Prefix
	Gateway     netip.Addr // not valid: none
	Device      string
	Source      netip.Addr // preferred source; not valid: none
	OnLink      bool       // the gateway need not lie in a known network
}

// Sysctl is one wanted value.
type Sysctl struct {
	Path  string
	Value string
}

// Policy is what a plan made of a policy.
type Policy struct {
	Name string
	// Members are the policy's members, in its order.
	Members []PolicyMember
	// Output are those of the policy that deals out the router's own connections,
	// see OutputPolicy; nil if it is this one.
	Output []PolicyMember
}

// PolicyMember is a member's part in a policy: the part of the policy's new
// connections that it is dealt, from 0 to 1.
type PolicyMember struct {
	Name string
	IPv4 float64
	IPv6 float64
}

// Share returns the part of one family's connections.
func (m PolicyMember) Share(f family.Family) float64 { return family.Pick(f, m.IPv4, m.IPv6) }

// Member is what a plan made of a member.
type Member struct {
	Name  string
	Index int
	Mark  uint32
	Table int
	// Weight and Metric are those in policy 'balanced', or the member's own
	// where the policy leaves it out.
	Weight int
	Metric int
	Quota  config.Quota
	Spent  string // that it has used up its quota, in words
	Full   string // that its line is full, likewise
	IPv4   MemberState
	IPv6   MemberState
}

// State returns the member's state in one family.
func (m *Member) State(f family.Family) MemberState { return family.Pick(f, m.IPv4, m.IPv6) }

// MemberState is a member's part in one family.
type MemberState struct {
	Up     bool // link, address and route are there
	Online bool // and the health check, where there is one, agrees
	Portal bool // up, but not online, since a captive portal answers
	Active bool // and policy 'balanced' deals it new connections, while it is not full
	// Held says that the member is online, but that some policy leaves it out
	// until the members that took over are gone.
	Held bool
	// Reason says in words why the member is not up, not online, held, full or
	// comes last; "" where nothing is to be said.
	Reason string
	Device string
	// Gateway is not valid on a point-to-point link.
	Gateway netip.Addr
	// Share is the part of new connections that policy 'balanced' deals to
	// the member, from 0 to 1.
	Share float64
}
