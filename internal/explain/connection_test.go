package explain

import (
	"reflect"
	"testing"

	"loadbalance/internal/apply/conntrack"
)

// TestSearch: the entry that a packet belongs to, in either direction, with the
// destination that its translation gives the packet.
func TestSearch(t *testing.T) {
	tuple := func(source, destination string, from, to uint16) conntrack.Tuple {
		return conntrack.Tuple{Source: address(source), Destination: address(destination), SourcePort: from, DestinationPort: to}
	}
	// A LAN host's connection, masqueraded, and one to the router that is
	// forwarded to a host.
	out := conntrack.Entry{Protocol: 6, Mark: 0x3000000,
		Original: tuple("10.20.1.5", "203.0.113.10", 4000, 443), Reply: tuple("203.0.113.10", "198.18.3.2", 443, 4000)}
	in := conntrack.Entry{Protocol: 6, Mark: 0x1000000,
		Original: tuple("203.0.113.9", "198.18.1.2", 5000, 80), Reply: tuple("10.20.1.7", "203.0.113.9", 80, 5000)}
	plain := conntrack.Entry{Protocol: 6, Original: tuple("10.20.1.5", "10.20.0.1", 6000, 22), Reply: tuple("10.20.0.1", "10.20.1.5", 22, 6000)}
	ping := conntrack.Entry{Protocol: 1, Original: tuple("10.20.1.5", "203.0.113.10", 7, 0), Reply: tuple("203.0.113.10", "198.18.3.2", 0, 7)}
	gre := conntrack.Entry{Protocol: 47, Mark: 0x2000000, Original: tuple("10.20.1.5", "203.0.113.10", 0, 0), Reply: tuple("203.0.113.10", "198.18.2.2", 0, 0)}
	ended := out
	ended.Ended = true
	table := []conntrack.Entry{ended, in, ping, gre, out, plain}
	tcp := func(source, destination string, from, to int) Packet {
		return packet(source, destination, func(p *Packet) { p.SourcePort, p.DestinationPort = from, to })
	}
	of := func(protocol int) func(*Packet) {
		return func(p *Packet) { p.Protocol, p.SourcePort, p.DestinationPort = protocol, Unknown, Unknown }
	}
	for _, test := range []struct {
		name   string
		packet Packet
		want   *Connection
		alike  int
	}{
		{"out", tcp("10.20.1.5", "203.0.113.10", 4000, 443),
			&Connection{Mark: 0x3000000, Source: address("10.20.1.5"), OriginalDestination: address("203.0.113.10")}, 0},
		{"its reply", tcp("203.0.113.10", "198.18.3.2", 443, 4000),
			&Connection{Mark: 0x3000000, Source: address("10.20.1.5"), OriginalDestination: address("203.0.113.10"), Reply: true, Destination: address("10.20.1.5")}, 0},
		{"in", tcp("203.0.113.9", "198.18.1.2", 5000, 80),
			&Connection{Mark: 0x1000000, Source: address("203.0.113.9"), OriginalDestination: address("198.18.1.2"), Destination: address("10.20.1.7")}, 0},
		{"its reply, not translated yet", tcp("10.20.1.7", "203.0.113.9", 80, 5000),
			&Connection{Mark: 0x1000000, Source: address("203.0.113.9"), OriginalDestination: address("198.18.1.2"), Reply: true}, 0},
		{"not translated", tcp("10.20.1.5", "10.20.0.1", 6000, 22),
			&Connection{Source: address("10.20.1.5"), OriginalDestination: address("10.20.0.1")}, 0},
		{"another port", tcp("10.20.1.5", "203.0.113.10", 4000, 444), nil, 0},
		{"another source port", tcp("10.20.1.5", "203.0.113.10", 4001, 443), nil, 0},
		{"another source", tcp("10.20.1.6", "203.0.113.10", 4000, 443), nil, 0},
		{"another destination", tcp("10.20.1.5", "203.0.113.11", 4000, 443), nil, 0},
		{"another protocol", packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.Protocol = 17 }), nil, 0},
		{"no source port", tcp("10.20.1.5", "203.0.113.10", Unknown, 443), nil, 1},
		{"no destination port", tcp("10.20.1.5", "203.0.113.10", 4000, Unknown), nil, 1},
		{"ICMP", packet("10.20.1.5", "203.0.113.10", of(1)), nil, 1},
		{"GRE", packet("10.20.1.5", "203.0.113.10", of(47)),
			&Connection{Mark: 0x2000000, Source: address("10.20.1.5"), OriginalDestination: address("203.0.113.10")}, 0},
		{"no protocol", packet("10.20.1.5", "203.0.113.10", of(Unknown)), nil, 0},
	} {
		s := Search{Packet: test.packet}
		for _, e := range table {
			if !s.Visit(e) {
				break
			}
		}
		if !reflect.DeepEqual(s.Found, test.want) || s.Alike != test.alike {
			t.Errorf("%s: found %+v, %d alike; want %+v, %d", test.name, s.Found, s.Alike, test.want, test.alike)
		}
	}
}

// TestHasPorts: those that rules can ask for ports.
func TestHasPorts(t *testing.T) {
	have := 0
	for protocol := range 256 {
		if HasPorts(protocol) {
			have++
		}
	}
	for _, protocol := range []int{6, 17, 33, 132, 136} {
		if !HasPorts(protocol) {
			t.Errorf("%d has none", protocol)
		}
	}
	if have != 5 || HasPorts(Unknown) {
		t.Errorf("%d protocols have ports", have)
	}
}
