package domains

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
	"loadbalance/internal/plan"
)

func run(t *testing.T, words ...string) {
	t.Helper()
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", words, err, out)
	}
}

func sockaddr(a netip.AddrPort) (unix.Sockaddr, int) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}, unix.AF_INET6
}

// send sends a datagram from the test's namespace.
func send(t *testing.T, from, to string, payload []byte) {
	t.Helper()
	source, domain := sockaddr(netip.MustParseAddrPort(from))
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	destination, _ := sockaddr(netip.MustParseAddrPort(to))
	if err := errors.Join(unix.Bind(fd, source), unix.Sendto(fd, payload, 0, destination)); err != nil {
		t.Fatalf("from %s to %s: %v", from, to, err)
	}
}

// TestSocket: the socket hears what leaves from port 53, once, and nothing else.
func TestSocket(t *testing.T) {
	netlab.FreshNamespace(t)
	run(t, "ip", "link", "set", "lo", "up")
	// What leaves by lan comes in by far, where it is not heard again.
	run(t, "ip", "link", "add", "lan", "type", "veth", "peer", "far")
	run(t, "ip", "link", "set", "lan", "up")
	run(t, "ip", "link", "set", "far", "up")
	run(t, "ip", "addr", "add", "192.168.1.1/24", "dev", "lan")
	run(t, "ip", "addr", "add", "2001:db8::1/64", "dev", "lan", "nodad")
	run(t, "ip", "neigh", "add", "192.168.1.2", "lladdr", "02:00:00:00:00:02", "dev", "lan")
	run(t, "ip", "neigh", "add", "2001:db8::2", "lladdr", "02:00:00:00:00:02", "dev", "lan")
	socket, err := openSocket()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	long := bytes.Repeat([]byte("0123456789"), 400)
	var want [][]byte
	for _, c := range []struct {
		from, to string
		payload  []byte
		heard    int // bytes of it
	}{
		{"192.168.1.1:53", "192.168.1.2:4321", []byte("four"), 4},
		{"[2001:db8::1]:53", "[2001:db8::2]:4321", []byte("six"), 3},
		{"127.0.0.1:53", "127.0.0.1:4321", []byte("lo"), 2},
		{"[::1]:53", "[::1]:4321", []byte("lo6"), 3},
		{"192.168.1.1:54", "192.168.1.2:53", []byte("question"), 0},
		{"[2001:db8::1]:54", "[2001:db8::2]:53", []byte("question6"), 0},
		// The first fragment; payloads of others are a multiple of 8 bytes.
		{"192.168.1.1:53", "192.168.1.2:4321", long, 1472},
		{"[2001:db8::1]:53", "[2001:db8::2]:4321", long, 1440},
		{"127.0.0.1:53", "127.0.0.1:4321", long, len(long)},
		{"192.168.1.1:53", "192.168.1.2:4321", nil, 0},
		{"192.168.1.1:53", "192.168.1.2:4321", []byte("end"), 3},
	} {
		send(t, c.from, c.to, c.payload)
		if c.heard > 0 || c.payload == nil {
			want = append(want, c.payload[:c.heard])
		}
	}
	packet := make([]byte, maxPacket)
	for i, w := range want {
		if err := socket.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := socket.Read(packet)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if got := payload(packet[:n]); !bytes.Equal(got, w) {
			t.Errorf("answer %d: got %d bytes %.20q, want %d bytes %.20q", i, len(got), got, len(w), w)
		}
	}
	if err := socket.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := socket.Read(packet); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one more answer: %q, %v", payload(packet[:n]), err)
	}
}

// sockets counts the packet sockets of the test's namespace.
func sockets(t *testing.T) int {
	t.Helper()
	table, err := os.ReadFile("/proc/thread-self/net/packet")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(table, []byte("\n")) - 1
}

// TestLearner learns from answers on lo.
func TestLearner(t *testing.T) {
	netlab.FreshNamespace(t)
	run(t, "ip", "link", "set", "lo", "up")
	k, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	sets := ipset.New(k)
	if err := sets.Create("lb_films", family.IPv4, ipset.Options{MaxElements: 70000, Learns: true}); err != nil {
		t.Fatal(err)
	}
	var told []string
	l := &Learner{Log: func(level, text string) { told = append(told, level+": "+text) }}
	l.Learn(nil)
	if n := sockets(t); n != 0 {
		t.Fatalf("%d packet sockets with nothing to learn", n)
	}
	films := Set{Set: plan.Set{Name: "lb_films", Domains: []string{"films.example", "music.example"}}, Family: family.IPv4}
	l.Learn([]Set{films})
	if n := sockets(t); n != 1 {
		t.Fatalf("%d packet sockets", n)
	}
	learnt := func() (all []string) {
		t.Helper()
		list, err := sets.Learnt("lb_films")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			all = append(all, e.Address.String()+" "+e.Domains[len(e.Domains)-1])
		}
		return all
	}
	expect := func(what string, want ...string) {
		t.Helper()
		var got []string
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if got = learnt(); slices.Equal(got, want) {
				return
			}
		}
		t.Errorf("%s: learnt %q, want %q; told %q", what, got, want, told)
	}
	say := func(name, address string) {
		send(t, "127.0.0.1:53", "127.0.0.1:4321", message(t, name, records{{name, "A", address, 60}}))
	}
	say("www.Films.example.", "203.0.113.1")
	say("tv.example.", "203.0.113.2")
	say("music.example.", "203.0.113.3")
	expect("two names", "203.0.113.1 films.example", "203.0.113.3 music.example")
	films.Domains = films.Domains[:1]
	l.Learn([]Set{films})
	say("music.example.", "203.0.113.9")
	l.Learn(nil)
	if n := sockets(t); n != 0 {
		t.Errorf("%d packet sockets with nothing to learn any more", n)
	}
	// What another monitor has learnt is known.
	l.Learn([]Set{films})
	say("films.example.", "203.0.113.4")
	expect("the next monitor", "203.0.113.1 films.example", "203.0.113.3 music.example", "203.0.113.4 films.example")
	// A stop that goes on.
	run(t, "ipset", "destroy", "lb_films")
	say("films.example.", "203.0.113.5")
	l.Learn(nil)
	if len(told) > 0 {
		t.Errorf("told %q", told)
	}
}
