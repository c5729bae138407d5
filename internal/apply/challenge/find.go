package challenge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// client is where a client is.
type client struct {
	own  bool                    // it is the router itself
	link *unix.SockaddrLinklayer // nil where it is not found
}

// finder finds clients, each once.
type finder struct {
	kernel  *kernel.Handle
	uplinks []string
	known   map[netip.Addr]client
	// neighbours has the hosts' link addresses. They are read for the first
	// client that is behind a link.
	neighbours map[neighbour][]byte
}

// neighbour is a host on a device's link.
type neighbour struct {
	device  int // by index
	address netip.Addr
}

func newFinder(k *kernel.Handle, uplinks []string) *finder {
	return &finder{kernel: k, uplinks: uplinks, known: map[netip.Addr]client{}}
}

func (f *finder) find(a netip.Addr) (client, error) {
	if found, known := f.known[a]; known {
		return found, nil
	}
	found, err := f.search(a)
	if err == nil {
		f.known[a] = found
	}
	return found, err
}

// search looks up a host as the router would for a packet of its own without a
// mark.
func (f *finder) search(a netip.Addr) (client, error) {
	routes, err := f.kernel.Netlink.RouteGet(a.AsSlice())
	if err != nil && !kernel.IsNoRoute(err) {
		return client{}, fmt.Errorf("route to %v: %w", a, err)
	}
	if len(routes) == 0 {
		return client{}, nil
	}
	switch route := routes[0]; route.Type {
	case unix.RTN_LOCAL:
		return client{own: true}, nil
	case unix.RTN_UNICAST:
		return f.behind(route, a)
	}
	return client{}, nil
}

// behind finds a host that a route leads to.
func (f *finder) behind(route netlink.Route, a netip.Addr) (client, error) {
	device, err := f.device(route.LinkIndex)
	if err != nil || slices.Contains(f.uplinks, device.Name) {
		return client{}, err
	}
	link := &unix.SockaddrLinklayer{Protocol: etherType(family.Of(a)), Ifindex: device.Index}
	if device.RawFlags&unix.IFF_NOARP != 0 {
		return client{link: link}, nil // there is nobody to tell apart on its link
	}
	address, err := f.linkAddress(neighbour{device.Index, nextHop(route, a)})
	if err != nil || len(address) == 0 || len(address) > len(link.Addr) {
		return client{}, err
	}
	link.Halen = uint8(copy(link.Addr[:], address))
	return client{link: link}, nil
}

func (f *finder) device(index int) (*netlink.LinkAttrs, error) {
	links, err := f.kernel.Links()
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		if link.Attrs().Index == index {
			return link.Attrs(), nil
		}
	}
	return nil, fmt.Errorf("device %d: %w", index, unix.ENODEV)
}

// nextHop returns the address to which packets for a host go on the link: its
// own, or that of the router before it, which may be of the other family.
func nextHop(route netlink.Route, a netip.Addr) netip.Addr {
	if via, isVia := route.Via.(*netlink.Via); isVia {
		return kernel.Addr(via.Addr)
	}
	if route.Gw != nil {
		return kernel.Addr(route.Gw)
	}
	return a
}

// linkAddress returns a host's link address; nothing where the kernel does not
// know it (yet). The library cannot ask for a single one.
func (f *finder) linkAddress(host neighbour) ([]byte, error) {
	if f.neighbours != nil {
		return f.neighbours[host], nil
	}
	var all []netlink.Neigh
	err := kernel.Dump(func() (err error) {
		all, err = f.kernel.Netlink.NeighList(0, netlink.FAMILY_ALL)
		return err
	})
	// A host that an interrupted reading has missed is only not challenged.
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("neighbours: %w", err)
	}
	f.neighbours = map[neighbour][]byte{}
	for _, n := range all {
		f.neighbours[neighbour{n.LinkIndex, kernel.Addr(n.IP)}] = n.HardwareAddr
	}
	return f.neighbours[host], nil
}
