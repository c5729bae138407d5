package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"

	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/uplink"
)

// The priorities of our ip rules, all between 6000 and 9999: after the
// kernel's local table (0) and Tailscale (5210 to 5270), before netifd's
// source policies (10000 and up) and main (32766). Each +i has room for the
// members' indices 1 to 199.
const (
	prioOwnNetwork  = 6000 // +i: the member's own network over its own device
	prioMain        = 7000 // all that main knows better than by a default route
	prioDevice      = 8000 // +i: sockets bound to the member's device
	prioMark        = 9000 // +i: the balanced default route
	prioNoLeak      = 9200 // +i: the table is empty, the packet must go nowhere
	prioLastResort  = 9400
	prioSource      = 9500 // +i: unmarked traffic with the member's address
	prioNoMainRoute = 9980 // while main has no default route
)

// to is a rule that leads to a table.
func to(table, priority int) uplink.Rule {
	return uplink.Rule{Priority: priority, Action: uplink.LookUp, Table: table, Suppress: uplink.AnyLength}
}

// marked is a rule for a mark of ours.
func (b *builder) marked(mark uint32, table, priority int) uplink.Rule {
	rule := to(table, priority)
	rule.Mark, rule.Mask = mark, uint32(b.mask)
	return rule
}

// rules are the ip rules of one family.
func (b *familyBuilder) rules() []uplink.Rule {
	main := to(uplink.MainTable, prioMain)
	main.Suppress = b.splitDefaultLength()
	rules := []uplink.Rule{main}
	for _, index := range []int{b.mask.Unreachable(), b.mask.Blackhole()} {
		rules = append(rules, b.marked(b.mask.Mark(index), fwmark.Table(index), prioLastResort))
	}
	// Every member has its rules, also one without this family or without
	// link: live connections may carry its mark.
	for _, m := range b.builder.members {
		own := b.marked(m.mark, m.table, prioOwnNetwork+m.index)
		own.Suppress = 0
		rules = append(rules, own, b.marked(m.mark, m.table, prioMark+m.index),
			b.marked(m.mark, fwmark.Table(b.mask.Blackhole()), prioNoLeak+m.index))
	}
	for _, m := range b.members {
		if m.paths[b.family].Device != "" {
			rules = append(rules, b.deviceRule(m))
		}
		for _, source := range b.sources(m) {
			rule := to(m.table, prioSource+m.index)
			rule.From = source
			rules = append(rules, rule)
		}
	}
	b.former = b.formerSources(rules)
	rules = append(rules, b.former...)
	mainHasDefault := slices.ContainsFunc(b.main.Routes, func(r uplink.Route) bool { return r.IsDefault() && r.Type == uplink.Unicast })
	if m := b.firstLive(); m != nil && !mainHasDefault {
		rules = append(rules, b.marked(0, m.table, prioNoMainRoute))
	}
	sort.SliceStable(rules, func(i, j int) bool { return rules[i].Priority < rules[j].Priority })
	return rules
}

// deviceRule keeps sockets that are bound to a member's device on it. Of several
// members on one device, the mark tells which one a probe is for; what has no
// such mark takes the last one's.
func (b *familyBuilder) deviceRule(m *member) uplink.Rule {
	path, rule := m.paths[b.family], to(m.table, prioDevice+m.index)
	rule.Out = path.Device
	if slices.ContainsFunc(b.members, func(other *member) bool {
		then := other.paths[b.family]
		return other.index > m.index && then.Up && then.Device == path.Device
	}) {
		rule.Mark, rule.Mask = m.mark, uint32(b.mask)
	}
	return rule
}

// sources are the source addresses that belong to a member.
func (b *familyBuilder) sources(m *member) []netip.Prefix {
	var all []netip.Prefix
	for _, a := range m.paths[b.family].Addresses {
		all = append(all, family.Host(a))
	}
	return append(all, b.ownPrefixes(m)...)
}

// formerSources are the rules for addresses that the router still has, of members
// that were removed: no planned rule is for the address or leads to its table. What
// the router answers to late packets of their connections (RST, port unreachable)
// would leave by main's default route, another line.
func (b *familyBuilder) formerSources(planned []uplink.Rule) []uplink.Rule {
	return slices.DeleteFunc(slices.Clone(b.kernel.Rules[b.family]), func(r uplink.Rule) bool {
		return !r.From.IsSingleIP() ||
			slices.ContainsFunc(planned, func(p uplink.Rule) bool { return p.From == r.From || p.Table == r.Table }) ||
			!slices.ContainsFunc(b.kernel.Routes[b.family], func(route Route) bool {
				return route.Table == r.Table && route.Destination.Bits() == 0 && slices.ContainsFunc(b.main.Addresses, func(own uplink.Address) bool {
					return own.Device == route.Device && own.Prefix.Addr() == r.From.Addr()
				})
			})
	})
}

// ownPrefixes are the prefixes that belong to this member alone. One that
// another member has as well, or in which another has an address, says nothing
// about the uplink (leases in one subnet announce the subnet itself).
func (b *familyBuilder) ownPrefixes(m *member) []netip.Prefix {
	var own []netip.Prefix
	for _, p := range LinePrefixes(m.paths[b.family]) {
		others := slices.ContainsFunc(b.members, func(other *member) bool {
			path := other.paths[b.family]
			return other != m && (slices.Contains(LinePrefixes(path), p) || slices.ContainsFunc(path.Addresses, p.Contains))
		})
		if !others {
			own = append(own, p)
		}
	}
	return own
}

// LinePrefixes are the IPv6 prefixes whose addresses hosts may have from a line:
// what it was delegated, and the global networks of its device, in which odhcpd's
// relay gives hosts of the LAN addresses. path may be nil.
func LinePrefixes(path *uplink.Path) []netip.Prefix {
	if path == nil {
		return nil
	}
	prefixes := slices.Clone(path.Prefixes)
	for _, n := range path.Networks {
		global := n.Prefix.Addr().Is6() && !n.Prefix.IsSingleIP() && !n.Prefix.Addr().IsPrivate()
		if global && !slices.Contains(prefixes, n.Prefix) {
			prefixes = append(prefixes, n.Prefix)
		}
	}
	return prefixes
}

// splitDefaultLength is the length up to which main's routes do not outrank
// balancing: 1 where a VPN's 0.0.0.0/1 and 128.0.0.0/1 are to be ignored too.
func (b *builder) splitDefaultLength() int {
	if b.config.Globals.IgnoreSplitDefault {
		return 1
	}
	return 0
}

// firstLive returns the live member with the lowest index, or nil.
func (b *familyBuilder) firstLive() *member {
	for _, m := range b.members {
		if b.live(m, b.family) {
			return m
		}
	}
	return nil
}

// routes are the routes in our tables. No error route goes into a member's
// table: suppress_prefixlength does not skip error routes, so the rule at
// 6000+i would end every lookup there.
func (b *familyBuilder) routes() []Route {
	routes := []Route{
		{Table: fwmark.Table(b.mask.Blackhole()), Type: uplink.Blackhole, Destination: b.family.Default()},
		{Table: fwmark.Table(b.mask.Unreachable()), Type: uplink.Unreachable, Destination: b.family.Default()},
	}
	for _, m := range b.members {
		routes = append(routes, b.memberRoutes(m)...)
	}
	for _, r := range b.kernel.Routes[b.family] {
		if slices.ContainsFunc(b.former, func(rule uplink.Rule) bool { return rule.Table == r.Table }) {
			routes = append(routes, r)
		}
	}
	sort.SliceStable(routes, func(i, j int) bool {
		x, y := routes[i], routes[j]
		return cmp.Or(x.Table-y.Table, family.ComparePrefixes(x.Destination, y.Destination)) < 0
	})
	return routes
}

// memberRoutes is a member's table: its own networks, holes in them for what
// main knows better, and the default route. The table of a member whose link
// is down is empty; its packets then meet the rule at 9200+i.
func (b *familyBuilder) memberRoutes(m *member) []Route {
	path := m.paths[b.family]
	if !path.Up {
		return nil
	}
	var routes []Route
	for _, n := range path.Networks {
		routes = append(routes, Route{Table: m.table, Type: uplink.Unicast, Destination: n.Prefix,
			Device: path.Device, Source: n.Source})
	}
	for _, hole := range b.holes(path) {
		routes = append(routes, Route{Table: m.table, Type: uplink.Throw, Destination: hole})
	}
	return append(routes, Route{Table: m.table, Type: uplink.Unicast, Destination: b.family.Default(),
		Gateway: path.Gateway, Device: path.Device, OnLink: path.Gateway.IsValid()})
}

// holes are main's more specific destinations inside a path's networks: a LAN
// 10.20.0.0/16 inside an uplink's 10.0.0.0/8 must stay reachable.
func (b *familyBuilder) holes(path *uplink.Path) []netip.Prefix {
	var holes []netip.Prefix
	for _, r := range b.main.Routes {
		inside := slices.ContainsFunc(path.Networks, func(n uplink.Network) bool {
			return r.Destination.Bits() > n.Prefix.Bits() && n.Prefix.Overlaps(r.Destination)
		})
		if inside && !path.HasNetwork(r.Destination) && !r.IsDefault() && !slices.Contains(holes, r.Destination) {
			holes = append(holes, r.Destination)
		}
	}
	return holes
}

// defaultSource returns the addresses that an unbound socket of the router
// may be given by an unmarked lookup: those of main's best default route, or
// of the first live member while main has none.
func (b *familyBuilder) defaultSource() []netip.Addr {
	best := b.main.BestDefault()
	if best == nil {
		if m := b.firstLive(); m != nil && len(m.paths[b.family].Addresses) > 0 {
			return m.paths[b.family].Addresses[:1]
		}
		return nil
	}
	if best.Source.IsValid() {
		return []netip.Addr{best.Source}
	}
	var chosen []netip.Addr
	for _, leg := range best.Legs() {
		if a := b.main.SourceTowards(leg.Device, leg.Gateway); a.IsValid() {
			chosen = append(chosen, a)
		}
	}
	return chosen
}

// warnMain tells the user of routes in main that defeat balancing.
func (b *familyBuilder) warnMain() {
	for _, r := range b.main.Routes {
		// A throw route only ends the lookup in main, which is harmless.
		if r.IsDefault() && r.Type != uplink.Unicast && r.Type != uplink.Throw {
			b.notice("the main table has a default route of type %s (%s), which ends every lookup at priority %d: nothing is balanced",
				r.Type, b.family, prioMain)
		}
		if r.Destination.Bits() == 1 && b.splitDefaultLength() == 0 {
			b.notice("the main table has %s, half of a split default route (a VPN?): it outranks balancing unless option ignore_split_default is 1",
				r.Destination)
		}
	}
}
