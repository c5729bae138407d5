package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"loadbalance/internal/netlab"
	"loadbalance/internal/status"
)

const domainRules = `
config ipset 'films'
	list domain '.Films.example.'

config ipset 'films6'
	option family 'ipv6'
	list domain 'films.example'

config rule 'to_films'
	option ipset 'films'
	option use_policy 'wan2'

config rule 'to_films6'
	option ipset 'films6'
	option use_policy 'wan2'
`

// names is what the resolvers of these tests are told by their provider. Its
// answers have a time to live of 0.
var names = []string{
	"--local=/example/",
	"--host-record=www.films.example," + netlab.Server(77).String() + "," + netlab.Server6(77).String(),
	"--host-record=other.example," + netlab.Server(78).String() + "," + netlab.Server6(78).String(),
	"--host-record=edge.network.example," + netlab.Server(79).String() + "," + netlab.Server6(79).String(),
	"--cname=a.b.c.films.example,edge.network.example",
	"--host-record=another.example," + netlab.Server(77).String(),
}

// resolvers are started on the router's port 53. Both ask the provider.
var resolvers = map[string]func(r *router){
	"dnsmasq": func(r *router) {
		r.startDNSMasq("--server=127.0.0.1#5353", "--listen-address=127.0.0.1,"+netlab.RouterLAN.String()+",fd00::1")
	},
	"unbound": func(r *router) {
		config := filepath.Join(r.t.TempDir(), "unbound.conf")
		check(r.t, os.WriteFile(config, []byte(fmt.Sprintf(`
server:
	interface: 127.0.0.1
	interface: %s
	interface: fd00::1
	access-control: 0.0.0.0/0 allow
	access-control: ::/0 allow
	module-config: "iterator"
	do-not-query-localhost: no
	do-daemonize: no
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	num-threads: 1
forward-zone:
	name: "."
	forward-addr: 127.0.0.1@5353
remote-control:
	control-enable: no
`, netlab.RouterLAN)), 0o644))
		r.start(exec.Command("unbound", "-c", config))
	},
}

// start starts a program on the router, until the test ends.
func (r *router) start(cmd *exec.Cmd) {
	r.t.Helper()
	p, err := r.lab.Router.Background(cmd)
	check(r.t, err)
	r.t.Cleanup(func() {
		_ = p.End(syscall.SIGKILL) // it never ends well
		if r.t.Failed() {
			r.t.Logf("%s:\n%s", cmd.Args[0], p.Log)
		}
	})
}

func (r *router) startDNSMasq(args ...string) {
	r.t.Helper()
	// -C /dev/null: without the machine's own configuration.
	r.start(exec.Command("dnsmasq", append([]string{"--keep-in-foreground", "-C", "/dev/null", "--user=root", "--pid-file=",
		"--no-resolv", "--no-hosts", "--bind-interfaces", "--log-facility=-"}, args...)...))
}

// lookUp asks the router as a LAN host does, until it answers.
func (r *router) lookUp(server netip.Addr, name string, kind dnsmessage.Type) []netip.Addr {
	r.t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 4711, RecursionDesired: true})
	check(r.t, b.StartQuestions(), b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}))
	query, err := b.Finish()
	check(r.t, err)
	buffer := make([]byte, 4096)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var n int
		err = r.lab.Client.Do(func() error {
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(server, 53)))
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
				return err
			}
			if _, err = c.Write(query); err == nil {
				n, err = c.Read(buffer)
			}
			return err
		})
		var m dnsmessage.Message
		if err != nil || m.Unpack(buffer[:n]) != nil || len(m.Answers) == 0 {
			continue // it has only been started
		}
		var found []netip.Addr
		for _, a := range m.Answers {
			switch body := a.Body.(type) {
			case *dnsmessage.AResource:
				found = append(found, netip.AddrFrom4(body.A))
			case *dnsmessage.AAAAResource:
				found = append(found, netip.AddrFrom16(body.AAAA))
			}
		}
		return found
	}
	r.t.Fatalf("%s does not tell %s: %v", server, name, err)
	return nil
}

// connect connects hosts to a server.
func (r *router) connect(server netip.Addr, count int) netlab.Tally {
	return r.lab.Connect(netlab.Traffic{Count: count, Server: netip.AddrPortFrom(server, 80)})
}

// learnt is how many addresses a set has learnt for its first domain.
func (r *router) learnt(set string) int {
	r.t.Helper()
	all := r.status().Sets
	i := slices.IndexFunc(all, func(s status.Set) bool { return s.Name == set })
	if i < 0 {
		return 0
	}
	return all[i].Domains[0].Addresses
}

// TestDomains: a host asks the router for a name and connects to what it is
// told, and the rule's line has the connection. Other names are dealt out.
func TestDomains(t *testing.T) {
	routerAddress := map[dnsmessage.Type]netip.Addr{dnsmessage.TypeA: netlab.RouterLAN, dnsmessage.TypeAAAA: netip.MustParseAddr("fd00::1")}
	server := map[dnsmessage.Type]func(int) netip.Addr{dnsmessage.TypeA: netlab.Server, dnsmessage.TypeAAAA: netlab.Server6}
	sets := map[dnsmessage.Type]string{dnsmessage.TypeA: "films", dnsmessage.TypeAAAA: "films6"}
	for resolver, start := range resolvers {
		t.Run(resolver, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 3, IPv6: true, NAT66: true}, members(netlab.Separate, 3)+domainRules)
				r.must("apply")
				r.startMonitor()
				r.startDNSMasq(append(names, "--port=5353", "--listen-address=127.0.0.1")...)
				start(r)
				for kind, router := range routerAddress {
					server := server[kind]
					expectShares(t, r.connect(server(77), 30), 0, 10, 10, 10)
					for name, want := range map[string]netip.Addr{
						"WWW.films.example.": server(77), "other.example.": server(78), "a.b.c.films.example.": server(79),
					} {
						if got := r.lookUp(router, name, kind); !slices.Equal(got, []netip.Addr{want}) {
							t.Fatalf("%s is %v", name, got)
						}
					}
					// The host has the answer when the monitor has it. How much
					// sooner than a connection the set has it is for the bench.
					eventually(t, "both names are learnt", func() bool { return r.learnt(sets[kind]) == 2 })
					expectShares(t, r.connect(server(77), 100), 0, 0, 100, 0)
					expectShares(t, r.connect(server(79), 100), 0, 0, 100, 0)
					expectShares(t, r.connect(server(78), 30), 0, 10, 10, 10)
				}
				// What the router's own programs ask for counts as well; that
				// the address has another name does not matter.
				r.lookUp(netlab.RouterLAN, "another.example.", dnsmessage.TypeA)
				expectShares(t, r.connect(netlab.Server(77), 10), 0, 0, 10, 0)
				r.expectExplainedName()
				if n4, n6 := r.learnt("films"), r.learnt("films6"); n4 != 2 || n6 != 2 {
					t.Errorf("learnt %d and %d addresses", n4, n6)
				}
				r.expectNoSpoofed()
			})
		})
	}
}

// expectExplainedName: a name stands for its addresses.
func (r *router) expectExplainedName() {
	r.t.Helper()
	var found struct {
		Name      string
		Addresses []struct {
			Packet struct{ Dst string }
		}
	}
	out := r.must("explain", "--dst", "www.Films.example", "--proto", "tcp", "--dport", "80", "--json")
	check(r.t, json.Unmarshal([]byte(out), &found))
	if found.Name != "www.films.example" || len(found.Addresses) != 2 || found.Addresses[0].Packet.Dst != netlab.Server(77).String() ||
		found.Addresses[1].Packet.Dst != netlab.Server6(77).String() {
		r.t.Errorf("explain says %s", out)
	}
	text := r.must("explain", "--src", r.lab.LANHosts()[0].String(), "--dst", "www.films.example")
	if strings.Count(text, "rule 'to_films'") != 1 || !strings.HasPrefix(text, "www.films.example, address 1 of 1\n") {
		r.t.Errorf("explain says %s", text)
	}
	if _, messages, code := r.call("explain", "--dst", "missing.films.example"); code != 1 || !strings.Contains(messages, "has no address") {
		r.t.Errorf("a name that does not exist: exit code %d, %s", code, messages)
	}
	if _, messages, code := r.call("explain", "--dst", "refused.elsewhere"); code != 1 || !strings.Contains(messages, "it answers ") {
		r.t.Errorf("a name that is refused: exit code %d, %s", code, messages)
	}
}

// TestDomainsStay: what was learnt survives applies, monitors and starts, and
// goes with its domain and with stop.
func TestDomainsStay(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Separate, 3) + domainRules
		r := newRouter(t, backend, netlab.Options{Uplinks: 3, IPv6: true}, config)
		r.must("apply")
		m := r.startMonitor()
		server := netlab.Server(77)
		teach := func(name string, addresses ...netip.Addr) {
			t.Helper()
			check(t, r.answer(netip.AddrPortFrom(netlab.RouterLAN, 53), netip.AddrPortFrom(r.lab.LANHosts()[0], 4321), dnsAnswer(t, name, addresses...)))
		}
		expect := func(what string, learnt int) {
			t.Helper()
			eventually(t, fmt.Sprintf("%s: %d addresses", what, learnt), func() bool { return r.learnt("films") == learnt })
		}
		teach("films.example.", server)
		expect("an answer", 1)
		r.must("apply")
		var entries strings.Builder
		for i := range 40 {
			fmt.Fprintf(&entries, "\tlist entry '198.51.100.%d'\n", i+1)
		}
		r.configure(strings.Replace(config, "\tlist domain '.F", entries.String()+"\tlist domain '.F", 1))
		r.must("apply") // exchanges the set
		expect("applies", 1)
		check(t, m.End(syscall.SIGTERM))
		r.must("apply")
		expect("without a monitor", 1)
		r.startMonitor()
		teach("films.example.", netlab.Server(80))
		expect("the next monitor", 2)
		expectShares(t, r.connect(server, 10), 0, 0, 10, 0)
		music := strings.Replace(config, ".Films.example.", "music.example", 1)
		r.configure(music)
		r.must("apply")
		eventually(t, "the domain has left", func() bool { return r.learnt("films") == 0 })
		expectShares(t, r.connect(server, 30), 0, 10, 10, 10)
		teach("films.example.", server)
		teach("music.example.", netlab.Server(81))
		expect("another domain", 1)
		r.must("stop")
		if left := r.sh("ipset list -n"); strings.Contains(left, "lb_") {
			t.Errorf("left after stop: %s", left)
		}
		eventually(t, "nobody listens after stop", func() bool { return r.packetSockets() == 0 })
	})
}

// packetSockets counts the monitor's socket for answers.
func (r *router) packetSockets() int {
	r.t.Helper()
	n := 0
	check(r.t, r.lab.Router.Do(func() error {
		table, err := os.ReadFile("/proc/thread-self/net/packet")
		for _, line := range strings.Split(string(table), "\n") {
			if f := strings.Fields(line); len(f) > 3 && f[3] == "0003" { // ETH_P_ALL
				n++
			}
		}
		return err
	}))
	return n
}

// TestNoDomains: without a set that learns, nobody listens.
func TestNoDomains(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2)+"\nconfig ipset 'plain'\n\tlist entry '192.0.2.1'\n")
	r.must("apply")
	r.startMonitor()
	if n := r.packetSockets(); n != 0 {
		t.Errorf("%d sockets", n)
	}
	r.configure(members(netlab.Separate, 2) + domainRules)
	r.must("apply")
	eventually(t, "somebody listens", func() bool { return r.packetSockets() == 1 })
}

// dnsAnswer is an answer with addresses of one family.
func dnsAnswer(t testing.TB, name string, addresses ...netip.Addr) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{Response: true})
	b.EnableCompression()
	owner := dnsmessage.MustNewName(name)
	err := errors.Join(b.StartQuestions(), b.Question(dnsmessage.Question{Name: owner, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}), b.StartAnswers())
	for _, a := range addresses {
		h := dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET}
		if a.Is4() {
			err = errors.Join(err, b.AResource(h, dnsmessage.AResource{A: a.As4()}))
		} else {
			err = errors.Join(err, b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: a.As16()}))
		}
	}
	message, finish := b.Finish()
	if err = errors.Join(err, finish); err != nil {
		t.Fatal(err)
	}
	return message
}

// answer sends a message from the router, as a resolver there does.
func (r *router) answer(from, to netip.AddrPort, message []byte) error {
	return r.lab.Router.Do(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(message)
		return err
	})
}

// TestLongAnswers: of an answer in several packets the first one is learnt, on
// lo it comes in one piece; of a truncated one what it holds.
func TestLongAnswers(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2)+domainRules)
	r.must("apply")
	r.startMonitor()
	var many []netip.Addr
	for i := 1; i <= 250; i++ {
		many = append(many, netlab.Server(i))
	}
	message := dnsAnswer(t, "films.example.", many...)
	if len(message) < 4000 {
		t.Fatalf("%d bytes", len(message))
	}
	host := netip.AddrPortFrom(r.lab.LANHosts()[0], 4321)
	truncated := dnsAnswer(t, "films.example.", many[:3]...)
	truncated[2] |= 2 // TC
	check(t, r.answer(netip.AddrPortFrom(netlab.RouterLAN, 53), host, truncated))
	eventually(t, "a truncated answer is learnt", func() bool { return r.learnt("films") == 3 })
	check(t, r.answer(netip.AddrPortFrom(netlab.RouterLAN, 53), host, message))
	// 31 bytes come before the first record, each has 16.
	const first = (1472 - 31) / 16
	eventually(t, "the first packet is learnt", func() bool { return r.learnt("films") == first })
	lo := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	check(t, r.answer(netip.AddrPortFrom(lo, 53), netip.AddrPortFrom(lo, 4321), message))
	eventually(t, "all of it is learnt on lo", func() bool { return r.learnt("films") == 250 })
}
