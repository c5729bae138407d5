package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// Route is the result of the routing decision for a packet.
type Route struct {
	// Type is unicast, local (to the router itself), broadcast, multicast (not forwarded),
	// unreachable, prohibit or blackhole; "none" when no table has a route.
	Type uplink.RouteType `json:"type"`
	// Priority is that of the ip rule that led to the table; Rule is it as `ip rule` has it.
	Priority    int          `json:"priority"`
	Rule        string       `json:"rule,omitempty"`
	Table       int          `json:"table,omitempty"`
	TableName   string       `json:"table_name,omitempty"`
	Destination netip.Prefix `json:"destination"`
	// Hops has one entry, and several for a multipath route.
	Hops   []Hop      `json:"hops,omitempty"`
	Source netip.Addr `json:"source"`
	// Passed are the ip rules that matched, but whose table had no usable route.
	Passed []string `json:"passed,omitempty"`
}

// Hop is a next hop. On-link and on point-to-point links, the gateway is the zero Addr.
type Hop = uplink.Nexthop

// The kernel's own tables and the priorities of its rules for them.
const (
	localTable   = 255
	defaultTable = 253
	prioLocal    = 0
	prioMain     = 32766
	prioDefault  = 32767
)

// The types of a Route that uplink.Route does not have.
const (
	typeNone      uplink.RouteType = "none"
	typeBroadcast uplink.RouteType = "broadcast"
	typeMulticast uplink.RouteType = "multicast"
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
		found, without := w.apply(rule, p.Source, destination)
		if found != nil {
			found.Priority, found.Rule, found.Passed = rule.Priority, w.ruleText(rule), passed
			found.Table, found.TableName = rule.Table, w.tableName(rule.Table)
			return *found
		}
		passed = append(passed, fmt.Sprintf("%d: %s%s", rule.Priority, w.ruleText(rule), without))
		if rule.Action == uplink.GoTo && slices.ContainsFunc(rules, func(r uplink.Rule) bool { return r.Priority == rule.Target }) {
			from = rule.Target
		}
	}
	return Route{Type: typeNone, Passed: passed}
}

// apply returns the route that a rule leads to, or why it leads to none.
func (w *walker) apply(rule uplink.Rule, source, destination netip.Addr) (found *Route, without string) {
	switch rule.Action {
	case uplink.GoTo, uplink.Nop:
		return nil, ""
	case uplink.LookUp:
		found = w.lookup(rule.Table, source, destination)
	default:
		return &Route{Type: uplink.RouteType(rule.Action)}, ""
	}
	switch {
	case found == nil:
		return nil, ": no route"
	case found.Type == uplink.Throw:
		return nil, ": throw " + found.Destination.String()
	// An error route is not suppressed: it ends the lookup.
	case found.Type == uplink.Unicast && found.Destination.Bits() <= rule.Suppress:
		return nil, ": only " + strings.Replace(family.PrefixText(found.Destination), "default", "a default route", 1) + ", suppressed"
	}
	return found, ""
}

// flow is what ip rules see of a packet. What is not described is as in most packets.
func (w *walker) flow(p Packet, mark uint32, destination netip.Addr) uplink.Flow {
	flow := uplink.Flow{Source: p.Source, Destination: destination, Mark: mark, In: p.InDevice,
		TOS: max(p.DSCP, 0) << 2, Protocol: max(p.Protocol, 0), SourcePort: max(p.SourcePort, 0), Port: max(p.DestinationPort, 0)}
	if p.Own {
		flow.In = "lo"
	}
	return flow
}

// rules returns all ip rules but the first, by priority.
func (w *walker) rules() []uplink.Rule {
	rules := slices.Concat(w.main.Rules, w.plan.Rules, []uplink.Rule{
		{Priority: prioMain, Action: uplink.LookUp, Table: uplink.MainTable, Suppress: uplink.AnyLength},
		{Priority: prioDefault, Action: uplink.LookUp, Table: defaultTable, Suppress: uplink.AnyLength}})
	sort.SliceStable(rules, func(i, j int) bool { return rules[i].Priority < rules[j].Priority })
	return rules
}

// lookup returns the best route of a table, nil if there is none.
func (w *walker) lookup(table int, source, destination netip.Addr) *Route {
	if table == uplink.MainTable {
		return bestRoute(w.main.Routes, source, destination)
	}
	routes := slices.Clone(w.main.Tables[table])
	for _, r := range w.plan.Routes {
		if r.Table == table {
			routes = append(routes, uplink.Route{Destination: r.Destination, Type: r.Type,
				Device: r.Device, Gateway: r.Gateway, Source: r.Source})
		}
	}
	return bestRoute(routes, source, destination)
}

// bestRoute returns the route with the longest destination, then (IPv6) source, then the lowest metric.
func bestRoute(routes []uplink.Route, source, destination netip.Addr) *Route {
	var best *uplink.Route
	for i, r := range routes {
		applies := r.Destination.Contains(destination) && (!r.From.IsValid() || r.From.Contains(source))
		if applies && (best == nil ||
			cmp.Or(best.Destination.Bits()-r.Destination.Bits(), best.From.Bits()-r.From.Bits(), r.Metric-best.Metric) < 0) {
			best = &routes[i]
		}
	}
	if best == nil {
		return nil
	}
	return &Route{Type: best.Type, Destination: best.Destination, Source: best.Source, Hops: best.Legs()}
}

func (w *walker) isLocal(a netip.Addr) bool { return a.IsLoopback() || w.main.Has(a) }

// localType returns the type of the route in the kernel's local table, "" if there is none.
func (w *walker) localType(p Packet, a netip.Addr) uplink.RouteType {
	switch {
	case w.isLocal(a):
		return uplink.Local
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

// deviceTowards returns the device of main's route to an address, "" for a default route.
func (w *walker) deviceTowards(a netip.Addr) string {
	found := bestRoute(w.main.Routes, netip.Addr{}, a)
	if found == nil || found.Destination.Bits() == 0 || len(found.Hops) != 1 {
		return ""
	}
	return found.Hops[0].Device
}

// sourceFor returns the source that the kernel gives to a packet of the router before our mark.
func (w *walker) sourceFor(p Packet) netip.Addr {
	if w.isLocal(p.Destination) {
		return p.Destination
	}
	r := w.route(p, p.Mark, p.Destination)
	if r.Source.IsValid() || len(r.Hops) == 0 {
		return r.Source
	}
	// IPv4 goes by the next hop, IPv6 by the destination: its gateways are mostly link-local.
	near := r.Hops[0].Gateway
	if !near.IsValid() || w.family == family.IPv6 {
		near = p.Destination
	}
	return w.main.SourceTowards(r.Hops[0].Device, near)
}
