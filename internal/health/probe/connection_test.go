package probe

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
)

// A target that refuses has been reached; http wants more.
func TestRefused(t *testing.T) {
	l := newLab(t, 1)
	for _, f := range family.All {
		l.send(l.probe(1, f, "http", 1))
		p := l.probe(1, f, "tcp", 2)
		l.send(p)
		l.expect(p)
	}
	l.expectNone()
}

// A modem that rejects connections while its line is down is no answer.
func TestRejectedByModem(t *testing.T) {
	l := newLab(t, 2)
	l.inFar(1, func() {
		l.nft("inet", "input", "tcp dport 443 counter reject with icmpx port-unreachable",
			"tcp dport 444 counter reject with icmpx host-unreachable")
	})
	for round := uint32(1); round <= 3; round++ {
		for _, f := range family.All {
			for _, port := range []uint16{443, 444} {
				p := l.probe(1, f, "tcp", round)
				p.Target, p.Port = int(port-443), port
				l.send(p)
			}
			// The other line is as quick, so its answer shows that there was
			// time for one.
			p := l.probe(2, f, "tcp", round)
			l.send(p)
			l.expect(p)
		}
	}
	l.eventually("all attempts have failed", func() bool { return l.open(1) == 0 })
	l.expectNone()
	l.inFar(1, func() {
		for i, n := range l.counted() {
			if n == 0 {
				t.Errorf("rule %d has rejected nothing", i)
			}
		}
	})
}

// open counts the attempts of a path that are not over.
func (l *lab) open(i int) int {
	l.prober.mu.Lock()
	defer l.prober.mu.Unlock()
	n := 0
	for _, f := range family.All {
		path := l.prober.paths[l.probe(i, f, "tcp", 0).Key]
		if path == nil {
			continue
		}
		for _, target := range path.targets {
			n += len(target.attempts)
		}
	}
	return n
}

func TestHTTPResponses(t *testing.T) {
	tests := []struct {
		name  string
		serve func(net.Conn)
		ok    bool
		url   string // where a portal leads
	}{
		{"expected", respond("HTTP/1.1 204 No Content\r\n\r\n"), true, ""},
		{"HTTP/1.0 without a reason", respond("HTTP/1.0 204\n"), true, ""},
		{"in pieces", pieces("HTTP/1.1 ", "20", "4 No Content\r", "\n"), true, ""},
		{"endless reason", respond("HTTP/1.1 204 " + strings.Repeat("x", 10000)), true, ""},
		{"portal's page", respond("HTTP/1.1 200 OK\r\nServer: x\r\n\r\nLocation: http://page/\r\n"), false, ""},
		{"portal that redirects", respond("HTTP/1.1 302 Found\r\nServer: x\r\nlocation:http://portal/?a=1&b=2 \r\n\r\n"), false, "http://portal/?a=1&b=2"},
		{"redirection in pieces", pieces("HTTP/1.1 302 Found\r\nLoc", "ation: http://por", "tal/\r\n"), false, "http://portal/"},
		{"redirection that is cut off", respond("HTTP/1.1 302 Found\r\nLocation: http://por"), false, ""},
		{"endless redirection", respond("HTTP/1.1 302 Found\r\nLocation: http://portal/" + strings.Repeat("x", 10000) + "\r\n"), false, ""},
		{"endless header", respond("HTTP/1.1 302 Found\r\n" + strings.Repeat("A: b\r\n", 10000) + "Location: http://portal/\r\n\r\n"), false, ""},
		{"no HTTP", respond("220 mail ready\r\n"), false, "none"},
		{"cut off", respond("HTTP/1.1 204"), false, "none"},
		{"nothing", respond(""), false, "none"},
		{"closes at once", func(net.Conn) {}, false, "none"},
	}
	l := newLab(t, 1)
	for i, test := range tests {
		p := l.probe(1, family.IPv4, "http", uint32(i))
		p.Port = uint16(8000 + i)
		p.Target = i
		l.listen(1, server[family.IPv4], p.Port, test.serve)
		l.send(p)
		if test.ok {
			l.expect(p)
			continue
		}
		l.eventually(test.name+": attempt is over", func() bool { return l.open(1) == 0 })
		url := "none"
		select {
		case a := <-l.answers:
			if url = a.Portal.URL; a.Portal.Status/100 < 2 || a.Target != i {
				t.Errorf("%s: counts as an answer (%+v)", test.name, a)
			}
		case <-time.After(50 * time.Millisecond): // the goroutine has still to deliver it
		}
		if url != test.url {
			t.Errorf("%s: leads to %q, want %q", test.name, url, test.url)
		}
	}
}

func pieces(texts ...string) func(net.Conn) {
	return func(c net.Conn) {
		for _, text := range texts {
			io.WriteString(c, text)
			time.Sleep(time.Millisecond) // into a segment of its own
		}
	}
}

func TestHTTPRequest(t *testing.T) {
	l := newLab(t, 1)
	asked := make(chan string, 1)
	l.listen(1, server[family.IPv4], 80, func(c net.Conn) {
		b := make([]byte, 1500)
		n, _ := c.Read(b)
		asked <- string(b[:n])
	})
	p := l.probe(1, family.IPv4, "http", 1)
	l.send(p)
	want := "GET /generate_204 HTTP/1.1\r\nHost: portal.example\r\nUser-Agent: loadbalance\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	if got := <-asked; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// A probe that was lost stays lost, although the kernel repeats its SYN and
// the target answers that.
func TestLostSYN(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	for i := 1; i <= 2; i++ {
		l.listen(i, server[family.IPv4], 443, func(net.Conn) {})
		l.inFar(i, func() {
			l.nft("inet", "input", "tcp dport 443 tcp flags syn limit rate over 1/hour burst 1 packets counter accept",
				"tcp dport 443 tcp flags syn counter drop")
		})
	}
	l.inFar(2, func() { l.sysctl("ipv4/tcp_timestamps", "0") })
	l.send(l.probe(1, family.IPv4, "tcp", 1))
	l.send(l.probe(2, family.IPv4, "tcp", 1))
	for i := 1; i <= 2; i++ {
		l.eventually("the second SYN is answered", func() bool { return l.open(i) == 0 })
	}
	l.expectNone()
	if late := l.allForgotten(); len(late) > 0 {
		t.Errorf("connections that were accepted too late are forgotten: %v", late)
	}
	for i := 1; i <= 2; i++ {
		l.inFar(i, func() {
			if n := l.counted(); n[0] != 1 || n[1] != 1 {
				t.Errorf("line %d: %d SYNs passed and %d were dropped, want one each", i, n[0], n[1])
			}
		})
	}
}

// An answer that takes longer than the kernel waits until it repeats the SYN
// is the answer to the first one.
func TestLateConnection(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	l.listen(1, server[family.IPv4], 443, func(net.Conn) {})
	first := l.probe(1, family.IPv4, "tcp", 0) // from now on the far end knows our address
	l.send(first)
	l.expect(first)
	l.inFar(1, func() {
		// 1 kB/s, and a queue of 1.5 kB before the answer.
		l.run("tc qdisc add dev wan root tbf rate 8kbit burst 1600 limit 30000")
		filler, err := net.ListenPacket("udp4", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer filler.Close()
		for range 2 {
			if _, err := filler.WriteTo(make([]byte, 1400), &net.UDPAddr{IP: net.IPv4(192, 168, 1, 2), Port: 9}); err != nil {
				t.Fatal(err)
			}
		}
	})
	p := l.probe(1, family.IPv4, "tcp", 1)
	start := time.Now()
	l.send(p)
	select {
	case a := <-l.answers:
		if took := a.At.Sub(start); took < time.Second {
			t.Errorf("answered after %v: not late", took)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a late answer does not count")
	}
}

// A dead line keeps no more than its bounded number of connections open, and
// the newest at that.
func TestAttemptsAreBounded(t *testing.T) {
	l := newLab(t, 1)
	l.inFar(1, func() { l.nft("inet", "input", "tcp dport 443 drop") })
	const rounds = 100
	for round := uint32(0); round < rounds; round++ {
		l.send(l.probe(1, family.IPv4, "tcp", round))
	}
	if n := l.open(1); n != maxAttempts {
		t.Errorf("%d attempts are open, want %d", n, maxAttempts)
	}
	for _, a := range l.prober.paths[l.probe(1, family.IPv4, "tcp", 0).Key].targets[0].attempts {
		if a.round < rounds-maxAttempts {
			t.Errorf("the attempt of round %d is still open", a.round)
		}
	}
	l.prober.Forget(l.probe(1, family.IPv4, "tcp", 0).Key)
	l.expectNone()
}

// What found nobody is forgotten, with the ends that it had; what is open, or
// was answered by a refusal that counts, is not.
func TestSilentAttemptsAreForgotten(t *testing.T) {
	for _, f := range family.All {
		t.Run(f.String(), func(t *testing.T) {
			l := newLab(t, 1)
			l.inFar(1, func() { l.nft("inet", "input", "tcp dport 444 drop") })
			l.listen(1, server[f], 80, respond("HTTP/1.1 500 Broken\r\n\r\n"))
			wrong := l.probe(1, f, "http", 0)
			l.send(wrong)
			l.expect(wrong) // a portal, as it were
			refused := l.probe(1, f, "tcp", 0)
			refused.Target = 1
			l.send(refused)
			l.expect(refused)
			silent := l.probe(1, f, "tcp", 0)
			silent.Target, silent.Port = 2, 444
			for silent.Round = range uint32(maxAttempts + 3) { // the first three give way
				l.send(silent)
			}
			l.eventually("three attempts are forgotten", func() bool { return len(l.allForgotten()) >= 3 })
			l.prober.Forget(silent.Key)
			l.eventually("all attempts are over", func() bool { return len(l.allForgotten()) == maxAttempts+3 })
			ports := map[uint16]bool{}
			for _, e := range l.allForgotten() {
				if e.local.Addr() != ownAddress[f] || e.remote != netip.AddrPortFrom(server[f], 444) {
					t.Errorf("unexpected: %v", e)
				}
				ports[e.local.Port()] = true
			}
			if len(ports) != maxAttempts+3 {
				t.Errorf("%d ports, want each attempt's own", len(ports))
			}
		})
	}
}

// At the shortest interval, 50 ms, a connection is tried for the default
// timeout, 800 ms: others that are tried meanwhile do not end it.
func TestAttemptsLastForTimeout(t *testing.T) {
	l := newLab(t, 1)
	l.inFar(1, func() { l.nft("inet", "input", "tcp dport 443 drop") })
	const rounds = 800 / 50
	for round := uint32(0); round < rounds; round++ {
		l.send(l.probe(1, family.IPv4, "tcp", round))
	}
	if n := l.open(1); n != rounds {
		t.Errorf("%d attempts are open, want %d", n, rounds)
	}
}
