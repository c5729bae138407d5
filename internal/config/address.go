package config

import (
	"fmt"
	"net/netip"
	"strings"

	"loadbalance/internal/family"
)

// parseAddress reads an address of either family; wanted is what the error says
// was expected. It refuses zones, since the device is always known, and IPv4
// addresses mapped into IPv6, since no packet carries them.
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

// parsePrefix reads an address or a prefix of either family and keeps host bits
// as they are written.
func parsePrefix(text string) (netip.Prefix, error) {
	const wanted = "IP address or prefix"
	if !strings.Contains(text, "/") {
		address, err := parseAddress(text, wanted)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(address, address.BitLen()), nil
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

// parseUnicast reads an address that a single machine can have.
func parseUnicast(text string) (netip.Addr, error) {
	address, err := parseAddress(text, "IP address")
	if err != nil {
		return netip.Addr{}, err
	}
	if !IsUnicast(address) {
		return netip.Addr{}, invalid(text, "cannot be the address of a host")
	}
	return address, nil
}

// IsUnicast reports whether address can belong to a single machine: it is not
// the unspecified address, loopback, multicast, broadcast or reserved.
func IsUnicast(address netip.Addr) bool {
	if address.IsUnspecified() || address.IsLoopback() || address.IsMulticast() {
		return false
	}
	if address.Is4() {
		// No machine has an address of 0.0.0.0/8 or 240.0.0.0/4, which includes
		// the broadcast address: RFC 6890, section 2.2.2.
		first := address.As4()[0]
		return first != 0 && first < 240
	}
	return true
}

// parseGateway returns a parser for the address of a gateway in one family.
func parseGateway(f family.Family) func(string) (netip.Addr, error) {
	return func(text string) (netip.Addr, error) {
		address, err := parseUnicast(text)
		if err != nil {
			return netip.Addr{}, err
		}
		if family.Of(address) != f {
			return netip.Addr{}, fmt.Errorf("%s is not an %s address", quote(text), family.Pick(f, "IPv4", "IPv6"))
		}
		return address, nil
	}
}

// parsePrefix6 reads an IPv6 prefix that a provider has delegated. The length
// must be written: a lone address is more likely a mistake than a /128.
func parsePrefix6(text string) (netip.Prefix, error) {
	prefix, err := parsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if !strings.Contains(text, "/") {
		return netip.Prefix{}, invalid(text, "has no prefix length, such as /56")
	}
	network := prefix.Masked().Addr()
	if !network.Is6() || !IsUnicast(network) || network.IsLinkLocalUnicast() {
		return netip.Prefix{}, invalid(text, "is not a routable IPv6 prefix")
	}
	return prefix, nil
}

// parseSetEntry reads an entry of a set of type hash:net, which cannot hold a
// prefix of length 0.
func parseSetEntry(text string) (netip.Prefix, error) {
	prefix, err := parsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if prefix.Bits() == 0 {
		return netip.Prefix{}, invalid(text, "matches every address, which a set cannot hold")
	}
	return prefix, nil
}

// addressMatch reads a list of addresses and prefixes, negated ones with a '!'
// before them.
func (s *section) addressMatch(name string) AddressMatch {
	var match AddressMatch
	for _, v := range s.words(name, "") {
		if v.Text == "!" {
			s.errorf(v.Line, "option '%s': '!' must directly precede an address", name)
			continue
		}
		negated := strings.HasPrefix(v.Text, "!")
		v.Text = strings.TrimPrefix(v.Text, "!")
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
