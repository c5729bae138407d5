package probe

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"loadbalance/internal/family"
)

// A line that swallows everything, and one whose probes have left by another
// device than the target's, are not answered by way of the others.
func TestDeadLines(t *testing.T) {
	l := newLab(t, 3)
	l.serveAll(3)
	l.inFar(1, func() { l.nft("netdev", "ingress device wan", "counter drop") })
	// Behind the second line is nobody of that address.
	l.inFar(2, func() {
		for _, address := range []string{"192.168.1.1/24", "2001:db8:1::1/64"} {
			l.run("ip addr del " + address + " dev wan")
		}
	})
	for round := uint32(1); round <= 3; round++ {
		for _, f := range family.All {
			for _, method := range methods {
				l.send(l.probe(1, f, method, round))
				l.send(l.probe(2, f, method, round))
				p := l.probe(3, f, method, round)
				l.send(p)
				l.expect(p)
			}
		}
	}
	l.expectNone()
	l.inFar(1, func() {
		if n := l.counted()[0]; n == 0 {
			t.Error("nothing was sent over the dead line")
		}
	})
}

// dnsResponse is the bit that tells a DNS response from a query, in the third
// byte.
const dnsResponse = 0x80

// held collects packets and answers them when told to.
type held struct {
	conn   net.PacketConn
	packet []byte
	from   net.Addr
}

// hold silences a far end's own answers to a method, and returns the questions.
func (l *lab) hold(f family.Family, method string) <-chan held {
	l.t.Helper()
	questions := make(chan held, 100)
	keep := func(c net.PacketConn, b []byte, from net.Addr) {
		questions <- held{c, b, from}
	}
	if method == "dns" {
		l.datagrams(1, "udp", net.JoinHostPort(server[f].String(), "53"), keep)
		return questions
	}
	name, network, kind := "ipv4/icmp_echo_ignore_all", "ip4:icmp", byte(echoRequest4)
	if f == family.IPv6 {
		name, network, kind = "ipv6/icmp/echo_ignore_all", "ip6:ipv6-icmp", echoRequest6
	}
	l.inFar(1, func() { l.sysctl(name, "1") })
	l.datagrams(1, network, server[f].String(), func(c net.PacketConn, b []byte, from net.Addr) {
		if b[0] == kind {
			keep(c, b, from)
		}
	})
	return questions
}

// answer turns a question into its answer.
func (h held) answer(f family.Family, method string) []byte {
	b := append([]byte(nil), h.packet...)
	if method == "dns" {
		b[2] |= dnsResponse
		return b
	}
	b[0] = echoReply4
	if f == family.IPv6 {
		b[0] = echoReply6
	}
	seal(b)
	return b
}

// seal puts the checksum into an ICMP message. The kernel does it for ICMPv6.
func seal(b []byte) {
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint16(b[2:], checksum(b))
}

// Answers that come when further probes have been sent long since still belong
// to their rounds, in whatever order they come.
func TestLateAnswers(t *testing.T) {
	l := newLab(t, 1)
	for _, f := range family.All {
		for _, method := range []string{"ping", "dns"} {
			questions := l.hold(f, method)
			var waiting []held
			const rounds = 20
			for round := uint32(0); round < rounds; round++ {
				l.send(l.probe(1, f, method, round))
				waiting = append(waiting, <-questions)
			}
			for round := uint32(rounds); round > 0; round-- {
				h := waiting[round-1]
				if _, err := h.conn.WriteTo(h.answer(f, method), h.from); err != nil {
					t.Fatal(err)
				}
				l.expect(l.probe(1, f, method, round-1))
			}
			l.prober.Forget(l.probe(1, f, method, 0).Key)
		}
	}
}

// forgery is an answer that differs from the right one.
type forgery struct {
	name   string
	change func(b []byte)
}

var forgeries = map[string][]forgery{
	"ping": {
		{"identifier", func(b []byte) { b[5]++ }},
		{"sequence", func(b []byte) { b[7]++ }},
		{"token", func(b []byte) { b[8]++ }},
		{"round", func(b []byte) { b[19]++ }},
		{"target", func(b []byte) { b[21]++ }},
		{"type", func(b []byte) { b[0] ^= 8 }},
		{"code", func(b []byte) { b[1]++ }},
	},
	"dns": {
		{"identifier", func(b []byte) { b[1] ^= 1 }},
		{"no response", func(b []byte) { b[2] &^= dnsResponse }},
		{"no question", func(b []byte) { b[5] = 0 }},
		{"type of the question", func(b []byte) { b[14]++ }},
		{"class of the question", func(b []byte) { b[16]++ }},
	},
}

func TestForgedAnswers(t *testing.T) {
	l := newLab(t, 1)
	for _, f := range family.All {
		for _, method := range []string{"ping", "dns"} {
			questions := l.hold(f, method)
			p := l.probe(1, f, method, 0x10000)
			l.send(p)
			h := <-questions
			right := h.answer(f, method)
			for _, forged := range forgeries[method] {
				b := append([]byte(nil), right...)
				forged.change(b)
				if method == "ping" {
					seal(b)
				}
				if _, err := h.conn.WriteTo(b, h.from); err != nil {
					t.Fatalf("%s: %v", forged.name, err)
				}
			}
			h.conn.WriteTo(right[:len(right)-8], h.from) // cut off
			l.writeFromOther(f, method, right, h.from)
			if method == "ping" && f == family.IPv4 { // the kernel repairs that of ICMPv6
				b := append([]byte(nil), right...)
				b[3]++
				h.conn.WriteTo(b, h.from)
			}
			// All of those arrive before this one.
			h.conn.WriteTo(right, h.from)
			l.expect(p)
			l.prober.Forget(p.Key)
		}
	}
	l.expectNone()
}

// writeFromOther sends an answer from an address that was not asked.
func (l *lab) writeFromOther(f family.Family, method string, b []byte, to net.Addr) {
	l.t.Helper()
	network, address := "ip4:icmp", other[f].String()
	if f == family.IPv6 {
		network = "ip6:ipv6-icmp"
	}
	if method == "dns" {
		network, address = "udp", net.JoinHostPort(address, "53")
	}
	l.inFar(1, func() {
		conn, err := net.ListenPacket(network, address)
		if err != nil {
			l.t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.WriteTo(b, to); err != nil {
			l.t.Fatal(err)
		}
		if method == "dns" { // likewise from another port of the right address
			conn, err := net.ListenPacket(network, netip.AddrPortFrom(server[f], 5353).String())
			if err != nil {
				l.t.Fatal(err)
			}
			defer conn.Close()
			conn.WriteTo(b, to)
		}
	})
}

// Twins: same addresses, same target, same round. No two lines share what
// connection tracking tells connections apart by.
func TestTwins(t *testing.T) {
	l := newLab(t, 2)
	questions := [2]<-chan held{}
	for i := range questions {
		l.far[0], l.far[1] = l.far[i], l.far[1-i] // hold is of the first far end
		questions[i] = l.hold(family.IPv4, "ping")
		l.far[0], l.far[1] = l.far[i], l.far[1-i]
	}
	first, second := l.probe(1, family.IPv4, "ping", 7), l.probe(2, family.IPv4, "ping", 7)
	l.send(first)
	l.send(second)
	q1, q2 := <-questions[0], <-questions[1]
	if id1, id2 := binary.BigEndian.Uint16(q1.packet[4:]), binary.BigEndian.Uint16(q2.packet[4:]); id1 == id2 {
		t.Errorf("both lines have identifier %#x", id1)
	}
	q2.conn.WriteTo(q2.answer(family.IPv4, "ping"), q2.from)
	l.expect(second)
	q1.conn.WriteTo(q1.answer(family.IPv4, "ping"), q1.from)
	l.expect(first)

	ports := make(chan string, 2)
	for i := 1; i <= 2; i++ {
		l.datagrams(i, "udp", server[family.IPv4].String()+":53", func(c net.PacketConn, b []byte, from net.Addr) { ports <- from.String() })
		l.send(l.probe(i, family.IPv4, "dns", 8))
	}
	if a, b := <-ports, <-ports; a == b {
		t.Errorf("both lines ask from %s", a)
	}
}

// A line that is no longer probed gets no answers, and its successor none that
// were meant for it.
func TestForget(t *testing.T) {
	l := newLab(t, 1)
	questions := l.hold(family.IPv4, "ping")
	p := l.probe(1, family.IPv4, "ping", 1)
	l.send(p)
	old := <-questions
	l.prober.Forget(p.Key)
	l.prober.Forget(p.Key) // unknown by now
	p.Round = 2
	l.send(p)
	new := <-questions
	old.conn.WriteTo(old.answer(family.IPv4, "ping"), old.from)
	new.conn.WriteTo(new.answer(family.IPv4, "ping"), new.from)
	l.expect(p)
	l.expectNone()
}
