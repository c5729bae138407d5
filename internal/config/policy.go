package config

import (
	"fmt"
	"strings"
)

// readPolicy reads `config policy`. usable is false if the policy has to be
// left out.
//
// A faulty line of use_member takes out that line, not the policy, as long as a
// member is left: without the policy its traffic would be dealt out over all
// uplinks, which it may have been made to prevent.
func (r *reader) readPolicy(s *section) (p Policy, usable bool) {
	p = Policy{
		Pos:        s.pos,
		Name:       s.name,
		Balance:    single(s, "balance", r.config.Globals.Balance, parseBalance),
		LastResort: single(s, "last_resort", LastUnreachable, oneOf(LastUnreachable, LastBlackhole, LastDefault)),
	}
	complete := true
	if s.given("use_member") {
		p.Members, complete = r.useMembers(s)
	} else {
		p.Members = allMembers(r.config.Members)
	}
	s.reportUnknown()
	return p, complete || len(p.Members) > 0
}

// useMembers reads the list use_member. complete is false if a line is faulty
// or names a faulty member.
func (r *reader) useMembers(s *section) (members []PolicyMember, complete bool) {
	complete = true
	lines := make(map[string]int)
	for _, item := range s.items("use_member") {
		name, options, err := splitUseMember(item.Text)
		if line, twice := lines[name]; err == nil && twice {
			err = fmt.Errorf("member %s is already listed (line %d)", quote(name), line)
		}
		if err != nil {
			s.refuse("use_member", item, err)
			complete = false
			continue
		}
		lines[name] = item.Line
		switch member, state := r.memberToUse(s, item.Line, name); state {
		case valid:
			member.apply(options)
			members = append(members, member)
		case faulty:
			complete = false
		}
	}
	return members, complete
}

// memberToUse returns the member of a name, with its own weight and metric, if
// its state is valid. Otherwise it reports why the member cannot be used.
func (r *reader) memberToUse(s *section, line int, name string) (PolicyMember, state) {
	declared, ok := r.names[name]
	if !ok || declared.kind != "member" {
		s.errorf(line, "option 'use_member': there is no member %s%s", quote(name), didYouMean(name, r.namesOf("member")))
		return PolicyMember{}, faulty
	}
	switch declared.state {
	case disabled:
		s.warnf(line, "option 'use_member': %s is disabled", declared.title)
	case faulty:
		s.warnf(line, "option 'use_member': %s is faulty (line %d)", declared.title, declared.line)
	case valid:
		m := r.config.Member(name)
		return PolicyMember{Name: name, Weight: m.Weight, Metric: m.Metric}, valid
	}
	return PolicyMember{}, declared.state
}

// useOptions are the options of a line of use_member; 0 is not set.
type useOptions struct {
	weight, metric int
}

func (p *PolicyMember) apply(o useOptions) {
	if o.weight != 0 {
		p.Weight = o.weight
	}
	if o.metric != 0 {
		p.Metric = o.metric
	}
}

// splitUseMember reads a line of use_member, such as "wan1", "wan1 weight=3" or
// "wan1 metric=2 weight=3".
func splitUseMember(text string) (string, useOptions, error) {
	var o useOptions
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return "", o, invalid(text, "names no member")
	}
	for _, field := range fields[1:] {
		key, value, assigned := strings.Cut(field, "=")
		target, highest := &o.weight, maxWeight
		switch {
		case assigned && key == "weight":
		case assigned && key == "metric":
			target, highest = &o.metric, maxMetric
		default:
			return "", o, invalid(field, "is neither weight=N nor metric=N (each member needs its own 'list use_member')")
		}
		if *target != 0 {
			return "", o, fmt.Errorf("%s is given twice", key)
		}
		n, err := integerWithin(1, highest)(value)
		if err != nil {
			return "", o, fmt.Errorf("%s: %w", key, err)
		}
		*target = n
	}
	return fields[0], o, nil
}

// allMembers returns all enabled members with their own weights and metrics.
func allMembers(members []Member) []PolicyMember {
	var all []PolicyMember
	for _, m := range members {
		if m.Enabled {
			all = append(all, PolicyMember{Name: m.Name, Weight: m.Weight, Metric: m.Metric})
		}
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
		Members:    allMembers(r.config.Members),
	})
}
