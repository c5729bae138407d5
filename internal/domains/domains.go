// Package domains fills sets with the addresses of domains: it sees the DNS
// answers that this machine gives, to other hosts and to its own programs, by
// whatever resolver. The kernel keeps all that was learnt, see ipset.Learnt; what
// is in memory only spares questions.
package domains

import (
	"net/netip"
	"slices"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// Set is a set that learns. Its entries are there in any case.
type Set struct {
	plan.Set
	Family family.Family
}

// SetsOf returns the sets of a plan that learn.
func SetsOf(p *plan.Plan) []Set {
	var sets []Set
	for _, f := range family.All {
		for _, s := range p.Family(f).Sets {
			if len(s.Domains) > 0 {
				sets = append(sets, Set{s, f})
			}
		}
	}
	return sets
}

// learns reports whether an address may become an entry. One that no host can
// have is a resolver's way to say that it blocks the name.
func (s *Set) learns(a netip.Addr) bool {
	return family.Of(a) == s.Family && config.IsUnicast(a) && !family.Contain(s.Entries, a)
}

// lesson is what is to be learnt from an answer: one address for one set.
type lesson struct {
	set    *Set
	domain string
	record
}

// matcher has the sets that name a domain.
type matcher [len(family.All)]map[string][]*Set

func newMatcher(sets []Set) *matcher {
	m := &matcher{{}, {}}
	for i, s := range sets {
		for _, domain := range s.Domains {
			m[s.Family][domain] = append(m[s.Family][domain], &sets[i])
		}
	}
	return m
}

// lessons are what is to be learnt from an answer. Each name of the answer counts
// for itself: the one that was asked for, and those of the networks that serve it.
func (m *matcher) lessons(a answer) []lesson {
	var all []lesson
	for _, name := range a.names {
		for _, bySuffix := range m {
			domain, more := name, true
			for more && bySuffix[domain] == nil { // the longest domain counts
				_, domain, more = strings.Cut(domain, ".")
			}
			for _, set := range bySuffix[domain] {
				for _, r := range a.addresses {
					if l := (lesson{set, domain, r}); set.learns(r.address) && !slices.Contains(all, l) {
						all = append(all, l)
					}
				}
			}
		}
	}
	return all
}
