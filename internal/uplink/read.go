package uplink

import (
	"cmp"
	"net/netip"
	"sort"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

type link struct {
	up           bool // switched on by the administrator
	running      bool // has its cable, or whatever stands for it
	pointToPoint bool
}

type address struct {
	Address
	network netip.Prefix // the connected network, on a point-to-point link the peer
	scope   uint8
	flags   uint32
}

type route struct {
	Route
	protocol uint8
}

// readLinks returns the devices by name.
func readLinks(h *kernel.Handle) (map[string]link, error) {
	all, err := h.Links()
	links := make(map[string]link, len(all))
	for _, l := range all {
		a := l.Attrs()
		links[a.Name] = link{
			up:           a.RawFlags&unix.IFF_UP != 0,
			running:      a.RawFlags&unix.IFF_LOWER_UP != 0 && operational(a.OperState),
			pointToPoint: a.RawFlags&unix.IFF_POINTOPOINT != 0,
		}
	}
	return links, err
}

// operational reports whether a device in this RFC 2863 state carries traffic.
// It is unknown where a driver does not say, as with tun.
func operational(state netlink.LinkOperState) bool {
	return state == netlink.OperUnknown || state == netlink.OperUp
}

func readAddresses(h *kernel.Handle, f family.Family) ([]address, error) {
	names, err := h.DeviceNames()
	if err != nil {
		return nil, err
	}
	all, err := h.Addresses(f)
	addresses := make([]address, len(all))
	for i, a := range all {
		addresses[i] = parseAddress(a)
		addresses[i].Device = names[a.LinkIndex]
	}
	return addresses, err
}

func parseAddress(a netlink.Addr) address {
	own, peer := kernel.Prefix(a.IPNet), kernel.Prefix(a.Peer)
	parsed := address{scope: uint8(a.Scope), flags: uint32(a.Flags), network: own.Masked()}
	parsed.Prefix = own
	if peer.IsValid() && peer.Addr() != own.Addr() {
		parsed.Peer = peer.Addr()
		parsed.network = peer.Masked()
	}
	return parsed
}

// routeTypes names the types that Route can have.
var routeTypes = map[uint8]RouteType{
	unix.RTN_UNICAST:     Unicast,
	unix.RTN_LOCAL:       Local,
	unix.RTN_BLACKHOLE:   Blackhole,
	unix.RTN_UNREACHABLE: Unreachable,
	unix.RTN_PROHIBIT:    Prohibit,
	unix.RTN_THROW:       Throw,
}

// TypeOf returns the type of a route by the kernel's number; "" for types that occur
// in the local table only.
func TypeOf(number uint8) RouteType { return routeTypes[number] }

// Number is the kernel's number of the type, 0 for none.
func (t RouteType) Number() uint8 {
	for number, known := range routeTypes {
		if known == t {
			return number
		}
	}
	return 0
}

// readMainTable returns the main table's routes, sorted.
func readMainTable(h *kernel.Handle, f family.Family) ([]route, error) {
	all, err := h.Routes(f)
	var routes []route
	for _, r := range all {
		if r.Table != unix.RT_TABLE_MAIN {
			continue
		}
		if parsed, ok := ParseRoute(r); ok && parsed.Type != Local {
			routes = append(routes, route{parsed, r.Protocol})
		}
	}
	sort.SliceStable(routes, func(i, j int) bool { return compareRoutes(routes[i], routes[j]) < 0 })
	return routes, err
}

// ParseRoute returns a route of the kernel; ok is false for types that occur in
// the local table only.
func ParseRoute(r kernel.Route) (parsed Route, ok bool) {
	kind, ok := routeTypes[r.Type]
	parsed = Route{
		Destination: r.Destination, From: r.From, Type: kind,
		Device: r.Device, Gateway: r.Gateway, Source: r.Source, Metric: r.Metric,
	}
	for _, n := range r.Nexthops {
		parsed.Nexthops = append(parsed.Nexthops, Nexthop(n))
	}
	return parsed, ok
}

// compareRoutes orders routes as a person reads them, so that equal tables
// always give equal plans.
func compareRoutes(a, b route) int {
	return cmp.Or(
		family.ComparePrefixes(a.Destination, b.Destination),
		a.Metric-b.Metric,
		family.ComparePrefixes(a.From, b.From),
		strings.Compare(a.Device, b.Device),
		a.Gateway.Compare(b.Gateway),
	)
}
