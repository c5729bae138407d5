// Package reset makes TCP clients in the LAN notice that the uplink of their
// connections is gone. A client that only receives would wait for ever, and one
// that sends backs off for seconds.
//
// Each client gets a segment of its own connection that cannot be part of it.
// It answers such a segment with an acknowledgement (RFC 9293, section
// 3.10.7.4). That is dealt to a live uplink like a new connection's first
// packet, comes to the server from an address that it does not know, and the
// server resets the connection: with the right numbers, which nobody here has
// to know.
//
// The segments go out by a packet socket, past connection tracking, which
// would otherwise make an entry for the wrong direction of them.
package reset

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// Flow is a TCP connection as its client sees it. Both ends are of one family.
type Flow struct {
	Client, Server netip.AddrPort
}

// Result counts flows.
type Result struct {
	// Reset are those whose client was sent a segment.
	Reset int
	// Own are the router's own, which are left to their timeouts: whatever it
	// sends next goes over a live uplink, and is answered by a reset.
	Own int
	// Unreached are those whose client cannot be found: it has no route, is
	// behind an uplink, or its link address is not known, which means that it
	// has been silent for long.
	Unreached int
}

// Sender sends segments in the network namespace of the thread that calls it.
type Sender struct{}

// Send makes the clients of the flows notice. Clients behind the devices named
// in uplinks are left alone. One flow's failure does not keep the others from
// being served; each kind of failure is reported once, with its number.
func (Sender) Send(flows []Flow, uplinks []string) (Result, error) {
	var result Result
	if len(flows) == 0 {
		return result, nil
	}
	socket, err := openSocket()
	if err != nil {
		return result, err
	}
	// The kernel takes some 10 ms to close one (synchronize_net in
	// packet_release), for which the next family's clients need not wait.
	defer func() { go unix.Close(socket) }()
	finder, err := newFinder(uplinks)
	if err != nil {
		return result, err
	}
	defer finder.close()
	failed := failures{}
	for _, flow := range flows {
		client, err := finder.find(flow.Client.Addr())
		if err == nil && client.link != nil {
			err = send(socket, client.link, flow)
		}
		switch {
		case err != nil:
			failed.note(err)
		case client.own:
			result.Own++
		case client.link == nil:
			result.Unreached++
		default:
			result.Reset++
		}
	}
	return result, failed.err()
}

// failures count flows by what went wrong with them.
type failures map[string]int

func (f failures) note(err error) { f[err.Error()]++ }

func (f failures) err() error {
	var all []error
	for _, text := range slices.Sorted(maps.Keys(f)) {
		all = append(all, fmt.Errorf("reset: %d connections: %s", f[text], text))
	}
	return errors.Join(all...)
}

// openSocket opens a socket that sends to link addresses and, by protocol 0,
// receives nothing (packet(7)).
func openSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("reset: packet socket: %w", err)
	}
	return fd, nil
}

// send sends two segments half of all sequence numbers apart. A window is at
// most a quarter of them (RFC 7323, section 2.3: 2^30), so one of the two is
// outside of it, wherever it is. The client answers only one: Linux answers no
// further such segment of a connection for 500 ms (tcp_invalid_ratelimit).
func send(socket int, link *unix.SockaddrLinklayer, flow Flow) error {
	sequence, acknowledged := rand.Uint32(), rand.Uint32()
	for _, number := range []uint32{sequence, sequence + 1<<31} {
		if err := unix.Sendto(socket, segment(flow, number, acknowledged), 0, link); err != nil {
			return fmt.Errorf("packet to the LAN: %w", err)
		}
	}
	return nil
}

// finder finds clients, each once.
type finder struct {
	lookup  *lookup
	uplinks []string
	known   map[netip.Addr]client
	devices map[int]device
	// neighbours is read when the first client of the family is looked for.
	neighbours map[family.Family]map[neighbour][]byte
}

// client is where a client is.
type client struct {
	own  bool // it is the router itself
	link *unix.SockaddrLinklayer
}

func newFinder(uplinks []string) (*finder, error) {
	lookup, err := newLookup()
	if err != nil {
		return nil, err
	}
	return &finder{lookup: lookup, uplinks: uplinks, known: map[netip.Addr]client{}, devices: map[int]device{},
		neighbours: map[family.Family]map[neighbour][]byte{}}, nil
}

func (f *finder) close() { f.lookup.close() }

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

func (f *finder) search(a netip.Addr) (client, error) {
	hop, err := f.lookup.route(a)
	if err != nil || hop.own || hop.device == 0 {
		return client{own: hop.own}, err
	}
	device, known := f.devices[hop.device]
	if !known {
		if device, err = f.lookup.device(hop.device); err != nil {
			return client{}, err
		}
		f.devices[hop.device] = device
	}
	if slices.Contains(f.uplinks, device.name) {
		return client{}, nil
	}
	link := &unix.SockaddrLinklayer{Protocol: etherType(family.Of(a)), Ifindex: hop.device}
	if device.noARP {
		return client{link: link}, nil
	}
	address, err := f.linkAddress(hop)
	if err != nil || len(address) == 0 || len(address) > len(link.Addr) {
		return client{}, err
	}
	link.Halen = uint8(copy(link.Addr[:], address))
	return client{link: link}, nil
}

func (f *finder) linkAddress(hop hop) ([]byte, error) {
	of := family.Of(hop.address)
	if f.neighbours[of] == nil {
		var err error
		if f.neighbours[of], err = f.lookup.neighbours(of); err != nil {
			return nil, err
		}
	}
	return f.neighbours[of][neighbour{hop.device, hop.address}], nil
}
