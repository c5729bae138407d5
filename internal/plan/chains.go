package plan

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"sort"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// The names of our chains. Everything in the mangle table that begins with
// ChainPrefix is ours.
const (
	ChainPrefix = "lb_"
	hookChain   = "lb_hook"
	outChain    = "lb_out"
	// socketsChain is for packets whose socket has set a mark with our bits.
	socketsChain = "lb_sockets"
	rulesChain   = "lb_rules"
	// The router's own packets have chains of their own only while some rule
	// cannot stand in theirs, or some member is not for them.
	hookOutChain  = "lb_hook_out"
	rulesOutChain = "lb_rules_out"
	memberPrefix  = "lb_member_"
	policyPrefix  = "lb_policy_"
)

// The members that stand for no uplink. Their names are reserved.
const (
	defaultMember     = "default"
	unreachableMember = "unreachable"
	blackholeMember   = "blackhole"
)

// BalancedPolicy is the policy of all traffic that no rule matches.
const BalancedPolicy = "balanced"

// MemberChain is the chain that sends a connection to a member.
func MemberChain(name string) string { return chainName(memberPrefix, name) }

// IsMemberChain reports whether a chain sends connections to an uplink.
func IsMemberChain(chain string) bool {
	switch chain {
	case MemberChain(defaultMember), MemberChain(unreachableMember), MemberChain(blackholeMember):
		return false
	}
	return strings.HasPrefix(chain, memberPrefix)
}

// PolicyChain is the chain in which a policy deals out connections.
func PolicyChain(name string) string { return drawName(policyPrefix, name) }

// maxChainName is what the kernel takes: XT_EXTENSION_MAXNAMELEN is 29 with
// the terminating zero (linux/netfilter/x_tables.h).
const maxChainName = 28

func chainName(prefix, name string) string { return fitName(prefix, name, maxChainName) }

// drawName is the name of a chain that may have parts.
func drawName(prefix, name string) string { return fitName(prefix, name, maxChainName-partRoom) }

// fitName keeps names that fit, so that people recognise them. Longer ones are
// cut and made unique again by 8 digits of a hash.
func fitName(prefix, name string, longest int) string {
	if full := prefix + name; len(full) <= longest {
		return full
	}
	hash := fnv.New32a()
	hash.Write([]byte(name)) // a hash never fails to take text
	suffix := fmt.Sprintf("_%08x", hash.Sum32())
	return prefix + name[:longest-len(prefix)-len(suffix)] + suffix
}

// chains are our chains, sorted by name. output is the builder of what the router's
// own packets pass, own are the rules that they obey.
func (b *familyBuilder) chains(user userRules, output *familyBuilder, own userRules) []Chain {
	chains := []Chain{
		{Name: hookChain, Rules: b.hook(rulesChain)},
		{Name: rulesChain, Rules: b.withRest(user.rules)},
		{Name: socketsChain, Rules: b.sockets()},
	}
	if !own.differ && output == b || !b.dealsOutput() {
		chains = append(chains, Chain{Name: outChain, Rules: b.out(hookChain)})
	} else {
		chains = append(chains,
			Chain{Name: outChain, Rules: b.out(hookOutChain)},
			Chain{Name: hookOutChain, Rules: output.hook(rulesOutChain)},
			Chain{Name: rulesOutChain, Rules: output.withRest(own.own)})
	}
	chains = append(chains, user.chains...)
	chains = append(chains, b.memberChain(MemberChain(defaultMember), b.mask.Mark(b.mask.Default())))
	// A refusal is never saved: the connection would be refused for ever.
	for name, value := range map[string]int{unreachableMember: b.mask.Unreachable(), blackholeMember: b.mask.Blackhole()} {
		chains = append(chains, Chain{Name: MemberChain(name), Rules: []Rule{on(SetMark{b.mask.Mark(value), uint32(b.mask)})}})
	}
	for _, m := range b.members {
		chains = append(chains, b.memberChain(m.chain, m.mark))
	}
	for _, p := range b.config.Policies {
		chains = append(chains, b.policyChain(p))
	}
	sort.Slice(chains, func(i, j int) bool { return chains[i].Name < chains[j].Name })
	return chains
}

// withRest ends a list of rules: what none of them matches is balanced.
func (b *familyBuilder) withRest(rules []Rule) []Rule {
	return append(slices.Clone(rules), on(Goto(PolicyChain(BalancedPolicy+b.suffix))))
}

// memberChain marks the packet and lets the connection keep the mark.
func (b *familyBuilder) memberChain(name string, mark uint32) Chain {
	return Chain{Name: name, Rules: []Rule{
		on(SetMark{mark, uint32(b.mask)}),
		on(SaveMark(b.mask)),
	}}
}

// out is what the router's own packets go through. Restoring would erase a mark that
// a socket has set itself (SO_MARK). One that another program's ip rule compares
// before ours stays: NetBird's `not fwmark 0x1bd00` keeps its packets out of its
// tunnel. IPv6 is not dealt out: nothing would mend the source address chosen before.
func (b *familyBuilder) out(hook string) []Rule {
	var rules []Rule
	for _, r := range b.main.Rules {
		if ours := uint32(b.mask); r.Priority < prioOwnNetwork && r.Mask&ours != 0 && r.Mark&ours == 0 && r.Mark != 0 {
			rules = append(rules, on(Return{}, MarkIs{Value: r.Mark, Mask: r.Mask}))
		}
	}
	rules = append(rules, on(Goto(socketsChain), MarkIs{Mask: uint32(b.mask), Not: true}, CtOriginal{}))
	if b.dealsOutput() {
		return append(rules, on(Goto(hook)))
	}
	return append(rules, on(RestoreMark(b.mask)))
}

// sockets takes a socket's mark for the connection's draw if it is a member's, as
// probes have it. In any other, the bits are somebody else's.
func (b *familyBuilder) sockets() []Rule {
	var rules []Rule
	for _, m := range b.members {
		rules = append(rules, on(SaveMark(b.mask), MarkIs{Value: m.mark, Mask: math.MaxUint32}))
	}
	return rules
}

// dealsOutput reports whether the router's own new connections are dealt out.
func (b *familyBuilder) dealsOutput() bool {
	return b.family == family.IPv4 && b.config.Globals.RouterTraffic
}

// neighbourDiscovery are the ICMPv6 types of RFC 4861.
var neighbourDiscovery = []ICMPv6Type{133, 134, 135, 136, 137}

// hook decides for every packet. A known connection costs the first two rules only.
// The draw is keyed on "no mark yet" and never on the state NEW: a retransmitted SYN
// and one-way UDP stay NEW and would be dealt a second uplink.
func (b *familyBuilder) hook(next string) []Rule {
	rules := []Rule{
		on(RestoreMark(b.mask)),
		on(Return{}, MarkIs{Mask: uint32(b.mask), Not: true}),
	}
	if b.family == family.IPv6 {
		for _, t := range neighbourDiscovery {
			rules = append(rules, on(Return{}, t))
		}
	}
	rules = append(rules, b.arrivals()...)
	rules = append(rules, on(Goto(MemberChain(defaultMember)), InSet{Name: LocalSet(b.family)}))
	rules = append(rules, b.ownNetworks()...)
	if b.family == family.IPv6 {
		rules = append(rules, b.prefixSources()...)
	} else {
		rules = append(rules, b.socketSources()...)
	}
	rules = append(rules, b.resolvers()...)
	return append(rules,
		// No entry would keep the mark, so every packet would use up a turn. And
		// what was answered before it had a mark goes on as it began, by main's
		// route: dealt another uplink, it would break.
		on(Return{}, CtState("INVALID,UNTRACKED,ESTABLISHED")),
		on(Goto(next)))
}

// arrivals keep connections that come in by an uplink on it. Of several uplinks
// on one device the address tells that they came to; the rest is the first one's.
func (b *familyBuilder) arrivals() []Rule {
	var rules, rest []Rule
	for i, m := range b.members {
		path := m.paths[b.family]
		if path.Device == "" {
			continue
		}
		shared := slices.ContainsFunc(b.members, func(other *member) bool {
			then := other.paths[b.family]
			return other != m && then.Up && then.Device == path.Device
		})
		if path.Up && shared {
			for _, p := range b.sources(m) {
				rules = append(rules, on(Goto(m.chain), InDevice(path.Device), Destination{Prefix: p}))
			}
		}
		if !slices.ContainsFunc(b.members[:i], func(other *member) bool { return other.paths[b.family].Device == path.Device }) {
			rest = append(rest, on(Goto(m.chain), InDevice(path.Device)))
		}
	}
	return append(rules, rest...)
}

// ownNetworks send what is in exactly one member's network to that member:
// its modem, its provider's servers. The longest prefix comes first.
func (b *familyBuilder) ownNetworks() (rules []Rule) {
	shared := b.sharedNetworks(b.family)
	for _, m := range b.members {
		for _, n := range m.paths[b.family].Networks {
			if !shared[n.Prefix] {
				rules = append(rules, on(Goto(m.chain), Destination{Prefix: n.Prefix}))
			}
		}
	}
	length := func(i int) int { return rules[i].Matches[0].(Destination).Prefix.Bits() }
	sort.SliceStable(rules, func(i, j int) bool { return length(i) > length(j) })
	return rules
}

// prefixSources: an IPv6 source from a delegated prefix can only leave by the
// provider that delegated it.
func (b *familyBuilder) prefixSources() []Rule {
	var rules []Rule
	for _, m := range b.members {
		chain := m.chain
		if !b.live(m, b.family) {
			chain = MemberChain(unreachableMember)
		}
		for _, p := range b.ownPrefixes(m) {
			rules = append(rules, on(Goto(chain), Source{Prefix: p}))
		}
	}
	// A line that is no member (any more) has its own hosts, too: main knows
	// which default route is for them.
	for _, r := range b.main.Routes {
		foreign := !slices.ContainsFunc(b.members, func(m *member) bool { return m.paths[b.family].Device == r.Device })
		if r.IsDefault() && r.From.IsValid() && r.Device != "" && foreign {
			rules = append(rules, on(Goto(MemberChain(defaultMember)), Source{Prefix: r.From}))
		}
	}
	return rules
}

// socketSources: a socket of the router with a member's address that an unbound one
// would not have been given was bound to it. What twins share says nothing.
func (b *familyBuilder) socketSources() []Rule {
	if !b.config.Globals.RouterTraffic {
		return nil
	}
	unbound := b.defaultSource()
	var rules []Rule
	for _, m := range b.members {
		for _, a := range m.paths[b.family].Addresses {
			owners := b.owners(func(_ *member, path *uplink.Path) bool { return slices.Contains(path.Addresses, a) })
			if owners == 1 && !slices.Contains(unbound, a) {
				rules = append(rules, on(Goto(m.chain), Source{Prefix: family.Host(a)}))
			}
		}
	}
	return rules
}

// What a resolver is asked by: DNS (RFC 1035), and DNS over TLS (RFC 7858). With any
// port, a provider could say which line other traffic takes.
var (
	dnsOverUDP = []Match{Protocol(17), Ports{Ranges: []config.PortRange{{First: 53, Last: 53}}}}
	dnsOverTCP = []Match{Protocol(6), Ports{Ranges: []config.PortRange{{First: 53, Last: 53}, {First: 853, Last: 853}}}}
)

// resolvers: a provider's resolver is asked over the provider's own line;
// over another one it refuses, or answers for the wrong network.
func (b *familyBuilder) resolvers() []Rule {
	var rules []Rule
	for _, m := range b.members {
		if !b.live(m, b.family) || b.suffix != "" && !m.RouterTraffic {
			continue
		}
		for _, server := range m.paths[b.family].DNS {
			// It can be any text: only a host beyond an uplink is asked there.
			remote := family.Of(server) == b.family && server.IsGlobalUnicast() && !family.Contain(b.local, server)
			askers := b.owners(func(m *member, path *uplink.Path) bool {
				return b.live(m, b.family) && slices.Contains(path.DNS, server)
			})
			if remote && askers == 1 {
				for _, query := range [][]Match{dnsOverUDP, dnsOverTCP} {
					rules = append(rules, on(Goto(m.chain), append([]Match{Destination{Prefix: family.Host(server)}}, query...)...))
				}
			}
		}
	}
	return rules
}

// owners counts the members that have something.
func (b *familyBuilder) owners(has func(*member, *uplink.Path) bool) (n int) {
	for _, m := range b.members {
		if has(m, m.paths[b.family]) {
			n++
		}
	}
	return n
}

// policyChain deals out connections among the live members of the lowest tier
// that has one.
func (b *familyBuilder) policyChain(p config.Policy) Chain {
	chain := Chain{Name: PolicyChain(p.Name), Policy: p.Name}
	b.draw(p, b.withRoom(p, b.activeMembers(p, b.family)), &chain, MemberChain)
	return chain
}

// draw adds to a chain what deals connections out to members, whose chains
// chainOf names, in the way of a policy.
func (b *familyBuilder) draw(p config.Policy, members []config.PolicyMember, chain *Chain, chainOf func(string) string) {
	if len(members) == 0 {
		chain.Rules = append(chain.Rules, b.lastResort(p))
		return
	}
	switch p.Balance {
	case config.Random:
		for _, m := range members {
			chain.Lots = append(chain.Lots, Lot{chainOf(m.Name), m.Weight})
		}
		return
	case config.Source:
		chain.Rules = append(chain.Rules, sourceDraw(b.family, tierOf(p.Members, members[0].Metric), members, chainOf)...)
		return
	}
	order, rounded := Deal(weightsOf(members))
	if rounded {
		b.notice("policy '%s': the weights need more than %d turns; shares are the closest possible ones", p.Name, maxSlots)
	}
	for _, position := range order {
		chain.Cascade = append(chain.Cascade, chainOf(members[position].Name))
	}
}

// lastResort is what a policy without a live member does. Taking the main table is
// not saved either: the connection can be dealt anew when a member is back, unless an
// answer came in by an uplink, which gives it that one's mark.
func (b *familyBuilder) lastResort(p config.Policy) Rule {
	if p.LastResort == config.LastDefault {
		return on(SetMark{b.mask.Mark(b.mask.Default()), uint32(b.mask)})
	}
	return on(Goto(MemberChain(string(p.LastResort))))
}
