package routing

import (
	"errors"
	"reflect"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// Netlink is the Kernel to which a handle was opened.
type Netlink struct{ Handle *kernel.Handle }

// Read returns our rules and routes of a family.
func (n Netlink) Read(f family.Family) (State, error) {
	rules, err := n.Rules(f)
	if err != nil {
		return State{}, err
	}
	routes, err := n.routes(f)
	return State{Rules: rules, Routes: routes}, err
}

// Rules returns our rules of a family.
func (n Netlink) Rules(f family.Family) ([]Rule, error) {
	all, err := n.Handle.Rules(f)
	var rules []Rule
	for _, r := range all {
		if r.Protocol == Protocol && r.Priority >= FirstPriority && r.Priority <= LastPriority {
			rules = append(rules, decodeRule(f, r))
		}
	}
	return rules, err
}

func (n Netlink) routes(f family.Family) ([]Route, error) {
	all, err := n.Handle.Routes(f)
	var routes []Route
	for _, r := range all {
		// One for some sources only is none of ours, whatever its protocol
		// says, and could not be deleted.
		if r.Protocol == Protocol && !r.From.IsValid() {
			routes = append(routes, decodeRoute(f, r))
		}
	}
	return routes, err
}

// AddRule adds a rule.
func (n Netlink) AddRule(f family.Family, r uplink.Rule) error {
	// The kernel compares a new rule with all others, protocol included: one
	// that exists is ours.
	return kernel.Ignore(n.Handle.AddRule(encodeRule(f, r)), unix.EEXIST)
}

// DeleteRule deletes a rule that Read returned.
func (n Netlink) DeleteRule(_ family.Family, r Rule) error {
	return kernel.Ignore(n.Handle.DeleteRule(r.kernel), unix.ENOENT)
}

// AddRoute adds a route.
func (n Netlink) AddRoute(f family.Family, r plan.Route) error {
	err := n.Handle.AddRoute(encodeRoute(f, r))
	if errors.Is(err, unix.EEXIST) {
		return n.existing(f, r)
	}
	return err
}

// ReplaceRoute changes a route in place.
func (n Netlink) ReplaceRoute(f family.Family, r plan.Route) error {
	// Both families replace the first route to the destination with the same metric.
	// IPv6 prefers one that has a gateway if the new one has, and takes any other for
	// want of such, so that it never appends.
	return n.Handle.ReplaceRoute(encodeRoute(f, r))
}

// DeleteRoute deletes a route that Read returned.
func (n Netlink) DeleteRoute(_ family.Family, r Route) error {
	// Gone, perhaps along with its device.
	return kernel.Ignore(n.Handle.DeleteRoute(r.kernel), unix.ESRCH, unix.ENODEV)
}

// existing returns an error unless the route that stands in the way of r is r
// itself.
func (n Netlink) existing(f family.Family, r plan.Route) error {
	routes, err := n.routes(f)
	if err != nil {
		return err
	}
	for _, have := range routes {
		if !have.Altered && have.Route == normalRoute(r) {
			return nil
		}
	}
	return errors.New("another route to this destination, which is not ours, is in the table")
}

func encodeRule(f family.Family, r uplink.Rule) netlink.Rule {
	rule := netlink.NewRule()
	rule.Family = int(kernel.Number(f))
	rule.Priority = r.Priority
	rule.Protocol = Protocol
	rule.Table = r.Table
	rule.Src = kernel.IPNet(r.From)
	rule.OifName = r.Out
	if r.Mask != 0 {
		rule.Mark, rule.Mask = r.Mark, &r.Mask
	}
	if r.Suppress >= 0 {
		rule.SuppressPrefixlen = r.Suppress
	}
	return *rule
}

// decodeRule is the reverse of encodeRule. What it does not understand makes
// the rule odd.
func decodeRule(f family.Family, r netlink.Rule) Rule {
	rule := ParseRule(r)
	return Rule{Rule: rule, Altered: !reflect.DeepEqual(encodeRule(f, rule), r), kernel: r}
}

func encodeRoute(f family.Family, r plan.Route) kernel.Route {
	r = normalRoute(r)
	route := kernel.Route{
		Family: f, Table: r.Table, Type: r.Type.Number(), Protocol: Protocol, Scope: unix.RT_SCOPE_UNIVERSE, OnLink: r.OnLink,
		Destination: r.Destination, Gateway: r.Gateway, Device: r.Device, Source: r.Source, Metric: metric(f),
	}
	if f == family.IPv4 && r.Type == uplink.Unicast && !r.Gateway.IsValid() {
		route.Scope = unix.RT_SCOPE_LINK // as ip sets it; IPv6 has no scopes
	}
	return route
}

// decodeRoute is the reverse of encodeRoute. What it does not understand makes
// the route odd.
func decodeRoute(f family.Family, r kernel.Route) Route {
	route := plan.Route{
		Table: r.Table, Type: uplink.TypeOf(r.Type), Destination: r.Destination, Gateway: r.Gateway,
		Device: r.Device, Source: r.Source, OnLink: r.OnLink,
	}
	return Route{
		Route:   route,
		Altered: !reflect.DeepEqual(encodeRoute(f, route), r),
		beside:  r.TOS != 0 || r.Metric != metric(f),
		kernel:  r,
	}
}

// metric is that of all our routes: what the kernel gives a route that was
// added without one, in IPv6 IP6_RT_PRIO_USER of net/ip6_fib.h.
func metric(f family.Family) int { return family.Pick(f, 0, 1024) }
