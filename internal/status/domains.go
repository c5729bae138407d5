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

// Domain is a domain of a set with what was learnt of it and of all names below.
// Addresses counts those that the set has now, LastAnswer is when the router last
// answered with one of them; nil if it has none.
type Domain struct {
	Name       string     `json:"name"`
	Addresses  int        `json:"addresses"`
	LastAnswer *time.Time `json:"last_answer,omitempty"`
}

// sets are the sets that learn.
func (in Input) sets() []Set {
	var sets []Set
	for _, f := range family.All {
		for _, s := range in.Plan.Family(f).Sets {
			if len(s.Domains) == 0 {
				continue
			}
			set := Set{Name: s.Section, Family: f.String()}
			i := slices.IndexFunc(in.Kernel.Sets, func(have ipset.Set) bool { return have.Name == s.Name })
			for _, name := range s.Domains {
				d := Domain{Name: name}
				if i >= 0 {
					d.count(in.Kernel.Sets[i].Learnt, in.Now)
				}
				set.Domains = append(set.Domains, d)
			}
			sets = append(sets, set)
		}
	}
	return sets
}

func (d *Domain) count(learnt []ipset.Learnt, now time.Time) {
	for _, l := range learnt {
		if !slices.Contains(l.Domains, d.Name) {
			continue
		}
		d.Addresses++
		at := now.Add(-time.Duration(l.Lifetime-l.Left) * time.Second).Truncate(time.Second)
		if d.LastAnswer == nil || at.After(*d.LastAnswer) {
			d.LastAnswer = &at
		}
	}
}

// setsTable has a row for each domain.
func (s Status) setsTable() string {
	if len(s.Sets) == 0 {
		return ""
	}
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
