package uplink

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"golang.org/x/sys/unix"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

func (s *snapshot) ipv4Path(m config.Member) *Path {
	return s.path(family.IPv4, cmp.Or(m.Device, m.Interface), knowledge{gateway: m.Gateway})
}

// ipv6Path returns nil where nothing speaks of IPv6: no address, no default
// route and no option.
func (s *snapshot) ipv6Path(m config.Member) *Path {
	device := cmp.Or(m.Device, m.Interface6, m.Interface)
	p := s.path(family.IPv6, device, knowledge{gateway: m.Gateway6, prefixes: m.Prefix6})
	configured := m.Interface6 != "" || m.Gateway6.IsValid() || len(m.Prefix6) > 0
	if !configured && len(p.Addresses) == 0 && len(s.defaults(family.IPv6, device)) == 0 {
		return nil
	}
	return p
}

// knowledge is what is known of a path beside the kernel's state.
type knowledge struct {
	gateway  netip.Addr     // as configured
	prefixes []netip.Prefix // as configured
	learnt   learnt         // from netifd
}

// path judges a device in one family.
func (s *snapshot) path(f family.Family, device string, k knowledge) *Path {
	p := &Path{
		Device:    device,
		Addresses: s.ownAddresses(f, device),
		Networks:  s.networks(f, device),
		Prefixes:  k.prefixes,
		DNS:       k.learnt.dns,
	}
	if f == family.IPv6 && len(k.prefixes) == 0 {
		p.Prefixes = append(s.sourcePrefixes(device), k.learnt.prefixes...)
		family.SortPrefixes(p.Prefixes)
		p.Prefixes = slices.Compact(p.Prefixes)
	}
	p.leaveOut(k.learnt.others)
	hop, reachable := s.gateway(f, device, k)
	if hop.IsValid() && family.Of(hop) == f {
		p.Gateway = hop
	}
	p.Reason = s.reason(f, p, hop, reachable)
	p.Up = p.Reason == ""
	return p
}

// reason says why packets cannot leave by a path, "" if they can.
func (s *snapshot) reason(f family.Family, p *Path, hop netip.Addr, reachable bool) string {
	link, exists := s.links[p.Device]
	option := family.Pick(f, "gateway", "gateway6")
	switch {
	case f == family.IPv6 && !s.ipv6:
		return "IPv6 is switched off in the kernel"
	case !exists:
		return fmt.Sprintf("device '%s' does not exist", p.Device)
	case !link.up:
		return fmt.Sprintf("device '%s' is down", p.Device)
	case !link.running:
		return fmt.Sprintf("device '%s' has no link", p.Device)
	// Providers that delegate a prefix often give the line itself no global
	// IPv6 address. Hosts with an address in the prefix can use it.
	case len(p.Addresses) == 0 && len(p.Prefixes) == 0:
		return fmt.Sprintf("no %s address on '%s'", displayName(f), p.Device)
	case !reachable:
		return fmt.Sprintf("no gateway: no default route over '%s' in the main table (set option %s)", p.Device, option)
	case hop.IsValid() && !p.Gateway.IsValid():
		return fmt.Sprintf("the gateway %s of '%s' is no %s address (set option %s)", hop, p.Device, displayName(f), option)
	}
	return ""
}

func displayName(f family.Family) string { return family.Pick(f, "IPv4", "IPv6") }

// gateway returns the next hop over a device and whether packets find their
// way: a point-to-point link needs no next hop.
func (s *snapshot) gateway(f family.Family, device string, k knowledge) (hop netip.Addr, reachable bool) {
	if k.gateway.IsValid() {
		return k.gateway, true
	}
	if s.links[device].pointToPoint {
		return netip.Addr{}, true
	}
	if len(k.learnt.hops) > 0 {
		return k.learnt.hops[0], true
	}
	if legs := s.defaults(f, device); len(legs) > 0 {
		return legs[0].Gateway, true
	}
	// On a cable with an address for the other end only, the other end is the
	// way out. It is named as the gateway, so that the router asks for its
	// link-layer address and not for that of every destination.
	for _, a := range s.addresses[f] {
		if a.Device == device && a.Peer.IsValid() && a.network.IsSingleIP() {
			return a.Peer, true
		}
	}
	return netip.Addr{}, false
}

// defaults returns the main table's default routes over a device, the
// preferred one first, legs of multipath routes included.
func (s *snapshot) defaults(f family.Family, device string) []Nexthop {
	var legs []Nexthop
	for _, r := range s.routes[f] {
		if r.IsDefault() && r.Type == Unicast {
			legs = append(legs, legsOver(r.Route, device)...)
		}
	}
	return legs
}

// legsOver returns the next hops of a route that lead over a device.
func legsOver(r Route, device string) []Nexthop {
	return slices.DeleteFunc(r.Legs(), func(leg Nexthop) bool { return leg.Device != device })
}

// ownAddresses returns a device's global addresses in the kernel's order, which
// has the primary one first; IPv6 addresses that the kernel would rather not
// begin connections with come last.
func (s *snapshot) ownAddresses(f family.Family, device string) []netip.Addr {
	var preferred, others []netip.Addr
	for _, a := range s.addresses[f] {
		if a.Device != device || !a.usable(f) {
			continue
		}
		if f == family.IPv6 && a.flags&(unix.IFA_F_DEPRECATED|unix.IFA_F_TEMPORARY) != 0 {
			others = append(others, a.Prefix.Addr())
			continue
		}
		preferred = append(preferred, a.Prefix.Addr())
	}
	return append(preferred, others...)
}

// usable reports whether packets into the internet can have this source.
func (a *address) usable(f family.Family) bool {
	if a.scope >= unix.RT_SCOPE_LINK {
		return false
	}
	tentative := a.flags&unix.IFA_F_TENTATIVE != 0 && a.flags&unix.IFA_F_OPTIMISTIC == 0
	return f == family.IPv4 || !tentative && a.flags&unix.IFA_F_DADFAILED == 0
}

// networks returns a device's on-link networks, sorted: those that the kernel
// or a router advertisement put into the main table, and those of addresses
// that were added without their route.
func (s *snapshot) networks(f family.Family, device string) []Network {
	own := s.ownAddresses(f, device)
	var networks []Network
	add := func(prefix netip.Prefix, source netip.Addr) {
		known := slices.ContainsFunc(networks, func(n Network) bool { return n.Prefix == prefix })
		itself := prefix.IsSingleIP() && slices.Contains(own, prefix.Addr())
		linkLocal := f == family.IPv6 && prefix.Addr().IsLinkLocalUnicast() // every device has it
		if !known && !itself && !linkLocal {
			networks = append(networks, Network{Prefix: prefix, Source: source})
		}
	}
	for _, r := range s.routes[f] {
		automatic := r.protocol == unix.RTPROT_KERNEL || r.protocol == unix.RTPROT_RA
		if r.Device != device || !automatic || r.Type != Unicast || r.IsDefault() || r.Gateway.IsValid() {
			continue
		}
		source := r.Source
		if !source.IsValid() {
			source = s.sourceIn(f, device, r.Destination)
		}
		add(r.Destination, source)
	}
	for _, a := range s.addresses[f] {
		if a.Device == device && a.usable(f) {
			add(a.network, a.Prefix.Addr())
		}
	}
	sort.SliceStable(networks, func(i, j int) bool {
		return family.ComparePrefixes(networks[i].Prefix, networks[j].Prefix) < 0
	})
	return networks
}

// sourceIn returns the device's address of a network, none if it has none:
// rather one that was given along with the network than one that happens to
// lie in it.
func (s *snapshot) sourceIn(f family.Family, device string, network netip.Prefix) netip.Addr {
	own := s.ownAddresses(f, device)
	for _, address := range own {
		for _, a := range s.addresses[f] {
			if a.Device == device && a.Prefix.Addr() == address && a.network == network {
				return address
			}
		}
	}
	if i := slices.IndexFunc(own, network.Contains); i >= 0 {
		return own[i]
	}
	return netip.Addr{}
}

// sourcePrefixes returns the prefixes P of the main table's routes `default
// from P` over a device.
func (s *snapshot) sourcePrefixes(device string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, r := range s.routes[family.IPv6] {
		if r.From.IsValid() && r.IsDefault() && r.Type == Unicast && len(legsOver(r.Route, device)) > 0 {
			prefixes = append(prefixes, r.From)
		}
	}
	return prefixes
}

// leaveOut takes away the addresses that another member has on the same
// device, with the networks that only those reach.
func (p *Path) leaveOut(others []netip.Addr) {
	isOther := func(a netip.Addr) bool { return slices.Contains(others, a) }
	p.Addresses = slices.DeleteFunc(p.Addresses, isOther)
	for i, n := range p.Networks {
		own := slices.IndexFunc(p.Addresses, n.Prefix.Contains)
		if isOther(n.Source) && own >= 0 {
			p.Networks[i].Source = p.Addresses[own]
		}
	}
	p.Networks = slices.DeleteFunc(p.Networks, func(n Network) bool { return isOther(n.Source) })
}
