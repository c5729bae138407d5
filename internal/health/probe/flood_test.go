package probe

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"loadbalance/internal/family"

	"golang.org/x/sys/unix"
)

// quiet fails on any answer within a time in which all that was sent before has
// long arrived.
func (l *lab) quiet(what string) {
	l.t.Helper()
	select {
	case a := <-l.answers:
		l.t.Errorf("%s: counts as an answer: %+v", what, a)
	case <-time.After(50 * time.Millisecond):
	}
}

// forge sends a packet with the target's source address from behind a line.
func (l *lab) forge(i int, f family.Family, method string, b []byte, to net.Addr) {
	l.t.Helper()
	conn := l.asTarget(i, f, method)
	defer conn.Close()
	if _, err := conn.WriteTo(b, to); err != nil {
		l.t.Fatal(err)
	}
}

// asTarget opens a socket with the target's address behind a line.
func (l *lab) asTarget(i int, f family.Family, method string) (conn net.PacketConn) {
	l.t.Helper()
	network, address := "ip4:icmp", server[f].String()
	switch {
	case method == "dns":
		network, address = "udp", net.JoinHostPort(address, "53")
	case f == family.IPv6:
		network = "ip6:ipv6-icmp"
	}
	l.inFar(i, func() {
		var err error
		if conn, err = net.ListenPacket(network, address); err != nil {
			l.t.Fatal(err)
		}
	})
	return conn
}

// acceptSpoofed has the router take packets from anywhere, as most do.
func (l *lab) acceptSpoofed() {
	for _, device := range []string{"all", "wan1", "wan2"} {
		l.sysctl("ipv4/conf/"+device+"/rp_filter", "0")
	}
}

// What comes in by another device than the probe left by is no answer, were it
// the exact copy of one.
func TestAnswersOverAnotherDevice(t *testing.T) {
	for _, f := range family.All {
		for _, method := range []string{"ping", "dns"} {
			t.Run(method+" "+f.String(), func(t *testing.T) {
				l := newLab(t, 2)
				l.acceptSpoofed()
				questions := l.hold(f, method)
				p := l.probe(1, f, method, 1)
				l.send(p)
				h := <-questions
				l.forge(2, f, method, h.answer(f, method), h.from)
				l.quiet("over another device")
				h.conn.WriteTo(h.answer(f, method), h.from)
				l.expect(p)
			})
		}
	}
}

// A host that floods the router with guessed answers brings no dead line back,
// and keeps no answer of a good one from being heard. It even knows the port
// from which the last question came.
func TestFlood(t *testing.T) {
	for _, f := range family.All {
		for _, method := range []string{"ping", "dns"} {
			t.Run(method+" "+f.String(), func(t *testing.T) {
				l := newLab(t, 3)
				l.serveAll(3)
				l.acceptSpoofed()
				questions := l.hold(f, method)
				last := make(chan held, 1)
				go func() {
					for h := range questions {
						select {
						case <-last:
						default:
						}
						last <- h
					}
				}()
				l.send(l.probe(1, f, method, 0))
				sent, end := l.flood(f, method, last)
				const rounds = 20
				start := time.Now()
				for round := uint32(1); round <= rounds; round++ {
					l.send(l.probe(1, f, method, round))
					p := l.probe(3, f, method, round)
					l.send(p)
					l.expect(p)
					time.Sleep(50 * time.Millisecond)
				}
				rate := float64(sent.Load()) / time.Since(start).Seconds()
				end()
				l.expectNone()
				t.Logf("%.0f guesses/s", rate)
				if rate < 20000 { // two thousand times more than what one needs to be answered by chance otherwise
					t.Errorf("only %.0f guesses/s", rate)
				}
			})
		}
	}
}

// flood sends guesses from behind the second line until end is called.
func (l *lab) flood(f family.Family, method string, last <-chan held) (sent *atomic.Int64, end func()) {
	sent = &atomic.Int64{}
	conn := l.asTarget(2, f, method)
	done := make(chan struct{})
	go func() {
		defer close(done)
		h := <-last
		b := h.answer(f, method)
		for {
			select {
			case h = <-last:
			default:
			}
			if method == "dns" {
				binary.BigEndian.PutUint16(b, uint16(rand.Uint32()))
			} else {
				binary.BigEndian.PutUint32(b[4:], rand.Uint32())
				binary.BigEndian.PutUint64(b[8:], rand.Uint64())
				seal(b)
			}
			if _, err := conn.WriteTo(b, h.from); err != nil {
				return // it is closed
			}
			sent.Add(1)
		}
	}()
	return sent, func() {
		conn.Close()
		<-done
	}
}

// Each query has a port and an identifier of its own, and none is left in
// connection tracking.
func TestQueriesHaveNothingInCommon(t *testing.T) {
	l := newLab(t, 1)
	questions := l.hold(family.IPv4, "dns")
	const rounds = 20
	ports, ids := map[string]bool{}, map[uint16]bool{}
	p := l.probe(1, family.IPv4, "dns", 0)
	for p.Round = range uint32(rounds) {
		l.send(p)
		h := <-questions
		ports[h.from.String()], ids[binary.BigEndian.Uint16(h.packet)] = true, true
	}
	if len(ports) != rounds || len(ids) < rounds-2 { // two of 20 random ones may be alike
		t.Errorf("%d ports and %d identifiers for %d queries", len(ports), len(ids), rounds)
	}
	l.prober.Forget(p.Key)
	l.eventually("all queries are forgotten", func() bool { return len(l.allForgotten()) == rounds })
	for _, e := range l.allForgotten() {
		if e.protocol != unix.IPPROTO_UDP || !ports[e.local.String()] || e.remote != netip.AddrPortFrom(server[family.IPv4], 53) {
			t.Errorf("unexpected: %v", e)
		}
	}
}
