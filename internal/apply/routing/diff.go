package routing

import (
	"fmt"
	"net/netip"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// Op is one change of one rule or route.
type Op struct {
	text string
	run  func(Kernel) error
}

// String returns the command that a person would type for the same change.
func (o Op) String() string { return o.text }

// Run makes the change. To add what is there already, or to delete what is
// gone already, is no error.
func (o Op) Run(k Kernel) error {
	if err := o.run(k); err != nil {
		return fmt.Errorf("%s: %w", o.text, err)
	}
	return nil
}

func addRule(f family.Family, r uplink.Rule) Op {
	return Op{ruleText(f, "add", r), func(k Kernel) error { return k.AddRule(f, r) }}
}

func deleteRule(f family.Family, r Rule) Op {
	return Op{ruleText(f, "del", r.Rule), func(k Kernel) error { return k.DeleteRule(f, r) }}
}

func addRoute(f family.Family, r plan.Route) Op {
	return Op{routeText(f, "add", r), func(k Kernel) error { return k.AddRoute(f, r) }}
}

func replaceRoute(f family.Family, r plan.Route) Op {
	return Op{routeText(f, "replace", r), func(k Kernel) error { return k.ReplaceRoute(f, r) }}
}

func deleteRoute(f family.Family, r Route) Op {
	return Op{routeText(f, "del", r.Route), func(k Kernel) error { return k.DeleteRoute(f, r) }}
}

// Changes are operations in four safe steps: a table is filled before a rule leads to
// it, and loses its routes only after the rule. Between the second and the third the
// caller may change what sets the marks.
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
func Diff(f family.Family, rules []uplink.Rule, routes []plan.Route, have State) Changes {
	var c Changes
	c.AddRules, c.DeleteRules = diffRules(f, rules, have.Rules)
	c.AddRoutes, c.DeleteRoutes = diffRoutes(f, routes, have.Routes)
	return c
}

func diffRules(f family.Family, want []uplink.Rule, have []Rule) (add, del []Op) {
	missing := make(map[uplink.Rule]bool, len(want))
	for _, r := range want {
		missing[normalRule(r)] = true
	}
	for _, r := range have {
		switch {
		case r.Altered:
			// The kernel takes a rule for the same as one that differs in
			// "not" only, and would refuse the wanted one.
			add = append(add, deleteRule(f, r))
		case missing[r.Rule]:
			missing[r.Rule] = false
		default:
			del = append(del, deleteRule(f, r))
		}
	}
	for _, r := range want {
		if r = normalRule(r); missing[r] {
			missing[r] = false
			add = append(add, addRule(f, r))
		}
	}
	return add, del
}

// place is where the kernel keeps one route of a given metric.
type place struct {
	table       int
	destination netip.Prefix
}

func placeOf(r plan.Route) place { return place{r.Table, r.Destination.Masked()} }

func diffRoutes(f family.Family, want []plan.Route, have []Route) (add, del []Op) {
	wanted := make(map[place]plan.Route, len(want))
	for _, r := range want {
		wanted[placeOf(r)] = normalRoute(r)
	}
	isRight := func(r Route) bool { return !r.Altered && r.Route == wanted[placeOf(r.Route)] }
	// In a wanted place there may be the right route, or one of ours that the
	// right one can replace: the kernel takes the first.
	stays := make(map[place]int, len(want))
	for i, r := range have {
		p := placeOf(r.Route)
		_, isWanted := wanted[p]
		if _, taken := stays[p]; isWanted && !r.beside && (!taken || isRight(r)) {
			stays[p] = i
		}
	}
	for i, r := range have {
		if other, taken := stays[placeOf(r.Route)]; !taken || other != i {
			del = append(del, deleteRoute(f, r))
		}
	}
	done := make(map[place]bool, len(want))
	for _, r := range want {
		p := placeOf(r)
		i, exists := stays[p]
		switch {
		case done[p]:
		case !exists:
			add = append(add, addRoute(f, wanted[p]))
		case !isRight(have[i]):
			add = append(add, replaceRoute(f, wanted[p]))
		}
		done[p] = true
	}
	return add, del
}
