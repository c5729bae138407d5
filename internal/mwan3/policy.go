package mwan3

import (
	"cmp"
	"fmt"
	"slices"
)

// maxChainName is the longest name of a rule or policy that mwan3 applies.
const maxChainName = 15

func (c *converter) readPolicy(s *source) {
	if s.Name == "" {
		c.out.general.note(traffic, "policy %s is left out: it has no name, so no rule can use it", quote(s.Label()))
		return
	}
	out := c.add("policy", s.Name, s)
	if len(s.Name) > maxChainName {
		out.note(traffic, "mwan3 never applied it, since its name has more than %d characters; here it works", maxChainName)
	}
	shares := c.shares(s, out)
	for _, share := range shares {
		out.list("use_member", fmt.Sprintf("%s weight=%d metric=%d", share.member.name, share.weight, share.metric))
	}
	c.policies[s.Name] = out.name
	if resort := lastResort(s, out); len(shares) == 0 {
		out.leaveOut(minor, "it has no member, and a policy without members would have all of them; rules use its last_resort '%s' instead", resort)
		c.policies[s.Name] = resort
	}
	live := make(map[string]int) // members by family
	for _, share := range shares {
		if share.member.enabled {
			live[share.member.family]++
		}
	}
	if live["ipv4"] > live["ipv6"] {
		c.moreIPv4 = append(c.moreIPv4, out.name)
	}
	s.mentionRest(out)
}

// outcomes stand in place of a policy, and of members that are not there.
var outcomes = []string{"default", "unreachable", "blackhole"}

// lastResort is what a policy does without a live member. To mwan3 every unknown
// word is 'unreachable'.
func lastResort(s *source, out *section) string {
	resort := cmp.Or(s.value("last_resort"), "unreachable")
	if !slices.Contains(outcomes, resort) {
		out.note(minor, "mwan3 does not know last_resort %s and uses 'unreachable'", quote(resort))
		resort = "unreachable"
	}
	out.option("last_resort", resort)
	return resort
}

// share is a member's part in a policy.
type share struct {
	member         member
	weight, metric int
}

// shares returns the members of a policy's list, each once.
func (c *converter) shares(s *source, out *section) (shares []share) {
	for _, name := range s.words("use_member") {
		next, problem := c.share(name, out)
		if problem != "" {
			out.note(traffic, "use_member %s is left out: %s", quote(name), problem)
			continue
		}
		shares = join(shares, next, out)
	}
	shares = withoutZeroWeights(shares, out)
	fit(shares, out)
	return shares
}

// Limits of a member's place in a policy: mwan3 takes no metric above the first
// either, our configuration no weight above the second.
const (
	maxMetric = 256
	maxWeight = 1000
)

// share looks up a member. problem is why it is left out, or "".
func (c *converter) share(name string, out *section) (s share, problem string) {
	use, ok := c.uses[name]
	if !ok {
		return share{}, "there is no such member; mwan3 ignored it"
	}
	m, ok := c.members[use.value("interface")]
	if !ok {
		return share{}, fmt.Sprintf("there is no interface %s; mwan3 ignored it", quote(use.value("interface")))
	}
	metric, metricOK := use.number("metric")
	weight, weightOK := use.number("weight")
	switch {
	case !metricOK || metric > maxMetric:
		return share{}, fmt.Sprintf("metric %s is not a number up to %d; mwan3 ignored it", quote(use.value("metric")), maxMetric)
	case !weightOK:
		return share{}, fmt.Sprintf("weight %s is not a number from 0 up", quote(use.value("weight")))
	}
	use.mentionRest(out)
	return share{m, weight, metric}, ""
}

// join adds a member to the others. As in mwan3, one that is listed twice has
// the lower of its metrics, or, if both are the same, the sum of its weights.
func join(shares []share, next share, out *section) []share {
	i := slices.IndexFunc(shares, func(s share) bool { return s.member == next.member })
	if i < 0 {
		return append(shares, next)
	}
	out.note(minor, "member '%s' was listed twice; it is kept once, with the lower metric or with the sum of the weights", next.member.name)
	switch first := &shares[i]; {
	case next.metric < first.metric:
		*first = next
	case next.metric == first.metric:
		first.weight += next.weight
	}
	return shares
}

// withoutZeroWeights leaves out members with weight 0, which mwan3 never
// chooses or by which it divides, unless they are alone in their tier: mwan3
// ignores the weight of a tier's first member.
func withoutZeroWeights(shares []share, out *section) (kept []share) {
	for _, s := range shares {
		alone := !slices.ContainsFunc(shares, func(other share) bool {
			return other.member != s.member && other.metric == s.metric && other.member.family == s.member.family
		})
		switch {
		case s.weight > 0:
		case alone:
			s.weight = 1
		default:
			out.note(minor, "use_member of '%s' is left out: its weight is 0, so mwan3 never chose it or did not start at all", s.member.name)
			continue
		}
		kept = append(kept, s)
	}
	return kept
}

// fit lets metrics begin at 1, and scales weights down to maxWeight.
func fit(shares []share, out *section) {
	first, largest := 1, 0
	for _, s := range shares {
		first, largest = min(first, s.metric), max(largest, s.weight)
	}
	for i := range shares {
		s := &shares[i]
		s.metric += 1 - first
		if largest > maxWeight {
			s.weight = max(1, int(float64(s.weight)*maxWeight/float64(largest)+0.5))
		}
	}
	if largest > maxWeight {
		out.note(minor, "weights up to %d are scaled down to at most %d", largest, maxWeight)
	}
}
