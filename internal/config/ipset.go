package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"loadbalance/internal/family"
)

// readIPSet reads `config ipset`: a set that we create.
func readIPSet(s *section) IPSet {
	set := IPSet{
		Pos:      s.pos,
		Name:     s.Name,
		Family:   single(s, "family", family.IPv4, parseFamily),
		LoadFile: single(s, "loadfile", "", parsePath),
		Domains:  several(s, "domain", s.words("domain", ""), ParseDomain),
	}
	slices.Sort(set.Domains)
	set.Domains = slices.Compact(set.Domains)
	set.Entries = s.prefixes("entry", set.parseEntry)
	s.reportUnknown()
	return set
}

// parseEntry reads an entry of the set and keeps host bits as they are written.
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

// maxPath is the kernel's PATH_MAX (4096) without the final NUL.
const maxPath = 4095

// parsePath reads the absolute path of a file.
func parsePath(text string) (string, error) {
	if !strings.HasPrefix(text, "/") || strings.HasSuffix(text, "/") || len(text) > maxPath ||
		!utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return "", invalid(text, "is not the absolute path of a file")
	}
	return text, nil
}
