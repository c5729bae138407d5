package main

import (
	"bytes"
	wire "encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/netlab"
)

// frame is a packet that a test makes itself, octet by octet, so that it may
// have any address, protocol, type and code point.
type frame struct {
	from               *netlab.Namespace // Client, Guest or Router
	mac                net.HardwareAddr
	source             netip.Addr
	destination        netip.Addr
	protocol           int
	sport, dport       int
	icmpType, icmpCode int
	dscp               int
	mark               int // of the router's socket
}

// sameFlow says whether two frames may belong to one connection.
func (f frame) sameFlow(other frame) bool {
	return f.source == other.source && f.destination == other.destination && f.protocol == other.protocol &&
		f.sport == other.sport && f.dport == other.dport
}

// by is the frame as the sender of another one of the same family would send
// it.
func (f frame) by(other frame) frame {
	if f.source.Is4() == other.source.Is4() && f.destination != netlab.GuestHost {
		f.from, f.source, f.mac, f.mark = other.from, other.source, other.mac, other.mark
	}
	return f
}

// marker begins the payload of test packets; a number follows. An ICMP error
// carries it, too.
var marker = []byte("explain:")

// octets writes the frame as it goes to the router.
func (f frame) octets(router net.HardwareAddr, number uint64) []byte {
	return f.carrying(router, wire.BigEndian.AppendUint64(bytes.Clone(marker), number), number)
}

// carrying writes the frame with a payload.
func (f frame) carrying(router net.HardwareAddr, payload []byte, number uint64) []byte {
	transport := f.transport(payload, number)
	ethernet := append(bytes.Clone(router), f.mac...)
	if f.source.Is4() {
		header := []byte{0x45, byte(f.dscp << 2), 0, 0, 0, 0, 0, 0, 64, byte(f.protocol), 0, 0}
		wire.BigEndian.PutUint16(header[2:], uint16(20+len(transport)))
		header = append(append(header, f.source.AsSlice()...), f.destination.AsSlice()...)
		wire.BigEndian.PutUint16(header[10:], checksum(header))
		return append(append(append(ethernet, 0x08, 0x00), header...), transport...)
	}
	header := []byte{0x60 | byte(f.dscp>>2), byte(f.dscp << 6), 0, 0, 0, 0, byte(f.protocol), 64}
	wire.BigEndian.PutUint16(header[4:], uint16(len(transport)))
	header = append(append(header, f.source.AsSlice()...), f.destination.AsSlice()...)
	return append(append(append(ethernet, 0x86, 0xdd), header...), transport...)
}

// transport writes what follows the IP header. ICMP messages carry a number of
// their own, so that each request is a connection of its own.
func (f frame) transport(payload []byte, number uint64) []byte {
	ports := wire.BigEndian.AppendUint16(wire.BigEndian.AppendUint16(nil, uint16(f.sport)), uint16(f.dport))
	var segment []byte
	sum := 0
	switch f.protocol {
	case unix.IPPROTO_TCP:
		segment = append(ports, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0) // a SYN
		sum = 16
	case unix.IPPROTO_UDP:
		segment = wire.BigEndian.AppendUint16(ports, uint16(8+len(payload)))
		segment = append(segment, 0, 0)
		sum = 6
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		segment = []byte{byte(f.icmpType), byte(f.icmpCode), 0, 0, byte(number >> 8), byte(number), 0, 1}
		sum = 2
	default: // ESP: an identifier and a number
		return append([]byte{0, 0, 1, 0, 0, 0, 0, 1}, payload...)
	}
	segment = append(segment, payload...)
	var pseudo []byte
	if f.protocol != unix.IPPROTO_ICMP {
		pseudo = append(append(pseudo, f.source.AsSlice()...), f.destination.AsSlice()...)
		pseudo = append(pseudo, 0, byte(f.protocol), byte(len(segment)>>8), byte(len(segment)))
	}
	wire.BigEndian.PutUint16(segment[sum:], checksum(append(pseudo, segment...)))
	return segment
}

// checksum is the Internet checksum of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word |= uint32(b[i+1])
		}
		sum += word
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// injector sends frames from a host behind the router.
type injector struct {
	fd     int
	device int
	own    net.HardwareAddr
}

func newInjector(t *testing.T, ns *netlab.Namespace) *injector {
	t.Helper()
	in := &injector{}
	err := ns.Do(func() error {
		device, err := net.InterfaceByName("lan")
		if err != nil {
			return err
		}
		in.device, in.own = device.Index, device.HardwareAddr
		in.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(in.fd) })
	return in
}

func (in *injector) send(octets []byte) error {
	return unix.Sendto(in.fd, octets, 0, &unix.SockaddrLinklayer{Ifindex: in.device})
}

// sighting is what the router did with a test packet.
type sighting struct {
	device  string // by which the packet left; "" when it did not
	refused bool   // an ICMP error of the router's came back
}

func (s sighting) String() string {
	switch {
	case s.device != "":
		return "left by " + s.device
	case s.refused:
		return "was refused"
	}
	return "did not leave"
}

// lookout sees every packet that leaves the router.
type lookout struct {
	fd      int
	devices map[int]string
	seen    map[uint64]sighting
}

func newLookout(t *testing.T, ns *netlab.Namespace) *lookout {
	t.Helper()
	l := &lookout{devices: map[int]string{}, seen: map[uint64]sighting{}}
	err := ns.Do(func() error {
		devices, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, d := range devices {
			l.devices[d.Index] = d.Name
		}
		l.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
			return err
		}
		var all [2]byte
		wire.BigEndian.PutUint16(all[:], unix.ETH_P_ALL)
		return unix.Bind(l.fd, &unix.SockaddrLinklayer{Protocol: wire.NativeEndian.Uint16(all[:])})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(l.fd) })
	return l
}

// look reads what has left since the last call.
func (l *lookout) look() error {
	buffer := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(l.fd, buffer, 0)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("lookout: %w", err)
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if ok && link.Pkttype == unix.PACKET_OUTGOING {
			l.note(l.devices[link.Ifindex], buffer[:n])
		}
	}
}

// note keeps the first sighting of a packet: later ones are answers that carry
// the same payload, or the parent device of a macvlan.
func (l *lookout) note(device string, packet []byte) {
	at := bytes.LastIndex(packet, marker)
	if at < 0 || len(packet) < at+len(marker)+8 || device == "lo" {
		return
	}
	number := wire.BigEndian.Uint64(packet[at+len(marker):])
	if _, known := l.seen[number]; known {
		return
	}
	if isError(packet) {
		l.seen[number] = sighting{refused: true}
		return
	}
	l.seen[number] = sighting{device: device}
}

// isError says whether a packet is an ICMP message "destination unreachable".
func isError(packet []byte) bool {
	if packet[0]>>4 == 6 {
		return packet[6] == unix.IPPROTO_ICMPV6 && packet[40] == 1
	}
	return packet[9] == unix.IPPROTO_ICMP && packet[int(packet[0]&0xf)*4] == 3
}

// wait looks until a packet was seen, or fails.
func (l *lookout) wait(number uint64, limit time.Duration) (sighting, bool, error) {
	for end := time.Now().Add(limit); ; {
		if err := l.look(); err != nil {
			return sighting{}, false, err
		}
		if s, seen := l.seen[number]; seen {
			return s, true, nil
		}
		if time.Now().After(end) {
			return sighting{}, false, nil
		}
		poll := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, 10); err != nil && !errors.Is(err, unix.EINTR) {
			return sighting{}, false, err
		}
	}
}

// hardwareAddress is the MAC address of a device in a namespace.
func hardwareAddress(t *testing.T, ns *netlab.Namespace, device string) net.HardwareAddr {
	t.Helper()
	var mac net.HardwareAddr
	err := ns.Do(func() error {
		d, err := net.InterfaceByName(device)
		if err == nil {
			mac = d.HardwareAddr
		}
		return err
	})
	if err != nil || strings.Trim(mac.String(), "0:") == "" {
		t.Fatalf("%s: no MAC address: %v", device, err)
	}
	return mac
}
