package routing

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// freshNamespace moves the test into a network namespace of its own and opens
// a handle to its kernel.
func freshNamespace(t *testing.T) Netlink {
	t.Helper()
	netlab.FreshNamespace(t)
	h, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return Netlink{h}
}

func run(t *testing.T, command string) string {
	t.Helper()
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// campus makes three devices in one network, as five leases on one cable.
func campus(t *testing.T) Netlink {
	t.Helper()
	k := freshNamespace(t)
	run(t, "ip link set lo up")
	run(t, "ip link add eth0 type veth peer name far")
	run(t, "ip link set eth0 up")
	run(t, "ip link set far up")
	for i, device := range []string{"wan1", "wan2", "wan3"} {
		run(t, "ip link add "+device+" link eth0 type macvlan mode bridge")
		run(t, "ip link set "+device+" up")
		n := string(rune('1' + i))
		run(t, "ip addr add 10.0.0."+n+"/8 dev "+device)
		run(t, "ip addr add 2001:db8::"+n+"/64 dev "+device+" nodad")
	}
	// The kernel adds the local routes some time after it saw the carrier.
	for range 1000 {
		if strings.Count(run(t, "ip -6 route show table local"), "local 2001:db8::") == 3 {
			return k
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the devices have no carrier")
	return k
}

func read(t *testing.T, k Netlink, f family.Family) State {
	t.Helper()
	k.Handle.Forget() // the test's commands have changed something
	s, err := k.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func apply(t *testing.T, k Netlink, f family.Family, rules []uplink.Rule, routes []plan.Route) Changes {
	t.Helper()
	c := Diff(f, rules, routes, read(t, k, f))
	for _, op := range slices.Concat(c.AddRoutes, c.AddRules, c.DeleteRules, c.DeleteRoutes) {
		if err := op.Run(k); err != nil {
			t.Fatal(err)
		}
	}
	if again := Diff(f, rules, routes, read(t, k, f)); !again.Empty() {
		t.Fatalf("%s: not as wanted after the changes: %q %q %q %q", f, texts(again.AddRoutes),
			texts(again.AddRules), texts(again.DeleteRules), texts(again.DeleteRoutes))
	}
	return c
}

// planned returns every kind of rule and route that plans contain.
func planned(f family.Family) ([]uplink.Rule, []plan.Route) {
	own, lan, gateway, source := "10.0.0.0/8", "10.20.0.0/16", "10.255.255.254", "10.0.0.1"
	if f == family.IPv6 {
		own, lan, gateway, source = "2001:db8::/64", "2001:db8:0:0:1::/80", "2001:db8::ff", "2001:db8::1"
	}
	everywhere := f.Default()
	rules := []uplink.Rule{
		{Priority: 6001, Action: uplink.LookUp, Mark: 0x100, Mask: 0x3f00, Table: 301, Suppress: 0},
		{Priority: 7000, Action: uplink.LookUp, Table: 254, Suppress: 0},
		{Priority: 7001, Action: uplink.LookUp, Table: 254, Suppress: 1},
		{Priority: 8001, Action: uplink.LookUp, Out: "wan1", Table: 301, Suppress: -1},
		{Priority: 9001, Action: uplink.LookUp, Mark: 0x100, Mask: 0x3f00, Table: 301, Suppress: -1},
		{Priority: 9002, Action: uplink.LookUp, Mark: 0x200, Mask: 0x3f00, Table: 252, Suppress: -1},
		{Priority: 9201, Action: uplink.LookUp, Mark: 0x100, Mask: 0x3f00, Table: 361, Suppress: -1},
		{Priority: 9400, Action: uplink.LookUp, Mark: 0x3e00, Mask: 0x3f00, Table: 362, Suppress: -1},
		{Priority: 9501, Action: uplink.LookUp, From: prefix(source + "/" + map[bool]string{true: "128", false: "32"}[f == family.IPv6]), Table: 301, Suppress: -1},
		{Priority: 9501, Action: uplink.LookUp, From: prefix(own), Table: 301, Suppress: -1},
		{Priority: 9980, Action: uplink.LookUp, Mark: 0, Mask: 0x3f00, Table: 301, Suppress: -1},
	}
	routes := []plan.Route{
		{Table: 301, Type: uplink.Unicast, Destination: prefix(own), Device: "wan1", Source: addr(source)},
		{Table: 301, Type: uplink.Throw, Destination: prefix(lan)},
		{Table: 301, Type: uplink.Unicast, Destination: everywhere, Gateway: addr(gateway), Device: "wan1", OnLink: true},
		{Table: 252, Type: uplink.Unicast, Destination: everywhere, Device: "wan2"},
		{Table: 303, Type: uplink.Unicast, Destination: everywhere, Gateway: addr(gateway), Device: "wan3", OnLink: true},
		{Table: 361, Type: uplink.Blackhole, Destination: everywhere},
		{Table: 362, Type: uplink.Unreachable, Destination: everywhere},
	}
	return rules, routes
}

func dump(t *testing.T, f family.Family) string {
	flag := family.Pick(f, "-4", "-6")
	return run(t, "ip "+flag+" rule") + run(t, "ip "+flag+" -d route show table all")
}

func TestApplyAndRemove(t *testing.T) {
	k := campus(t)
	for _, f := range family.All {
		before := dump(t, f)
		rules, routes := planned(f)
		c := apply(t, k, f, rules, routes)
		if len(c.AddRules) != len(rules) || len(c.AddRoutes) != len(routes) {
			t.Errorf("%s: %d rules and %d routes were added, want %d and %d", f, len(c.AddRules), len(c.AddRoutes), len(rules), len(routes))
		}
		if dump(t, f) == before {
			t.Errorf("%s: nothing was written", f)
		}
		apply(t, k, f, nil, nil)
		if after := dump(t, f); after != before {
			t.Errorf("%s: left behind:\n%s\nbefore:\n%s", f, after, before)
		}
	}
}

// The commands that are printed do the same as the operations.
func TestPrintedCommands(t *testing.T) {
	k := campus(t)
	for _, f := range family.All {
		rules, routes := planned(f)
		apply(t, k, f, rules, routes)
		ours := dump(t, f)
		c := Diff(f, nil, nil, read(t, k, f))
		for _, op := range slices.Concat(c.DeleteRules, c.DeleteRoutes) {
			run(t, op.String())
		}
		if s := read(t, k, f); len(s.Rules)+len(s.Routes) != 0 {
			t.Errorf("%s: the printed deletions left %d rules and %d routes", f, len(s.Rules), len(s.Routes))
		}
		c = Diff(f, rules, routes, State{})
		for _, op := range slices.Concat(c.AddRoutes, c.AddRules) {
			run(t, op.String())
		}
		if theirs := dump(t, f); theirs != ours {
			t.Errorf("%s: the printed commands give\n%s\nours give\n%s", f, theirs, ours)
		}
	}
}

// As many members as there can be, with the marks of the default mask.
func TestSixtyMembers(t *testing.T) {
	k := campus(t)
	for _, f := range family.All {
		before := dump(t, f)
		_, some := planned(f)
		network, byGateway := some[0], some[2]
		var rules []uplink.Rule
		var routes []plan.Route
		for i := 1; i <= 60; i++ {
			marked := uplink.Rule{Action: uplink.LookUp, Mark: uint32(i) << 24, Mask: 0x3f000000, Table: 300 + i, Suppress: -1}
			own, balanced, gone := marked, marked, marked
			own.Priority, own.Suppress = 6000+i, 0
			balanced.Priority = 9000 + i
			gone.Priority, gone.Table = 9200+i, 361
			rules = append(rules, own, balanced, gone,
				uplink.Rule{Action: uplink.LookUp, Priority: 8000 + i, Out: fmt.Sprintf("wan%d", i), Table: 300 + i, Suppress: -1},
				uplink.Rule{Action: uplink.LookUp, Priority: 9500 + i, From: netip.PrefixFrom(network.Source, f.Bits()), Table: 300 + i, Suppress: -1})
			network.Table, byGateway.Table = 300+i, 300+i
			routes = append(routes, network, byGateway)
		}
		if c := apply(t, k, f, rules, routes); len(c.AddRules) != 300 || len(c.AddRoutes) != 120 {
			t.Errorf("%s: %d rules and %d routes were added, want 300 and 120", f, len(c.AddRules), len(c.AddRoutes))
		}
		apply(t, k, f, nil, nil)
		if after := dump(t, f); after != before {
			t.Errorf("%s: left behind:\n%s\nbefore:\n%s", f, after, before)
		}
	}
}

func TestReplaceNeverLeavesATableEmpty(t *testing.T) {
	k := campus(t)
	for _, f := range family.All {
		gateways := []string{"10.255.255.254", "10.255.255.253"}
		if f == family.IPv6 {
			gateways = []string{"2001:db8::ff", "fe80::1"}
		}
		variants := []plan.Route{
			{Type: uplink.Unicast, Gateway: addr(gateways[0]), Device: "wan1", OnLink: true},
			{Type: uplink.Unicast, Gateway: addr(gateways[1]), Device: "wan1", OnLink: true},
			{Type: uplink.Unicast, Gateway: addr(gateways[1]), Device: "wan2", OnLink: true},
			{Type: uplink.Unicast, Device: "wan2"},
			{Type: uplink.Unicast, Gateway: addr(gateways[0]), Device: "wan3"},
			{Type: uplink.Unreachable},
			{Type: uplink.Unicast, Device: "wan1"},
			{Type: uplink.Throw},
			{Type: uplink.Blackhole},
			{Type: uplink.Unicast, Gateway: addr(gateways[0]), Device: "wan1", OnLink: true},
		}
		for i, r := range variants {
			r.Table, r.Destination = 301, f.Default()
			c := apply(t, k, f, nil, []plan.Route{r})
			if i > 0 && (len(c.AddRoutes) != 1 || len(c.DeleteRoutes) != 0 || !strings.Contains(c.AddRoutes[0].String(), " route replace ")) {
				t.Errorf("%s: variant %d: %q, then %q; want one replacement", f, i, texts(c.AddRoutes), texts(c.DeleteRoutes))
			}
			if n := len(read(t, k, f).Routes); n != 1 {
				t.Errorf("%s: variant %d: %d routes, want 1", f, i, n)
			}
		}
	}
}

func TestForeignStaysUntouched(t *testing.T) {
	k := campus(t)
	for _, f := range family.All {
		flag, gateway, other := family.Pick(f, "-4", "-6"), "10.9.9.9", "10.77.0.0/16"
		if f == family.IPv6 {
			gateway, other = "2001:db8::99", "2001:db8:77::/48"
			run(t, "ip -6 route add default from 2001:db8:88::/48 via "+gateway+" dev wan1 table 301 protocol 108")
		}
		// In our table, in our window, with our priority, with our protocol
		// outside of the window or for some sources only.
		run(t, "ip "+flag+" route add "+other+" via "+gateway+" dev wan1 table 301")
		run(t, "ip "+flag+" rule add fwmark 0x100/0x3f00 lookup 301 priority 9001")
		run(t, "ip "+flag+" rule add fwmark 0x80000/0x80000 lookup 52 priority 6001 protocol 4")
		run(t, "ip "+flag+" rule add lookup 301 priority 100 protocol 108")
		before := dump(t, f)
		rules, routes := planned(f)
		apply(t, k, f, rules, routes)
		apply(t, k, f, nil, nil)
		if after := dump(t, f); after != before {
			t.Errorf("%s: foreign rules or routes changed:\n%s\nbefore:\n%s", f, after, before)
		}
	}
}

func TestForeignRouteInTheWay(t *testing.T) {
	k := campus(t)
	for _, f := range family.All {
		run(t, "ip "+family.Pick(f, "-4", "-6")+" route add default dev wan2 table 301")
		before := dump(t, f)
		r := plan.Route{Table: 301, Type: uplink.Unicast, Destination: f.Default(), Device: "wan1"}
		err := addRoute(f, r).Run(k)
		if err == nil || !strings.Contains(err.Error(), "default dev wan1 table 301") || !strings.Contains(err.Error(), "not ours") {
			t.Errorf("%s: error %v does not name the route and what is in the way", f, err)
		}
		if after := dump(t, f); after != before {
			t.Errorf("%s: the foreign route changed:\n%s\nbefore:\n%s", f, after, before)
		}
	}
}

// Whatever carries our protocol number is ours, also if we would never write
// it: it goes, and the wanted rule or route beside it stays.
func TestOddOnesGo(t *testing.T) {
	k := campus(t)
	for _, f := range family.All {
		flag, via, network := family.Pick(f, "-4", "-6"), "10.0.0.77", "10.0.0.0/8"
		if f == family.IPv6 {
			via, network = "2001:db8::77", "2001:db8::/64"
		}
		rules, routes := planned(f)
		apply(t, k, f, rules, routes)
		good := dump(t, f)
		for _, command := range []string{
			"rule add iif lo fwmark 0x100/0x3f00 lookup 301 priority 9001 protocol 108",
			"rule add not fwmark 0x100/0x3f00 lookup 301 priority 9005 protocol 108",
			"rule add to " + network + " fwmark 0x100/0x3f00 lookup 301 priority 9001 protocol 108",
			"rule add fwmark 0x100/0x3f00 ipproto tcp dport 80 lookup 301 priority 9001 protocol 108",
			"rule add from " + network + " unreachable priority 6500 protocol 108",
			"rule add fwmark 0x100/0x3f00 lookup 301 suppress_ifgroup 3 priority 9001 protocol 108",
			"rule add priority 9990 goto 32766 protocol 108",
			"route add default via " + via + " dev wan2 table 301 metric 5 protocol 108",
			"route add default table 400 protocol 108 nexthop via " + via + " dev wan1 nexthop via " + via + " dev wan2",
			"route add default via " + via + " dev wan2 table 401 mtu 1400 protocol 108",
			"route add unreachable default table 402 metric 9 protocol 108",
		} {
			run(t, "ip "+flag+" "+command)
			c := apply(t, k, f, rules, routes)
			if ops := slices.Concat(c.AddRoutes, c.AddRules, c.DeleteRules, c.DeleteRoutes); len(ops) != 1 || !strings.Contains(ops[0].String(), " del ") {
				t.Errorf("%s: %s: repaired by %q, want one deletion", f, command, texts(ops))
			}
			if now := dump(t, f); now != good {
				t.Errorf("%s: %s: the kernel holds\n%s\nwant\n%s", f, command, now, good)
			}
		}
	}
}

// An odd one in the place of a wanted rule or route does not keep it out.
func TestOddOnesInTheWay(t *testing.T) {
	k := campus(t)
	for _, f := range family.All {
		flag, via := family.Pick(f, "-4", "-6"), "10.0.0.77"
		if f == family.IPv6 {
			via = "2001:db8::77"
		}
		rules, routes := planned(f)
		apply(t, k, f, rules, routes)
		good := dump(t, f)
		for _, commands := range [][]string{
			{"route replace default via " + via + " dev wan2 table 301 mtu 1400 protocol 108"},
			{"route replace default table 301 protocol 108 nexthop via " + via + " dev wan1 nexthop via " + via + " dev wan2"},
			{
				"rule del fwmark 0x100/0x3f00 lookup 301 priority 9001 protocol 108",
				"rule add not fwmark 0x100/0x3f00 lookup 301 priority 9001 protocol 108",
			},
		} {
			for _, command := range commands {
				run(t, "ip "+flag+" "+command)
			}
			apply(t, k, f, rules, routes)
			if now := dump(t, f); now != good {
				t.Errorf("%s: %q: the kernel holds\n%s\nwant\n%s", f, commands, now, good)
			}
		}
	}
}

func TestRepeatedAndLateOperations(t *testing.T) {
	k := campus(t)
	for _, f := range family.All {
		rules, routes := planned(f)
		apply(t, k, f, rules, routes)
		for _, op := range slices.Concat(Diff(f, rules, routes, State{}).AddRoutes, Diff(f, rules, routes, State{}).AddRules) {
			if err := op.Run(k); err != nil {
				t.Errorf("adding what is there: %v", err)
			}
		}
		remove := Diff(f, nil, nil, read(t, k, f))
		for range 2 {
			for _, op := range slices.Concat(remove.DeleteRules, remove.DeleteRoutes) {
				if err := op.Run(k); err != nil {
					t.Errorf("deleting twice: %v", err)
				}
			}
		}
	}
}

func TestDeviceGone(t *testing.T) {
	k := campus(t)
	for _, f := range family.All {
		r := plan.Route{Table: 301, Type: uplink.Unicast, Destination: f.Default(), Device: "wan9"}
		err := addRoute(f, r).Run(k)
		if !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "device 'wan9'") || !strings.Contains(err.Error(), "table 301") {
			t.Errorf("%s: error %v, want ENODEV with route and device", f, err)
		}
	}
	rules, routes := planned(family.IPv4)
	apply(t, k, family.IPv4, rules, routes)
	remove := Diff(family.IPv4, nil, nil, read(t, k, family.IPv4))
	run(t, "ip link del wan1")
	for _, op := range slices.Concat(remove.DeleteRules, remove.DeleteRoutes) {
		if err := op.Run(k); err != nil {
			t.Errorf("deletion after the device went: %v", err)
		}
	}
	if s := read(t, k, family.IPv4); len(s.Rules)+len(s.Routes) != 0 {
		t.Errorf("%d rules and %d routes are left", len(s.Rules), len(s.Routes))
	}
	run(t, "ip link set wan2 down")
	down := plan.Route{Table: 302, Type: uplink.Unicast, Destination: family.IPv4.Default(), Gateway: addr("10.0.0.9"), Device: "wan2", OnLink: true}
	if err := addRoute(family.IPv4, down).Run(k); !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), "dev wan2") {
		t.Errorf("device down: error %v, want ENETDOWN with the device", err)
	}
}

// While one route to a destination takes the place of another, lookups find one
// of them. No order of requests closes one gap: a lookup that has just found a
// route which is released at this instant gives up, in IPv4 because it is marked
// dead (fib_table_lookup), in IPv6 because it cannot be held any more
// (ip6_rt_pcpu_alloc). That is one lookup in about a thousand here; if the table
// were without a route for a moment, as with a deletion and an addition, it
// would be one in five.
func TestLookupsDuringReplacement(t *testing.T) {
	k := campus(t)
	lookups, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lookups.Close)
	for _, f := range family.All {
		gateway, far := addr("10.255.255.254"), net.ParseIP("192.0.2.1")
		if f == family.IPv6 {
			gateway, far = addr("2001:db8::ff"), net.ParseIP("2001:db8:ffff::1")
		}
		variants := []plan.Route{
			{Table: 301, Type: uplink.Unicast, Destination: f.Default(), Gateway: gateway, Device: "wan1", OnLink: true},
			{Table: 301, Type: uplink.Unicast, Destination: f.Default(), Gateway: gateway.Prev(), Device: "wan2", OnLink: true},
			{Table: 301, Type: uplink.Unicast, Destination: f.Default(), Device: "wan3"},
		}
		apply(t, k, f, []uplink.Rule{{Priority: 9001, Action: uplink.LookUp, Table: 301, Suppress: -1}}, variants[:1])
		stop := make(chan struct{})
		replaced := make(chan error)
		go func() {
			for i := 1; ; i++ {
				select {
				case <-stop:
					replaced <- nil
					return
				default:
				}
				if err := k.ReplaceRoute(f, variants[i%len(variants)]); err != nil {
					replaced <- err
					return
				}
			}
		}()
		const total = 3000
		failed := 0
		for range total {
			if _, err := lookups.RouteGet(far); err != nil {
				failed++
			}
		}
		close(stop)
		if err := <-replaced; err != nil {
			t.Fatal(err)
		}
		if failed > total/20 {
			t.Errorf("%s: %d of %d lookups found no route", f, failed, total)
		}
	}
}
