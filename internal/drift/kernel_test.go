package drift

import (
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// manual is a listener without a goroutine: what the kernel announced up to
// now is read when the test asks.
type manual struct {
	*listener
	fd int
}

func listenManually(t *testing.T, w *Watcher) manual {
	t.Helper()
	l, err := newListener(w.route)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.file.Close() })
	m := manual{listener: l}
	connection, err := l.file.SyscallConn()
	if err == nil {
		err = connection.Control(func(fd uintptr) { m.fd = int(fd) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// event says whether there was one since the last call.
func (m manual) event(t *testing.T) bool {
	t.Helper()
	if err := m.drain(m.fd); err != nil {
		t.Fatal(err)
	}
	return taken(m.events)
}

func taken(events <-chan struct{}) bool {
	select {
	case <-events:
		return true
	default:
		return false
	}
}

// effect is what a change must show as.
type effect struct{ world, own, event bool }

var (
	nothing     = effect{}
	worldChange = effect{world: true, event: true}
	ownLoss     = effect{own: true, event: true}
	ownSilent   = effect{own: true}
)

// changes are commands, what they must show as, and the commands that take
// them back. Every one begins where the one before ended.
var changes = []struct {
	name     string
	do, undo string
	want     effect
}{
	{"address added", "ip addr add 10.9.0.1/24 dev spare", "ip addr del 10.9.0.1/24 dev spare", worldChange},
	{"address deleted", "ip addr del 192.168.1.1/24 dev spare", "ip addr add 192.168.1.1/24 dev spare", worldChange},
	{"IPv6 address added", "ip addr add fd00::1/64 dev spare nodad", "ip addr del fd00::1/64 dev spare", worldChange},
	{"device down", "ip link set spare down", "ip link set spare up", worldChange},
	{"cable pulled", "ip link set spare2 down", "ip link set spare2 up", worldChange},
	{"device renamed", "ip link set spare down\nip link set spare name lan", "ip link set lan name spare\nip link set spare up", worldChange},
	{"device added", "ip link add br0 type bridge", "ip link del br0", worldChange},
	{"route in main", "ip route add 10.20.0.0/16 via 192.168.1.9", "ip route del 10.20.0.0/16", worldChange},
	{"IPv6 route in main", "ip -6 route add 2001:db8:ff::/48 dev spare", "ip -6 route del 2001:db8:ff::/48", worldChange},
	{"default route deleted", "ip route del default metric 1", "ip route add default via 10.0.1.254 dev wan1 metric 1", worldChange},
	{"route's gateway replaced", "ip route replace default via 10.0.1.253 dev wan1 metric 1", "ip route replace default via 10.0.1.254 dev wan1 metric 1", worldChange},

	{"our rule deleted", "ip rule del priority 9001", "ip rule add fwmark 0x100/0x3f00 lookup 301 priority 9001 protocol 108", ownLoss},
	{"our IPv6 rule deleted", "ip -6 rule del priority 9001", "ip -6 rule add fwmark 0x100/0x3f00 lookup 301 priority 9001 protocol 108", ownLoss},
	{"our route deleted", "ip route del default table 301", "ip route add default via 10.0.1.254 dev wan1 onlink table 301 protocol 108", ownLoss},
	{"our IPv6 route deleted", "ip -6 route del default table 301", "ip -6 route add default via 2001:db8:1::ff dev wan1 onlink table 301 protocol 108", ownLoss},
	{"our table flushed", "ip route flush table 302", "ip route add 10.0.2.0/24 dev wan2 src 10.0.2.1 table 302 protocol 108\nip route add default via 10.0.2.254 dev wan2 onlink table 302 protocol 108", ownLoss},
	{"our route replaced by another's", "ip route replace default via 10.0.1.253 dev wan1 onlink table 301", "ip route replace default via 10.0.1.254 dev wan1 onlink table 301 protocol 108", ownLoss},
	{"our IPv6 route replaced by another's", "ip -6 route replace default via 2001:db8:1::fe dev wan1 onlink table 301", "ip -6 route replace default via 2001:db8:1::ff dev wan1 onlink table 301 protocol 108", ownLoss},
	{"our rule added", "ip rule add fwmark 0x3f00/0x3f00 lookup 361 priority 9400 protocol 108", "ip rule del priority 9400", ownSilent},
	{"our route added", "ip route add blackhole default table 361 protocol 108", "ip route del default table 361", ownSilent},

	{"set's entry deleted", "ipset del lb_local 172.16.0.0/12", "ipset add lb_local 172.16.0.0/12", ownSilent},
	{"IPv6 set's entry added", "ipset add lb_local6 2001:db8::/64", "ipset del lb_local6 2001:db8::/64", ownSilent},
	{"set destroyed", "ipset destroy lb_films", "ipset create lb_films hash:net", ownSilent},
	{"set of another type", "ipset destroy lb_films\nipset create lb_films hash:ip", "ipset destroy lb_films\nipset create lb_films hash:net", ownSilent},

	{"entry of a set with a time limit", "ipset add lb_sticky 10.0.0.7", "ipset flush lb_sticky", nothing},
	{"entry of an open set", "ipset add lb_films 203.0.113.7", "ipset flush lb_films", nothing},
	{"foreign set", "ipset create other hash:net", "ipset destroy other", nothing},
	{"life time set", "ip addr change 10.0.1.1/24 dev wan1 valid_lft 5000 preferred_lft 4000", "ip addr change 10.0.1.1/24 dev wan1 valid_lft forever preferred_lft forever", nothing},
	{"IPv6 life time set", "ip addr change 2001:db8:1::1/64 dev wan1 nodad valid_lft 5000 preferred_lft 4000", "ip addr change 2001:db8:1::1/64 dev wan1 nodad valid_lft forever preferred_lft forever", nothing},
	{"neighbour", "ip neigh add 10.0.1.9 lladdr 02:00:00:00:00:01 dev wan1", "ip neigh del 10.0.1.9 dev wan1", nothing},
	{"promiscuous", "ip link set wan1 promisc on", "ip link set wan1 promisc off", nothing},
	{"queue length", "ip link set spare txqueuelen 100", "ip link set spare txqueuelen 1000", nothing},
	{"foreign rule", "ip rule add fwmark 0x10000/0xff0000 lookup 77 priority 100", "ip rule del priority 100", nothing},
	{"foreign table", "ip route add default via 192.168.1.9 table 77", "ip route flush table 77", nothing},
	{"local route", "ip route add local 203.0.113.0/24 dev lo table local", "ip route del local 203.0.113.0/24 dev lo table local", nothing},
}

func TestChanges(t *testing.T) {
	router(t, 2)
	w := open(t)
	m := listenManually(t, w)
	scope := Scope{OpenSets: []string{"lb_films"}}
	for _, c := range changes {
		m.event(t)
		taken(w.Events())
		before := look(t, w, scope)
		run(t, c.do)
		if c.want.event {
			await(t, c.name+": an event", func() bool { return m.event(t) })
			await(t, c.name+": an event of the watcher", func() bool { return taken(w.Events()) })
		} else if m.event(t) {
			t.Errorf("%s: an event", c.name)
		}
		if c.want.world { // a cable's state comes some time after the command
			await(t, c.name+": another world", func() bool { return look(t, w, scope).Network != before.Network })
		}
		after := look(t, w, scope)
		if got := after.Network != before.Network; got != c.want.world {
			t.Errorf("%s: Network changed: %v", c.name, got)
		}
		if got := after.Ours != before.Ours; got != c.want.own {
			t.Errorf("%s: Ours changed: %v", c.name, got)
		}
		restore(t, c.undo)
		if got := look(t, w, scope); got.Ours != before.Ours {
			t.Errorf("%s: Ours is another one after it was taken back", c.name)
		}
	}
}

// restore takes a change back, with the routes of main that go with a device.
func restore(t *testing.T, commands string) {
	t.Helper()
	run(t, commands)
	awaitCarriers(t)
}

// The same state has the same fingerprint, however it came about, and traffic
// is no change.
func TestSameStateSameFingerprint(t *testing.T) {
	router(t, 2)
	for _, program := range []string{"iptables-nft", "iptables-legacy"} {
		for _, counts := range []string{"statistic --mode nth --every 2 --packet 0", "statistic --mode random --probability 0.5",
			"limit --limit 1/hour", "quota --quota 100000", "comment --comment counts", "recent --set"} {
			run(t, program+" -t mangle -A OUTPUT -m "+counts)
		}
	}
	for _, counts := range []string{"counter", "quota 100000 bytes", "limit rate 1/hour"} {
		run(t, "nft add rule ip mangle OUTPUT "+counts)
	}
	w := open(t)
	m := listenManually(t, w)
	nft, legacy := look(t, w, Scope{}), look(t, w, Scope{Legacy: true})
	send(t, "127.0.0.1:9")
	send(t, "10.0.1.9:9")  // nobody answers: an entry of the neighbour table
	w.listed.known = false // as after a transaction of anybody
	if got := look(t, w, Scope{}); got != nft {
		t.Errorf("traffic: %v became %v", nft, got)
	}
	if got := look(t, w, Scope{Legacy: true}); got != legacy {
		t.Errorf("traffic, legacy: %v became %v", legacy, got)
	}
	run(t, `ip rule del priority 6001
ip rule del priority 6002
ip rule add fwmark 0x200/0x3f00 lookup 302 suppress_prefixlength 0 priority 6002 protocol 108
ip rule add fwmark 0x100/0x3f00 lookup 301 suppress_prefixlength 0 priority 6001 protocol 108
ip addr add 10.9.0.1/24 dev wan1
ip addr del 10.9.0.1/24 dev wan1`)
	if got := look(t, w, Scope{}); got != nft {
		t.Errorf("there and back: %v became %v", nft, got)
	}
	if !m.event(t) {
		t.Error("there and back: no event")
	}
}

// A kernel without strict checking gives out all tables and protocols.
func TestLooseKernel(t *testing.T) {
	router(t, 2)
	w := open(t)
	strict := look(t, w, Scope{})
	if err := unix.SetsockoptInt(w.route.fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 0); err != nil {
		t.Fatal(err)
	}
	if loose := look(t, w, Scope{}); loose != strict {
		t.Errorf("strict %v, loose %v", strict, loose)
	}
}

func send(t *testing.T, to string) {
	t.Helper()
	c, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
}

func TestChains(t *testing.T) {
	for _, backend := range []string{"nft", "legacy"} {
		for _, program := range []string{"iptables-" + backend, "ip6tables-" + backend} {
			freshNamespace(t)
			w := open(t)
			scope := Scope{Legacy: backend == "legacy"}
			empty := look(t, w, scope)
			run(t, program+` -t mangle -N lb_hook
`+program+` -t mangle -A lb_hook -j MARK --set-mark 1
`+program+` -t mangle -A PREROUTING -j lb_hook`)
			full := look(t, w, scope)
			run(t, program+" -t mangle -F lb_hook")
			flushed := look(t, w, scope)
			run(t, program+" -t mangle -F\n"+program+" -t mangle -X")
			gone := look(t, w, scope)
			if empty == full || full == flushed || flushed == gone || full == gone {
				t.Errorf("%s: a change did not show: %v %v %v %v", program, empty, full, flushed, gone)
			}
			if empty.Network != gone.Network {
				t.Errorf("%s: chains are no part of Network", program)
			}
		}
	}
}

// Every transaction counts the generation of nftables up; only one about the
// mangle tables matters.
func TestForeignTransactions(t *testing.T) {
	freshNamespace(t)
	run(t, `iptables-nft -t mangle -N lb_hook
iptables-nft -t mangle -A lb_hook -j MARK --set-mark 1
iptables-nft -t mangle -A lb_hook -j RETURN`)
	w := open(t)
	before := look(t, w, Scope{})
	generation := w.listed.generation
	run(t, `nft add table inet other
nft add chain inet other input
nft add rule inet other input counter
iptables-nft -t filter -N other`)
	if after := look(t, w, Scope{}); after != before {
		t.Errorf("other tables: %v became %v", before, after)
	}
	if w.listed.generation == generation {
		t.Error("the generation stayed")
	}
	run(t, "iptables-nft -t mangle -R lb_hook 1 -j MARK --set-mark 2")
	if after := look(t, w, Scope{}); after.Ours == before.Ours {
		t.Error("a rule in place of another does not show")
	}
}

// To ask must not change what is there: only who uses the legacy back end has
// its tables made.
func TestLookMakesNoLegacyTable(t *testing.T) {
	freshNamespace(t)
	w := open(t)
	look(t, w, Scope{})
	names, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(names), "mangle") {
		t.Errorf("the legacy mangle table came to be: %q", names)
	}
}

func TestMissingLegacyTable(t *testing.T) {
	freshNamespace(t)
	w := open(t)
	for _, f := range family.All {
		info, err := layout(f, w.legacy[f], "nosuch")
		if err != nil || info != (tableInfo{}) {
			t.Errorf("a table that is not there: %+v, %v", info, err)
		}
	}
}

// A queue that runs over is an event, and what was known before it is not
// relied upon afterwards.
func TestLostMessages(t *testing.T) {
	router(t, 1)
	w := open(t)
	m := listenManually(t, w)
	// Room for a few messages, but not for the hundreds below.
	if err := unix.SetsockoptInt(m.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<10); err != nil {
		t.Fatal(err)
	}
	run(t, "ip link set spare txqueuelen 100")
	if m.event(t) {
		t.Fatal("a new queue length is an event")
	}
	// No message of these matters; but too many fit.
	var lines strings.Builder
	for range 200 {
		lines.WriteString("link set spare txqueuelen 101\nlink set spare txqueuelen 100\n")
	}
	batch(t, lines.String(), "ip", "-batch", "-")
	if !m.event(t) {
		t.Error("no event of lost messages")
	}
	run(t, "ip link set spare txqueuelen 102")
	if !m.event(t) {
		t.Error("the device is taken for known, although its changes may have been lost")
	}
	run(t, "ip link set spare txqueuelen 103")
	if m.event(t) {
		t.Error("the device is still unknown")
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	freshNamespace(t)
	open(t) // whatever the runtime opens for the first of all pollers
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 20 {
		w, err := Open()
		if err != nil {
			t.Fatal(err)
		}
		look(t, w, Scope{})
		for range 2 {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Look(Scope{}); err != os.ErrClosed {
			t.Fatalf("a closed watcher looks: %v", err)
		}
		if taken(w.Events()) {
			t.Fatal("to close is an event")
		}
	}
	if now := openFiles(t); now != files {
		t.Errorf("%d open files became %d", files, now)
	}
	await(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// One who looks while another closes gets an answer or os.ErrClosed.
func TestLookWhileClosing(t *testing.T) {
	freshNamespace(t)
	w := open(t)
	ended := make(chan error)
	go func() {
		for {
			if _, err := w.Look(Scope{}); err != nil {
				ended <- err
				return
			}
		}
	}()
	look(t, w, Scope{})
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != os.ErrClosed {
		t.Errorf("Look: %v", err)
	}
}
