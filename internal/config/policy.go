package config

import (
	"cmp"
	"fmt"
	"strings"
)

// readPolicy reads `config policy`. A faulty line of use_member takes out that
// line, and the policy is usable as long as a member is left: without it its
// traffic would be dealt out over all uplinks, which it may be there to prevent.
func (r *reader) readPolicy(s *section) (p Policy, usable bool) {
	p = Policy{
		Name:       s.Name,
		Balance:    single(s, "balance", r.config.Globals.Balance, parseBalance),
		Failback:   single(s, "failback", "", parseFailback),
		LastResort: single(s, "last_resort", LastUnreachable, oneOf(LastUnreachable, LastBlackhole, LastDefault)),
	}
	complete := true
	if s.given("use_member") {
		p.Members, complete = r.useMembers(s)
	} else {
		p.Members = r.config.allMembers()
	}
	s.reportUnknown()
	return p, complete || len(p.Members) > 0
}

// useMembers reads use_member. complete is false if a line or its member is faulty.
func (r *reader) useMembers(s *section) (members []PolicyMember, complete bool) {
	complete = true
	lines := make(map[string]int)
	for _, item := range s.items("use_member") {
		member, err := parseUseMember(item.Text)
		if line, twice := lines[member.Name]; err == nil && twice {
			err = fmt.Errorf("member %s is already listed (line %d)", quote(member.Name), line)
		}
		if err != nil {
			s.refuse("use_member", item, err)
			complete = false
			continue
		}
		lines[member.Name] = item.Line
		switch r.memberState(s, item.Line, member.Name) {
		case valid:
			own := r.config.Member(member.Name)
			member.Weight = cmp.Or(member.Weight, own.Weight)
			member.Metric = cmp.Or(member.Metric, own.Metric)
			members = append(members, member)
		case faulty:
			complete = false
		}
	}
	return members, complete
}

// memberState returns the state of a member. It reports one that is faulty or
// missing, but not a disabled one, which was switched off on purpose.
func (r *reader) memberState(s *section, line int, name string) state {
	member, ok := r.names[name]
	if !ok || member.Type != "member" {
		s.errorf(line, "option 'use_member': there is no member %s%s", quote(name), didYouMean(name, r.namesOf("member")))
		return faulty
	}
	if member.state == faulty {
		s.warnf(line, "option 'use_member': %s is faulty (line %d)", member.title, member.Line)
	}
	return member.state
}

// parseUseMember reads a line of use_member, such as "wan1", "wan1 weight=3" or
// "wan1 metric=2 weight=3". A weight or metric that is not given is 0.
func parseUseMember(text string) (PolicyMember, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return PolicyMember{}, invalid(text, "names no member")
	}
	m := PolicyMember{Name: fields[0]}
	for _, field := range fields[1:] {
		key, value, assigned := strings.Cut(field, "=")
		target, highest := &m.Weight, maxWeight
		switch {
		case assigned && key == "weight":
		case assigned && key == "metric":
			target, highest = &m.Metric, maxMetric
		default:
			return m, invalid(field, "is neither weight=N nor metric=N (each member needs its own 'list use_member')")
		}
		if *target != 0 {
			return m, fmt.Errorf("%s is given twice", key)
		}
		n, err := integerWithin(1, highest)(value)
		if err != nil {
			return m, fmt.Errorf("%s: %w", key, err)
		}
		*target = n
	}
	return m, nil
}

// allMembers returns all enabled members with their own weights and metrics.
func (c *Config) allMembers() (all []PolicyMember) {
	for _, m := range c.EnabledMembers() {
		all = append(all, PolicyMember{Name: m.Name, Weight: m.Weight, Metric: m.Metric})
	}
	return all
}

// addBuiltinPolicy adds 'balanced' where the file has none that is valid.
func (r *reader) addBuiltinPolicy() {
	if r.config.Policy(builtinPolicy) != nil {
		return
	}
	r.config.Policies = append(r.config.Policies, Policy{
		Name:       builtinPolicy,
		Balance:    r.config.Globals.Balance,
		LastResort: LastDefault,
		Members:    r.config.allMembers(),
	})
}
