// Package challenge makes TCP clients in the LAN notice that the uplink of their
// connections is gone. A client that only receives would wait for ever, and one
// that sends backs off for seconds.
//
// Each client gets a segment that looks like its server's and does not fit into
// the connection. It answers with an acknowledgement (RFC 9293, section
// 3.10.7.4; RFC 5961 calls that a challenge). The acknowledgement is dealt to a
// live uplink like a new connection's first packet and comes to the server from
// an address that it does not know. So the server resets the connection, with
// the right sequence numbers, which nobody here has to know.
//
// The segments go out by a packet socket, past connection tracking, which
// would otherwise make an entry for the wrong direction of them.
package challenge

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/sys/unix"

	"loadbalance/internal/kernel"
)

// Flow is a TCP connection as its client sees it. Both ends are of one family.
type Flow struct {
	Client, Server netip.AddrPort
}

// Result counts flows.
type Result struct {
	// Challenged are those whose client was sent segments.
	Challenged int
	// Own are the router's own, which are left to their timeouts: whatever it
	// sends next goes over a live uplink, and is answered by a reset.
	Own int
	// NotFound are those whose client has no route, is behind an uplink, or has been
	// silent for so long that its link address is not known.
	NotFound int
}

// Sender sends segments. Kernel says where clients are; the packets leave in the
// network namespace of the thread that calls Send, which must be the same.
type Sender struct{ Kernel *kernel.Handle }

// Send challenges the clients of the flows. Clients behind the devices named in
// uplinks are left alone. One flow's failure does not keep the others from
// being served; the error says how many failed, and why the first.
func (s Sender) Send(flows []Flow, uplinks []string) (Result, error) {
	var result Result
	if len(flows) == 0 {
		return result, nil
	}
	// It sends to link addresses and, by protocol 0, receives nothing (packet(7)).
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return result, fmt.Errorf("challenge: packet socket: %w", err)
	}
	defer unix.Close(socket)
	finder := newFinder(s.Kernel, uplinks)
	failed := 0
	var first error
	for _, flow := range flows {
		client, err := finder.find(flow.Client.Addr())
		if err == nil && client.link != nil {
			err = send(socket, client.link, flow)
		}
		switch {
		case err != nil:
			failed, first = failed+1, cmp.Or(first, err)
		case client.own:
			result.Own++
		case client.link == nil:
			result.NotFound++
		default:
			result.Challenged++
		}
	}
	if failed > 0 {
		err = fmt.Errorf("challenge: %d connections: %w", failed, first)
	}
	return result, err
}

// send sends two segments half of all sequence numbers apart: a window is at most a
// quarter (RFC 7323, section 2.3), so one of the two is outside of it. The client
// answers only one: Linux answers no further one for 500 ms (tcp_invalid_ratelimit).
func send(socket int, link *unix.SockaddrLinklayer, flow Flow) error {
	sequence, acknowledged := rand.Uint32(), rand.Uint32()
	for _, number := range []uint32{sequence, sequence + 1<<31} {
		if err := unix.Sendto(socket, segment(flow, number, acknowledged), 0, link); err != nil {
			return fmt.Errorf("packet to the LAN: %w", err)
		}
	}
	return nil
}
