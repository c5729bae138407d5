package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// transfer is a TCP connection of a LAN host that does one thing until it
// breaks.
type transfer struct {
	name   string
	uplink int
	conn   net.Conn
	// broken is closed when it is over; err and when say how.
	broken chan struct{}
	err    error
	when   time.Time
}

// transferKinds are the kinds of transfer, by what the client does.
var transferKinds = []struct {
	name string
	port uint16
	work func(net.Conn, *bufio.Reader) error
}{
	// One that only receives would never find out by itself.
	{"download", netlab.SourcePort, func(conn net.Conn, in *bufio.Reader) error {
		if _, err := conn.Write([]byte("?\n")); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, in)
		return err
	}},
	{"upload", netlab.SinkPort, func(conn net.Conn, _ *bufio.Reader) error {
		for block := make([]byte, 16<<10); ; {
			if _, err := conn.Write(block); err != nil {
				return err
			}
		}
	}},
	{"idle", netlab.HTTPPort, func(_ net.Conn, in *bufio.Reader) error {
		_, err := in.ReadByte()
		return err
	}},
}

// host is a LAN host.
type host struct {
	from   *netlab.Namespace
	source netip.Addr
}

// firstHost is the first one of the LAN.
func firstHost(r *router) host { return host{r.lab.Client, r.lab.LANHosts()[0]} }

// transfers starts every kind of transfer over each of some uplinks.
func transfers(t *testing.T, r *router, from host, destination netip.Addr, uplinks ...int) []*transfer {
	t.Helper()
	var all []*transfer
	for _, kind := range transferKinds {
		for _, uplink := range uplinks {
			x := &transfer{name: fmt.Sprintf("%s over uplink %d", kind.name, uplink), uplink: uplink, broken: make(chan struct{})}
			var in *bufio.Reader
			for x.conn == nil {
				conn, reader, over := greeted(t, r, from, server(destination, kind.port))
				if over == uplink {
					x.conn, in = conn, reader
					continue
				}
				conn.Close()
			}
			t.Cleanup(func() { x.conn.Close() })
			go func() {
				x.err = kind.work(x.conn, in)
				x.when = time.Now()
				close(x.broken)
			}()
			all = append(all, x)
		}
	}
	return all
}

// greeted opens a connection and returns it with the uplink that it took.
func greeted(t *testing.T, r *router, from host, to netip.AddrPort) (net.Conn, *bufio.Reader, int) {
	t.Helper()
	var conn net.Conn
	check(t, from.from.Do(func() (err error) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.source.AsSlice()}, Timeout: 20 * time.Second,
			KeepAlive: -1} // a keep-alive probe would find out too
		conn, err = dialer.Dial("tcp", to.String())
		return err
	}))
	_, err := conn.Write([]byte("?\n"))
	check(t, err)
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	check(t, err)
	seen, err := netip.ParseAddrPort(strings.TrimSpace(line))
	check(t, err)
	return conn, in, r.lab.UplinkOf(seen.Addr())
}

// expectReset waits until a transfer is reset. The bound is far above the half
// second of the design, which a loaded machine may miss, and below what a client
// that backs off takes.
func (x *transfer) expectReset(t *testing.T, since time.Time) {
	t.Helper()
	select {
	case <-x.broken:
		t.Logf("%s: %v after %v", x.name, x.err, x.when.Sub(since))
		if !errors.Is(x.err, syscall.ECONNRESET) {
			t.Errorf("%s: ended with %v, want a reset", x.name, x.err)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("%s: still waits", x.name)
	}
}

func (x *transfer) expectAlive(t *testing.T) {
	t.Helper()
	select {
	case <-x.broken:
		t.Errorf("%s: ended: %v", x.name, x.err)
	default:
	}
}

// resetCases are the ways in which LAN hosts reach the world.
var resetCases = []struct {
	name    string
	options netlab.Options
	// bridged: the LAN device is a bridge's port.
	bridged bool
	// behind: the host lies behind another router of the LAN.
	behind bool
}{
	{name: "masquerade", options: netlab.Options{Uplinks: 2}},
	{name: "fixed SNAT", options: netlab.Options{Uplinks: 2, NAT: netlab.FixedSNAT}},
	{name: "campus", options: netlab.Options{Topology: netlab.Campus, Uplinks: 2, ARPIgnore: 1}},
	{name: "point-to-point", options: netlab.Options{Topology: netlab.P2P, Uplinks: 2}},
	{name: "IPv6 masquerade", options: netlab.Options{Uplinks: 2, IPv6: true, NAT66: true}},
	{name: "bridge", options: netlab.Options{Uplinks: 2}, bridged: true},
	{name: "behind another router", options: netlab.Options{Uplinks: 2}, behind: true},
}

// TestDeadUplinkResets lets one of two uplinks lose its link under transfers.
func TestDeadUplinkResets(t *testing.T) {
	for _, c := range resetCases {
		t.Run(c.name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				r := newRouter(t, backend, c.options, "")
				r.configure(fullMembers(r.lab))
				if c.bridged {
					r.bridgeLAN()
				}
				r.must("apply")
				from, destination := firstHost(r), netlab.Server(1)
				switch {
				case c.options.IPv6:
					from.source, destination = r.lab.LANHosts6(0)[0], netlab.Server6(1)
				case c.behind:
					from = host{r.lab.VPN, netlab.VPNHost}
				}
				all := transfers(t, r, from, destination, 1, 2)
				in, err := r.lab.Dial(netlab.Traffic{From: r.lab.World, Server: server(r.lab.Uplink(1).Public, netlab.ForwardedPort)})
				check(t, err, r.lab.Blackhole(1), r.lab.CutCable(1))
				defer in.Close()
				since := time.Now()
				out, messages, code := r.call("apply")
				t.Logf("apply took %v: exit code %d\n%s%s", time.Since(since), code, out, messages)
				for _, x := range all {
					if x.uplink == 1 {
						x.expectReset(t, since)
					}
				}
				for _, x := range all {
					if x.uplink == 2 {
						x.expectAlive(t)
					}
				}
				// What came in waits for its line.
				check(t, r.lab.Restore(1), r.lab.RestoreCable(1))
				r.must("apply")
				if err := in.Check(20 * time.Second); err != nil {
					t.Errorf("the connection that came in over the dead line: %v", err)
				}
				r.expectNoSpoofed()
			})
		})
	}
}

// bridgeLAN puts the LAN device into a bridge, as OpenWrt has it.
func (r *router) bridgeLAN() {
	r.t.Helper()
	r.sh(fmt.Sprintf("ip link add br-lan type bridge && ip addr flush dev %s && ip link set %s master br-lan &&"+
		" ip addr add %v/%d dev br-lan && ip link set br-lan up", netlab.LANDevice, netlab.LANDevice,
		netlab.RouterLAN, netlab.LANPrefix.Bits()))
}

// TestOnDead: with 'clear' the entries go, and no client is told; with 'none'
// they stay.
func TestOnDead(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for _, c := range []struct {
			onDead  string
			entries bool
		}{{"clear", false}, {"none", true}} {
			r := newRouter(t, backend, netlab.Options{Uplinks: 2},
				members(netlab.Separate, 2, "option on_dead '"+c.onDead+"'"))
			r.must("apply")
			all := transfers(t, r, firstHost(r), netlab.Server(1), 1, 2)
			check(t, r.lab.Blackhole(1), r.lab.CutCable(1))
			r.must("apply")
			idle := func(e conntrack.Entry) bool {
				return e.Mark&markMask == memberMark(1) && e.Original.DestinationPort == netlab.HTTPPort
			}
			if left := len(r.entries(family.IPv4, idle)) > 0; left != c.entries {
				t.Errorf("on_dead '%s': an entry of the dead uplink is there: %v", c.onDead, left)
			}
			for _, x := range all {
				if x.uplink == 2 || strings.HasPrefix(x.name, "idle") {
					x.expectAlive(t)
				}
			}
		}
	})
}
