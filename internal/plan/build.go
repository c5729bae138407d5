package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/uplink"
)

// Build computes the plan.
func Build(in Input) *Plan {
	b := newBuilder(in)
	b.plan.Uplinks = b.uplinks
	b.plan.State = State{Indices: b.indices, Prefixes: prefixes(b.uplinks), Held: b.held,
		Live: map[family.Family][]int{}, Active: map[family.Family][]int{}}
	if len(b.members) == 0 {
		b.notice("no member is configured and enabled: nothing is balanced")
	}
	for _, f := range family.All {
		if fb := b.family(f); len(b.members) > 0 && fb.wanted() {
			*b.plan.Family(f) = fb.build()
		}
	}
	b.plan.Sysctls = b.sysctls()
	b.plan.Members = b.states()
	b.noteLeftOut()
	b.plan.Policies = b.policies()
	b.connections()
	b.plan.Notices, b.plan.State.Notices = b.notices, b.notices
	return b.plan
}

// builder holds what both families share.
type builder struct {
	config   *config.Config
	uplinks  uplink.State
	kernel   Kernel
	verdicts Verdicts
	// before is what the last run left, forgotten reports that it was lost or
	// never was.
	before    State
	forgotten bool
	indices   Indices
	mask      fwmark.Mask
	members   []*member
	held      map[family.Family]map[string]bool
	plan      *Plan
	notices   []string
}

// member is an enabled member with everything that the plan derives from its
// name.
type member struct {
	config.Member
	index int
	mark  uint32
	table int
	chain string
	paths map[family.Family]*uplink.Path
}

// live reports whether new connections can be dealt to the member.
func (b *builder) live(m *member, f family.Family) bool {
	path, verdict := m.paths[f], b.verdicts[f][m.Name]
	return path != nil && path.Up && verdict.Offline == "" && verdict.Portal == "" && !b.cannot(f)
}

// spent is why a member comes last; "" if it does not.
func (b *builder) spent(name string) string { return b.verdicts[family.IPv4][name].Spent }

// full is why a member's line takes nothing more; "" if it does.
func (b *builder) full(name string) string { return b.verdicts[family.IPv4][name].Full }

// cannot reports whether nothing can be done in a family, whatever is wanted.
func (b *builder) cannot(f family.Family) bool { return f == family.IPv6 && b.kernel.NoIP6Tables }

func newBuilder(in Input) *builder {
	b := &builder{
		config:    in.Config,
		kernel:    in.Kernel,
		verdicts:  in.Verdicts,
		before:    in.before(),
		forgotten: in.State == nil,
		mask:      fwmark.Mask(in.Config.Globals.MarkMask),
		held:      map[family.Family]map[string]bool{},
		plan:      &Plan{},
	}
	b.uplinks = withLastPrefixes(in.Uplinks, b.before.Prefixes)
	b.indices = b.before.Indices.Assign(in.Config)
	for _, cfg := range in.Config.EnabledMembers() {
		index := b.indices.Members[cfg.Name]
		m := &member{
			Member: cfg,
			index:  index,
			mark:   b.mask.Mark(index),
			table:  cmp.Or(cfg.Table, fwmark.Table(index)),
			chain:  MemberChain(cfg.Name),
			paths:  map[family.Family]*uplink.Path{},
		}
		for _, f := range family.All {
			m.paths[f] = b.uplinks.Path(cfg.Name, f)
		}
		b.members = append(b.members, m)
	}
	sort.Slice(b.members, func(i, j int) bool { return b.members[i].index < b.members[j].index })
	for _, f := range family.All {
		b.held[f] = b.stillHeld(b.candidatesToHold(f), f)
	}
	return b
}

// familyBuilder builds one family's part of the plan.
type familyBuilder struct {
	*builder
	family  family.Family
	main    *uplink.Main
	members []*member // those that have this family, by index
	suffix  string    // of policies that only the router's own packets pass
	local   []netip.Prefix
	former  []uplink.Rule // for addresses of members that were removed
}

func (b *builder) family(f family.Family) *familyBuilder {
	fb := &familyBuilder{builder: b, family: f, main: b.uplinks.Main(f)}
	for _, m := range b.members {
		if m.paths[f] != nil {
			fb.members = append(fb.members, m)
		}
	}
	return fb
}

// wanted reports whether we want anything in this family. IPv6 is balanced only where
// some member has it or a rule wants it: a router without it pays nothing.
func (b *familyBuilder) wanted() bool {
	if b.family == family.IPv4 {
		return true
	}
	wanted := len(b.members) > 0 || slices.ContainsFunc(b.config.Rules, wantsIPv6)
	if !b.main.Enabled && len(b.members) > 0 {
		b.notice("IPv6 is switched off in the kernel: only IPv4 is balanced")
	}
	if b.main.Enabled && wanted && b.cannot(b.family) {
		b.notice(noIP6Tables + ": IPv6 is not balanced")
	}
	return b.main.Enabled && wanted && !b.cannot(b.family)
}

// noIP6Tables is why nothing can be done in IPv6.
const noIP6Tables = "ip6tables is not installed"

// wantsIPv6 reports whether a rule has a meaning for IPv6 where no member has it:
// it is about IPv6 alone, or it is to keep traffic from leaving.
func wantsIPv6(r config.Rule) bool {
	if !r.Enabled || !slices.Contains(r.Families, family.IPv6) {
		return false
	}
	return len(r.Families) == 1 || r.Use == string(config.LastUnreachable) || r.Use == string(config.LastBlackhole)
}

func (b *familyBuilder) build() Family {
	b.warnMain()
	b.local = b.localDestinations()
	user := b.userRules()
	output, own := b, user
	if b.dealsOutput() && b.keepsOff() {
		output = b.forOutput()
		own = output.userRules()
		user.chains, user.sets = slices.Concat(user.chains, own.chains), slices.Concat(user.sets, own.sets)
		for _, p := range output.config.Policies {
			user.chains = append(user.chains, output.policyChain(p))
		}
	}
	return Family{
		Jumps:  []Jump{{"PREROUTING", on(JumpTo(hookChain))}, {"OUTPUT", on(JumpTo(outChain), NotOutDevice("lo"))}},
		Chains: b.chains(user, output, own),
		Sets:   b.sets(user),
		Rules:  b.rules(),
		Routes: b.routes(),
	}
}

// notice tells the user something once.
func (b *builder) notice(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(b.notices, text) {
		b.notices = append(b.notices, text)
	}
}

// noteLeftOut names the members that cannot carry anything now, and those that
// could but have to wait.
func (b *builder) noteLeftOut() {
	b.plan.LeftOut = map[string]string{}
	for _, m := range b.plan.Members {
		for _, f := range family.All {
			if m.State(f).Held {
				b.leaveOut(m.Name, fmt.Sprintf("member '%s' (%s) %s", m.Name, f, heldReason))
			}
		}
		if m.Spent != "" {
			b.leaveOut(m.Name, "member '"+m.Name+"': "+m.Spent)
		}
		if !m.IPv4.Up && !m.IPv6.Up {
			b.leaveOut(m.Name, fmt.Sprintf("member '%s' is left out: %s", m.Name, m.IPv4.Reason))
		}
	}
}

// leaveOut is notice for what tells of a member.
func (b *builder) leaveOut(member, text string) {
	b.notice("%s", text)
	b.plan.LeftOut[text] = member
}

// sets are the local destinations, the configuration's named sets and those
// that rules need, sorted by name.
func (b *familyBuilder) sets(user userRules) []Set {
	sets := append([]Set{{Name: LocalSet(b.family), Entries: b.local}}, user.sets...)
	for _, s := range b.config.IPSets {
		if s.Family == b.family {
			sets = append(sets, Set{Name: UserSet(s), Section: s.Name, Entries: withoutCovered(slices.Clone(s.Entries)), Domains: s.Domains})
		}
	}
	sort.Slice(sets, func(i, j int) bool { return sets[i].Name < sets[j].Name })
	return sets
}

// states tells for every member, in file order, what became of it.
func (b *builder) states() []Member {
	var states []Member
	for _, cfg := range b.config.EnabledMembers() {
		m := b.memberNamed(cfg.Name)
		part := b.balancedPart(cfg)
		states = append(states, Member{
			Name: m.Name, Index: m.index, Mark: m.mark, Table: m.table,
			Weight: part.Weight, Metric: part.Metric, Quota: m.Quota, Spent: b.spent(m.Name), Full: b.full(m.Name),
			IPv4: b.state(m, family.IPv4),
			IPv6: b.state(m, family.IPv6),
		})
	}
	return states
}

// balancedPart is a member's part in policy 'balanced', or its own weight and
// tier where the policy leaves it out.
func (b *builder) balancedPart(m config.Member) config.PolicyMember {
	if p := b.config.Policy(BalancedPolicy); p != nil {
		if i := indexOf(m.Name, p.Members); i >= 0 {
			return p.Members[i]
		}
	}
	return config.PolicyMember{Name: m.Name, Weight: m.Weight, Metric: m.Metric}
}

func (b *builder) state(m *member, f family.Family) MemberState {
	path := m.paths[f]
	if b.cannot(f) && path != nil {
		return MemberState{Reason: noIP6Tables}
	}
	if path == nil {
		return MemberState{Reason: "has no " + f.String()}
	}
	balanced := *cmp.Or(b.config.Policy(BalancedPolicy), &config.Policy{})
	verdict := b.verdicts[f][m.Name]
	state := MemberState{
		Up:      path.Up,
		Online:  b.live(m, f),
		Portal:  path.Up && verdict.Offline == "" && verdict.Portal != "",
		Active:  indexOf(m.Name, b.activeMembers(balanced, f)) >= 0,
		Held:    b.held[f][m.Name] && b.live(m, f),
		Reason:  path.Reason,
		Device:  path.Device,
		Gateway: path.Gateway,
		Share:   b.share(balanced, m.Name, f),
	}
	switch {
	case state.Up && !state.Online:
		state.Reason = cmp.Or(verdict.Offline, verdict.Portal)
	case state.Held:
		state.Reason = heldReason
	case state.Up:
		state.Reason = cmp.Or(b.spent(m.Name), b.full(m.Name))
	}
	return state
}

// policies tells how connections are dealt.
func (b *builder) policies() []Policy {
	var policies []Policy
	for _, p := range b.config.Policies {
		policy := Policy{Name: p.Name, Members: b.parts(p)}
		if b.keepsOff() {
			policy.Output = b.parts(b.outputPolicy(p))
		}
		policies = append(policies, policy)
	}
	return policies
}

func (b *builder) parts(p config.Policy) (parts []PolicyMember) {
	for _, m := range p.Members {
		parts = append(parts, PolicyMember{Name: m.Name, IPv4: b.share(p, m.Name, family.IPv4), IPv6: b.share(p, m.Name, family.IPv6)})
	}
	return parts
}

// sysctls are what the members' devices need, and where members share a
// network, what keeps each of them to its own address.
func (b *builder) sysctls() []Sysctl {
	var devices []string
	for _, m := range b.members {
		path := m.paths[family.IPv4]
		if path == nil || path.Device == "" || slices.Contains(devices, path.Device) {
			continue
		}
		if path.Up || len(path.Addresses) > 0 {
			devices = append(devices, path.Device)
		}
	}
	wanted := DeviceSysctls(devices)
	if len(b.sharedNetworks(family.IPv4)) > 0 {
		wanted = append(wanted, SharedNetworkSysctls()...)
	}
	return wanted
}

// DeviceSysctls are the settings of members' devices.
func DeviceSysctls(devices []string) []Sysctl {
	var wanted []Sysctl
	for _, device := range devices {
		conf := "net/ipv4/conf/" + device + "/"
		wanted = append(wanted,
			// Loose: an answer may come in by another device than main would use.
			Sysctl{conf + "rp_filter", "2"},
			// The reverse path is looked up with the packet's mark, so it is
			// the member's own even where main has no default route.
			Sysctl{conf + "src_valid_mark", "1"})
	}
	return wanted
}

// SharedNetworkSysctls are the settings where members share a network. Every
// device would answer ARP for every address, the parent of macvlans included:
// it has no address but must keep silent too.
func SharedNetworkSysctls() []Sysctl {
	return []Sysctl{
		{"net/ipv4/conf/all/arp_ignore", "1"},
		{"net/ipv4/conf/all/arp_announce", "2"},
	}
}

// sharedNetworks returns the on-link networks that more than one member has.
func (b *builder) sharedNetworks(f family.Family) map[netip.Prefix]bool {
	seen, shared := map[netip.Prefix]bool{}, map[netip.Prefix]bool{}
	for _, m := range b.members {
		if path := m.paths[f]; path != nil {
			for _, n := range path.Networks {
				if seen[n.Prefix] {
					shared[n.Prefix] = true
				}
				seen[n.Prefix] = true
			}
		}
	}
	return shared
}
