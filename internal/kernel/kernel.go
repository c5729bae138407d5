// Package kernel is the one way to the kernel's network state: devices, addresses,
// routes and ip rules through github.com/vishvananda/netlink. It owns the sockets of
// a run, the retry of interrupted dumps, and what was dumped: each list is read once
// and kept until it was changed through the Handle or forgotten.
//
// What v1.3.1 of the library cannot do is done here with its subpackage nl:
//
//   - RouteListFiltered drops a route's source prefix (RTA_SRC), so that IPv6's
//     "default from PREFIX" looks like the default route, and hides a nexthop
//     object (RTA_NH_ID). RouteAdd and RouteDel send no source prefix either.
//   - RuleAdd and RuleDel send suppress_prefixlength and suppress_ifgroup only
//     for tables below 256. The others are sent by rule.go.
//   - RuleList returns neither a rule's type nor l3mdev. Both show as a rule
//     without a table, which no rule of ours is; rule.go asks for the types then.
//   - Handle keeps its sockets to itself.
//
// What has to be known when using it:
//
//   - A Rule that NewRule did not make asks for "goto 0".
//   - A Route without destination and gateway is refused: 0.0.0.0/0, ::/0.
//   - IPv6 gives a route without metric the metric 1024, IPv4 the metric 0.
//   - Lists come along with ErrDumpInterrupted.
package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// The kernel interrupts a dump when what it lists changes meanwhile. On a
// router whose routes change all the time a dump cannot succeed for ever, so
// the last attempt's error is reported. Five is what the CNI plug-ins use, too.
const dumpAttempts = 5

// Handle gives access to the kernel of the network namespace in which Open was
// called. It is not safe for concurrent use.
type Handle struct {
	// Netlink has the library's functions for what the Handle does not keep. A change
	// of rules or routes through it would go unnoticed here.
	Netlink *netlink.Handle

	sockets   map[int]*nl.SocketHandle
	links     []netlink.Link
	addresses []netlink.Addr
	rules     []netlink.Rule
	routes    []Route
	many      map[family.Family]bool // see HasMany
}

// Dump makes a dump, and a few times again if the kernel interrupts it.
func Dump(dump func() error) error {
	var err error
	for range dumpAttempts {
		if err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return err
}

// once returns a list that is known, or has it read; nil: it is not known.
func once[T any](known *[]T, what string, dump func() ([]T, error)) ([]T, error) {
	if *known != nil {
		return *known, nil
	}
	var all []T
	err := Dump(func() (err error) {
		all, err = dump()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	*known = all
	return all, nil
}

// Open opens the sockets in the network namespace of the calling thread: for
// rtnetlink, and for nfnetlink where the kernel has it.
func Open() (*Handle, error) {
	h := &Handle{sockets: map[int]*nl.SocketHandle{}}
	if err := h.open(); err != nil {
		h.Close()
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return h, nil
}

func (h *Handle) open() error {
	var protocols []int
	for _, protocol := range []int{unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER} {
		s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), protocol)
		if protocol == unix.NETLINK_NETFILTER && errors.Is(err, unix.EPROTONOSUPPORT) {
			continue // who asks for sets or connections will be told the same
		}
		if err != nil {
			return err
		}
		h.sockets[protocol] = &nl.SocketHandle{Socket: s}
		protocols = append(protocols, protocol)
	}
	var err error
	if h.Netlink, err = netlink.NewHandle(protocols...); err != nil {
		return err
	}
	// Without a limit a bug of the kernel would hang us. The library's limit,
	// 60 s, holds for its own sockets only.
	for _, s := range h.sockets {
		if err := s.Socket.SetReceiveTimeout(&nl.SocketTimeoutTv); err != nil {
			return err
		}
	}
	return h.Netlink.SetSocketTimeout(netlink.GetSocketTimeout())
}

// Close closes the sockets.
func (h *Handle) Close() {
	if h.Netlink != nil {
		h.Netlink.Close()
	}
	for _, s := range h.sockets {
		s.Close()
	}
}

// Forget makes the next calls read the kernel's state anew.
func (h *Handle) Forget() {
	h.links, h.addresses, h.rules, h.routes = nil, nil, nil, nil
}

// Request returns a request of the given type and flags (NLM_F_…) over the
// Handle's own sockets.
func (h *Handle) Request(kind, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = h.sockets
	return req
}

// Links returns all devices.
func (h *Handle) Links() ([]netlink.Link, error) {
	return once(&h.links, "devices", h.Netlink.LinkList)
}

// DeviceNames returns the names of all devices by index.
func (h *Handle) DeviceNames() (map[int]string, error) {
	links, err := h.Links()
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	return names, err
}

// index returns a device's index, 0 for no device. The error for a device that
// does not exist is ENODEV.
func (h *Handle) index(device string) (int, error) {
	if device == "" {
		return 0, nil
	}
	links, err := h.Links()
	if err != nil {
		return 0, err
	}
	for _, l := range links {
		if l.Attrs().Name == device {
			return l.Attrs().Index, nil
		}
	}
	return 0, fmt.Errorf("device '%s': %w", device, unix.ENODEV)
}

// Addresses returns the addresses of a family on all devices, in the kernel's
// order, which has a device's primary address first.
func (h *Handle) Addresses(f family.Family) ([]netlink.Addr, error) {
	all, err := once(&h.addresses, "addresses", func() ([]netlink.Addr, error) {
		return h.Netlink.AddrList(nil, netlink.FAMILY_ALL)
	})
	return only(all, func(a netlink.Addr) bool { return a.IPNet != nil && family.Of(Addr(a.IP)) == f }), err
}

// Addr turns an address of the library's, which has four bytes for IPv4, into
// one that can be compared; nil becomes the zero address.
func Addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a
}

// Prefix turns a network of the library's into one that can be compared; nil
// becomes the zero prefix.
func Prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(Addr(n.IP), bits)
}

// IPNet is the reverse of Prefix.
func IPNet(p netip.Prefix) *net.IPNet {
	if !p.IsValid() {
		return nil
	}
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func only[T any](all []T, wanted func(T) bool) []T {
	var some []T
	for _, t := range all {
		if wanted(t) {
			some = append(some, t)
		}
	}
	return some
}

// HasIPv6 reports whether the kernel was built and started with IPv6.
func HasIPv6() bool {
	// thread-self, because /proc/net is the namespace of the process's first
	// thread.
	_, err := os.Stat("/proc/thread-self/net/if_inet6")
	return err == nil
}

// FamilyOf is the reverse of Number. ok is false for a family that is neither.
func FamilyOf(number uint8) (f family.Family, ok bool) {
	if number == unix.AF_INET6 {
		f = family.IPv6
	}
	return f, number == Number(f)
}

// Number is the kernel's number of a family, AF_INET or AF_INET6.
func Number(f family.Family) uint8 { return family.Pick[uint8](f, unix.AF_INET, unix.AF_INET6) }
