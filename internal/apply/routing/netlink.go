package routing

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// The kernel interrupts a dump when the table changes under it. On a router
// whose routes change all the time a dump cannot succeed for ever, so the last
// attempt's error is reported. Five is what the CNI plug-ins use, too.
const dumpAttempts = 5

// Netlink is the Kernel of the network namespace in which Open was called.
// Rules and routes are written and parsed here, because the library neither
// sends suppress_prefixlength for tables above 255 nor returns a rule's type.
type Netlink struct {
	sockets map[int]*nl.SocketHandle
	ioctl   int // a socket to ask for device indices
}

// Open opens the sockets in the network namespace of the calling thread.
func Open() (*Netlink, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("routing: netlink socket: %w", err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("routing: socket for device names: %w", err)
	}
	sockets := map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}
	return &Netlink{sockets: sockets, ioctl: fd}, nil
}

// Close closes the sockets.
func (n *Netlink) Close() {
	n.sockets[unix.NETLINK_ROUTE].Close()
	unix.Close(n.ioctl)
}

// Read returns our rules and routes of a family.
func (n *Netlink) Read(f family.Family) (State, error) {
	rules, err := n.readRules(f)
	if err != nil {
		return State{}, fmt.Errorf("ip rules (%s): %w", f, err)
	}
	routes, err := n.readRoutes(f)
	if err != nil {
		return State{}, fmt.Errorf("routes (%s): %w", f, err)
	}
	return State{Rules: rules, Routes: routes}, nil
}

func (n *Netlink) readRules(f family.Family) ([]Rule, error) {
	var rules []Rule
	err := n.dump(unix.RTM_GETRULE, unix.RTM_NEWRULE, f, func() { rules = nil }, func(m []byte) error {
		r, ours, err := parseRule(m)
		if ours {
			rules = append(rules, r)
		}
		return err
	})
	return rules, err
}

func (n *Netlink) readRoutes(f family.Family) ([]Route, error) {
	names, err := n.deviceNames()
	if err != nil {
		return nil, err
	}
	var routes []Route
	err = n.dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, f, func() { routes = nil }, func(m []byte) error {
		r, ours, err := parseRoute(f, m, names)
		if ours {
			routes = append(routes, r)
		}
		return err
	})
	return routes, err
}

// dump asks for all objects of a family and calls each for every message of
// type answer; reset is called before each attempt.
func (n *Netlink) dump(ask, answer int, f family.Family, reset func(), each func([]byte) error) error {
	header := &nl.RtMsg{RtMsg: unix.RtMsg{Family: kernelFamily(f)}}
	err := n.dumpAll(ask, answer, header, reset, func(m []byte) error {
		// A kernel without the family answers with all others.
		if len(m) < unix.SizeofRtMsg || m[0] != kernelFamily(f) {
			return nil
		}
		return each(m)
	})
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil // the kernel has no such family, so it holds nothing of ours
	}
	return err
}

func (n *Netlink) dumpAll(ask, answer int, header nl.NetlinkRequestData, reset func(), each func([]byte) error) error {
	var err error
	for range dumpAttempts {
		reset()
		req := n.request(ask, unix.NLM_F_DUMP)
		req.AddData(header)
		var parseErr error
		err = req.ExecuteIter(unix.NETLINK_ROUTE, uint16(answer), func(m []byte) bool {
			parseErr = each(m)
			return parseErr == nil
		})
		if parseErr != nil {
			return parseErr
		}
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	return err
}

// AddRule adds a rule.
func (n *Netlink) AddRule(f family.Family, r plan.IPRule) error {
	req := n.request(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddRawData(encodeRule(f, r))
	// The kernel compares a new rule with all others, protocol included: one
	// that exists is ours.
	if err := execute(req); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s: %w", ruleText(f, "add", r), err)
	}
	return nil
}

// DeleteRule deletes a rule that Read returned.
func (n *Netlink) DeleteRule(f family.Family, r Rule) error {
	req := n.request(unix.RTM_DELRULE, unix.NLM_F_ACK)
	// The kernel deletes the first rule that has all given properties. The
	// message that it described the rule with names every one of them.
	req.AddRawData(r.raw)
	if err := execute(req); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s: %w", ruleText(f, "del", r.IPRule), err)
	}
	return nil
}

// AddRoute adds a route.
func (n *Netlink) AddRoute(f family.Family, r plan.Route) error {
	err := n.writeRoute(f, r, unix.NLM_F_EXCL)
	if errors.Is(err, unix.EEXIST) {
		err = n.existing(f, r)
	}
	return routeError(f, "add", r, err)
}

// ReplaceRoute changes a route in place.
func (n *Netlink) ReplaceRoute(f family.Family, r plan.Route) error {
	// Both families replace the first route to the destination that has the
	// same metric. IPv6 prefers one that has a gateway if the new one has,
	// and takes any other for want of such, so that it never appends while
	// there is something to replace.
	return routeError(f, "replace", r, n.writeRoute(f, r, unix.NLM_F_REPLACE))
}

// DeleteRoute deletes a route that Read returned.
func (n *Netlink) DeleteRoute(f family.Family, r Route) error {
	req := n.request(unix.RTM_DELROUTE, unix.NLM_F_ACK)
	req.AddRawData(r.raw)
	err := execute(req)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return nil // gone, perhaps along with its device
	}
	return routeError(f, "del", r.Route, err)
}

func (n *Netlink) writeRoute(f family.Family, r plan.Route, flags int) error {
	index, err := n.index(r.Device)
	if err != nil {
		return err
	}
	req := n.request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_ACK|flags)
	req.AddRawData(encodeRoute(f, r, index))
	return execute(req)
}

// existing says whether the route that stands in the way of r is r itself.
func (n *Netlink) existing(f family.Family, r plan.Route) error {
	routes, err := n.readRoutes(f)
	if err != nil {
		return err
	}
	for _, have := range routes {
		if !have.Odd && have.Route == normalRoute(r) {
			return nil
		}
	}
	return errors.New("another route to this destination, which is not ours, is in the table")
}

// index returns a device's index, 0 for no device.
func (n *Netlink) index(device string) (int, error) {
	if device == "" {
		return 0, nil
	}
	req, err := unix.NewIfreq(device)
	if err != nil {
		return 0, fmt.Errorf("device '%s': %w", device, err)
	}
	if err := unix.IoctlIfreq(n.ioctl, unix.SIOCGIFINDEX, req); err != nil {
		return 0, fmt.Errorf("device '%s': %w", device, err)
	}
	return int(req.Uint32()), nil
}

func (n *Netlink) request(kind, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = n.sockets
	return req
}

func execute(req *nl.NetlinkRequest) error {
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func routeError(f family.Family, verb string, r plan.Route, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", routeText(f, verb, r), err)
}

// deviceNames returns the names of all devices by index. net.Interfaces does so
// with a netlink reader of its own, which adds 24 KB to the program.
func (n *Netlink) deviceNames() (map[int]string, error) {
	names := map[int]string{}
	err := n.dumpAll(unix.RTM_GETLINK, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC), func() { clear(names) },
		func(m []byte) error {
			if len(m) < unix.SizeofIfInfomsg {
				return errors.New("unreadable answer of the kernel")
			}
			attrs, err := nl.ParseRouteAttr(m[unix.SizeofIfInfomsg:])
			for _, a := range attrs {
				if a.Attr.Type == unix.IFLA_IFNAME {
					names[int(nl.DeserializeIfInfomsg(m).Index)] = unix.ByteSliceToString(a.Value)
				}
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	return names, nil
}

func kernelFamily(f family.Family) uint8 {
	if f == family.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func addrFromKernel(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}
