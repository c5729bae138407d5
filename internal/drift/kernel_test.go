package drift

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
)

func taken(events <-chan struct{}) bool {
	select {
	case <-events:
		return true
	default:
		return false
	}
}

// effect is what a change must show as. A change without an event may have one
// all the same, if it is not silent.
type effect struct{ network, ours, event, silent bool }

var (
	nothing       = effect{}
	noEvent       = effect{silent: true}
	networkChange = effect{network: true, event: true}
	ourLoss       = effect{ours: true, event: true}
	oursAlone     = effect{ours: true, silent: true}
	networkAlone  = effect{network: true, silent: true}
	both          = effect{network: true, ours: true, event: true}
)

// changes are commands, what they must show as, and the commands that take
// them back. Every one begins where the one before ended.
var changes = []struct {
	name     string
	do, undo string
	want     effect
}{
	{"address added", "ip addr add 10.9.0.1/24 dev spare", "ip addr del 10.9.0.1/24 dev spare", networkChange},
	{"address deleted", "ip addr del 192.168.1.1/24 dev spare", "ip addr add 192.168.1.1/24 dev spare", networkChange},
	{"IPv6 address added", "ip addr add fd00::1/64 dev spare nodad", "ip addr del fd00::1/64 dev spare", networkChange},
	{"device down", "ip link set spare down", "ip link set spare up", networkChange},
	{"cable pulled", "ip link set spare2 down", "ip link set spare2 up", networkChange},
	{"device renamed", "ip link set spare down\nip link set spare name lan", "ip link set lan name spare\nip link set spare up", networkChange},
	{"device added", "ip link add br0 type bridge", "ip link del br0", networkChange},
	{"route in main", "ip route add 10.20.0.0/16 via 192.168.1.9", "ip route del 10.20.0.0/16", networkChange},
	{"IPv6 route in main", "ip -6 route add 2001:db8:ff::/48 dev spare", "ip -6 route del 2001:db8:ff::/48", networkChange},
	{"default route deleted", "ip route del default metric 1", "ip route add default via 10.0.1.254 dev wan1 metric 1", networkChange},
	{"route's gateway replaced", "ip route replace default via 10.0.1.253 dev wan1 metric 1", "ip route replace default via 10.0.1.254 dev wan1 metric 1", networkChange},

	{"our rule deleted", "ip rule del priority 9001", "ip rule add fwmark 0x100/0x3f00 lookup 301 priority 9001 protocol 108", ourLoss},
	{"our IPv6 rule deleted", "ip -6 rule del priority 9001", "ip -6 rule add fwmark 0x100/0x3f00 lookup 301 priority 9001 protocol 108", ourLoss},
	{"our route deleted", "ip route del default table 301", "ip route add default via 10.0.1.254 dev wan1 onlink table 301 protocol 108", ourLoss},
	{"our IPv6 route deleted", "ip -6 route del default table 301", "ip -6 route add default via 2001:db8:1::ff dev wan1 onlink table 301 protocol 108", ourLoss},
	{"our table flushed", "ip route flush table 302", "ip route add 10.0.2.0/24 dev wan2 src 10.0.2.1 table 302 protocol 108\nip route add default via 10.0.2.254 dev wan2 onlink table 302 protocol 108", ourLoss},
	{"our route replaced by another's", "ip route replace default via 10.0.1.253 dev wan1 onlink table 301", "ip route replace default via 10.0.1.254 dev wan1 onlink table 301 protocol 108", both},
	{"our IPv6 route replaced by another's", "ip -6 route replace default via 2001:db8:1::fe dev wan1 onlink table 301", "ip -6 route replace default via 2001:db8:1::ff dev wan1 onlink table 301 protocol 108", both},
	{"our rule added", "ip rule add fwmark 0x3f00/0x3f00 lookup 361 priority 9400 protocol 108", "ip rule del priority 9400", oursAlone},
	{"our route added to main", "ip route add 10.88.0.0/16 dev spare protocol 108", "ip route del 10.88.0.0/16 dev spare", oursAlone},
	{"our route added", "ip route add blackhole default table 361 protocol 108", "ip route del default table 361", oursAlone},

	{"set's entry deleted", "ipset del lb_local 172.16.0.0/12", "ipset add lb_local 172.16.0.0/12", oursAlone},
	{"IPv6 set's entry added", "ipset add lb_local6 2001:db8::/64", "ipset del lb_local6 2001:db8::/64", oursAlone},
	{"set destroyed", "ipset destroy lb_films", "ipset create lb_films hash:net", oursAlone},
	{"set of another type", "ipset destroy lb_films\nipset create lb_films hash:ip", "ipset destroy lb_films\nipset create lb_films hash:net", oursAlone},

	{"entry of a set with a time limit", "ipset add lb_sticky 10.0.0.7", "ipset flush lb_sticky", noEvent},
	{"entry of an open set", "ipset add lb_films 203.0.113.7", "ipset flush lb_films", noEvent},
	{"foreign set", "ipset create other hash:net", "ipset destroy other", noEvent},
	{"life time set", "ip addr change 10.0.1.1/24 dev wan1 valid_lft 5000 preferred_lft 4000", "ip addr change 10.0.1.1/24 dev wan1 valid_lft forever preferred_lft forever", nothing},
	{"IPv6 life time set", "ip addr change 2001:db8:1::1/64 dev wan1 nodad valid_lft 5000 preferred_lft 4000", "ip addr change 2001:db8:1::1/64 dev wan1 nodad valid_lft forever preferred_lft forever", nothing},
	{"neighbour", "ip neigh add 10.0.1.9 lladdr 02:00:00:00:00:01 dev wan1", "ip neigh del 10.0.1.9 dev wan1", noEvent},
	{"promiscuous", "ip link set wan1 promisc on", "ip link set wan1 promisc off", nothing},
	{"queue length", "ip link set spare txqueuelen 100", "ip link set spare txqueuelen 1000", nothing},
	{"foreign rule", "ip rule add fwmark 0x10000/0xff0000 lookup 77 priority 100", "ip rule del priority 100", networkAlone},
	{"foreign table", "ip route add default via 192.168.1.9 table 77", "ip route flush table 77", networkChange},
	{"local route", "ip route add local 203.0.113.0/24 dev lo table local", "ip route del local 203.0.113.0/24 dev lo table local", noEvent},
}

func TestChanges(t *testing.T) {
	router(t, 2)
	w := open(t)
	scope := Scope{OpenSets: []string{"lb_films"}}
	for _, c := range changes {
		calm(w)
		before := look(t, w, scope)
		run(t, c.do)
		if c.want.event {
			await(t, c.name+": an event", func() bool { return taken(w.Events()) })
		}
		if c.want.silent && calm(w) {
			t.Errorf("%s: an event", c.name)
		}
		if c.want.network { // a cable's state comes some time after the command
			await(t, c.name+": another network", func() bool { return look(t, w, scope).Network != before.Network })
		}
		after := look(t, w, scope)
		if got := after.Network != before.Network; got != c.want.network {
			t.Errorf("%s: Network changed: %v", c.name, got)
		}
		if got := after.Ours != before.Ours; got != c.want.ours {
			t.Errorf("%s: Ours changed: %v", c.name, got)
		}
		restore(t, c.undo)
		if got := look(t, w, scope); got.Ours != before.Ours {
			t.Errorf("%s: Ours is another one after it was taken back", c.name)
		}
	}
}

// calm waits until what happened up to now has been heard of, and reports
// whether it was an event.
func calm(w *Watcher) bool {
	time.Sleep(20 * time.Millisecond) // thousands of times what the kernel needs
	return taken(w.Events())
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
	nft, legacy := look(t, w, Scope{}), look(t, w, Scope{Legacy: true})
	send(t, "127.0.0.1:9")
	send(t, "10.0.1.9:9")    // nobody answers: an entry of the neighbour table
	w.nftables.known = false // as after a transaction of anybody
	if got := look(t, w, Scope{}); got != nft {
		t.Errorf("traffic: %v became %v", nft, got)
	}
	if got := look(t, w, Scope{Legacy: true}); got != legacy {
		t.Errorf("traffic, legacy: %v became %v", legacy, got)
	}
	calm(w)
	run(t, `ip rule del priority 6001
ip rule del priority 6002
ip rule add fwmark 0x200/0x3f00 lookup 302 suppress_prefixlength 0 priority 6002 protocol 108
ip rule add fwmark 0x100/0x3f00 lookup 301 suppress_prefixlength 0 priority 6001 protocol 108
ip addr add 10.9.0.1/24 dev wan1
ip addr del 10.9.0.1/24 dev wan1`)
	if got := look(t, w, Scope{}); got != nft {
		t.Errorf("there and back: %v became %v", nft, got)
	}
	await(t, "there and back: an event", func() bool { return taken(w.Events()) })
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
	generation := w.nftables.generation
	run(t, `nft add table inet other
nft add chain inet other input
nft add rule inet other input counter
iptables-nft -t filter -N other`)
	if after := look(t, w, Scope{}); after != before {
		t.Errorf("other tables: %v became %v", before, after)
	}
	if w.nftables.generation == generation {
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
	for _, f := range family.All {
		info, err := layout(f, "nosuch")
		if err != nil || info != (tableInfo{}) {
			t.Errorf("a table that is not there: %+v, %v", info, err)
		}
	}
}

// A queue that runs over is an event, and what comes after it is heard of.
func TestLostAnnouncements(t *testing.T) {
	router(t, 1)
	l, err := subscribe()
	if err != nil {
		t.Fatal(err)
	}
	// Room for a few announcements, but not for these, which are no events.
	if err := l.socket.SetReceiveBufferSize(8<<10, true); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for priority := range 200 {
		fmt.Fprintf(&lines, "rule add lookup 77 priority %d\n", 100+priority)
	}
	batch(t, lines.String(), "ip", "-batch", "-")
	go l.run()
	defer l.socket.Close()
	await(t, "an event of lost announcements", func() bool { return taken(l.events) })
	run(t, "ip rule del priority 9001")
	await(t, "an event after the loss", func() bool { return taken(l.events) })
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
		w.Close()
		await(t, "a closed watcher says that it is blind", func() bool { _, err := w.Look(Scope{}); return err != nil })
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
