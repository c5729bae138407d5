// Package uplink finds out where every member stands now, and what the main table and
// the router's own addresses look like around it. It only reads. The result is what
// `status --json` prints as "uplinks", so that `plan --uplinks FILE` can be fed with
// what another machine printed.
package uplink

import (
	"net/netip"
	"slices"

	"loadbalance/internal/family"
)

// State is all that the planner knows of the world outside the configuration.
type State struct {
	// Members has one entry for each configured member, in the same order. One
	// that cannot be used is no error: its path says why.
	Members []Member `json:"members"`
	IPv4    Main     `json:"ipv4"`
	IPv6    Main     `json:"ipv6"`
	// Interfaces are the netifd interfaces that rules name and that have a
	// device now, with it; nil where netifd was not asked or is not there.
	Interfaces map[string]string `json:"interfaces"`
	// NetifdSilent says that netifd did not answer, why, and how old the answer
	// is that counts instead; empty if it did answer.
	NetifdSilent string `json:"netifd_silent,omitempty"`
	// Unsettled says that netifd soon may say more: it was silent, or has not
	// brought up a member's interface.
	Unsettled bool `json:"-"`
	// Sets are the other programs' ipsets that rules name and that are there,
	// with their family: ipv4 or ipv6.
	Sets map[string]string `json:"sets,omitempty"`
}

// Main returns the main table and the router's addresses of one family.
func (s *State) Main(f family.Family) *Main { return family.Pick(f, &s.IPv4, &s.IPv6) }

// Member is where one member stands, in each family that it has. A family in
// which the member has never had anything (no address, no prefix, no
// configured gateway) is nil.
type Member struct {
	Name string `json:"name"`
	IPv4 *Path  `json:"ipv4,omitempty"`
	IPv6 *Path  `json:"ipv6,omitempty"`
}

// Path returns a member's path in one family, or nil.
func (s *State) Path(member string, f family.Family) *Path {
	for i := range s.Members {
		if s.Members[i].Name == member {
			return s.Members[i].Path(f)
		}
	}
	return nil
}

// Path returns the member's path in one family, or nil.
func (m *Member) Path(f family.Family) *Path { return family.Pick(f, m.IPv4, m.IPv6) }

// Path is a member's way out in one family.
type Path struct {
	// Device is the network device's name; empty when it is not known.
	Device string `json:"device,omitempty"`
	// Up says that packets can leave here: the device exists and has its
	// link, it has an address of the family, and there is a gateway, or the
	// link needs none.
	Up bool `json:"up"`
	// Reason says why Up is false, in words for the user.
	Reason string `json:"reason,omitempty"`
	// Gateway is the next hop. The zero address means a point-to-point link.
	Gateway netip.Addr `json:"gateway"`
	// Addresses are the device's own global addresses, primary first.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Networks are the device's on-link networks.
	Networks []Network `json:"networks,omitempty"`
	// Prefixes are delegated IPv6 prefixes: sources in them belong to this
	// uplink.
	Prefixes []netip.Prefix `json:"prefixes,omitempty"`
	// DNS are the resolvers that were learnt from this uplink.
	DNS []netip.Addr `json:"dns,omitempty"`
}

// Network is a network that is reached directly over a device, with the
// device's own address in it. On a point-to-point link it is the peer.
type Network struct {
	Prefix netip.Prefix `json:"prefix"`
	Source netip.Addr   `json:"source"`
}

// HasNetwork reports whether a network is reached directly.
func (p *Path) HasNetwork(prefix netip.Prefix) bool {
	return slices.ContainsFunc(p.Networks, func(n Network) bool { return n.Prefix == prefix })
}

// Main is what the kernel has in one family outside the members' own tables.
type Main struct {
	// Enabled is false where the kernel has no such family (IPv6 switched
	// off).
	Enabled bool `json:"enabled"`
	// Addresses are all addresses of all devices, in the kernel's order, so
	// that a device's first one is its primary address.
	Addresses []Address `json:"addresses,omitempty"`
	// Routes is the main table.
	Routes []Route `json:"routes,omitempty"`
	// Large says that routes are left out here or in Tables, see kernel.HasMany.
	Large bool `json:"large,omitempty"`
	// Rules are the ip rules of other programs, by priority.
	Rules []Rule `json:"rules,omitempty"`
	// Tables are other programs' routes in all tables but main and the kernel's
	// own.
	Tables map[int][]Route `json:"tables,omitempty"`
}

// Owns reports whether an address is one of the router's own, as seen from a
// device: a link-local address is that only on its link.
func (m *Main) Owns(address netip.Addr, device string) bool {
	return slices.ContainsFunc(m.Addresses, func(own Address) bool {
		return own.Prefix.Addr() == address && (own.Device == device || !address.IsLinkLocalUnicast())
	})
}

// Has reports whether an address is one of the router's own.
func (m *Main) Has(a netip.Addr) bool {
	return slices.ContainsFunc(m.Addresses, func(own Address) bool { return own.Prefix.Addr() == a })
}

// BestDefault returns the main table's default route for packets from anywhere,
// nil for none.
func (m *Main) BestDefault() *Route {
	var best *Route
	for i, r := range m.Routes {
		if r.IsDefault() && r.Type == Unicast && !r.From.IsValid() && (best == nil || r.Metric < best.Metric) {
			best = &m.Routes[i]
		}
	}
	return best
}

// SourceTowards returns the address that the kernel gives to a packet over a device
// if its route names none: the first whose network holds the given address, else the
// first (inet_select_addr). Only link-local IPv6 talks to link-local (RFC 6724).
func (m *Main) SourceTowards(device string, near netip.Addr) netip.Addr {
	var first netip.Addr
	for _, a := range m.Addresses {
		own := a.Prefix.Addr()
		outOfScope := own.Is6() && near.IsValid() && own.IsLinkLocalUnicast() != near.IsLinkLocalUnicast()
		switch {
		case a.Device != device || outOfScope:
		case a.Prefix.Contains(near):
			return own
		case !first.IsValid():
			first = own
		}
	}
	return first
}

// Address is an address of the router with the network that it lies in.
type Address struct {
	Device string       `json:"device"`
	Prefix netip.Prefix `json:"prefix"`
	// Peer is the other end's address on a point-to-point link.
	Peer netip.Addr `json:"peer"`
}

// Broadcast returns the highest address of an IPv4 network that is large enough
// to have a broadcast address (RFC 3021: /31 has none).
func (a Address) Broadcast() (netip.Addr, bool) {
	if !a.Prefix.Addr().Is4() || a.Prefix.Bits() > 30 || a.Peer.IsValid() {
		return netip.Addr{}, false
	}
	bytes := a.Prefix.Masked().Addr().As4()
	for bit := a.Prefix.Bits(); bit < 32; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(bytes), true
}

// RouteType is a route's type as the kernel names it.
type RouteType string

// The types that occur outside of the kernel's own tables. Local is what a
// transparent proxy has in a table of its own.
const (
	Local       RouteType = "local"
	Unicast     RouteType = "unicast"
	Unreachable RouteType = "unreachable"
	Blackhole   RouteType = "blackhole"
	Prohibit    RouteType = "prohibit"
	Throw       RouteType = "throw"
)

// Route is a route of the main table.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	// From is the source prefix of a source-specific IPv6 route; not valid
	// for all other routes.
	From netip.Prefix `json:"from"`
	Type RouteType    `json:"type"`
	// Device is empty for error routes. A multipath route has its devices
	// and gateways in Nexthops instead.
	Device   string     `json:"device,omitempty"`
	Gateway  netip.Addr `json:"gateway"`
	Source   netip.Addr `json:"source"`
	Metric   int        `json:"metric,omitempty"`
	Nexthops []Nexthop  `json:"nexthops,omitempty"`
}

// Nexthop is one leg of a multipath route.
type Nexthop struct {
	Device  string     `json:"device"`
	Gateway netip.Addr `json:"gateway"`
}

// IsDefault reports whether the route is a default route.
func (r Route) IsDefault() bool { return r.Destination.Bits() == 0 }

// Legs returns where the route sends packets: nowhere if it is an error route.
func (r Route) Legs() []Nexthop {
	if r.Device != "" {
		return []Nexthop{{r.Device, r.Gateway}}
	}
	return slices.Clone(r.Nexthops)
}

// MainTable is the main table's number (RT_TABLE_MAIN in linux/rtnetlink.h).
const MainTable = 254
