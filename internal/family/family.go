// Package family names the two address families. Everything that exists once
// per family in the kernel (mangle table, ip rules, routing tables, sets) is
// planned, compared and applied per family, and its errors carry the name.
package family

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"sort"
)

// Family is IPv4 or IPv6. The zero value is IPv4.
type Family uint8

// The families. Their values index arrays of length len(All).
const (
	IPv4 Family = iota
	IPv6
)

// All has both families in the order in which they are applied.
var All = [...]Family{IPv4, IPv6}

// Of returns the family of an address. An IPv4 address that is mapped into IPv6
// (::ffff:192.0.2.1) counts as IPv6, as in the kernel.
func Of(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// Pick returns what of a pair belongs to a family.
func Pick[T any](f Family, ipv4, ipv6 T) T {
	if f == IPv6 {
		return ipv6
	}
	return ipv4
}

// String returns "ipv4" or "ipv6", as the configuration writes them.
func (f Family) String() string {
	return Pick(f, "ipv4", "ipv6")
}

// MarshalText returns the name, which makes it the form in JSON.
func (f Family) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads "ipv4" or "ipv6".
func (f *Family) UnmarshalText(text []byte) error {
	for _, known := range All {
		if known.String() == string(text) {
			*f = known
			return nil
		}
	}
	return errors.New("'" + string(text) + "' is not a family")
}

// Bits returns the length of an address in bits: 32 or 128.
func (f Family) Bits() int { return Pick(f, 32, 128) }

// Default returns the destination of a default route: 0.0.0.0/0 or ::/0.
func (f Family) Default() netip.Prefix {
	return netip.PrefixFrom(Pick(f, netip.IPv4Unspecified(), netip.IPv6Unspecified()), 0)
}

// Host returns the prefix that holds one address alone.
func Host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// ComparePrefixes orders prefixes by address, then by length.
func ComparePrefixes(x, y netip.Prefix) int {
	return cmp.Or(x.Addr().Compare(y.Addr()), x.Bits()-y.Bits())
}

// SortPrefixes sorts by ComparePrefixes.
func SortPrefixes(all []netip.Prefix) {
	sort.Slice(all, func(i, j int) bool { return ComparePrefixes(all[i], all[j]) < 0 })
}

// PrefixText is a prefix as commands print it: a single address without its length,
// everything as "default".
func PrefixText(p netip.Prefix) string {
	switch {
	case p.Bits() == 0:
		return "default"
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}

// Contain reports whether one of some prefixes contains an address.
func Contain(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
