package probe

import (
	"encoding/binary"
	"errors"
	"net/netip"

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

// echoSize is the length of an echo message: one fits into any frame.
const echoSize = 8 + 16

// echo is an echo message, as it is sent, with what we put into it.
type echo struct {
	Kind, Code   uint8
	Checksum     uint16
	ID, Sequence uint16
	Token        uint64
	Round        uint32
	Target       uint16
	_            uint16 // fills it up
}

func (e echo) message() []byte {
	b, _ := binary.Append(nil, binary.BigEndian, e) // fails for other types only
	return b
}

// parseEcho reads an echo reply of our size. The checksum is the caller's.
func parseEcho(b []byte, kind uint8) (e echo, ok bool) {
	_, err := binary.Decode(b, binary.BigEndian, &e)
	return e, err == nil && len(b) == echoSize && e.Kind == kind && e.Code == 0
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

// checksum is that of RFC 1071: 0 for data that include a correct one.
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
	s, err := p.open(path, &path.ping)
	if err != nil {
		return err
	}
	e := echo{ID: path.id, Sequence: uint16(probe.Round), Token: path.token, Round: probe.Round, Target: uint16(probe.Target)}
	if path.key.Family == family.IPv4 {
		e.Kind = echoRequest4
		e.Checksum = checksum(e.message())
	} else {
		e.Kind = echoRequest6 // the kernel adds the checksum
	}
	return s.send(e.message(), netip.AddrPortFrom(probe.Address, 0), path.index, probe.Mark, probe.Source)
}

// filterEcho4 lets echo replies with the path's identifier through. A filter of
// raw IPv4 sockets sees the IP header, one of raw IPv6 sockets does not.
func (path *pathState) filterEcho4(fd int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_RAW, unix.ICMP_FILTER, ^(1<<echoReply4)),
		attachFilter(fd, path.id,
			unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH}, // X: length of the header
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 4}))
}

func (path *pathState) filterEcho6(fd int) error {
	return errors.Join(onlyICMPv6(fd, echoReply6),
		attachFilter(fd, path.id, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 4}))
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

func (path *pathState) handleEcho(m packet) []Answer {
	source := addrPort(m.from).Addr()
	e, ok := parseEcho(m.data, echoReply6)
	if source.Is4() {
		e, ok = parseEcho4(m.data)
	}
	if !ok || e.ID != path.id || e.Token != path.token || e.Sequence != uint16(e.Round) {
		return nil
	}
	return path.answer(int(e.Target), source, e.Round)
}
