package plan

import (
	"maps"
	"slices"
	"strings"

	"loadbalance/internal/config"
)

// Domain is a domain name whose addresses, and those of the names below it,
// dnsmasq enters into sets.
type Domain struct {
	Name string
	Sets []string // the kernel's names, sorted
}

// domains are the domain lists of the sets that are planned, sorted by name.
// dnsmasq goes by the longest name that fits and by that alone, so that a name
// also has the sets of the names above it.
func (b *builder) domains() []Domain {
	asked := b.askedDomains()
	if len(asked) > 0 && b.uplinks.DomainsRefused != "" {
		for _, s := range b.config.IPSets {
			if len(s.Domains) > 0 {
				b.notice("%s:%d: ipset '%s': option 'domain' has no effect: %s", s.Pos.File, s.Pos.Line, s.Name, b.uplinks.DomainsRefused)
			}
		}
		return nil
	}
	var domains []Domain
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		var sets []string
		for upper, more := range asked {
			if name == upper || strings.HasSuffix(name, "."+upper) {
				sets = append(sets, more...)
			}
		}
		slices.Sort(sets)
		domains = append(domains, Domain{Name: name, Sets: slices.Compact(sets)})
	}
	return domains
}

// askedDomains are the sets that ask for a domain, by its name.
func (b *builder) askedDomains() map[string][]string {
	asked := map[string][]string{}
	for _, s := range b.config.IPSets {
		if !b.planned(s) {
			continue
		}
		for _, name := range s.Domains {
			asked[name] = append(asked[name], UserSet(s))
		}
	}
	return asked
}

// planned reports whether the set's family is balanced, so that there is a set.
func (b *builder) planned(s config.IPSet) bool {
	return slices.ContainsFunc(b.plan.Family(s.Family).Sets, func(set Set) bool { return set.Name == UserSet(s) })
}
