package status

import (
	"fmt"
	"strings"

	"loadbalance/internal/dealt"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// Policy is a policy with what it has dealt.
type Policy struct {
	Name    string         `json:"name"`
	Members []PolicyMember `json:"members"`
}

// PolicyMember is a member of a policy. IPv6 is nil if it has no share there and never had.
type PolicyMember struct {
	Name string       `json:"name"`
	IPv4 *PolicyShare `json:"ipv4,omitempty"`
	IPv6 *PolicyShare `json:"ipv6,omitempty"`
}

func (m PolicyMember) share(f family.Family) *PolicyShare { return family.Pick(f, m.IPv4, m.IPv6) }

// PolicyShare is a member's share of a policy in one family. All shares are from 0 to 1.
type PolicyShare struct {
	// Share is the share of new connections that the member is dealt now.
	Share float64 `json:"share"`
	// Dealt counts the connections that this policy, or a sticky rule that uses it, has dealt to the
	// member since the service was started. DealtShare is their share of all, and ExpectedShare what
	// that should be by the shares in force when the connections came.
	Dealt         uint64  `json:"dealt"`
	DealtShare    float64 `json:"dealt_share"`
	ExpectedShare float64 `json:"expected_share"`
}

func (in Input) policies() []Policy {
	policies := []Policy{}
	for _, p := range in.Plan.Policies {
		policy := Policy{Name: p.Name, Members: []PolicyMember{}}
		ipv4, ipv6 := in.shares(p, family.IPv4), in.shares(p, family.IPv6)
		for i, m := range p.Members {
			policy.Members = append(policy.Members, PolicyMember{Name: m.Name, IPv4: ipv4[i], IPv6: ipv6[i]})
		}
		policies = append(policies, policy)
	}
	return policies
}

// rules counts the connections that rules have decided about since they were last written, by the
// packets of their lines: only the first of a connection comes that far.
func (in Input) rules() map[string]uint64 {
	rules := map[string]uint64{}
	for f, table := range in.Kernel.Tables {
		if table == nil {
			continue
		}
		for _, chain := range in.Plan.Family(f).Chains {
			have := table.Chains[chain.Name]
			if !have.Holds(chain) {
				continue
			}
			for i, line := range chain.Rules {
				if words := strings.Split(line.Origin, "'"); len(words) > 1 {
					rules[words[1]] += have.Packets[i]
				}
			}
		}
	}
	return rules
}

// shares returns the members' shares in one family; for IPv6, nil for those that never had one.
func (in Input) shares(p plan.Policy, f family.Family) []*PolicyShare {
	dealt := dealt.By(p.Name, in.State.Families[f], in.Kernel.Tables[f])
	expected := 0.0
	for _, n := range dealt.Expected {
		expected += n
	}
	shares := make([]*PolicyShare, len(p.Members))
	for i, m := range p.Members {
		chain := plan.MemberChain(m.Name)
		share := PolicyShare{
			Share:         m.Share(f),
			Dealt:         dealt.Count[chain],
			DealtShare:    part(float64(dealt.Count[chain]), float64(dealt.Total())),
			ExpectedShare: part(dealt.Expected[chain], expected),
		}
		if f == family.IPv4 || share != (PolicyShare{}) {
			shares[i] = &share
		}
	}
	return shares
}

// part returns n/all, 0 if all is 0.
func part(n, all float64) float64 {
	if all == 0 {
		return 0
	}
	return n / all
}

func (s Status) eachShare(visit func(policy, member string, f family.Family, share *PolicyShare)) {
	for _, p := range s.Policies {
		for _, m := range p.Members {
			for _, f := range family.All {
				if share := m.share(f); share != nil {
					visit(p.Name, m.Name, f, share)
				}
			}
		}
	}
}

func (s Status) policiesTable() string {
	rows := []string{"\nPOLICY\tMEMBER\tFAMILY\tSHARE\tDEALT\tEXPECTED"}
	s.eachShare(func(policy, member string, f family.Family, share *PolicyShare) {
		expected := "-"
		if share.ExpectedShare > 0 {
			expected = percent(share.ExpectedShare)
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s",
			policy, member, f, percent(share.Share), countText(share.Dealt, share.DealtShare), expected))
	})
	return table(rows)
}

// countText formats a number of connections with their share of all.
func countText(count uint64, share float64) string {
	if count == 0 {
		return "-"
	}
	return fmt.Sprintf("%d (%s)", count, percent(share))
}
