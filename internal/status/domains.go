package status

import (
	"fmt"
	"slices"
	"time"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/family"
)

// Set is a set that learns the addresses of domains.
type Set struct {
	Name    string   `json:"name"` // its section's
	Family  string   `json:"family"`
	Domains []Domain `json:"domains"`
}

// Domain is a domain of a set with what was learnt of it and of all names below. Addresses are
// those that the set has now, LastAnswer is the last with one of them; nil if it has none.
type Domain struct {
	Name       string     `json:"name"`
	Addresses  int        `json:"addresses"`
	LastAnswer *time.Time `json:"last_answer,omitempty"`
}

func (in Input) sets() []Set {
	learnt := map[string][]ipset.Learnt{}
	for _, s := range in.Kernel.Sets {
		learnt[s.Name] = s.Learnt
	}
	var sets []Set
	for _, f := range family.All {
		for _, s := range in.Plan.Family(f).Sets {
			if len(s.Domains) == 0 {
				continue
			}
			set := Set{Name: s.Section, Family: f.String()}
			for _, name := range s.Domains {
				set.Domains = append(set.Domains, domainOf(name, learnt[s.Name], in.Now))
			}
			sets = append(sets, set)
		}
	}
	return sets
}

func domainOf(name string, learnt []ipset.Learnt, now time.Time) Domain {
	d := Domain{Name: name}
	most := 0
	for _, l := range learnt {
		if slices.Contains(l.Domains, name) {
			d.Addresses++
			// More than the least lifetime is left if the answer said so.
			most = max(most, min(l.Left, ipset.MinLifetime))
		}
	}
	if d.Addresses > 0 {
		last := now.Add(time.Duration(most-ipset.MinLifetime) * time.Second).Truncate(time.Second)
		d.LastAnswer = &last
	}
	return d
}

func (s Status) setsTable() string {
	rows := []string{"\nSET\tFAMILY\tDOMAIN\tADDRESSES\tLAST ANSWER"}
	for _, set := range s.Sets {
		for _, d := range set.Domains {
			last := "-"
			if d.LastAnswer != nil {
				last = ago(s.Time, *d.LastAnswer)
			}
			rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%d\t%s", set.Name, set.Family, d.Name, d.Addresses, last))
		}
	}
	return table(rows)
}
