package conntrack

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// markMask is CTA_MARK_MASK of linux/netfilter/nfnetlink_conntrack.h, which
// the library does not have.
const markMask = 21

// seenReply is IPS_SEEN_REPLY of linux/netfilter/nf_conntrack_common.h: packets
// went in both directions.
const seenReply = 1 << 1

// headerLength is the length of an attribute's length and type.
const headerLength = 4

// attributes walks over the attributes in b until visit has seen all. whole is
// the attribute with its header and padding. Damaged attributes end the walk.
//
// The library's own parser collects them in slices: with tens of thousands of
// entries that costs more than everything else.
func attributes(b []byte, visit func(kind uint16, value, whole []byte)) {
	for len(b) >= headerLength {
		length := int(binary.NativeEndian.Uint16(b))
		if length < headerLength || length > len(b) {
			return
		}
		padded := min((length+3)&^3, len(b))
		kind := binary.NativeEndian.Uint16(b[2:]) & nl.NLA_TYPE_MASK
		visit(kind, b[headerLength:length], b[:padded])
		b = b[padded:]
	}
}

// parse reads one entry of the table.
func parse(m []byte) (Entry, bool) {
	if len(m) < nl.SizeofNfgenmsg {
		return Entry{}, false
	}
	var e Entry
	switch m[0] {
	case unix.AF_INET:
	case unix.AF_INET6:
		e.Family = family.IPv6
	default:
		return Entry{}, false
	}
	attributes(m[nl.SizeofNfgenmsg:], func(kind uint16, value, whole []byte) {
		switch kind {
		case nl.CTA_TUPLE_ORIG:
			e.Original = parseTuple(value, &e.Protocol)
			e.key = append(e.key, whole...)
		case nl.CTA_TUPLE_REPLY:
			e.Reply = parseTuple(value, &e.Protocol)
		case nl.CTA_MARK:
			e.Mark = big32(value)
		case nl.CTA_STATUS:
			e.Answered = big32(value)&seenReply != 0
		case nl.CTA_PROTOINFO:
			state := parseState(value)
			e.Opening, e.Ended = state == synSent, state >= timeWait
		case nl.CTA_ZONE, nl.CTA_ID:
			// The same tuple may exist once per zone; the number keeps a
			// deletion from hitting a successor of the entry.
			e.key = append(e.key, whole...)
		}
	})
	// Without a tuple a deletion would empty the whole table.
	return e, e.Original.Source.IsValid() && e.Original.Destination.IsValid()
}

// tcpKey are the attributes that identify a TCP connection by its original
// direction.
func tcpKey(source, destination netip.AddrPort) []byte {
	from, to := nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST
	if source.Addr().Is6() {
		from, to = nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST
	}
	tuple := nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_ORIG, nil)
	addresses := tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil)
	addresses.AddRtAttr(from, source.Addr().AsSlice())
	addresses.AddRtAttr(to, destination.Addr().AsSlice())
	ports := tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil)
	ports.AddRtAttr(nl.CTA_PROTO_NUM, []byte{unix.IPPROTO_TCP})
	ports.AddRtAttr(nl.CTA_PROTO_SRC_PORT, nl.BEUint16Attr(source.Port()))
	ports.AddRtAttr(nl.CTA_PROTO_DST_PORT, nl.BEUint16Attr(destination.Port()))
	return tuple.Serialize()
}

// States of TCP connections (enum tcp_conntrack in
// linux/netfilter/nf_conntrack_tcp.h). TIME_WAIT is the first of those in which
// a connection is over; CLOSE follows.
const (
	synSent  = 1
	timeWait = 7
)

// parseState reads the state of a TCP connection; 0 for other protocols.
func parseState(b []byte) (state uint8) {
	attributes(b, func(kind uint16, value, _ []byte) {
		if kind != nl.CTA_PROTOINFO_TCP {
			return
		}
		attributes(value, func(kind uint16, value, _ []byte) {
			if kind == nl.CTA_PROTOINFO_TCP_STATE && len(value) > 0 {
				state = value[0]
			}
		})
	})
	return state
}

func parseTuple(b []byte, protocol *uint8) Tuple {
	var t Tuple
	attributes(b, func(kind uint16, value, _ []byte) {
		switch kind {
		case nl.CTA_TUPLE_IP:
			attributes(value, t.parseAddress)
		case nl.CTA_TUPLE_PROTO:
			attributes(value, func(kind uint16, value, _ []byte) {
				switch {
				case kind == nl.CTA_PROTO_NUM && len(value) > 0:
					*protocol = value[0]
				case kind == nl.CTA_PROTO_SRC_PORT:
					t.SourcePort = big16(value)
				case kind == nl.CTA_PROTO_DST_PORT:
					t.DestinationPort = big16(value)
				}
			})
		}
	})
	return t
}

func (t *Tuple) parseAddress(kind uint16, value, _ []byte) {
	a, ok := netip.AddrFromSlice(value)
	if !ok {
		return
	}
	switch kind {
	case nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC:
		t.Source = a
	case nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST:
		t.Destination = a
	}
}

func big16(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

func big32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}
