package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/netlab"
)

// Every line has the same addresses: a router at .2, a gateway at .1, and a
// target behind it. Only device and mark tell lines apart.
var (
	ownAddress = [...]netip.Addr{netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("2001:db8:1::2")}
	gateway    = [...]netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("2001:db8:1::1")}
	server     = [...]netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:ffff::1")}
	// other is an address of the far end that nobody asks.
	other = [...]netip.Addr{netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("2001:db8:ffff::2")}
)

// lab is a router, in whose namespace the test's thread is, and the far end of
// each line.
type lab struct {
	t       testing.TB
	router  netns.NsHandle
	far     []netns.NsHandle // far[0] is that of wan1
	answers chan Answer
	prober  *Prober

	mu        sync.Mutex
	forgotten []ends
}

// ends are those of a connection.
type ends struct {
	protocol      uint8
	local, remote netip.AddrPort
}

func (l *lab) forget(protocol uint8, local, remote netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgotten = append(l.forgotten, ends{protocol, local, remote})
}

func (l *lab) allForgotten() []ends {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.forgotten)
}

func newLab(t testing.TB, lines int) *lab {
	t.Helper()
	l := &lab{t: t, answers: make(chan Answer, 64)}
	for range lines {
		l.far = append(l.far, l.namespace())
		l.run("ip addr add 203.0.113.1/32 dev lo")
		l.run("ip addr add 203.0.113.2/32 dev lo")
		l.run("ip addr add 2001:db8:ffff::1/128 dev lo nodad")
		l.run("ip addr add 2001:db8:ffff::2/128 dev lo nodad")
	}
	l.router = l.namespace()
	for i := range l.far {
		l.connect(i + 1)
	}
	prober, err := Open(l.answers, l.forget)
	if err != nil {
		t.Fatal(err)
	}
	l.prober = prober
	t.Cleanup(func() { prober.Close() })
	return l
}

// namespace creates a namespace and enters it.
func (l *lab) namespace() netns.NsHandle {
	l.t.Helper()
	netlab.FreshNamespace(l.t)
	handle, err := netns.Get()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { handle.Close() })
	// No duplicate address detection: addresses work at once. No neighbours
	// that answer for addresses of other devices.
	l.sysctl("ipv6/conf/all/accept_dad", "0")
	l.sysctl("ipv6/conf/default/accept_dad", "0")
	l.sysctl("ipv4/conf/all/arp_ignore", "1")
	// The far end answers as often as it is asked.
	l.sysctl("ipv4/icmp_ratelimit", "0")
	l.run("ip link set lo up")
	return handle
}

// connect makes line i: wan1 and so on here, "wan" at the far end.
func (l *lab) connect(i int) {
	l.t.Helper()
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), l.far[i-1])
	device := fmt.Sprintf("wan%d", i)
	l.run("ip link add " + device + " type veth peer name wan netns " + path)
	l.run("ip link set " + device + " up")
	l.run("ip addr add 192.168.1.2/24 dev " + device)
	l.run("ip addr add 2001:db8:1::2/64 dev " + device)
	l.inFar(i, func() {
		l.run("ip link set wan up")
		l.run("ip addr add 192.168.1.1/24 dev wan")
		l.run("ip addr add 2001:db8:1::1/64 dev wan")
	})
	l.awaitAddresses(device)
	l.inFar(i, func() { l.awaitAddresses("wan") })
	table := fmt.Sprint(300 + i)
	l.run("ip route replace 192.168.1.0/24 dev " + device + " table " + table)
	l.run("ip route replace default via 192.168.1.1 dev " + device + " onlink table " + table)
	l.run("ip -6 route replace 2001:db8:1::/64 dev " + device + " table " + table)
	l.run("ip -6 route replace default via 2001:db8:1::1 dev " + device + " onlink table " + table)
	for _, f := range []string{"-4", "-6"} {
		l.run(fmt.Sprintf("ip %s rule add oif %s lookup %s priority 800%d", f, device, table, i))
	}
}

// awaitAddresses waits until a device works with IPv6. The kernel notices up to
// a second late that both ends of a new link are up, and joins the multicast
// groups by which neighbours ask for an address some time after it was added.
// Until then the address is tentative (with "nodad" it would not say so).
func (l *lab) awaitAddresses(device string) {
	l.t.Helper()
	l.eventually(device+" has its addresses", func() bool {
		addresses := l.run("ip -6 addr show dev " + device)
		return strings.Contains(addresses, "fe80:") && !strings.Contains(addresses, "tentative") &&
			strings.Contains(addresses, "state UP")
	})
}

// inFar runs f in the namespace of a far end.
func (l *lab) inFar(i int, f func()) {
	l.t.Helper()
	if err := netns.Set(l.far[i-1]); err != nil {
		l.t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(l.router); err != nil {
			l.t.Fatal(err)
		}
	}()
	f()
}

func (l *lab) run(command string) string {
	l.t.Helper()
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// nft loads a chain at a hook.
func (l *lab) nft(tableFamily, hook string, rules ...string) {
	l.t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader("table " + tableFamily + " t {\nchain c {\ntype filter hook " + hook + " priority 0; policy accept;\n" +
		strings.Join(rules, "\n") + "\n}\n}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("nft: %v\n%s", err, out)
	}
}

// counted returns the packets of every counter in the rules, in order.
func (l *lab) counted() []int {
	l.t.Helper()
	var counts []int
	words := strings.Fields(l.run("nft list ruleset"))
	for i, word := range words {
		if word != "counter" {
			continue
		}
		n, err := strconv.Atoi(words[i+2]) // counter packets N
		if err != nil {
			l.t.Fatal(err)
		}
		counts = append(counts, n)
	}
	return counts
}

func (l *lab) sysctl(name, value string) {
	l.t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
		l.t.Fatal(err)
	}
}

// listen serves TCP connections at a far end until the test is over.
func (l *lab) listen(i int, address netip.Addr, port uint16, serve func(net.Conn)) {
	l.t.Helper()
	l.inFar(i, func() {
		listener, err := net.Listen("tcp", netip.AddrPortFrom(address, port).String())
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				serve(conn)
				conn.Close()
			}
		}()
	})
}

// datagrams serves packets of UDP or of a raw protocol at a far end.
func (l *lab) datagrams(i int, network, address string, serve func(conn net.PacketConn, packet []byte, from net.Addr)) {
	l.t.Helper()
	l.inFar(i, func() {
		conn, err := net.ListenPacket(network, address)
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { conn.Close() })
		go func() {
			for {
				packet := make([]byte, 1500)
				n, from, err := conn.ReadFrom(packet)
				if err != nil {
					return
				}
				serve(conn, packet[:n], from)
			}
		}()
	})
}

// probe is one over line i, with a mark of its own.
func (l *lab) probe(i int, f family.Family, method string, round uint32) Probe {
	p := Probe{
		Key:     health.Key{Member: fmt.Sprintf("wan%d", i), Family: f},
		Round:   round,
		Method:  method,
		Device:  fmt.Sprintf("wan%d", i),
		Mark:    uint32(i) << 8,
		Source:  ownAddress[f],
		Address: server[f],
		Timeout: time.Second,
	}
	switch method {
	case "arp":
		p.Address = gateway[f]
	case "tcp":
		p.Port = 443
	case "dns":
		p.Port = 53
	case "http":
		p.Port, p.URL, p.Status = 80, "http://portal.example/generate_204", 204
	}
	return p
}

func (l *lab) send(p Probe) {
	l.t.Helper()
	if err := l.prober.Send(p); err != nil {
		l.t.Fatal(err)
	}
}

// expect waits for the answer to a probe and fails on any other.
func (l *lab) expect(p Probe) {
	l.t.Helper()
	select {
	case a := <-l.answers:
		if a.Key != p.Key || a.Round != p.Round || a.Target != p.Target {
			l.t.Fatalf("answer %+v\nwant one to %+v", a, p)
		}
		if age := time.Since(a.At); age < 0 || age > time.Minute {
			l.t.Fatalf("arrived %v ago", age)
		}
	case <-time.After(20 * time.Second):
		l.t.Fatalf("no answer to %+v", p)
	}
}

// expectNone closes the prober, so that everything that has arrived so far was
// looked at or never will be, and fails if there was an answer.
func (l *lab) expectNone() {
	l.t.Helper()
	if err := l.prober.Close(); err != nil {
		l.t.Fatal(err)
	}
	select {
	case a := <-l.answers:
		l.t.Fatalf("unexpected answer %+v", a)
	default:
	}
}

func (l *lab) eventually(what string, holds func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatal("never: " + what)
		}
	}
}
