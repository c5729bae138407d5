package probe

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// Types of ICMP (RFC 792) and ICMPv6 (RFC 4443).
const (
	echoRequest4 = 8
	echoReply4   = 0
	echoRequest6 = 128
	echoReply6   = 129
)

// echoSize is the length of an echo message: header, token, round, target and
// two bytes that fill it up. With an IPv4 header it still is shorter than the
// smallest Ethernet frame.
const echoSize = 8 + 16

// echo is the content of an echo message.
type echo struct {
	id, sequence uint16
	token        uint64
	round        uint32
	target       uint16
}

func (e echo) put(b []byte, kind byte) {
	b[0], b[1], b[2], b[3] = kind, 0, 0, 0
	binary.BigEndian.PutUint16(b[4:], e.id)
	binary.BigEndian.PutUint16(b[6:], e.sequence)
	binary.BigEndian.PutUint64(b[8:], e.token)
	binary.BigEndian.PutUint32(b[16:], e.round)
	binary.BigEndian.PutUint16(b[20:], e.target)
	b[22], b[23] = 0, 0
}

// parseEcho reads an echo reply of our size. The checksum is the caller's.
func parseEcho(b []byte, kind byte) (echo, bool) {
	if len(b) != echoSize || b[0] != kind || b[1] != 0 {
		return echo{}, false
	}
	return echo{
		id:       binary.BigEndian.Uint16(b[4:]),
		sequence: binary.BigEndian.Uint16(b[6:]),
		token:    binary.BigEndian.Uint64(b[8:]),
		round:    binary.BigEndian.Uint32(b[16:]),
		target:   binary.BigEndian.Uint16(b[20:]),
	}, true
}

// parseEcho4 reads an echo reply behind an IPv4 header. Raw sockets get
// packets before the kernel has verified the checksum of ICMP.
func parseEcho4(b []byte) (echo, bool) {
	if len(b) < 20 {
		return echo{}, false
	}
	header := int(b[0]&0xf) * 4
	if header < 20 || header > len(b) || checksum(b[header:]) != 0 {
		return echo{}, false
	}
	return parseEcho(b[header:], echoReply4)
}

// checksum returns the Internet checksum (RFC 1071). It is 0 for data that
// include a correct checksum.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func (p *Prober) sendPing(path *pathState, probe *Probe) error {
	s, err := p.pingSocket(path.key.Family)
	if err != nil {
		return err
	}
	e := echo{id: path.id, sequence: uint16(probe.Round), token: path.token, round: probe.Round, target: uint16(probe.Target)}
	b := p.out.data[:echoSize]
	if path.key.Family == family.IPv4 {
		e.put(b, echoRequest4)
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	} else {
		e.put(b, echoRequest6) // the kernel adds the checksum
	}
	p.out.address(probe.Address, 0, path.index, probe.Mark, probe.Source)
	return p.out.send(s.fd, len(b))
}

func (p *Prober) pingSocket(f family.Family) (*socket, error) {
	if s := p.ping[f]; s != nil {
		return s, nil
	}
	var err error
	if f == family.IPv4 {
		p.ping[f], err = p.newSocket("ICMP", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, p.filterEcho4, p.handleEcho)
	} else {
		p.ping[f], err = p.newSocket("ICMPv6", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6, p.filterEcho6, p.handleEcho)
	}
	return p.ping[f], err
}

// filterEcho4 lets echo replies with our identifiers through. A filter of raw
// IPv4 sockets sees the IP header, one of raw IPv6 sockets does not.
func (p *Prober) filterEcho4(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_RAW, unix.ICMP_FILTER, ^(1 << echoReply4)); err != nil {
		return err
	}
	return attachFilter(fd, []unix.SockFilter{
		{Code: loadIPv4Length, K: 0},
		{Code: loadHalfIndexed, K: 4},
		{Code: and, K: idMask},
		{Code: jumpIfEqual, K: uint32(p.idBase), Jf: 1},
		{Code: accept, K: wholePacket},
		{Code: accept, K: 0},
	})
}

func (p *Prober) filterEcho6(fd int) error {
	if err := onlyICMPv6(fd, echoReply6); err != nil {
		return err
	}
	return attachFilter(fd, []unix.SockFilter{
		{Code: loadHalf, K: 4},
		{Code: and, K: idMask},
		{Code: jumpIfEqual, K: uint32(p.idBase), Jf: 1},
		{Code: accept, K: wholePacket},
		{Code: accept, K: 0},
	})
}

// onlyICMPv6 blocks all types but one (RFC 3542, section 3.2).
func onlyICMPv6(fd int, kind uint) error {
	var filter unix.ICMPv6Filter
	for i := range filter.Data {
		filter.Data[i] = ^uint32(0)
	}
	filter.Data[kind/32] &^= 1 << (kind % 32)
	return unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter)
}

func (p *Prober) handleEcho(s *socket) {
	source := s.in.source().Addr()
	var e echo
	var ok bool
	if source.Is4() {
		e, ok = parseEcho4(s.data())
	} else {
		e, ok = parseEcho(s.data(), echoReply6)
	}
	if !ok || e.sequence != uint16(e.round) {
		return
	}
	p.mu.Lock()
	var a Answer
	path := p.byID[e.id]
	ok = path != nil && path.token == e.token && path.key.Family == family.Of(source)
	if ok {
		a, ok = path.answer(int(e.target), source, e.round)
	}
	p.mu.Unlock()
	if ok {
		p.deliver(a)
	}
}
