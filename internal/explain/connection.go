package explain

import (
	"slices"

	"loadbalance/internal/apply/conntrack"
)

// Search looks for the connection of a packet among the entries of the connection table.
type Search struct {
	Packet Packet
	// Found is the packet's connection; nil if there is none.
	Found *Connection
	// Alike counts the entries that fit a description which cannot identify one of them.
	Alike int
}

// Visit looks at an entry and reports whether to go on. The ended are skipped: the next SYN
// between the same ports begins a new one.
func (s *Search) Visit(e conntrack.Entry) bool {
	if e.Ended {
		return true
	}
	original := s.Packet.belongs(e.Protocol, e.Original)
	if !original && !s.Packet.belongs(e.Protocol, e.Reply) {
		return true
	}
	if !s.Packet.exact() {
		s.Alike++
		return true
	}
	s.Found = &Connection{Mark: e.Mark, Source: e.Original.Source, Reply: !original, Answered: e.Answered, OriginalDestination: e.Original.Destination}
	switch {
	case !original && e.Reply.Destination != e.Original.Source:
		s.Found.Destination = e.Original.Source
	case original && e.Original.Destination != e.Reply.Source:
		s.Found.Destination = e.Reply.Source
	}
	return false
}

// belongs reports whether the packet fits one direction of a connection, as far as is known.
func (p Packet) belongs(protocol uint8, t conntrack.Tuple) bool {
	fits := func(known int, port uint16) bool { return known == Unknown || known == int(port) }
	return p.Protocol == int(protocol) && p.Source == t.Source && p.Destination == t.Destination &&
		fits(p.SourcePort, t.SourcePort) && fits(p.DestinationPort, t.DestinationPort)
}

// exact reports whether the description can match only one connection.
func (p Packet) exact() bool {
	if HasPorts(p.Protocol) {
		return p.SourcePort != Unknown && p.DestinationPort != Unknown
	}
	return p.Protocol != icmpOf[p.Family()]
}

// HasPorts reports whether rules match ports of a protocol: TCP, UDP, DCCP, SCTP, UDP-Lite (IANA).
func HasPorts(protocol int) bool { return slices.Contains([]int{6, 17, 33, 132, 136}, protocol) }
