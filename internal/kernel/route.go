package kernel

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// Route is a route of any table.
type Route struct {
	Family      family.Family
	Table       int
	Type        uint8 // RTN_…
	Protocol    uint8 // RTPROT_…
	Scope       uint8 // RT_SCOPE_…, in IPv6 always 0
	TOS         uint8
	OnLink      bool
	Destination netip.Prefix // 0.0.0.0/0 or ::/0 for a default route
	From        netip.Prefix // of an IPv6 route that is for some sources only
	Gateway     netip.Addr   // of IPv4 routes also an IPv6 address
	Device      string       // "" for all types but unicast and local
	Source      netip.Addr
	Metric      int
	Nexthops    []Nexthop // of a multipath route, instead of Gateway and Device
	// Special says that the route has properties that are not among these,
	// such as an MTU or an encapsulation.
	Special bool
}

// Nexthop is one way of a multipath route.
type Nexthop struct {
	Device  string
	Gateway netip.Addr
}

// nexthopID is RTA_NH_ID of linux/rtnetlink.h, which golang.org/x/sys does not
// have: the route uses a nexthop object.
const nexthopID = 30

// ManyRoutes bounds how many plain routes (see IsPlain) of a family are kept of each
// table. A LAN with sites behind it has hundreds; a routing daemon brings a hundred
// thousand, of 1 KB each in all that is made of them.
const ManyRoutes = 5000

// Routes returns the routes of a family in all tables. Of a table with many (see
// HasMany) only those are left that somebody must know of.
func (h *Handle) Routes(f family.Family) ([]Route, error) {
	all, err := once(&h.routes, "routes", h.dumpRoutes)
	return only(all, func(r Route) bool { return r.Family == f }), err
}

// HasMany reports whether the last dump left out routes of a family because a
// table has too many: all but default routes and halves of one, those of the
// router's own networks, and those that lie inside such a network.
func (h *Handle) HasMany(f family.Family) bool { return h.many[f] }

// IsPlain reports whether a route may be left out: it is neither a default route
// or half of one, nor one that the kernel has for a network that the router is in.
func IsPlain(table, bits int, protocol uint8) bool {
	return table != unix.RT_TABLE_LOCAL && bits > 1 && protocol != unix.RTPROT_KERNEL && protocol != unix.RTPROT_RA
}

func (h *Handle) dumpRoutes() ([]Route, error) {
	names, err := h.DeviceNames()
	if err != nil {
		return nil, err
	}
	if _, err := h.Addresses(family.IPv4); err != nil { // of both
		return nil, err
	}
	req := h.Request(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	req.AddData(&nl.RtMsg{}) // of all families
	var routes []Route
	plain := map[[2]int]int{} // by family and table
	tableOf := func(r Route) [2]int { return [2]int{int(r.Family), r.Table} }
	h.many = map[family.Family]bool{}
	err = req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE, func(m []byte) bool {
		r, ok := parseRoute(m, names)
		if ok && h.isPlain(r) {
			table := tableOf(r)
			if plain[table]++; plain[table] == ManyRoutes+1 {
				h.many[r.Family] = true
				routes = slices.Clone(slices.DeleteFunc(routes, func(r Route) bool { return tableOf(r) == table && h.isPlain(r) }))
			}
			ok = plain[table] <= ManyRoutes
		}
		if ok {
			routes = append(routes, r)
		}
		return true
	})
	return routes, err
}

// isPlain reports whether a route may be left out: IsPlain, and it does not lie
// in a network of the router's own, where it would take precedence.
func (h *Handle) isPlain(r Route) bool {
	return IsPlain(r.Table, r.Destination.Bits(), r.Protocol) &&
		!slices.ContainsFunc(h.addresses, func(a netlink.Addr) bool { return Prefix(a.IPNet).Overlaps(r.Destination) })
}

// parseRoute reads a route. ok is false for what is no entry of a table of
// IPv4 or IPv6: copies that the kernel made of routes, multicast, MPLS.
func parseRoute(m []byte, names map[int]string) (r Route, ok bool) {
	if len(m) < unix.SizeofRtMsg {
		return r, false
	}
	header := nl.DeserializeRtMsg(m)
	f, ok := FamilyOf(header.Family)
	if !ok || header.Flags&unix.RTM_F_CLONED != 0 {
		return r, false
	}
	r = Route{
		Family: f, Table: int(header.Table), Type: header.Type, Protocol: header.Protocol, Scope: header.Scope,
		TOS: header.Tos, OnLink: header.Flags&unix.RTNH_F_ONLINK != 0, Destination: f.Default(),
	}
	EachAttribute(m[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_TABLE:
			r.Table = number(value)
		case unix.RTA_DST:
			r.Destination = netip.PrefixFrom(Addr(value), int(header.Dst_len))
		case unix.RTA_SRC:
			r.From = netip.PrefixFrom(Addr(value), int(header.Src_len))
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			r.Gateway = gateway(kind, value)
		case unix.RTA_OIF:
			r.Device = names[number(value)]
		case unix.RTA_PREFSRC:
			r.Source = Addr(value)
		case unix.RTA_PRIORITY:
			r.Metric = number(value)
		case unix.RTA_MULTIPATH:
			r.Nexthops = parseNexthops(value, names)
		case unix.RTA_METRICS, unix.RTA_FLOW, unix.RTA_ENCAP_TYPE, nexthopID:
			r.Special = true
		}
	})
	if r.Type != unix.RTN_UNICAST && r.Type != unix.RTN_LOCAL {
		r.Device = "" // IPv6 names lo for them
	}
	return r, true
}

func parseNexthops(b []byte, names map[int]string) (nexthops []Nexthop) {
	for len(b) >= unix.SizeofRtNexthop {
		header := nl.DeserializeRtNexthop(b)
		length := int(header.RtNexthop.Len)
		if length < unix.SizeofRtNexthop || length > len(b) {
			break
		}
		n := Nexthop{Device: names[int(header.Ifindex)]}
		EachAttribute(b[unix.SizeofRtNexthop:length], func(kind uint16, value []byte) {
			if kind == unix.RTA_GATEWAY || kind == unix.RTA_VIA {
				n.Gateway = gateway(kind, value)
			}
		})
		nexthops = append(nexthops, n)
		b = b[min((length+3)&^3, len(b)):] // they lie at multiples of 4 bytes
	}
	return nexthops
}

// gateway reads a gateway. Before one of the other family than the route's stands its
// family, in two bytes (struct rtvia in linux/rtnetlink.h).
func gateway(kind uint16, value []byte) netip.Addr {
	if kind == unix.RTA_VIA {
		value = value[min(2, len(value)):]
	}
	return Addr(value)
}

// number reads an attribute of four bytes; a shorter one is 0.
func number(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(b))
}

// Lookup returns the device by which the kernel sends a packet, "" if it refuses
// to. in is the device that the packet comes in by, lo for the router's own; a
// source that is not valid is left to the kernel.
func (h *Handle) Lookup(source, destination netip.Addr, in string, mark uint32) (device string, err error) {
	options := &netlink.RouteGetOptions{SrcAddr: source.AsSlice(), Mark: mark}
	if in != "lo" {
		if options.IifIndex, err = h.index(in); err != nil {
			return "", err
		}
	}
	routes, err := h.Netlink.RouteGetWithOptions(destination.AsSlice(), options)
	if IsNoRoute(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("route to %s: %w", destination, err)
	}
	names, err := h.DeviceNames()
	if err != nil || len(routes) != 1 {
		return "", err
	}
	return names[routes[0].LinkIndex], nil
}

// IsNoRoute reports whether a lookup found that a host is not reached: there is no
// route, or one of type unreachable, prohibit or blackhole.
func IsNoRoute(err error) bool {
	return isAny(err, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL)
}

// AddRoute adds a route. The error is EEXIST if the table has one to the same
// destination with the same metric, and ENODEV if the device does not exist.
func (h *Handle) AddRoute(r Route) error { return h.writeRoute(h.Netlink.RouteAdd, r) }

// ReplaceRoute puts a route in the place of the one to the same destination
// with the same metric, or adds it if there is none.
func (h *Handle) ReplaceRoute(r Route) error { return h.writeRoute(h.Netlink.RouteReplace, r) }

// DeleteRoute deletes the first route that has the given properties. From,
// Nexthops and what Special speaks of are not compared. The error is ESRCH if
// there is none, and ENODEV if the device does not exist.
func (h *Handle) DeleteRoute(r Route) error {
	r.OnLink = false // a flag selects nothing
	return h.writeRoute(h.Netlink.RouteDel, r)
}

func (h *Handle) writeRoute(write func(*netlink.Route) error, r Route) error {
	index, err := h.index(r.Device)
	if err != nil {
		return err
	}
	h.routes = nil
	route := netlink.Route{
		Table: r.Table, Type: int(r.Type), Protocol: netlink.RouteProtocol(r.Protocol), Scope: netlink.Scope(r.Scope),
		Tos: int(r.TOS), Dst: IPNet(r.Destination), LinkIndex: index, Src: r.Source.AsSlice(), Priority: r.Metric,
	}
	if r.OnLink {
		route.Flags = int(netlink.FLAG_ONLINK)
	}
	if r.Gateway.IsValid() && family.Of(r.Gateway) == r.Family {
		route.Gw = net.IP(r.Gateway.AsSlice())
	}
	return write(&route)
}
