package config

import (
	"fmt"
	"net/netip"
	"slices"

	"loadbalance/internal/family"
)

// readIPSet reads `config ipset`.
func readIPSet(s *section) IPSet {
	set := IPSet{
		Pos:      s.pos,
		Name:     s.Name,
		Family:   single(s, "family", family.IPv4, parseFamily),
		LoadFile: single(s, "loadfile", "", parsePath),
		Domains:  several(s, "domain", "", ParseDomain),
	}
	slices.Sort(set.Domains)
	set.Domains = slices.Compact(set.Domains)
	set.Entries = s.prefixes("entry", set.parseEntry)
	s.reportUnknown()
	return set
}

func (set *IPSet) parseEntry(text string) (netip.Prefix, error) {
	prefix, err := parseSetEntry(text)
	if err == nil && family.Of(prefix.Addr()) != set.Family {
		err = fmt.Errorf("%s does not match the set's family %s", quote(text), set.Family)
	}
	return prefix, err
}

func parseFamily(text string) (family.Family, error) {
	var f family.Family
	if f.UnmarshalText([]byte(text)) != nil {
		return f, invalid(text, "is neither ipv4 nor ipv6")
	}
	return f, nil
}
