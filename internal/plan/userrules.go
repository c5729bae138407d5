package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// rulePrefixes begin the names of what a rule has of its own.
type rulePrefixes struct {
	chain  string
	sticky string // of a chain that enters sources
	set    string // the dot keeps it clear of the configuration's sets
}

// Anonymous rules, which are counted among all rules, have prefixes of their
// own, because a name may be digits alone.
var (
	named     = rulePrefixes{"lb_rule_", "lb_sticky_", "lb_rule."}
	anonymous = rulePrefixes{"lb_anon_", "lb_stickyanon_", "lb_anon."}
)

// userRules are the configured rules as rules of the mangle table, in file
// order, and the chains and sets that they need.
type userRules struct {
	rules  []Rule // for what comes in
	own    []Rule // for the router's own packets
	differ bool   // some rule is not for both
	chains []Chain
	sets   []Set
}

// userRules plans the rules of one family. A rule that cannot work now (its
// interface or set is not there) is left out alone, with a notice.
func (b *familyBuilder) userRules() userRules {
	var planned userRules
	for i, r := range b.config.Rules {
		ownOnly := r.SrcIface == config.Router
		if !r.Enabled || !slices.Contains(r.Families, b.family) || ownOnly && !b.buildsOutput() {
			continue
		}
		rb := &ruleBuilder{familyBuilder: b, rule: r}
		rb.prefix, rb.id = ruleID(r, i)
		if err := rb.build(); err != nil {
			b.notice("%s:%d: rule '%s' is left out: %v", r.Pos.File, r.Pos.Line, r.Label, err)
			continue
		}
		// The router's own packets have no source MAC address yet, and the kernel
		// refuses to look for one there.
		noOwn := len(r.SrcMAC) > 0
		if planned.differ = planned.differ || ownOnly || noOwn; !ownOnly {
			planned.rules = append(planned.rules, rb.rules...)
		}
		if !noOwn {
			planned.own = append(planned.own, rb.rules...)
		}
		planned.chains = append(planned.chains, rb.chains...)
		planned.sets = append(planned.sets, rb.sets...)
	}
	return planned
}

// ruleID names a rule in chains and sets, behind one of the prefixes.
func ruleID(r config.Rule, position int) (rulePrefixes, string) {
	if r.Name == "" {
		return anonymous, strconv.Itoa(position)
	}
	return named, r.Name
}

// ruleBuilder plans one rule in one family.
type ruleBuilder struct {
	*familyBuilder
	rule   config.Rule
	prefix rulePrefixes
	id     string
	rules  []Rule
	chains []Chain
	sets   []Set
}

// build writes the rule's conditions as one line for every combination of
// those that iptables cannot take several of, and its target.
func (b *ruleBuilder) build() error {
	device, err := b.inDevice()
	if err != nil {
		return err
	}
	common, err := b.commonMatches()
	if err != nil {
		return err
	}
	var in []Match
	if device != "" {
		in = append(in, InDevice(device))
	}
	lines := [][]Match{in}
	for _, alternatives := range [][][]Match{
		b.addresses(b.rule.SrcIP, true), b.addresses(b.rule.DestIP, false),
		{common}, b.macs(), b.transports(),
	} {
		lines = combine(lines, alternatives)
	}
	target := b.target()
	for _, matches := range lines {
		b.rules = append(b.rules, Rule{Matches: matches, Target: Goto(target), Origin: b.origin()})
	}
	return nil
}

// combine continues each line with each of the alternatives.
func combine(lines, alternatives [][]Match) [][]Match {
	var combined [][]Match
	for _, line := range lines {
		for _, a := range alternatives {
			combined = append(combined, slices.Concat(line, a))
		}
	}
	return combined
}

// origin tells where a line of the table comes from.
func (b *ruleBuilder) origin() string {
	return fmt.Sprintf("rule '%s' (%s:%d)", b.rule.Label, b.rule.Pos.File, b.rule.Pos.Line)
}

// commonMatches are the further conditions that every line of the rule has.
func (b *ruleBuilder) commonMatches() ([]Match, error) {
	var matches []Match
	for _, set := range []struct {
		name   string
		source bool
	}{{b.rule.IPSetSrc, true}, {b.rule.IPSet, false}} {
		if set.name == "" {
			continue
		}
		name, err := b.setName(set.name)
		if err != nil {
			return nil, err
		}
		matches = append(matches, InSet{Name: name, Source: set.source})
	}
	if b.rule.FWMask != 0 {
		matches = append(matches, MarkIs{Value: b.rule.FWMark, Mask: b.rule.FWMask})
	}
	if b.rule.DSCP >= 0 {
		matches = append(matches, DSCP(b.rule.DSCP))
	}
	return matches, nil
}

// inDevice is the device that the rule's packets come in by; "" for any.
func (b *ruleBuilder) inDevice() (string, error) {
	if b.rule.SrcDevice != "" || b.rule.SrcIface == "" || b.rule.SrcIface == config.Router {
		return b.rule.SrcDevice, nil
	}
	if b.uplinks.Interfaces == nil {
		return b.rule.SrcIface, nil // no netifd: the name is a device's
	}
	device := b.uplinks.Interfaces[b.rule.SrcIface]
	if device == "" {
		return "", fmt.Errorf("interface '%s' has no device now", b.rule.SrcIface)
	}
	return device, nil
}

// setName is the kernel's name for a set that a rule names: one of ours, or
// one that another program makes and that is there.
func (b *ruleBuilder) setName(name string) (string, error) {
	if set := b.config.IPSet(name); set != nil {
		return UserSet(*set), nil
	}
	if there, known := b.uplinks.Sets[name]; !known || there != b.family.String() {
		return "", fmt.Errorf("there is no set '%s' for %s now", name, b.family)
	}
	return name, nil
}

// addresses are the conditions for the source or the destination: one line for all
// prefixes, and one for each masked address, which no set can hold.
func (b *ruleBuilder) addresses(m config.AddressMatch, source bool) [][]Match {
	masked := slices.DeleteFunc(slices.Clone(m.Masked), func(p config.Masked) bool { return family.Of(p.Address) != b.family })
	included := b.prefixes(m.Any, source, false, false)
	excluded := b.prefixes(m.Not, source, true, len(included)+len(masked) > 0)
	var lines [][]Match
	if len(included) > 0 || len(masked) == 0 {
		lines = append(lines, append(included, excluded...))
	}
	for _, p := range masked {
		lines = append(lines, append([]Match{Masked{p, source}}, excluded...))
	}
	return lines
}

// prefixes is the condition for a list of prefixes, none for an empty one. One
// prefix is written into the rule; several become a set, and so does a negated
// one beside a positive one, since iptables takes -s and -d only once: taken.
func (b *ruleBuilder) prefixes(list []netip.Prefix, source, not, taken bool) []Match {
	list = slices.DeleteFunc(slices.Clone(list), func(p netip.Prefix) bool { return family.Of(p.Addr()) != b.family })
	switch {
	case len(list) == 0:
		return nil
	case len(list) == 1 && !taken && source:
		return []Match{Source{list[0], not}}
	case len(list) == 1 && !taken:
		return []Match{Destination{list[0], not}}
	}
	suffixes := map[[2]bool]string{{true, false}: "s", {true, true}: "sn", {false, false}: "d", {false, true}: "dn"}
	name := b.ruleSet(suffixes[[2]bool{source, not}])
	b.sets = append(b.sets, Set{Name: name, Entries: withoutCovered(list)})
	return []Match{InSet{Name: name, Source: source, Not: not}}
}

// macs are the source MAC addresses, one line each.
func (b *ruleBuilder) macs() [][]Match {
	if len(b.rule.SrcMAC) == 0 {
		return [][]Match{nil}
	}
	var lines [][]Match
	for _, mac := range b.rule.SrcMAC {
		lines = append(lines, []Match{SourceMAC(mac)})
	}
	return lines
}

// transports are the protocols with their ports or types, one line each.
func (b *ruleBuilder) transports() [][]Match {
	if len(b.rule.Protos) == 0 {
		return [][]Match{nil}
	}
	var lines [][]Match
	for _, p := range b.rule.Protos {
		if p.Number == protoAll {
			lines = append(lines, nil)
			continue
		}
		if !p.ExistsIn(b.family) {
			continue
		}
		proto := []Match{Protocol(p.Number)}
		if b.rule.ICMPType != "" {
			proto = append(proto, ICMPType{Family: b.family, Type: b.rule.ICMPType})
		}
		withSource := combine([][]Match{proto}, portMatches(b.rule.SrcPorts, true))
		lines = append(lines, combine(withSource, portMatches(b.rule.DestPorts, false))...)
	}
	return lines
}

// protoAll is how the configuration writes every protocol.
const protoAll = 0

// maxPorts is what one multiport match takes; a range counts as two
// (XT_MULTI_PORTS in linux/netfilter/xt_multiport.h).
const maxPorts = 15

// portMatches splits a list of ports into as many matches as it needs.
func portMatches(ports []config.PortRange, source bool) [][]Match {
	if len(ports) == 0 {
		return [][]Match{nil}
	}
	var lines [][]Match
	for start := 0; start < len(ports); {
		end, used := start, 0
		for ; end < len(ports); end++ {
			size := 2
			if ports[end].First == ports[end].Last {
				size = 1
			}
			if used+size > maxPorts {
				break
			}
			used += size
		}
		lines = append(lines, []Match{Ports{Ranges: ports[start:end], Source: source}})
		start = end
	}
	return lines
}

// target is the chain that the rule's lines lead to. A rule that logs or
// remembers its sources has a chain of its own.
func (b *ruleBuilder) target() string {
	target, policy := b.useChain(), b.config.Policy(b.rule.Use)
	sticky := b.rule.Sticky && policy != nil
	if !b.rule.Log && !sticky {
		return target
	}
	chain := Chain{Name: drawName(b.prefix.chain, b.id)}
	if b.rule.Log {
		chain.Rules = append(chain.Rules, on(Log(logPrefix(b.rule.Label))))
	}
	if sticky {
		b.stick(*policy, &chain)
	} else {
		chain.Rules = append(chain.Rules, on(Goto(target)))
	}
	b.chains = append(b.chains, chain)
	return chain.Name
}

// logPrefix fits the 29 characters that the LOG target takes (struct
// xt_log_info).
func logPrefix(label string) string {
	const room = 29 - len("lb : ")
	if len(label) > room {
		label = label[:room]
	}
	return "lb " + label + ": "
}

// useChain is the chain of what the rule uses: a policy, a member, or a way
// out of balancing.
func (b *ruleBuilder) useChain() string {
	if p := b.config.Policy(b.rule.Use); p != nil {
		return PolicyChain(p.Name)
	}
	if m := b.memberNamed(b.rule.Use); m != nil {
		if !b.live(m, b.family) {
			return MemberChain(unreachableMember)
		}
		return m.chain
	}
	return MemberChain(b.rule.Use) // default, unreachable or blackhole
}

func (b *builder) memberNamed(name string) *member {
	for _, m := range b.members {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// stick lets a source, or a source with a destination, keep its uplink: each live
// member of the policy has a set of those that it serves. One that is in none is
// dealt an uplink by a cascade of the rule's own and entered; each new connection
// renews the time limit. Dead members' sets are not asked.
func (b *ruleBuilder) stick(policy config.Policy, chain *Chain) {
	active := b.activeMembers(policy, b.family)
	chainOf := func(name string) string {
		return chainName(b.prefix.sticky, b.id+"_"+strconv.Itoa(b.memberNamed(name).index))
	}
	for _, pm := range active {
		set := b.stickySet(b.memberNamed(pm.Name))
		enter := Chain{Name: chainOf(pm.Name), Rules: []Rule{
			on(AddSource{Set: set.Name, Seconds: set.Timeout, Pair: set.Pairs}),
			on(Goto(MemberChain(pm.Name))),
		}, Policy: policy.Name}
		b.chains = append(b.chains, enter)
		chain.Rules = append(chain.Rules, on(Goto(enter.Name), InSet{Name: set.Name, Source: true, Pair: set.Pairs}))
	}
	b.draw(policy, b.withRoom(policy, active), chain, chainOf)
	// The sets of all members stay, dead ones too: their sources come back to
	// them only if the time limit has not passed.
	for _, pm := range policy.Members {
		if m := b.memberNamed(pm.Name); m != nil {
			b.sets = append(b.sets, b.stickySet(m))
		}
	}
}

// stickySet is the set of what a member serves. Sets of the two kinds have
// different names, since one that rules name cannot become another's type.
func (b *ruleBuilder) stickySet(m *member) Set {
	kind := "m"
	if b.rule.StickyPair {
		kind = "p"
	}
	return Set{Name: b.ruleSet(kind + strconv.Itoa(m.index)), Timeout: int(b.rule.Timeout.Seconds()), Pairs: b.rule.StickyPair}
}

// maxSetName is what the kernel takes: IPSET_MAXNAMELEN is 32 with the
// terminating zero (linux/netfilter/ipset/ip_set.h).
const maxSetName = 31

// UserSet is the kernel's name for a set of the configuration. The families have
// different ones: a set that a rule names can neither be destroyed nor swapped with
// one of the other family.
func UserSet(s config.IPSet) string {
	suffix := family.Pick(s.Family, "", ".6") // no name in the configuration has a dot
	return fitName("lb_", s.Name, maxSetName-len(suffix)) + suffix
}

// ruleSet is the kernel's name for a set that a rule needs.
func (b *ruleBuilder) ruleSet(suffix string) string {
	tail := "." + suffix + family.Pick(b.family, "4", "6")
	return fitName(b.prefix.set, b.id, maxSetName-len(tail)) + tail
}
