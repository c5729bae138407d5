package config

import (
	"cmp"
	"net/netip"

	"loadbalance/internal/family"
)

// families is a set of address families.
type families uint8

const (
	onlyIPv4 families = 1 << family.IPv4
	onlyIPv6 families = 1 << family.IPv6

	bothFamilies = onlyIPv4 | onlyIPv6
)

func familiesOf(f family.Family) families { return 1 << f }

func (fs families) list() (list []family.Family) {
	for _, f := range family.All {
		if fs&familiesOf(f) != 0 {
			list = append(list, f)
		}
	}
	return list
}

func (fs families) String() string { return [...]string{"", "ipv4", "ipv6", "ipv4 and ipv6"}[fs] }

func parseFamilies(text string) (families, error) {
	named, err := oneOf("ipv4", "ipv6", "any")(text)
	return map[string]families{"ipv4": onlyIPv4, "ipv6": onlyIPv6, "any": bothFamilies}[named], err
}

// constraint is an option of a rule with the families in which it can match.
type constraint struct {
	option   string
	families families
}

// commonFamilies returns the families in which all options can match. A rule
// without any would never match, which is an error.
func commonFamilies(s *section, constraints []constraint) families {
	common := bothFamilies
	var decisive constraint // the one that left a single family
	for _, c := range constraints {
		if common&c.families == 0 {
			s.errorf(s.line(c.option), "option '%s' is %s, but option '%s' is %s", c.option, c.families, decisive.option, decisive.families)
			return common
		}
		if common&c.families != common {
			common, decisive = c.families, c
		}
	}
	return common
}

// families returns the families in which m can match: those of the addresses in
// Any and Masked, else those in Not, else both.
func (m AddressMatch) families() families {
	return cmp.Or(familiesIn(m.Any, prefixFamilies)|familiesIn(m.Masked, Masked.families), familiesIn(m.Not, prefixFamilies), bothFamilies)
}

func (m Masked) families() families { return familiesOf(family.Of(m.Address)) }

func prefixFamilies(p netip.Prefix) families { return familiesOf(family.Of(p.Addr())) }

func familiesIn[T any](list []T, of func(T) families) families {
	var all families
	for _, t := range list {
		all |= of(t)
	}
	return all
}
