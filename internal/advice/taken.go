package advice

import (
	"fmt"
	"net/netip"
	"slices"

	"loadbalance/internal/apply/routing"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// faraway are addresses that no network should know better than by its default
// route: two blocks that are kept for documentation and are often refused as
// such (RFC 5737, RFC 3849), then public resolvers.
var faraway = map[family.Family][]netip.Addr{
	family.IPv4: {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("1.1.1.1")},
	family.IPv6: {netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2620:fe::fe"), netip.MustParseAddr("2606:4700:4700::1111")},
}

// askers are packets, but for the mark, for which the kernel is to be asked where rules of others
// come before ours: from the router, from a host of each network of main, and from somebody in
// each prefix that such a rule names.
func askers(f family.Family, uplinks uplink.State) []uplink.Flow {
	main := uplinks.Main(f)
	i := slices.IndexFunc(faraway[f], func(a netip.Addr) bool { return specific(main, a) == nil })
	before := rulesBefore(main)
	if i < 0 || len(before) == 0 {
		return nil // with a split default, all traffic is told about elsewhere
	}
	router := uplink.Flow{Destination: faraway[f][i], In: "lo"}
	flows := []uplink.Flow{router}
	from := func(a netip.Addr) {
		flow := router
		flow.Source = a
		if !main.Has(a) {
			route := specific(main, a)
			if route == nil || route.Device == "" {
				return
			}
			flow.In = route.Device
		}
		flows = append(flows, flow)
	}
	for _, r := range main.Routes {
		if r.Type == uplink.Unicast && !r.Gateway.IsValid() && !r.IsDefault() && !isMembers(f, uplinks, r.Device) {
			from(host(main, r.Destination))
		}
	}
	for _, r := range before {
		if r.From.IsValid() {
			from(host(main, r.From))
		}
	}
	return flows
}

// rulesBefore returns the rules of other programs that the kernel asks before ours.
func rulesBefore(main *uplink.Main) []uplink.Rule {
	return slices.DeleteFunc(slices.Clone(main.Rules), func(r uplink.Rule) bool { return r.Priority >= routing.FirstPriority })
}

// specific returns a route of main to an address that is no default route.
func specific(main *uplink.Main, a netip.Addr) *uplink.Route {
	for i, r := range main.Routes {
		if !r.IsDefault() && r.Destination.Contains(a) {
			return &main.Routes[i]
		}
	}
	return nil
}

func isMembers(f family.Family, uplinks uplink.State, device string) bool {
	return slices.ContainsFunc(uplinks.Members, func(m uplink.Member) bool {
		return m.Path(f) != nil && m.Path(f).Device == device
	})
}

// host returns the first address of a network that is not the router's; without room, its own.
func host(main *uplink.Main, p netip.Prefix) netip.Addr {
	a := p.Masked().Addr()
	for range 4 { // a router has rarely more addresses in a row
		next := a.Next()
		if !p.Contains(next) {
			break
		}
		a = next
		if !main.Has(a) {
			break
		}
	}
	return a
}

// Taken asks the kernel, by lookup, which way packets take that were dealt to the
// members, and names the ip rules of other programs that take some away.
func Taken(uplinks uplink.State, members []plan.Member,
	lookup func(source, destination netip.Addr, in string, mark uint32) (device string, err error)) (found []string, err error) {
	for _, f := range family.All {
		for _, flow := range askers(f, uplinks) {
			for _, m := range members {
				if !m.State(f).Up {
					continue
				}
				flow.Mark = m.Mark
				device, err := lookup(flow.Source, flow.Destination, flow.In, flow.Mark)
				if err != nil {
					return nil, err
				}
				if device == m.State(f).Device {
					continue
				}
				if text := taker(f, uplinks.Main(f), flow, device); text != "" && !slices.Contains(found, text) {
					found = append(found, text)
				}
			}
		}
	}
	return found, nil
}

// taker tells of the rule before ours that has a packet leave by a device, "" if refused, if any.
func taker(f family.Family, main *uplink.Main, flow uplink.Flow, device string) string {
	for _, r := range rulesBefore(main) {
		if r.Matches(flow) && decides(main, r, flow.Destination) {
			does := "is refused"
			if device != "" {
				does = "leaves by '" + device + "'"
			}
			return fmt.Sprintf("ip rule %d (%s)%s, '%s', comes before ours: what it matches %s, whatever uplink it was dealt to; "+
				"if that is not wanted, give it a priority above %d, or selectors", r.Priority, f, probably(owner(r)),
				r.Text(uplink.TableText(r.Table)), does, routing.LastPriority)
		}
	}
	return ""
}

// decides reports whether a rule has an answer for a destination.
func decides(main *uplink.Main, r uplink.Rule, destination netip.Addr) bool {
	switch r.Action {
	case uplink.GoTo, uplink.Nop:
		return false
	case uplink.LookUp:
		routes := main.Tables[r.Table]
		if r.Table == uplink.MainTable {
			routes = main.Routes
		}
		return slices.ContainsFunc(routes, func(route uplink.Route) bool {
			return route.Destination.Contains(destination) && route.Type != uplink.Throw &&
				(route.Type != uplink.Unicast || route.Destination.Bits() > r.Suppress)
		})
	}
	return true
}
