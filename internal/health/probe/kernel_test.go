package probe

import (
	"io"
	"net"
	"testing"

	"loadbalance/internal/family"
)

var methods = []string{"ping", "arp", "tcp", "dns", "http"}

// serveAll starts what the methods ask for at a far end.
func (l *lab) serveAll(i int) {
	for _, f := range family.All {
		l.listen(i, server[f], 443, func(net.Conn) {})
		l.listen(i, server[f], 80, respond("HTTP/1.1 204 No Content\r\n\r\n"))
		l.datagrams(i, "udp", net.JoinHostPort(server[f].String(), "53"), func(c net.PacketConn, b []byte, from net.Addr) {
			b[2] |= dnsResponse
			b[3] |= 5 // REFUSED: an answer all the same
			c.WriteTo(b, from)
		})
	}
}

func respond(text string) func(net.Conn) {
	return func(c net.Conn) {
		c.Read(make([]byte, 1500))
		io.WriteString(c, text)
	}
}

// Two lines with identical addresses, whose probes only device and mark tell
// apart, while main has its default route by a third line.
func TestEveryMethodIsAnswered(t *testing.T) {
	l := newLab(t, 3)
	l.run("ip route add default via 192.168.1.1 dev wan3")
	l.run("ip -6 route add default via 2001:db8:1::1 dev wan3")
	l.serveAll(1)
	l.serveAll(2)
	for _, f := range family.All {
		for _, method := range methods {
			for round := uint32(65534); round < 65538; round++ { // beyond 16 bits
				for i := 1; i <= 2; i++ {
					p := l.probe(i, f, method, round)
					p.Target = 3
					l.send(p)
					l.expect(p)
				}
			}
		}
	}
}

// Marks are seen by the firewall and by routing, also where nothing else leads
// to a line.
func TestMark(t *testing.T) {
	l := newLab(t, 1)
	l.serveAll(1)
	for _, f := range []string{"-4", "-6"} {
		l.run("ip " + f + " rule del priority 8001")
		l.run("ip " + f + " rule add fwmark 0x100 lookup 301 priority 9001")
	}
	l.nft("inet", "output", "oif wan1 meta mark 0x100 icmp type echo-request counter",
		"oif wan1 meta mark 0x100 icmpv6 type echo-request counter",
		"oif wan1 meta mark 0x100 icmpv6 type nd-neighbor-solicit counter",
		"oif wan1 meta mark 0x100 udp dport 53 counter",
		"oif wan1 meta mark 0x100 tcp dport 443 tcp flags syn counter",
		"oif wan1 meta mark 0x100 tcp dport 80 tcp flags syn counter")
	for _, f := range family.All {
		for _, method := range methods {
			p := l.probe(1, f, method, 1)
			l.send(p)
			l.expect(p)
		}
	}
	for i, n := range l.counted() {
		if want := []int{1, 1, 1, 2, 2, 2}[i]; n < want {
			t.Errorf("counter %d: %d packets, want %d", i, n, want)
		}
	}

	// Without the mark there is no way.
	p := l.probe(1, family.IPv6, "ping", 2)
	p.Mark = 0
	if err := l.prober.Send(p); err == nil {
		t.Error("sent without a mark")
	}
}
