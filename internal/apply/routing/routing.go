// Package routing owns our ip rules and routes: it compares those that carry our
// protocol number with a plan, and changes them. Those of anybody else are never read
// into a diff, never replaced and never deleted, even in our own tables and
// priorities.
package routing

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/plan"
	"loadbalance/internal/shell"
	"loadbalance/internal/uplink"
)

// Protocol marks every rule and route of ours. Numbers above 4 are the user's
// to choose; 108 is used neither by linux/rtnetlink.h (gated 8 to mrouted 17,
// keepalived 18, babel 42, OVN 84, openr 99, BGP 186 to EIGRP 192) nor by
// BIRD (12), FRR (186 to 198), Calico (80) or systemd-networkd (2 to 4, 16).
const Protocol = 108

// Our rules lie in this window of priorities; a rule with our protocol outside
// of it was put there by somebody else's hand and is left alone.
const (
	FirstPriority = 6000
	LastPriority  = 9999
)

// State is what the kernel holds of ours in one family.
type State struct {
	Rules  []Rule
	Routes []Route
}

// Rule is a rule of ours as the kernel holds it.
type Rule struct {
	uplink.Rule
	// Altered says that the rule has a selector or an action which we never
	// write, so it equals no planned rule.
	Altered bool
	kernel  netlink.Rule // as it was read
}

// Route is a route of ours as the kernel holds it.
type Route struct {
	plan.Route
	// Altered says that the route has a metric, several next hops or another
	// property which we never write, so it equals no planned route.
	Altered bool
	// beside says that the kernel keeps the route beside a planned one to the
	// same destination, because its metric (or TOS) is another.
	beside bool
	kernel kernel.Route // as it was read
}

// Kernel is the access that operations need. To add what is there already, or to
// delete what is gone already, is no error.
type Kernel interface {
	// Read returns our rules and routes. A family that the kernel does not
	// have is empty.
	Read(family.Family) (State, error)
	AddRule(family.Family, uplink.Rule) error
	DeleteRule(family.Family, Rule) error
	AddRoute(family.Family, plan.Route) error
	// ReplaceRoute changes the route to the same destination in the same
	// table in place: the table always holds the old or the new one.
	ReplaceRoute(family.Family, plan.Route) error
	DeleteRoute(family.Family, Route) error
}

// normalRule returns a planned rule as the kernel would print it.
func normalRule(r uplink.Rule) uplink.Rule {
	r.Mark &= r.Mask
	if r.From = r.From.Masked(); r.From.Bits() == 0 {
		r.From = netip.Prefix{}
	}
	r.Suppress = max(r.Suppress, -1)
	return r
}

// normalRoute returns a planned route as the kernel would print it.
func normalRoute(r plan.Route) plan.Route {
	r.Destination = r.Destination.Masked()
	if r.Type != uplink.Unicast {
		r.Device = ""
	}
	return r
}

func ruleText(f family.Family, verb string, r uplink.Rule) string {
	return fmt.Sprintf("ip %s rule %s %s priority %d protocol %d", family.Pick(f, "-4", "-6"), verb, r.Text(uplink.TableText(r.Table)), r.Priority, Protocol)
}

func routeText(f family.Family, verb string, r plan.Route) string {
	var b strings.Builder
	b.WriteString("ip " + family.Pick(f, "-4", "-6") + " route " + verb + " ")
	if r.Type != uplink.Unicast {
		b.WriteString(string(r.Type) + " ")
	}
	b.WriteString(family.PrefixText(r.Destination))
	if r.Gateway.IsValid() {
		b.WriteString(" via " + r.Gateway.String())
	}
	if r.Device != "" {
		b.WriteString(" dev " + shell.Quote(r.Device))
	}
	if r.Source.IsValid() {
		b.WriteString(" src " + r.Source.String())
	}
	fmt.Fprintf(&b, " table %s protocol %d", uplink.TableText(r.Table), Protocol)
	if r.OnLink {
		b.WriteString(" onlink")
	}
	return b.String()
}
