package config

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"loadbalance/internal/family"
)

// parseAddress reads an address; wanted is what the error says was expected. It
// refuses IPv4 addresses mapped into IPv6, since no packet carries them.
func parseAddress(text, wanted string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, notAnAddress(text, wanted)
	}
	if address.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%s: leave out the part after '%%', the device is known", quote(text))
	}
	if address.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%s is an IPv4 address, write it as %s", quote(text), address.Unmap())
	}
	return address, nil
}

// parsePrefix reads an address or a prefix and keeps host bits.
func parsePrefix(text string) (netip.Prefix, error) {
	const wanted = "IP address or prefix"
	if !strings.Contains(text, "/") {
		address, err := parseAddress(text, wanted)
		return netip.PrefixFrom(address, address.BitLen()), err
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, notAnAddress(text, "IP prefix with a length, such as /24")
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, invalid(text, "is an IPv4 prefix, write it as IPv4")
	}
	return prefix, nil
}

// notAnAddress explains why a text is refused. Host names get words of their
// own: other programs take them, and they would be resolved only once.
func notAnAddress(text, wanted string) error {
	if validDomain(text) {
		return invalid(text, "is a host name; an address is needed")
	}
	return fmt.Errorf("%s is not an %s", quote(text), wanted)
}

func parseUnicast(text string) (netip.Addr, error) {
	address, err := parseAddress(text, "IP address")
	if err == nil && !IsUnicast(address) {
		err = invalid(text, "cannot be the address of a host")
	}
	return address, err
}

// IsUnicast reports whether address can belong to a single machine. None has one
// of 0.0.0.0/8 or 240.0.0.0/4, which includes broadcast: RFC 6890, section 2.2.2.
func IsUnicast(address netip.Addr) bool {
	reserved := address.Is4() && (address.As4()[0] == 0 || address.As4()[0] >= 240)
	return !address.IsUnspecified() && !address.IsLoopback() && !address.IsMulticast() && !reserved
}

// parseGateway returns a parser for the address of a gateway in one family.
func parseGateway(f family.Family) func(string) (netip.Addr, error) {
	return func(text string) (netip.Addr, error) {
		address, err := parseUnicast(text)
		if err == nil && family.Of(address) != f {
			err = fmt.Errorf("%s is not an %s address", quote(text), family.Pick(f, "IPv4", "IPv6"))
		}
		return address, err
	}
}

// parsePrefix6 reads an IPv6 prefix that a provider has delegated. The length
// must be written: a lone address is more likely a mistake than a /128.
func parsePrefix6(text string) (netip.Prefix, error) {
	prefix, err := parsePrefix(text)
	network := prefix.Masked().Addr()
	switch {
	case err != nil:
	case !strings.Contains(text, "/"):
		err = invalid(text, "has no prefix length, such as /56")
	case !network.Is6() || !IsUnicast(network) || network.IsLinkLocalUnicast():
		err = invalid(text, "is not a routable IPv6 prefix")
	}
	return prefix, err
}

// parseSetEntry reads an entry of a hash:net set, which holds no prefix of length 0.
func parseSetEntry(text string) (netip.Prefix, error) {
	prefix, err := parsePrefix(text)
	if err == nil && prefix.Bits() == 0 {
		err = invalid(text, "matches every address, which a set cannot hold")
	}
	return prefix, err
}

// parseMasked reads an address with a mask in place of a prefix length, which
// iptables takes as well. isMasked is false if there is no such mask.
func parseMasked(text string) (m Masked, isMasked bool) {
	address, mask, _ := strings.Cut(text, "/")
	a, err := netip.ParseAddr(address)
	b, errMask := netip.ParseAddr(mask)
	if err != nil || errMask != nil || a.BitLen() != b.BitLen() || a.Zone()+b.Zone() != "" || a.Is4In6() {
		return Masked{}, false
	}
	return Masked{Address: and(a, b), Mask: b}, true
}

// and is bitwise, of two addresses of one family.
func and(a, b netip.Addr) netip.Addr {
	bytes, mask := a.AsSlice(), b.AsSlice()
	for i := range bytes {
		bytes[i] &= mask[i]
	}
	common, _ := netip.AddrFromSlice(bytes)
	return common
}

// prefix returns the prefix with the same addresses, if there is one.
func (m Masked) prefix() (netip.Prefix, bool) {
	ones, size := net.IPMask(m.Mask.AsSlice()).Size()
	return netip.PrefixFrom(m.Address, ones), size != 0
}

// Contains reports whether m matches an address.
func (m Masked) Contains(a netip.Addr) bool {
	return a.BitLen() == m.Mask.BitLen() && (and(a, m.Mask) == m.Address) != m.Not
}

// String returns m as iptables takes it: "0.0.0.1/0.0.0.1".
func (m Masked) String() string { return m.Address.String() + "/" + m.Mask.String() }

// CanonicalAddress clears bits of an address that do not count, and writes a
// length in place of a mask where both mean the same. Any other text stays.
func CanonicalAddress(text string) string {
	if m, isMasked := parseMasked(text); isMasked {
		if prefix, ok := m.prefix(); ok {
			return prefix.String()
		}
		return m.String()
	}
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Masked().String()
	}
	return text
}

// addressMatch reads a list of addresses, negated ones with a '!' before them.
func (s *section) addressMatch(name string) AddressMatch {
	var match AddressMatch
	values := s.words(name, ",")
	for _, v := range values {
		if v.Text == "!" {
			s.errorf(v.Line, "option '%s': '!' must directly precede an address", name)
			continue
		}
		negated := strings.HasPrefix(v.Text, "!")
		v.Text = strings.TrimPrefix(v.Text, "!")
		if m, isMasked := parseMasked(v.Text); isMasked {
			v.Text = CanonicalAddress(v.Text)
			if _, isPrefix := m.prefix(); !isPrefix {
				if negated && len(values) > 1 {
					s.errorf(v.Line, "option '%s': '!' before a mask such as %s needs a rule of its own", name, m.Mask)
				}
				m.Not = negated
				match.Masked = append(match.Masked, m)
				continue
			}
		}
		prefix, ok := s.prefix(name, v, parsePrefix)
		switch {
		case !ok:
		case negated:
			match.Not = append(match.Not, prefix)
		default:
			match.Any = append(match.Any, prefix)
		}
	}
	return match
}
