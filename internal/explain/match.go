package explain

import (
	"net/netip"
	"slices"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

type truth uint8

const (
	no truth = iota
	yes
	unknown
)

func is(b bool) truth {
	if b {
		return yes
	}
	return no
}

func turned(t truth, not bool) truth {
	if t == unknown || !not {
		return t
	}
	return is(t == no)
}

func (w *walker) holds(p *path, m plan.Match) truth {
	packet := &p.packet
	switch m := m.(type) {
	case plan.InDevice:
		if packet.Own {
			return no
		}
		return known(packet.InDevice != "", packet.InDevice == string(m))
	case plan.NotOutDevice:
		return is((string(m) == "lo") != w.isLocal(packet.Destination))
	case plan.MarkIs:
		// Bits outside our mask are asked for by rules of the configuration.
		return turned(known(packet.MarkKnown || m.Mask&uint32(w.mask) != 0, p.Mark&m.Mask == m.Value), m.Not)
	case plan.Source:
		return turned(is(m.Prefix.Contains(packet.Source)), m.Not)
	case plan.Destination:
		return turned(is(m.Prefix.Contains(packet.Destination)), m.Not)
	case plan.InSet:
		return turned(w.inSet(packet, m), m.Not)
	case plan.SourceMAC:
		// The match knows only frames that came in.
		return known(packet.Own || packet.SourceMAC != "",
			!packet.Own && strings.EqualFold(packet.SourceMAC, string(m)))
	case plan.Protocol:
		return known(packet.Protocol != Unknown, packet.Protocol == int(m))
	case plan.Ports:
		return portsHold(packet, m)
	case plan.ICMPType:
		return w.icmpHolds(packet, m.Type)
	case plan.ICMPv6Type:
		// An unknown type is no neighbour discovery, which opens no connection (see complete).
		ofICMP := packet.Protocol == Unknown || packet.Protocol == icmpOf[family.IPv6]
		return is(ofICMP && packet.ICMPType == int(m))
	case plan.DSCP:
		return known(packet.DSCP != Unknown, packet.DSCP == int(m))
	case plan.Slot:
		return is(w.tracked(*packet) && slotOf(w.originalSource(p), m.Total, plan.ClusterSeed) == m.Number)
	case plan.Masked:
		if m.Source {
			return is(m.Contains(packet.Source))
		}
		return is(m.Contains(packet.Destination))
	case plan.CtState:
		// Of the states, plans have only INVALID,UNTRACKED (see tracked) and ESTABLISHED.
		c := w.Connection
		return is(!w.tracked(*packet) || c != nil && (c.Answered || c.Reply))
	case plan.CtOriginal:
		return is(w.tracked(*packet) && (w.Connection == nil || !w.Connection.Reply))
	}
	return unknown
}

func known(isKnown, value bool) truth {
	if !isKnown {
		return unknown
	}
	return is(value)
}

func portsHold(p *Packet, m plan.Ports) truth {
	port := p.DestinationPort
	if m.Source {
		port = p.SourcePort
	}
	return known(port != Unknown, slices.ContainsFunc(m.Ranges, func(r config.PortRange) bool {
		return port >= int(r.First) && port <= int(r.Last)
	}))
}

// icmpHolds evaluates an ICMP type, which always follows a condition on the protocol.
func (w *walker) icmpHolds(p *Packet, text string) truth {
	number, code, err := ParseICMPType(w.family, text)
	if err != nil {
		return no // a type of the other family's
	}
	if p.ICMPType == Unknown {
		// A first packet is of a type that opens a connection.
		return known(!slices.Contains(opensConnection[w.family], number), false)
	}
	if p.ICMPType != number {
		return no
	}
	if code == Unknown {
		return yes
	}
	return known(p.ICMPCode != Unknown, p.ICMPCode == code)
}

// inSet looks an address up in the plan, or, for sets with other entries too, in the kernel.
func (w *walker) inSet(p *Packet, m plan.InSet) truth {
	address := p.Destination
	if m.Source {
		address = p.Source
	}
	if set := w.plan.Set(m.Name); set != nil {
		planned := family.Contain(set.Entries, address)
		if planned || set.Timeout == 0 && len(set.Domains) == 0 {
			return is(planned)
		}
	}
	if w.InSet == nil {
		return unknown
	}
	ends := []netip.Addr{address}
	if m.Pair {
		ends = []netip.Addr{p.Source, p.Destination}
	}
	in, err := w.InSet(m.Name, ends...)
	return known(err == nil, in)
}
