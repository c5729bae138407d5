package main

import (
	"bytes"
	encoding "encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// packet is the first packet of a connection, described by what rules look at.
type packet struct {
	host, server int // numbers, from 1; host 0 is the one in the guest network, host own the router
	proto        uint8
	srcPort      uint16
	dstPort      uint16
	icmp         [2]uint8 // type and code; the zero value is the family's echo request
	class        uint8    // DSCP
	mark         int      // of the router's socket
}

// own is the router as a host.
const own = -1

func tcp(host, server int, port uint16) packet {
	return packet{host: host, server: server, proto: unix.IPPROTO_TCP, srcPort: 40000, dstPort: port}
}

func udp(host, server int, port uint16) packet {
	return packet{host: host, server: server, proto: unix.IPPROTO_UDP, srcPort: 40000, dstPort: port}
}

func ping(host, server int) packet { return ip(unix.IPPROTO_ICMP, host, server) }

// ip is a packet of any protocol. ICMP becomes the family's own.
func ip(proto uint8, host, server int) packet {
	return packet{host: host, server: server, proto: proto, srcPort: 40000, dstPort: 40001}
}

func (p packet) from(port uint16) packet        { p.srcPort = port; return p }
func (p packet) ofType(kind, code uint8) packet { p.icmp = [2]uint8{kind, code}; return p }
func (p packet) marked(mark int) packet         { p.mark = mark; return p }
func (p packet) withDSCP(class uint8) packet    { p.class = class; return p }

// exists says whether a family has the packet: types of ICMP belong to one.
// The router's own are dealt out in IPv4 only.
func (p packet) exists(f family.Family) bool {
	if p.host == own {
		return f == family.IPv4
	}
	if p.proto != unix.IPPROTO_ICMP || p.icmp[0] == 0 {
		return true
	}
	return (p.icmp[0] >= 128) == (f == family.IPv6) // RFC 4443: queries of IPv6 begin at 128
}

func (p packet) String() string {
	return fmt.Sprintf("protocol %d, host %d port %d to server %d port %d, ICMP type %v, DSCP %d, mark %#x",
		p.proto, p.host, p.srcPort, p.server, p.dstPort, p.icmp, p.class, p.mark)
}

// guestHost6 is the IPv6 address that the guest network gets for these tests.
var guestHost6 = netip.MustParseAddr("fd03::2")

func (p packet) addresses(l *netlab.Lab, f family.Family) (source, destination netip.Addr) {
	hosts, guest, server := l.LANHosts(), netlab.GuestHost, netlab.Server(p.server)
	if f == family.IPv6 {
		hosts, guest, server = l.LANHosts6(0), guestHost6, netlab.Server6(p.server)
	}
	switch p.host {
	case 0:
		return guest, server
	case own:
		return netlab.RouterLAN, server
	}
	return hosts[p.host-1], server
}

// bytes writes the packet as it goes over the line, with a tag at its end.
func (p packet) bytes(source, destination netip.Addr, tag []byte) []byte {
	if source.Is6() {
		payload := p.transport(source, destination, tag)
		header := make([]byte, 40, 40+len(payload))
		encoding.BigEndian.PutUint32(header, 6<<28|uint32(p.class)<<22)
		encoding.BigEndian.PutUint16(header[4:], uint16(len(payload)))
		header[6], header[7] = p.protocol(true), 64
		copy(header[8:], source.AsSlice())
		copy(header[24:], destination.AsSlice())
		return append(header, payload...)
	}
	header := make([]byte, 20) // the kernel adds length and checksum
	header[0], header[1], header[8], header[9] = 0x45, p.class<<2, 64, p.proto
	copy(header[12:], source.AsSlice())
	copy(header[16:], destination.AsSlice())
	return append(header, p.transport(source, destination, tag)...)
}

func (p packet) protocol(ipv6 bool) uint8 {
	if ipv6 && p.proto == unix.IPPROTO_ICMP {
		return unix.IPPROTO_ICMPV6
	}
	return p.proto
}

// transport is the part behind the IP header. The checksums must be right:
// connection tracking finds the packet INVALID otherwise.
func (p packet) transport(source, destination netip.Addr, tag []byte) []byte {
	ports := encoding.BigEndian.AppendUint16(encoding.BigEndian.AppendUint16(nil, p.srcPort), p.dstPort)
	switch p.proto {
	case unix.IPPROTO_TCP:
		const header = 20
		b := append(ports, make([]byte, header-4)...)
		b[12], b[13], b[14] = header/4<<4, 0x02, 0xff // SYN, and a window
		return withChecksum(append(b, tag...), 16, pseudoHeader(source, destination, p.proto, header+len(tag)))
	case unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE:
		const header = 8
		b := append(ports, make([]byte, header-4)...)
		// UDP-Lite has the checksum's coverage here.
		encoding.BigEndian.PutUint16(b[4:], uint16(header+len(tag)))
		return withChecksum(append(b, tag...), 6, pseudoHeader(source, destination, p.proto, header+len(tag)))
	case unix.IPPROTO_SCTP:
		return sctpInit(ports, tag)
	case unix.IPPROTO_ICMP:
		return p.icmpMessage(source, destination, tag)
	}
	return append(make([]byte, 8), tag...)
}

func (p packet) icmpMessage(source, destination netip.Addr, tag []byte) []byte {
	b := append([]byte{p.icmp[0], p.icmp[1], 0, 0, 0, 1, 0, 1}, tag...)
	if source.Is4() {
		if b[0] == 0 {
			b[0] = 8 // echo request (RFC 792)
		}
		return withChecksum(b, 2, 0)
	}
	if b[0] == 0 {
		b[0] = 128 // echo request (RFC 4443)
	}
	return withChecksum(b, 2, pseudoHeader(source, destination, unix.IPPROTO_ICMPV6, len(b)))
}

// sctpInit is an INIT chunk (RFC 9260, section 3.3.2) with the tag as an unknown
// parameter.
func sctpInit(ports, tag []byte) []byte {
	b := append(ports, make([]byte, 8)...) // verification tag 0, checksum
	length := 20 + 4 + len(tag)
	b = append(b, 1, 0, 0, byte(length))
	b = append(b, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1)
	b = append(b, 0xc0, 0, 0, byte(4+len(tag)))
	b = append(b, tag...)
	encoding.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// pseudoHeader is the sum over what stands for the IP header in a checksum (RFC
// 768, RFC 8200 section 8.1).
func pseudoHeader(source, destination netip.Addr, proto uint8, length int) uint32 {
	return sum16(source.AsSlice()) + sum16(destination.AsSlice()) + uint32(proto) + uint32(length)
}

func sum16(b []byte) (sum uint32) {
	for i, octet := range b {
		sum += uint32(octet) << (8 * (1 - i%2))
	}
	return sum
}

func withChecksum(b []byte, at int, start uint32) []byte {
	sum := start + sum16(b)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	encoding.BigEndian.PutUint16(b[at:], ^uint16(sum))
	return b
}

// packetRange sends packets from the LAN and sees over which line they reach
// the World.
type packetRange struct {
	t      *testing.T
	lab    *netlab.Lab
	out    map[*netlab.Namespace]map[family.Family]int // raw sockets
	in     int                                         // packet socket in the World
	errors map[family.Family]int                       // ICMP sockets of the LAN hosts
	lines  map[int]int                                 // interface index → line
	number uint32                                      // of the last packet
}

func newPacketRange(t *testing.T, l *netlab.Lab) *packetRange {
	t.Helper()
	r := &packetRange{t: t, lab: l, out: map[*netlab.Namespace]map[family.Family]int{}, lines: map[int]int{}}
	for _, ns := range []*netlab.Namespace{l.Client, l.Guest, l.Router} {
		r.out[ns] = map[family.Family]int{}
		for f, domain := range map[family.Family]int{family.IPv4: unix.AF_INET, family.IPv6: unix.AF_INET6} {
			r.out[ns][f] = r.socket(ns, domain, unix.SOCK_RAW, unix.IPPROTO_RAW)
		}
	}
	var all [2]byte
	encoding.BigEndian.PutUint16(all[:], unix.ETH_P_ALL)
	r.in = r.socket(l.World, unix.AF_PACKET, unix.SOCK_DGRAM, int(encoding.NativeEndian.Uint16(all[:])))
	// Answers of all hosts are seen as well.
	check(t, unix.SetsockoptInt(r.in, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
	r.errors = map[family.Family]int{
		family.IPv4: r.socket(l.Client, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
		family.IPv6: r.socket(l.Client, unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6),
	}
	for _, fd := range []int{r.in, r.errors[family.IPv4], r.errors[family.IPv6]} {
		check(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000}))
	}
	check(t, l.World.Do(func() error {
		for i := 1; i <= l.Uplinks(); i++ {
			device, err := net.InterfaceByName(fmt.Sprintf("line%d", i))
			if err != nil {
				return err
			}
			r.lines[device.Index] = i
		}
		return nil
	}))
	return r
}

func (r *packetRange) socket(ns *netlab.Namespace, domain, kind, proto int) (fd int) {
	r.t.Helper()
	check(r.t, ns.Do(func() (err error) {
		fd, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC, proto)
		return err
	}))
	r.t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// send sends a packet as the first one of a new connection and returns its tag.
func (r *packetRange) send(p packet, f family.Family) (tag string) {
	r.t.Helper()
	source, _ := p.addresses(r.lab, f)
	return r.sendFrom(source, p, f)
}

// sendFrom is send with another source address.
func (r *packetRange) sendFrom(source netip.Addr, p packet, f family.Family) (tag string) {
	r.t.Helper()
	_, destination := p.addresses(r.lab, f)
	return r.sendBetween(source, destination, p)
}

// sendBetween is send with other addresses.
func (r *packetRange) sendBetween(source, destination netip.Addr, p packet) (tag string) {
	r.t.Helper()
	// No packet may belong to the connection of one before it, and no address
	// translation may find its way taken.
	r.forget()
	return r.put(source, destination, p)
}

// forget ends all connections.
func (r *packetRange) forget() {
	r.t.Helper()
	check(r.t, r.lab.Router.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }))
}

// put is sendBetween beside other connections.
func (r *packetRange) put(source, destination netip.Addr, p packet) (tag string) {
	r.t.Helper()
	r.number++
	text := encoding.BigEndian.AppendUint32([]byte("rule"), r.number)
	ns := r.lab.Client
	switch p.host {
	case 0:
		ns = r.lab.Guest
	case own:
		ns = r.lab.Router
		check(r.t, unix.SetsockoptInt(r.out[ns][family.IPv4], unix.SOL_SOCKET, unix.SO_MARK, p.mark))
	}
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: destination.As16()}
	if destination.Is4() {
		to = &unix.SockaddrInet4{Addr: destination.As4()}
	}
	if err := unix.Sendto(r.out[ns][family.Of(source)], p.bytes(source, destination, text), 0, to); err != nil {
		r.t.Fatalf("%v: send: %v", p, err)
	}
	return string(text)
}

// tagLength is that of what send returns.
const tagLength = len("rule") + 4

const (
	// arrivalLimit is far beyond what a packet needs, for a machine under load.
	arrivalLimit = 5 * time.Second
	// quiet is how long nothing may come.
	quiet = 200 * time.Millisecond
)

// line sends a packet and returns the line over which it reaches the World, 0
// if it does not.
func (r *packetRange) line(p packet, f family.Family) int {
	r.t.Helper()
	return r.arrival(r.send(p, f), arrivalLimit)
}

func (r *packetRange) arrival(tag string, limit time.Duration) int {
	r.t.Helper()
	link, ok := r.await(r.in, tag, limit).(*unix.SockaddrLinklayer)
	if !ok {
		return 0
	}
	return r.lines[link.Ifindex]
}

// expectNowhere checks that a packet takes no uplink.
func (r *packetRange) expectNowhere(tag string) {
	r.t.Helper()
	if line := r.arrival(tag, quiet); line != 0 {
		r.t.Errorf("a packet that was refused took uplink %d", line)
	}
}

// refused says whether an ICMP error about a packet reaches the LAN.
func (r *packetRange) refused(f family.Family, tag string, limit time.Duration) bool {
	r.t.Helper()
	return r.await(r.errors[f], tag, limit) != nil
}

// await reads packets from a socket until one holds the tag, and returns where
// it came from; nil if none comes in time.
func (r *packetRange) await(fd int, tag string, limit time.Duration) unix.Sockaddr {
	r.t.Helper()
	buffer := make([]byte, 2048)
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		n, from, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		check(r.t, err)
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype != unix.PACKET_HOST {
			continue // what the World itself sends
		}
		if bytes.Contains(buffer[:n], []byte(tag)) {
			return from
		}
	}
	return nil
}
