package conntrack

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/kernel"
)

// markMask is CTA_MARK_MASK of linux/netfilter/nfnetlink_conntrack.h, which
// the library does not have.
const markMask = 21

// seenReply is IPS_SEEN_REPLY of linux/netfilter/nf_conntrack_common.h: packets
// went in both directions.
const seenReply = 1 << 1

// parse reads one entry of the table.
func parse(m []byte) (Entry, bool) {
	if len(m) < nl.SizeofNfgenmsg {
		return Entry{}, false
	}
	f, ok := kernel.FamilyOf(m[0])
	if !ok {
		return Entry{}, false
	}
	e := Entry{Family: f}
	kernel.EachAttribute(m[nl.SizeofNfgenmsg:], func(kind uint16, value []byte) {
		switch kind {
		case nl.CTA_TUPLE_ORIG:
			e.Original = parseTuple(value, &e.Protocol)
		case nl.CTA_TUPLE_REPLY:
			e.Reply = parseTuple(value, &e.Protocol)
		case nl.CTA_MARK:
			e.Mark = kernel.BigEndian(value)
		case nl.CTA_STATUS:
			e.Answered = kernel.BigEndian(value)&seenReply != 0
		case nl.CTA_PROTOINFO:
			state := parseState(value)
			e.Opening = state == nl.TCP_CONNTRACK_SYN_SENT
			e.Ended = state == nl.TCP_CONNTRACK_TIME_WAIT || state == nl.TCP_CONNTRACK_CLOSE
		}
	})
	return e, e.Original.Source.IsValid() && e.Original.Destination.IsValid()
}

// identity returns the attributes of an entry's message that a deletion needs: the
// same tuple may exist once per zone, and the number spares a successor. parse has
// seen the tuple: without one, a deletion would empty the whole table.
func identity(m []byte) []byte {
	var id []byte
	kernel.EachAttribute(m[nl.SizeofNfgenmsg:], func(kind uint16, value []byte) {
		switch kind {
		case nl.CTA_TUPLE_ORIG:
			id = append(id, nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_ORIG, value).Serialize()...)
		case nl.CTA_ZONE, nl.CTA_ID:
			id = append(id, nl.NewRtAttr(int(kind), value).Serialize()...)
		}
	})
	return id
}

// identityOf returns the attributes that identify a connection by its original
// direction.
func identityOf(protocol uint8, source, destination netip.AddrPort) []byte {
	from, to := nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST
	if source.Addr().Is6() {
		from, to = nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST
	}
	tuple := nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_ORIG, nil)
	addresses := tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil)
	addresses.AddRtAttr(from, source.Addr().AsSlice())
	addresses.AddRtAttr(to, destination.Addr().AsSlice())
	ports := tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil)
	ports.AddRtAttr(nl.CTA_PROTO_NUM, []byte{protocol})
	ports.AddRtAttr(nl.CTA_PROTO_SRC_PORT, nl.BEUint16Attr(source.Port()))
	ports.AddRtAttr(nl.CTA_PROTO_DST_PORT, nl.BEUint16Attr(destination.Port()))
	return tuple.Serialize()
}

// parseState reads the state of a TCP connection; TCP_CONNTRACK_NONE for other
// protocols.
func parseState(b []byte) (state uint8) {
	kernel.EachAttribute(b, func(kind uint16, value []byte) {
		if kind == nl.CTA_PROTOINFO_TCP {
			kernel.EachAttribute(value, func(kind uint16, value []byte) {
				if kind == nl.CTA_PROTOINFO_TCP_STATE {
					state = uint8(kernel.BigEndian(value))
				}
			})
		}
	})
	return state
}

func parseTuple(b []byte, protocol *uint8) Tuple {
	var t Tuple
	kernel.EachAttribute(b, func(kind uint16, value []byte) {
		switch kind {
		case nl.CTA_TUPLE_IP:
			kernel.EachAttribute(value, t.parseAddress)
		case nl.CTA_TUPLE_PROTO:
			kernel.EachAttribute(value, func(kind uint16, value []byte) {
				switch kind {
				case nl.CTA_PROTO_NUM:
					*protocol = uint8(kernel.BigEndian(value))
				case nl.CTA_PROTO_SRC_PORT:
					t.SourcePort = uint16(kernel.BigEndian(value))
				case nl.CTA_PROTO_DST_PORT:
					t.DestinationPort = uint16(kernel.BigEndian(value))
				}
			})
		}
	})
	return t
}

func (t *Tuple) parseAddress(kind uint16, value []byte) {
	switch kind {
	case nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC:
		t.Source = kernel.Addr(value)
	case nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST:
		t.Destination = kernel.Addr(value)
	}
}
