package uplink

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// The kernel interrupts a dump when what it lists changes meanwhile; the last
// attempt's error is reported. Five is what the CNI plug-ins use, too.
const dumpAttempts = 5

// Address flags (linux/if_addr.h).
const (
	flagTemporary  = 0x01
	flagOptimistic = 0x04
	flagDADFailed  = 0x08
	flagDeprecated = 0x20
	flagTentative  = 0x40
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

// reader asks the kernel. The library's functions for this return neither the
// source prefix of a route nor only what is needed of a device.
type reader struct{ sockets map[int]*nl.SocketHandle }

func openReader() (*reader, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return &reader{map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}}, nil
}

func (r *reader) close() { r.sockets[unix.NETLINK_ROUTE].Close() }

// dump asks for all objects of a kind and calls each with the header, of the
// given length, and the attributes of every message of type answer. reset is
// called before each attempt.
func (r *reader) dump(ask, answer int, header nl.NetlinkRequestData, reset func(),
	each func(header []byte, attrs []syscall.NetlinkRouteAttr)) error {
	var err error
	for range dumpAttempts {
		reset()
		req := nl.NewNetlinkRequest(ask, unix.NLM_F_DUMP)
		req.Sockets = r.sockets
		req.AddData(header)
		var parseErr error
		err = req.ExecuteIter(unix.NETLINK_ROUTE, uint16(answer), func(m []byte) bool {
			parseErr = split(m, header.Len(), each)
			return parseErr == nil
		})
		if parseErr != nil {
			return parseErr
		}
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			return err
		}
	}
	return err
}

func split(m []byte, header int, each func([]byte, []syscall.NetlinkRouteAttr)) error {
	if len(m) < header {
		return errors.New("unreadable answer of the kernel")
	}
	attrs, err := nl.ParseRouteAttr(m[header:])
	if err != nil {
		return fmt.Errorf("unreadable answer of the kernel: %w", err)
	}
	each(m[:header], attrs)
	return nil
}

// readLinks fills links by name, and returns the names by index.
func (r *reader) readLinks(links map[string]link) (map[int]string, error) {
	names := map[int]string{}
	err := r.dump(unix.RTM_GETLINK, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC),
		func() { clear(links); clear(names) },
		func(header []byte, attrs []syscall.NetlinkRouteAttr) {
			info := nl.DeserializeIfInfomsg(header)
			name, operation := "", uint8(0)
			for _, a := range attrs {
				switch a.Attr.Type {
				case unix.IFLA_IFNAME:
					name = strings.TrimRight(string(a.Value), "\x00")
				case unix.IFLA_OPERSTATE:
					operation = a.Value[0]
				}
			}
			names[int(info.Index)] = name
			links[name] = link{
				up:           info.Flags&unix.IFF_UP != 0,
				running:      info.Flags&unix.IFF_LOWER_UP != 0 && operational(operation),
				pointToPoint: info.Flags&unix.IFF_POINTOPOINT != 0,
			}
		})
	return names, err
}

// operational says whether a device in this RFC 2863 state carries traffic:
// unknown (0: its driver does not say, as with tun) or up (6), as numbered in
// linux/if.h.
func operational(state uint8) bool { return state == 0 || state == 6 }

func (r *reader) readAddresses(f family.Family, names map[int]string) ([]address, error) {
	var addresses []address
	ask := nl.NewIfAddrmsg(int(kernelFamily(f)))
	err := r.dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, ask, func() { addresses = nil },
		func(header []byte, attrs []syscall.NetlinkRouteAttr) {
			info := nl.DeserializeIfAddrmsg(header)
			if info.Family != kernelFamily(f) {
				return
			}
			if a, ok := parseAddress(info, attrs); ok {
				a.Device = names[int(info.Index)]
				addresses = append(addresses, a)
			}
		})
	return addresses, err
}

func parseAddress(info *nl.IfAddrmsg, attrs []syscall.NetlinkRouteAttr) (address, bool) {
	a := address{scope: info.Scope, flags: uint32(info.Flags)}
	var local, other netip.Addr
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case unix.IFA_LOCAL:
			local = ipAddress(attr.Value)
		case unix.IFA_ADDRESS:
			other = ipAddress(attr.Value)
		case unix.IFA_FLAGS:
			a.flags = number(attr.Value) // the header holds only eight of them
		}
	}
	// IFA_ADDRESS is the other end of a point-to-point link and otherwise the
	// address itself; IPv6 then leaves IFA_LOCAL out.
	if !local.IsValid() {
		local = other
	}
	if !other.IsValid() {
		other = local
	}
	if !local.IsValid() {
		return address{}, false
	}
	a.Prefix = netip.PrefixFrom(local, int(info.Prefixlen))
	a.network = netip.PrefixFrom(other, int(info.Prefixlen)).Masked()
	if other != local {
		a.Peer = other
		a.Prefix = netip.PrefixFrom(local, local.BitLen())
	}
	return a, true
}

// readMainTable returns the main table's routes, sorted.
func (r *reader) readMainTable(f family.Family, names map[int]string) ([]route, error) {
	var routes []route
	ask := &nl.RtMsg{RtMsg: unix.RtMsg{Family: kernelFamily(f)}}
	err := r.dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, ask, func() { routes = nil },
		func(header []byte, attrs []syscall.NetlinkRouteAttr) {
			info := nl.DeserializeRtMsg(header)
			if info.Family != kernelFamily(f) || info.Table != unix.RT_TABLE_MAIN || info.Flags&unix.RTM_F_CLONED != 0 {
				return
			}
			if route, ok := parseRoute(f, info, attrs, names); ok {
				routes = append(routes, route)
			}
		})
	slices.SortStableFunc(routes, compareRoutes)
	return routes, err
}

// routeTypes names the types that Route can have, by their number in
// linux/rtnetlink.h.
var routeTypes = map[uint8]RouteType{
	unix.RTN_UNICAST:     Unicast,
	unix.RTN_BLACKHOLE:   Blackhole,
	unix.RTN_UNREACHABLE: Unreachable,
	unix.RTN_PROHIBIT:    Prohibit,
	unix.RTN_THROW:       Throw,
}

func parseRoute(f family.Family, info *nl.RtMsg, attrs []syscall.NetlinkRouteAttr, names map[int]string) (route, bool) {
	kind, ok := routeTypes[info.Type]
	if !ok {
		return route{}, false
	}
	r := route{protocol: info.Protocol, Route: Route{Type: kind, Destination: f.Default()}}
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.RTA_DST:
			r.Destination = netip.PrefixFrom(ipAddress(a.Value), int(info.Dst_len))
		case unix.RTA_SRC:
			r.From = netip.PrefixFrom(ipAddress(a.Value), int(info.Src_len))
		case unix.RTA_OIF:
			r.Device = names[int(number(a.Value))]
		case unix.RTA_GATEWAY:
			r.Gateway = ipAddress(a.Value)
		case unix.RTA_VIA:
			r.Gateway = viaAddress(a.Value)
		case unix.RTA_PREFSRC:
			r.Source = ipAddress(a.Value)
		case unix.RTA_PRIORITY:
			r.Metric = int(number(a.Value))
		case unix.RTA_MULTIPATH:
			r.Nexthops = parseNexthops(a.Value, names)
		}
	}
	if kind != Unicast {
		r.Device = "" // IPv6 names lo for them
	}
	return r, true
}

func parseNexthops(b []byte, names map[int]string) []Nexthop {
	var legs []Nexthop
	for len(b) >= unix.SizeofRtNexthop {
		info := nl.DeserializeRtNexthop(b)
		length := int(info.RtNexthop.Len)
		if length < unix.SizeofRtNexthop || length > len(b) {
			break
		}
		leg := Nexthop{Device: names[int(info.Ifindex)]}
		attrs, err := nl.ParseRouteAttr(b[unix.SizeofRtNexthop:length])
		if err != nil {
			break
		}
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.RTA_GATEWAY:
				leg.Gateway = ipAddress(a.Value)
			case unix.RTA_VIA:
				leg.Gateway = viaAddress(a.Value)
			}
		}
		legs = append(legs, leg)
		b = b[min((length+3)&^3, len(b)):]
	}
	return legs
}

// compareRoutes orders routes as a person reads them, so that equal tables
// always give equal plans.
func compareRoutes(a, b route) int {
	return cmp.Or(
		a.Destination.Addr().Compare(b.Destination.Addr()),
		a.Destination.Bits()-b.Destination.Bits(),
		a.Metric-b.Metric,
		a.From.Addr().Compare(b.From.Addr()),
		a.From.Bits()-b.From.Bits(),
		strings.Compare(a.Device, b.Device),
		a.Gateway.Compare(b.Gateway),
	)
}

func kernelFamily(f family.Family) uint8 {
	if f == family.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// ipAddress returns an address of four or sixteen bytes, or none.
func ipAddress(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// viaAddress returns the gateway of an IPv4 route that is an IPv6 address: its
// family in two bytes comes first (struct rtvia in linux/rtnetlink.h).
func viaAddress(b []byte) netip.Addr {
	if len(b) < 2 {
		return netip.Addr{}
	}
	return ipAddress(b[2:])
}

func number(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
