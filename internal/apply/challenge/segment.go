package challenge

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

const (
	ipv4Header = 20
	ipv6Header = 40
	tcpHeader  = 20
	// hopLimit is the number that the IANA recommends for new packets (IP
	// option numbers, "IP time to live parameter").
	hopLimit = 64
)

// etherType is a family's protocol number on a link, in network byte order as
// socket addresses have it.
func etherType(f family.Family) uint16 {
	number := family.Pick[uint16](f, unix.ETH_P_IP, unix.ETH_P_IPV6)
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, number))
}

// segment is a packet from a flow's server to its client: a TCP header without
// options or data that acknowledges something.
func segment(flow Flow, sequence, acknowledged uint32) []byte {
	packet := append(ipHeader(flow), make([]byte, tcpHeader)...)
	tcp := packet[len(packet)-tcpHeader:]
	binary.BigEndian.PutUint16(tcp[0:], flow.Server.Port())
	binary.BigEndian.PutUint16(tcp[2:], flow.Client.Port())
	binary.BigEndian.PutUint32(tcp[4:], sequence)
	binary.BigEndian.PutUint32(tcp[8:], acknowledged)
	tcp[12] = tcpHeader / 4 << 4
	const ack = 0x10
	tcp[13] = ack
	// No window of 0: that would tell the client to stop.
	binary.BigEndian.PutUint16(tcp[14:], 0xffff)
	sum := addWords(pseudoHeader(flow.Server.Addr(), flow.Client.Addr()), tcp)
	binary.BigEndian.PutUint16(tcp[16:], checksum(sum))
	return packet
}

func ipHeader(flow Flow) []byte {
	source, destination := flow.Server.Addr().AsSlice(), flow.Client.Addr().AsSlice()
	if family.Of(flow.Client.Addr()) == family.IPv6 {
		header := make([]byte, 8, ipv6Header+tcpHeader)
		header[0] = 6 << 4
		binary.BigEndian.PutUint16(header[4:], tcpHeader)
		header[6], header[7] = unix.IPPROTO_TCP, hopLimit
		return append(append(header, source...), destination...)
	}
	header := make([]byte, 12, ipv4Header+tcpHeader)
	header[0] = 4<<4 | ipv4Header/4
	binary.BigEndian.PutUint16(header[2:], ipv4Header+tcpHeader)
	const dontFragment = 0x40 // so that the identification may be 0 (RFC 6864)
	header[6] = dontFragment
	header[8], header[9] = hopLimit, unix.IPPROTO_TCP
	header = append(append(header, source...), destination...)
	binary.BigEndian.PutUint16(header[10:], checksum(addWords(0, header)))
	return header
}

// pseudoHeader is the sum over what TCP's checksum covers of the IP header (RFC 9293,
// section 3.1; RFC 8200, section 8.1): the order of words does not count.
func pseudoHeader(source, destination netip.Addr) uint32 {
	return addWords(addWords(unix.IPPROTO_TCP+tcpHeader, source.AsSlice()), destination.AsSlice())
}

// addWords adds 16-bit words to a sum. b has an even length.
func addWords(sum uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	return sum
}

// checksum is the Internet checksum (RFC 1071) of what was added up.
func checksum(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
