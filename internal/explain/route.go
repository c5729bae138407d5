package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// Route is the result of the routing decision for a packet.
type Route struct {
	// Type is unicast, local (to the router itself), broadcast, multicast
	// (not forwarded), unreachable, prohibit or blackhole; "none" when no
	// table has a route.
	Type string `json:"type"`
	// Priority is that of the ip rule that led to the table; Rule is this rule
	// as `ip rule` prints it.
	Priority  int    `json:"priority"`
	Rule      string `json:"rule,omitempty"`
	Table     int    `json:"table,omitempty"`
	TableName string `json:"table_name,omitempty"`
	// Destination is the route's destination.
	Destination netip.Prefix `json:"destination"`
	// Hops has one entry, and several for a multipath route.
	Hops []Hop `json:"hops,omitempty"`
	// Source is the route's preferred source.
	Source netip.Addr `json:"source"`
	// Passed are the ip rules that matched, but whose table had no usable
	// route.
	Passed []string `json:"passed,omitempty"`
}

// Hop is a next hop. On a point-to-point link, and to an on-link destination,
// the gateway is the zero Addr.
type Hop struct {
	Device  string     `json:"device"`
	Gateway netip.Addr `json:"gateway"`
}

// The kernel's own tables and the priorities of its rules for them.
const (
	localTable      = 255
	mainTable       = uplink.MainTable
	defaultTable    = 253
	prioLocal       = 0
	prioMain        = 32766
	prioDefault     = 32767
	typeNone        = "none"
	typeLocal       = "local"
	typeBroadcast   = "broadcast"
	typeMulticast   = "multicast"
	typeUnicast     = string(uplink.Unicast)
	typeThrow       = string(uplink.Throw)
	typeUnreachable = string(uplink.Unreachable)
	typeBlackhole   = string(uplink.Blackhole)
)

// route walks the ip rules: ours, other programs' and the kernel's own.
func (w *walker) route(p Packet, mark uint32, destination netip.Addr) Route {
	if kind := w.localType(p, destination); kind != "" {
		return Route{Type: kind, Priority: prioLocal, Rule: "lookup local", Table: localTable, TableName: "local",
			Destination: family.Host(destination)}
	}
	var passed []string
	rules, flow := w.rules(), w.flow(p, mark, destination)
	from := 0 // the priority that a rule of the kind "goto" leads to
	for _, rule := range rules {
		if rule.Priority < from || !rule.Matches(flow) {
			continue
		}
		text := fmt.Sprintf("%d: %s", rule.Priority, w.ruleText(rule))
		var found *Route
		switch rule.Action {
		case uplink.GoTo:
			if slices.ContainsFunc(rules, func(r uplink.Rule) bool { return r.Priority == rule.Target }) {
				from = rule.Target
			}
			fallthrough
		case uplink.Nop:
			passed = append(passed, text)
			continue
		case uplink.LookUp:
			found = w.lookup(rule.Table, p.Source, destination)
		default:
			found = &Route{Type: string(rule.Action)}
		}
		switch {
		case found == nil:
			passed = append(passed, text+": no route")
			continue
		case found.Type == typeThrow:
			passed = append(passed, text+": throw "+found.Destination.String())
			continue
		case found.Destination.Bits() <= rule.Suppress && found.isUsable():
			passed = append(passed, text+": only "+prefixText(found.Destination)+", suppressed")
			continue
		}
		found.Priority, found.Rule, found.Table = rule.Priority, w.ruleText(rule), rule.Table
		found.TableName, found.Passed = w.tableName(rule.Table), passed
		return *found
	}
	return Route{Type: typeNone, Passed: passed}
}

// flow is what ip rules see of a packet. What its description leaves open is
// taken for what most packets have.
func (w *walker) flow(p Packet, mark uint32, destination netip.Addr) uplink.Flow {
	flow := uplink.Flow{Source: p.Source, Destination: destination, Mark: mark, In: p.InDevice,
		TOS: max(p.DSCP, 0) << 2, Protocol: max(p.Protocol, 0), SourcePort: max(p.SourcePort, 0), Port: max(p.DestinationPort, 0)}
	if p.Own {
		flow.In = "lo"
	}
	return flow
}

// isUsable reports whether suppress_prefixlength applies to the route. It does
// not to an error route: that ends the lookup.
func (r *Route) isUsable() bool { return r.Type == typeUnicast }

// rules returns all ip rules but the first, by priority.
func (w *walker) rules() []uplink.Rule {
	rules := slices.Clone(w.main.Rules)
	for _, r := range w.plan.Rules {
		rules = append(rules, uplink.Rule{Priority: r.Priority, Action: uplink.LookUp, Table: r.Table, Suppress: r.Suppress,
			Mark: r.Mark, Mask: r.Mask, From: r.From, Out: r.OIF})
	}
	rules = append(rules,
		uplink.Rule{Priority: prioMain, Action: uplink.LookUp, Table: mainTable, Suppress: uplink.AnyLength},
		uplink.Rule{Priority: prioDefault, Action: uplink.LookUp, Table: defaultTable, Suppress: uplink.AnyLength})
	sort.SliceStable(rules, func(i, j int) bool { return rules[i].Priority < rules[j].Priority })
	return rules
}

// lookup returns the best route of a table, nil if there is none: that with the
// longest destination, then, in IPv6, the longest source, then the lowest
// metric.
func (w *walker) lookup(table int, source, destination netip.Addr) *Route {
	if table == mainTable {
		return bestRoute(w.main.Routes, source, destination)
	}
	if foreign := bestRoute(w.main.Tables[table], source, destination); foreign != nil {
		return foreign
	}
	var best *plan.Route
	for i, r := range w.plan.Routes {
		if r.Table == table && r.Destination.Contains(destination) &&
			(best == nil || r.Destination.Bits() > best.Destination.Bits()) {
			best = &w.plan.Routes[i]
		}
	}
	if best == nil {
		return nil
	}
	found := &Route{Type: planTypes[best.Type], Destination: best.Destination, Source: best.Source}
	if best.Device != "" {
		found.Hops = []Hop{{best.Device, best.Gateway}}
	}
	return found
}

var planTypes = map[plan.RouteType]string{
	plan.Unicast: typeUnicast, plan.Blackhole: typeBlackhole,
	plan.Unreachable: typeUnreachable, plan.Throw: typeThrow,
}

func bestRoute(routes []uplink.Route, source, destination netip.Addr) *Route {
	var best *uplink.Route
	for i, r := range routes {
		if !r.Destination.Contains(destination) || r.From.IsValid() && !r.From.Contains(source) {
			continue
		}
		if best == nil || better(r, *best) {
			best = &routes[i]
		}
	}
	if best == nil {
		return nil
	}
	found := &Route{Type: string(best.Type), Destination: best.Destination, Source: best.Source}
	for _, leg := range best.Nexthops {
		found.Hops = append(found.Hops, Hop(leg))
	}
	if best.Device != "" {
		found.Hops = []Hop{{best.Device, best.Gateway}}
	}
	return found
}

func better(r, best uplink.Route) bool {
	return cmp.Or(
		cmp.Compare(best.Destination.Bits(), r.Destination.Bits()),
		cmp.Compare(sourceBits(best), sourceBits(r)),
		cmp.Compare(r.Metric, best.Metric)) < 0
}

func sourceBits(r uplink.Route) int {
	if !r.From.IsValid() {
		return 0
	}
	return r.From.Bits()
}

func (w *walker) isLocal(a netip.Addr) bool { return a.IsLoopback() || w.main.Has(a) }

// localType returns the type of the route to a destination in the kernel's
// local table, "" if there is none.
func (w *walker) localType(p Packet, a netip.Addr) string {
	switch {
	case w.isLocal(a):
		return typeLocal
	case a.IsMulticast() && !p.Own:
		return typeMulticast
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return typeBroadcast
	}
	for _, own := range w.main.Addresses {
		if broadcast, ok := own.Broadcast(); ok && a == broadcast {
			return typeBroadcast
		}
	}
	return ""
}

// deviceTowards returns the device of main's route to an address, "" if it is
// only a default route.
func (w *walker) deviceTowards(a netip.Addr) string {
	found := bestRoute(w.main.Routes, netip.Addr{}, a)
	if found == nil || found.Destination.Bits() == 0 || len(found.Hops) != 1 {
		return ""
	}
	return found.Hops[0].Device
}

// sourceFor returns the source that the kernel gives to a packet of the router:
// that of the route which it would take without our mark.
func (w *walker) sourceFor(p Packet) netip.Addr {
	if w.isLocal(p.Destination) {
		return p.Destination
	}
	r := w.route(p, p.Mark, p.Destination)
	if r.Source.IsValid() || len(r.Hops) == 0 {
		return r.Source
	}
	var first netip.Addr
	// IPv4 goes by the next hop (inet_select_addr), IPv6 by the destination
	// (RFC 6724): its gateways are mostly link-local.
	near := r.Hops[0].Gateway
	if !near.IsValid() || w.family == family.IPv6 {
		near = p.Destination
	}
	for _, a := range w.main.Addresses {
		if a.Device != r.Hops[0].Device || a.Prefix.Addr().IsLinkLocalUnicast() != near.IsLinkLocalUnicast() && w.family == family.IPv6 {
			continue
		}
		if a.Prefix.Contains(near) {
			return a.Prefix.Addr()
		}
		if !first.IsValid() {
			first = a.Prefix.Addr()
		}
	}
	return first
}
