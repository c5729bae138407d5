// Package family names the two address families. Everything that exists once
// per family in the kernel (mangle table, ip rules, routing tables, sets) is
// planned, compared and applied per family, and its errors carry the name.
package family

import (
	"errors"
	"net/netip"
)

// Family is IPv4 or IPv6. The zero value is IPv4.
type Family uint8

const (
	IPv4 Family = iota
	IPv6
)

// All lists both families in the order in which they are applied.
var All = [...]Family{IPv4, IPv6}

// Of returns the family of an address. An IPv4 address that is mapped into
// IPv6 counts as IPv6, as the kernel has it.
func Of(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// String returns "ipv4" or "ipv6", as the configuration writes them.
func (f Family) String() string {
	if f == IPv6 {
		return "ipv6"
	}
	return "ipv4"
}

// MarshalText lets JSON have the family by its name.
func (f Family) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads a family's name.
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
func (f Family) Bits() int {
	if f == IPv6 {
		return 128
	}
	return 32
}

// Default returns the destination of a default route: 0.0.0.0/0 or ::/0.
func (f Family) Default() netip.Prefix {
	if f == IPv6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}
