package plan

import (
	"cmp"
	"slices"
	"strconv"

	"loadbalance/internal/config"
)

// OutputPolicy is the name under which a policy deals out the router's own
// connections while some member is not for them (its option router_traffic). No
// name in the configuration has a hyphen.
func OutputPolicy(name string) string { return name + outputSuffix }

const outputSuffix = "-out"

// keepsOff reports whether some member is not for the router's own connections: an
// unbound socket has main's address, and dies where that is not translated.
func (b *builder) keepsOff() bool {
	return b.config.Globals.RouterTraffic && slices.ContainsFunc(b.members, func(m *member) bool { return !m.RouterTraffic })
}

// buildsOutput reports whether the rules that are built are, perhaps among others,
// those of the router's own packets.
func (b *familyBuilder) buildsOutput() bool {
	return b.dealsOutput() && (b.suffix != "" || !b.keepsOff())
}

// outputPolicy is a policy without the members that are not for the router's own
// connections.
func (b *builder) outputPolicy(p config.Policy) config.Policy {
	p.Name = OutputPolicy(p.Name)
	p.Members = membersThat(p.Members, func(pm config.PolicyMember) bool {
		m := b.memberNamed(pm.Name)
		return m != nil && m.RouterTraffic
	})
	return p
}

// forOutput is the builder of what only the router's own packets pass: policies
// without such members. A rule that names such a member itself is obeyed.
func (b *familyBuilder) forOutput() *familyBuilder {
	cfg, shared, own := *b.config, *b.builder, *b
	cfg.Policies, cfg.Rules = nil, slices.Clone(cfg.Rules)
	for _, p := range b.config.Policies {
		cfg.Policies = append(cfg.Policies, b.outputPolicy(p))
	}
	for i := range cfg.Rules {
		r := &cfg.Rules[i]
		r.Name = OutputPolicy(cmp.Or(r.Name, strconv.Itoa(i)+"-")) // unlike that of a rule with a number for a name
		if b.config.Policy(r.Use) != nil {
			r.Use = OutputPolicy(r.Use)
		}
	}
	shared.config, own.builder, own.suffix = &cfg, &shared, outputSuffix
	return &own
}
