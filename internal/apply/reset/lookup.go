package reset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// lookup asks the kernel where hosts are.
type lookup struct{ sockets map[int]*nl.SocketHandle }

func newLookup() (*lookup, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("reset: netlink socket: %w", err)
	}
	return &lookup{map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}}, nil
}

func (l *lookup) close() { l.sockets[unix.NETLINK_ROUTE].Close() }

func (l *lookup) request(kind, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = l.sockets
	return req
}

// hop is where the router sends packets for a host.
type hop struct {
	own     bool       // nowhere: the address is its own
	device  int        // by index; 0: it cannot send there
	address netip.Addr // the host's, or that of the router before it
}

// route looks up a host as the router would for a packet of its own without a
// mark.
func (l *lookup) route(a netip.Addr) (hop, error) {
	req := l.request(unix.RTM_GETROUTE, 0)
	req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: kernelFamily(family.Of(a)), Dst_len: uint8(a.BitLen())}})
	req.AddData(nl.NewRtAttr(unix.RTA_DST, a.AsSlice()))
	answers, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if noRoute(err) {
		return hop{}, nil
	}
	if err != nil {
		return hop{}, fmt.Errorf("route lookup: %w", err)
	}
	for _, m := range answers {
		return parseHop(a, m)
	}
	return hop{}, nil
}

// noRoute says whether a lookup found that a host is not reached: there is no
// route, or one of type unreachable, prohibit or blackhole.
func noRoute(err error) bool {
	for _, known := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

func parseHop(a netip.Addr, m []byte) (hop, error) {
	if len(m) < unix.SizeofRtMsg {
		return hop{}, errors.New("route lookup: the answer is too short")
	}
	switch nl.DeserializeRtMsg(m).Type {
	case unix.RTN_LOCAL:
		return hop{own: true}, nil
	case unix.RTN_UNICAST:
	default:
		return hop{}, nil
	}
	attributes, err := nl.ParseRouteAttr(m[unix.SizeofRtMsg:])
	if err != nil {
		return hop{}, fmt.Errorf("route lookup: %w", err)
	}
	found := hop{address: a}
	for _, attr := range attributes {
		switch attr.Attr.Type {
		case unix.RTA_OIF:
			if len(attr.Value) >= 4 {
				found.device = int(binary.NativeEndian.Uint32(attr.Value))
			}
		case unix.RTA_GATEWAY:
			found.address, _ = netip.AddrFromSlice(attr.Value)
		case unix.RTA_VIA: // a gateway of the other family, after its number
			if len(attr.Value) > 2 {
				found.address, _ = netip.AddrFromSlice(attr.Value[2:])
			}
		}
	}
	return found, nil
}

// device is a network device.
type device struct {
	name  string
	noARP bool // there is nobody to tell apart on its link
}

// device asks for a device by its index.
func (l *lookup) device(index int) (device, error) {
	req := l.request(unix.RTM_GETLINK, 0)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = int32(index)
	req.AddData(header)
	answers, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return device{}, fmt.Errorf("device %d: %w", index, err)
	}
	if len(answers) == 0 || len(answers[0]) < unix.SizeofIfInfomsg {
		return device{}, fmt.Errorf("device %d: no answer", index)
	}
	found := device{noARP: nl.DeserializeIfInfomsg(answers[0]).Flags&unix.IFF_NOARP != 0}
	attributes, err := nl.ParseRouteAttr(answers[0][unix.SizeofIfInfomsg:])
	if err != nil {
		return device{}, fmt.Errorf("device %d: %w", index, err)
	}
	for _, attr := range attributes {
		if attr.Attr.Type == unix.IFLA_IFNAME {
			found.name = string(bytes.TrimRight(attr.Value, "\x00"))
		}
	}
	return found, nil
}

// neighbour is a host on a device's link.
type neighbour struct {
	device  int
	address netip.Addr
}

// neighbours returns the link addresses of all hosts that the kernel knows. To
// ask for single ones takes Linux 5.0, and is no quicker for many.
func (l *lookup) neighbours(f family.Family) (map[neighbour][]byte, error) {
	known := map[neighbour][]byte{}
	req := l.request(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
	// struct ndmsg of linux/neighbour.h begins with the family; zeros select
	// every device and state.
	req.AddRawData(append([]byte{kernelFamily(f)}, make([]byte, unix.SizeofNdMsg-1)...))
	err := req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH, func(m []byte) bool {
		if host, address := parseNeighbour(m); address != nil {
			known[host] = address
		}
		return true
	})
	// A host that an interrupted reading has missed is only not told.
	if err != nil && !errors.Is(err, nl.ErrDumpInterrupted) {
		return nil, fmt.Errorf("neighbours (%s): %w", f, err)
	}
	return known, nil
}

// parseNeighbour reads a neighbour with its link address; nil where it has none
// (yet).
func parseNeighbour(m []byte) (host neighbour, address []byte) {
	if len(m) < unix.SizeofNdMsg {
		return host, nil
	}
	host.device = int(int32(binary.NativeEndian.Uint32(m[4:]))) // ndm_ifindex
	attributes, err := nl.ParseRouteAttr(m[unix.SizeofNdMsg:])
	if err != nil {
		return host, nil
	}
	for _, attr := range attributes {
		switch attr.Attr.Type {
		case unix.NDA_DST:
			host.address, _ = netip.AddrFromSlice(attr.Value)
		case unix.NDA_LLADDR:
			address = bytes.Clone(attr.Value)
		}
	}
	return host, address
}

func kernelFamily(f family.Family) uint8 {
	if f == family.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
