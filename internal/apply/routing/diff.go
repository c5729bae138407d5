package routing

import (
	"net/netip"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

type verb uint8

const (
	addRule verb = iota
	deleteRule
	addRoute
	replaceRoute
	deleteRoute
)

// Op is one change of one rule or route.
type Op struct {
	verb   verb
	family family.Family
	rule   Rule
	route  Route
}

// String returns the command that a person would type for the same change.
func (o Op) String() string {
	switch o.verb {
	case addRule:
		return ruleText(o.family, "add", o.rule.IPRule)
	case deleteRule:
		return ruleText(o.family, "del", o.rule.IPRule)
	case addRoute:
		return routeText(o.family, "add", o.route.Route)
	case replaceRoute:
		return routeText(o.family, "replace", o.route.Route)
	}
	return routeText(o.family, "del", o.route.Route)
}

// Run makes the change. To add what is there already, or to delete what is
// gone already, is no error.
func (o Op) Run(k Kernel) error {
	switch o.verb {
	case addRule:
		return k.AddRule(o.family, o.rule.IPRule)
	case deleteRule:
		return k.DeleteRule(o.family, o.rule)
	case addRoute:
		return k.AddRoute(o.family, o.route.Route)
	case replaceRoute:
		return k.ReplaceRoute(o.family, o.route.Route)
	}
	return k.DeleteRoute(o.family, o.route)
}

// Changes are operations in four steps, in the order in which they are safe:
// a table is filled before a rule leads to it, and loses its routes only after
// the rule went. Between the second and the third step the caller may change
// whatever sets the marks that the rules look at.
type Changes struct {
	AddRoutes    []Op // also replaces routes
	AddRules     []Op // first deletes odd rules of ours, which can stand in the way
	DeleteRules  []Op
	DeleteRoutes []Op
}

// Empty says that the kernel holds what the plan wants.
func (c Changes) Empty() bool {
	return len(c.AddRoutes)+len(c.AddRules)+len(c.DeleteRules)+len(c.DeleteRoutes) == 0
}

// Diff returns what turns have into the wanted rules and routes of a family.
func Diff(f family.Family, rules []plan.IPRule, routes []plan.Route, have State) Changes {
	var c Changes
	c.AddRules, c.DeleteRules = diffRules(f, rules, have.Rules)
	c.AddRoutes, c.DeleteRoutes = diffRoutes(f, routes, have.Routes)
	return c
}

func diffRules(f family.Family, want []plan.IPRule, have []Rule) (add, del []Op) {
	missing := make(map[plan.IPRule]bool, len(want))
	for _, r := range want {
		missing[normalRule(r)] = true
	}
	for _, r := range have {
		op := Op{verb: deleteRule, family: f, rule: r}
		switch {
		case r.Altered:
			// The kernel takes a rule for the same as one that differs in
			// "not" only, and would refuse the wanted one.
			add = append(add, op)
		case missing[r.IPRule]:
			missing[r.IPRule] = false
		default:
			del = append(del, op)
		}
	}
	for _, r := range want {
		r = normalRule(r)
		if !missing[r] {
			continue
		}
		missing[r] = false
		add = append(add, Op{verb: addRule, family: f, rule: Rule{IPRule: r}})
	}
	return add, del
}

// place is where the kernel keeps one route of a given metric.
type place struct {
	table       int
	destination netip.Prefix
}

func diffRoutes(f family.Family, want []plan.Route, have []Route) (add, del []Op) {
	wanted := make(map[place]plan.Route, len(want))
	for _, r := range want {
		r = normalRoute(r)
		wanted[place{r.Table, r.Destination}] = r
	}
	// For a wanted place there may be the right route, or one of ours that
	// the right one can replace.
	right := make(map[place]bool, len(want))
	replaced := make(map[place]int, len(want))
	for i, r := range have {
		p := place{r.Table, r.Destination}
		w, ok := wanted[p]
		if !ok || r.beside {
			continue
		}
		right[p] = right[p] || !r.Altered && w == r.Route
		replaced[p] = i
	}
	for i, r := range have {
		p := place{r.Table, r.Destination}
		w, ok := wanted[p]
		keep := ok && !r.Altered && w == r.Route
		if other, exists := replaced[p]; exists && other == i && !right[p] {
			keep = true // it is not deleted but replaced
		}
		if !keep {
			del = append(del, Op{verb: deleteRoute, family: f, route: r})
		}
	}
	seen := make(map[place]bool, len(want))
	for _, r := range want {
		p := place{r.Table, r.Destination.Masked()}
		if right[p] || seen[p] {
			continue
		}
		seen[p] = true
		op := Op{verb: addRoute, family: f, route: Route{Route: wanted[p]}}
		if _, ok := replaced[p]; ok {
			op.verb = replaceRoute
		}
		add = append(add, op)
	}
	return add, del
}
