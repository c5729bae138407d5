package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// use runs a program by `loadbalance use`.
func (r *router) use(member string, program ...string) (out, messages string, code int) {
	r.t.Helper()
	cmd := r.useCommand(member, program...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	check(r.t, r.lab.Router.Start(cmd))
	_ = cmd.Wait() // the code tells
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// useCommand is the call. The flags are ours only before the member.
func (r *router) useCommand(member string, program ...string) *exec.Cmd {
	return exec.Command(binary, append(r.args(), append([]string{"use", member}, program...)...)...)
}

const (
	usePort     = 8088 // HTTP
	useResolver = 5353
	header      = 12 // bytes of a DNS message before the length of its first label
	useFlows    = 10 // requests over a line in one family: one by curl itself, the others by a script
)

// useServers are servers in the World that count who comes over which uplink. The
// path of a request, and the first label of a query, say which uplink it is for.
type useServers struct {
	lab      *netlab.Lab
	families int
	mu       sync.Mutex
	// right are the flows by uplink and kind, wrong those that came over another one.
	right map[string]int
	wrong []string
}

func startUseServers(t *testing.T, lab *netlab.Lab, addresses ...netip.Addr) *useServers {
	s := &useServers{lab: lab, families: len(addresses), right: map[string]int{}}
	web := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s.count("web", strings.TrimPrefix(r.URL.Path, "/"), netip.MustParseAddrPort(r.RemoteAddr))
	})}
	t.Cleanup(func() { web.Close() })
	for _, address := range addresses {
		check(t, lab.World.Do(func() error {
			listener, err := net.Listen("tcp", netip.AddrPortFrom(address, usePort).String())
			if err != nil {
				return err
			}
			go web.Serve(listener)
			resolver, err := net.ListenPacket("udp", netip.AddrPortFrom(address, useResolver).String())
			if err != nil {
				return err
			}
			t.Cleanup(func() { resolver.Close() })
			go resolve(countedQueries{resolver, s})
			streams, err := net.Listen("tcp", netip.AddrPortFrom(address, useResolver).String())
			if err != nil {
				return err
			}
			t.Cleanup(func() { streams.Close() })
			go s.resolveStreams(streams)
			return nil
		}))
	}
	return s
}

// countedQueries counts the DNS queries that a resolver reads.
type countedQueries struct {
	net.PacketConn
	servers *useServers
}

func (c countedQueries) ReadFrom(query []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(query)
	if err == nil && n > header+1 {
		c.servers.count("dns", string(query[header+1:header+2]), from.(*net.UDPAddr).AddrPort())
	}
	return n, from, err
}

// resolveStreams answers one query of each connection.
func (s *useServers) resolveStreams(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			query := make([]byte, 2+512) // after its length
			n, err := io.ReadAtLeast(conn, query, 2+header+2)
			if err != nil {
				return
			}
			s.count("stream", string(query[2+header+1:2+header+2]), conn.RemoteAddr().(*net.TCPAddr).AddrPort())
			refuse(query[2:n])
			_, _ = conn.Write(query[:n]) // a client without an answer fails
		}()
	}
}

func (s *useServers) count(kind, wanted string, from netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if uplink := fmt.Sprint(s.lab.UplinkOf(from.Addr())); uplink != wanted {
		s.wrong = append(s.wrong, fmt.Sprintf("%s for uplink %s came from %v", kind, wanted, from))
		return
	}
	s.right[kind+wanted]++
}

// expect checks that everything came over the right uplink: useFlows by HTTP, one
// DNS query by TCP in each family, and at least one by UDP.
func (s *useServers) expect(t *testing.T, flows int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 1; i <= s.lab.Uplinks(); i++ {
		web, dns, stream := s.right[fmt.Sprintf("web%d", i)], s.right[fmt.Sprintf("dns%d", i)], s.right[fmt.Sprintf("stream%d", i)]
		if web != flows || dns < s.families || stream != s.families {
			t.Errorf("uplink %d: %d of %d requests, %d queries and %d by TCP came over it", i, web, flows, dns, stream)
		}
	}
	if len(s.wrong) > 0 {
		t.Errorf("%d came over the wrong uplink: %s", len(s.wrong), s.wrong[0])
	}
}

// useAll is what a script may do on a line, in one family.
func useAll(address string, uplink int) string {
	host, ping := address, "busybox ping"
	if strings.Contains(address, ":") {
		host, ping = "["+address+"]", "busybox ping6"
	}
	url := fmt.Sprintf("http://%s:%d/%d", host, usePort, uplink)
	return fmt.Sprintf(`set -e
for i in 1 2 3; do curl -sS -m 10 %[1]s; done
for i in 1 2 3 4; do (sh -c 'wget -q -T 10 -O - %[1]s') & done
wait
wget -q -T 10 -O - %[1]s; wget -q -T 10 -O - %[1]s
busybox nslookup %[2]d.example %[3]s:%[4]d || true # it is refused, which is an answer
dig +tcp +tries=1 +time=10 -p %[4]d @%[6]s %[2]d.example
%[5]s -c 2 -i 0.1 -W 10 %[6]s`, url, uplink, host, useResolver, ping, address)
}

// TestUse: whatever a program and its children open takes the member's line, in both
// families, also while the member is offline (4) or waits (5). Nobody else is
// affected.
func TestUse(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 5, IPv6: true, LANHosts: 100, ARPIgnore: 1}, "")
		dead := "\tlist track_ip '192.0.2.1'\n\tlist track_ip '2001:db8:dead::1'\n\t" + strings.Join(fastest, "\n\t") + "\n"
		r.configure(strings.Replace(fullMembers(r.lab), "config member 'wan5'\n", dead+"config member 'wan5'\n\toption metric '2'\n", 1))
		if _, messages, code := r.use("wan1", "true"); code != 1 || !strings.Contains(messages, "loadbalance is not running") {
			t.Errorf("before the start: exit code %d, %q", code, messages)
		}
		r.must("apply")
		r.startMonitor()
		r.waitState("wan4", "offline")
		r.waitState("wan5", "standby")
		servers := startUseServers(t, r.lab, netlab.Server(1), netlab.Server6(1))

		beside := make(chan netlab.Tally)
		go func() {
			beside <- r.lab.Connect(netlab.Traffic{Count: 150})
			beside <- fromRouter(r, netlab.Traffic{}, 150)
		}()
		for i := 1; i <= 5; i++ {
			member := fmt.Sprintf("wan%d", i)
			for _, address := range []string{"203.0.113.1", "2001:db8:ffff::1"} {
				if out, messages, code := r.use(member, "sh", "-c", useAll(address, i)); code != 0 {
					t.Errorf("%s, %s: exit code %d\n%s%s", member, address, code, out, messages)
				}
				url := fmt.Sprintf("http://%s/%d", net.JoinHostPort(address, fmt.Sprint(usePort)), i)
				if _, messages, code := r.use(member, "curl", "-sS", "-m", "10", "--globoff", url); code != 0 {
					t.Errorf("curl %s: exit code %d: %s", url, code, messages)
				}
			}
		}
		servers.expect(t, 2*useFlows)
		for range 2 {
			expectShares(t, <-beside, 0, 50, 50, 50, 0, 0)
		}
		pings := r.entries(family.IPv4, func(e conntrack.Entry) bool {
			return e.Protocol == unix.IPPROTO_ICMP && e.Original.Destination == netlab.Server(1)
		})
		for i := 1; i <= 5; i++ {
			if !hasPing(pings, r.lab.Uplink(i).Address.Addr()) {
				t.Errorf("no ping has left with the address of uplink %d", i)
			}
		}
		expectLocal(t, r)
		expectNoOtherLine(t, r)
		servers.expect(t, 2*useFlows)
		r.expectNoSpoofed()
	})
}

// expectLocal: what is not out there is reached as always, the router itself above all.
func expectLocal(t *testing.T, r *router) {
	for _, host := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netlab.RouterLAN, r.lab.LANHosts()[0]} {
		// The server answers and waits for more.
		script := fmt.Sprintf("curl -s -m 0.3 --http0.9 http://%s/ | head -n 1", netip.AddrPortFrom(host, netlab.EchoPort))
		out, messages, _ := r.use("wan2", "sh", "-c", script)
		if seen, err := netip.ParseAddrPort(strings.TrimSpace(out)); err != nil || r.lab.UplinkOf(seen.Addr()) != 0 {
			t.Errorf("%v saw %q as the program's address: %s", host, out, messages)
		}
	}
}

// expectNoOtherLine: a line that goes leaves its programs none.
func expectNoOtherLine(t *testing.T, r *router) {
	script := fmt.Sprintf(`ip link set %s down
! curl -s -m 2 http://203.0.113.1:%[2]d/1 && ! curl -s -m 2 "http://[2001:db8:ffff::1]:%[2]d/1"`, r.lab.UplinkDevice(1), usePort)
	if out, messages, code := r.use("wan1", "sh", "-c", script); code != 0 {
		t.Errorf("without its line, the program's connections went on: exit code %d\n%s%s", code, out, messages)
	}
}

// hasPing reports whether an answered ping came from an address, before and after
// any translation.
func hasPing(pings []conntrack.Entry, from netip.Addr) bool {
	for _, e := range pings {
		if e.Original.Source == from && e.Reply.Destination == from && e.Answered {
			return true
		}
	}
	return false
}

// TestUseInEveryTopology: also where nothing translates the router's addresses, and
// where the main table has no default route.
func TestUseInEveryTopology(t *testing.T) {
	for name, options := range map[string]netlab.Options{
		"separate, no NAT": {Uplinks: 2, NAT: netlab.NoNAT},
		"no main default":  {Uplinks: 2, NoMainDefaults: true},
		"p2p":              {Topology: netlab.P2P, Uplinks: 2},
		"twins":            {Topology: netlab.Twins},
		"aliases":          {Uplinks: 2},
	} {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				r := newRouter(t, backend, options, "")
				r.configure(withoutRouterTraffic + fullMembers(r.lab))
				if name == "aliases" {
					aliases(r)
					r.configure(aliasConfig(r))
				}
				r.must("apply")
				servers := startUseServers(t, r.lab, netlab.Server(1))
				for i := 1; i <= 2; i++ {
					if out, messages, code := r.use(fmt.Sprintf("wan%d", i), "sh", "-c", useAll("203.0.113.1", i)); code != 0 {
						t.Errorf("uplink %d: exit code %d\n%s%s", i, code, out, messages)
					}
				}
				servers.expect(t, useFlows-1)
				if name != "aliases" { // a bridge floods what it has not learnt yet
					r.expectNoSpoofed()
				}
			})
		})
	}
}

// TestUseBecomesTheProgram: the exit code, signals and output are the program's, and
// what cannot be done is said. Control groups are common to all namespaces.
func TestUseBecomesTheProgram(t *testing.T) {
	eachBackendAlone(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, members(netlab.Separate, 3)+"config member 'off'\n\toption enabled '0'\n")
		r.must("apply")
		if out, messages, code := r.use("wan2", "sh", "-c", "echo --json $1; exit 7", "sh", "--watch"); out != "--json --watch\n" || code != 7 || messages != "" {
			t.Errorf("exit 7: exit code %d, output %q, messages %q", code, out, messages)
		}
		if out, messages, code := r.use("wan2", "--", "sh", "-c", `echo "$0"`, "--version"); out != "--version\n" || code != 0 {
			t.Errorf("behind '--': exit code %d, output %q, messages %q", code, out, messages)
		}
		interrupted := r.useCommand("wan2", "sleep", "60")
		check(t, r.lab.Router.Start(interrupted))
		eventually(t, "sleep runs", func() bool {
			name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", interrupted.Process.Pid))
			return err == nil && string(name) == "sleep\n"
		})
		check(t, interrupted.Process.Signal(os.Interrupt))
		_ = interrupted.Wait()
		if status := interrupted.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGINT {
			t.Errorf("after SIGINT: %v", interrupted.ProcessState)
		}

		r.sh("ip link set wan3 down")
		for _, c := range []struct {
			member, program, want string
			code                  int
		}{
			{"wan22", "true", "there is no member 'wan22' (did you mean 'wan2'?)", 2},
			{"off", "true", "member 'off' is not enabled", 1},
			{"wan3", "true", "member 'wan3' is down: device 'wan3' is down", 1},
			{"wan2", "no-such-program", "no-such-program", 1},
			{"wan2", "", "a member and a program are needed", 2},
		} {
			words := []string{c.program}
			if c.program == "" {
				words = nil
			}
			if out, messages, code := r.use(c.member, words...); out != "" || code != c.code || !strings.Contains(messages, c.want) {
				t.Errorf("use %s %s: exit code %d, output %q, messages %q", c.member, c.program, code, out, messages)
			}
		}

		group, _, _ := r.use("wan2", "cat", "/proc/self/cgroup")
		if !strings.HasSuffix(group, "0::/loadbalance/0x2000000\n") {
			t.Errorf("the program's control groups:\n%s", group)
		}
		mount := strings.TrimSpace(r.sh("grep ' cgroup2 ' /proc/mounts | cut -d ' ' -f 2"))
		r.must("stop")
		if _, err := os.Stat(mount + "/loadbalance"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after stop, %s/loadbalance: %v", mount, err)
		}
		if _, messages, code := r.use("wan2", "true"); code != 1 || !strings.Contains(messages, "loadbalance is not running") {
			t.Errorf("after stop: exit code %d, %q", code, messages)
		}
	})
}
