package explain

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// TestLocalType: destinations that the kernel's local table has.
func TestLocalType(t *testing.T) {
	ipv4 := []uplink.Address{
		{Device: "br-lan", Prefix: network("10.20.0.1/16")}, {Device: "p2p", Prefix: network("192.0.2.1/24"), Peer: address("192.0.2.255")},
		{Device: "pair", Prefix: network("198.51.100.0/31")}, {Device: "odd", Prefix: network("10.64.1.1/10")},
	}
	ipv6 := []uplink.Address{{Device: "br-lan", Prefix: network("fd00::1/64")}, {Device: "tun0", Prefix: network("2001:db8::1/29")}}
	for _, test := range []struct {
		destination string
		own         bool
		want        string
	}{
		{"10.20.0.1", false, "local"}, {"127.0.0.5", true, "local"}, {"::1", true, "local"}, {"fd00::1", false, "local"},
		{"224.0.0.1", false, "multicast"}, {"224.0.0.1", true, ""}, {"ff02::1", false, "multicast"}, {"ff02::1", true, ""},
		{"255.255.255.255", false, "broadcast"}, {"255.255.255.254", false, ""}, {"254.255.255.255", false, ""},
		{"10.20.255.255", false, "broadcast"}, {"10.20.255.254", false, ""}, {"10.20.0.255", false, ""},
		{"10.127.255.255", false, "broadcast"},
		{"192.0.2.255", false, ""}, {"198.51.100.1", false, ""}, {"203.0.113.10", false, ""}, {"fd00::ffff:ffff:ffff:ffff", false, ""},
	} {
		a := address(test.destination)
		w := &walker{family: family.Of(a), main: &uplink.Main{Addresses: ipv4}}
		if w.family == family.IPv6 {
			w.main = &uplink.Main{Addresses: ipv6}
		}
		if got := w.localType(Packet{Own: test.own}, a); string(got) != test.want {
			t.Errorf("%s (own %v): %q, want %q", test.destination, test.own, got, test.want)
		}
	}
}

// TestLookup: the longest destination, then the longest source, then the
// lowest metric; an error route counts like any other.
func TestLookup(t *testing.T) {
	route := func(to, from string, metric int, device string) uplink.Route {
		r := uplink.Route{Destination: network(to), Type: uplink.Unicast, Metric: metric, Device: device}
		if from != "" {
			r.From = network(from)
		}
		return r
	}
	routes := []uplink.Route{
		route("::/0", "", 5, "dear"), route("::/0", "", 4, "cheap"), route("::/0", "", 4, "second"),
		route("::/0", "2001:db8::/32", 9, "source"), route("::/0", "2001:db8:1::/48", 10, "longer source"),
		route("2001:db8:aa::/48", "", 9, "longer"), route("2001:db8:aa::/48", "2001:db8:9::/48", 1, "another's"),
	}
	for _, test := range []struct{ source, destination, want string }{
		{"fd00::5", "2001:db8:bb::1", "cheap"},
		{"", "2001:db8:bb::1", "cheap"},
		{"2001:db8:2::5", "2001:db8:bb::1", "source"},
		{"2001:db8:1::5", "2001:db8:bb::1", "longer source"},
		{"2001:db8:1::5", "2001:db8:aa::1", "longer"},
		{"2001:db8:9::5", "2001:db8:aa::1", "another's"},
	} {
		source := netip.Addr{}
		if test.source != "" {
			source = address(test.source)
		}
		got := bestRoute(routes, source, address(test.destination))
		if got == nil || len(got.Hops) != 1 || got.Hops[0].Device != test.want {
			t.Errorf("%s to %s: %+v, want %s", test.source, test.destination, got, test.want)
		}
	}
	if got := bestRoute(routes[5:], address("fd00::5"), address("2001:db8:bb::1")); got != nil {
		t.Errorf("no route: %+v", got)
	}
	w := &walker{main: &uplink.Main{}, plan: &plan.Family{Routes: []plan.Route{
		{Table: 301, Type: uplink.Unicast, Destination: network("10.0.0.0/8"), Device: "a", Source: address("10.0.0.1")},
		{Table: 301, Type: uplink.Throw, Destination: network("10.20.0.0/16")},
		{Table: 301, Type: uplink.Unicast, Destination: network("0.0.0.0/0"), Device: "a", Gateway: address("10.0.0.9")},
		{Table: 302, Type: uplink.Unicast, Destination: network("10.20.1.0/24"), Device: "b"},
	}}}
	for destination, want := range map[string]Route{
		"10.1.1.1":     {Type: "unicast", Destination: network("10.0.0.0/8"), Hops: []Hop{{Device: "a"}}, Source: address("10.0.0.1")},
		"10.20.1.1":    {Type: "throw", Destination: network("10.20.0.0/16")},
		"203.0.113.10": {Type: "unicast", Destination: network("0.0.0.0/0"), Hops: []Hop{{Device: "a", Gateway: address("10.0.0.9")}}},
	} {
		got := w.lookup(301, address("10.20.1.5"), address(destination))
		if got == nil || got.Type != want.Type || got.Destination != want.Destination || got.Source != want.Source || !slices.Equal(got.Hops, want.Hops) {
			t.Errorf("%s: %+v, want %+v", destination, got, want)
		}
	}
	if got := w.lookup(302, address("10.20.1.5"), address("10.1.1.1")); got != nil {
		t.Errorf("another table: %+v", got)
	}
}

// TestPassedRules: ip rules that match and lead nowhere are told with the
// reason, in their order; those for others are not.
func TestPassedRules(t *testing.T) {
	w := &walker{family: family.IPv4, mask: 0x3f000000, main: &uplink.Main{Routes: []uplink.Route{
		{Destination: network("0.0.0.0/0"), Type: uplink.Unicast, Device: "wan1"}}},
		plan: &plan.Family{
			Rules: []uplink.Rule{
				{Priority: 6001, Action: uplink.LookUp, Mark: 0x1000000, Mask: 0x3f000000, Table: 301},
				{Priority: 6002, Action: uplink.LookUp, Mark: 0x2000000, Mask: 0x3f000000, Table: 302},
				{Priority: 7000, Action: uplink.LookUp, Table: uplink.MainTable},
				{Priority: 8001, Action: uplink.LookUp, Out: "wan1", Table: 301, Suppress: -1},
				{Priority: 9001, Action: uplink.LookUp, Mark: 0x1000000, Mask: 0x3f000000, Table: 301, Suppress: -1},
				{Priority: 9002, Action: uplink.LookUp, Mark: 0x1000000, Mask: 0x3f000000, Table: 399, Suppress: -1},
				{Priority: 9501, Action: uplink.LookUp, From: network("10.20.1.5/32"), Table: 302, Suppress: -1},
				{Priority: 9502, Action: uplink.LookUp, From: network("10.20.1.6/32"), Table: 302, Suppress: -1},
			},
			Routes: []plan.Route{
				{Table: 301, Type: uplink.Throw, Destination: network("203.0.113.0/24")},
				{Table: 302, Type: uplink.Unicast, Destination: network("198.51.100.0/24"), Device: "wan2"},
			}},
	}
	w.Input.Plan = &plan.Plan{Members: []plan.Member{{Table: 301, Name: "wan1"}}}
	got := w.route(packet("10.20.1.5", "203.0.113.10"), 0x1000000, address("203.0.113.10"))
	want := []string{
		"6001: fwmark 0x1000000/0x3f000000 lookup 301 (wan1) suppress_prefixlength 0: throw 203.0.113.0/24",
		"7000: lookup main suppress_prefixlength 0: only a default route, suppressed",
		"9001: fwmark 0x1000000/0x3f000000 lookup 301 (wan1): throw 203.0.113.0/24",
		"9002: fwmark 0x1000000/0x3f000000 lookup 399: no route",
		"9501: from 10.20.1.5 lookup 302: no route",
	}
	if !slices.Equal(got.Passed, want) || got.Priority != 32766 || got.Table != 254 || got.TableName != "main" || got.Rule != "lookup main" {
		t.Errorf("%+v\npassed\n%s\nwant\n%s", got, strings.Join(got.Passed, "\n"), strings.Join(want, "\n"))
	}
	w.main = &uplink.Main{}
	got = w.route(packet("10.20.1.5", "203.0.113.10"), 0x1000000, address("203.0.113.10"))
	last := []string{"32766: lookup main: no route", "32767: lookup default: no route"}
	if got.Type != "none" || len(got.Passed) != 7 || !slices.Equal(got.Passed[5:], last) || got.Passed[1] != "7000: lookup main suppress_prefixlength 0: no route" {
		t.Errorf("without a default route: %s %q", got.Type, got.Passed)
	}
	local := w.route(packet("10.20.1.5", "127.0.0.1"), 0x1000000, address("127.0.0.1"))
	if local.Type != "local" || local.Priority != 0 || local.Table != 255 || local.Destination != network("127.0.0.1/32") {
		t.Errorf("local: %+v", local)
	}
}

// TestSourceFor chooses as the kernel does: the route's source, the address in
// the next hop's network, or in IPv6 in the destination's, the device's first
// one; in IPv6 of the destination's scope.
func TestSourceFor(t *testing.T) {
	own := []uplink.Address{
		{Device: "lan", Prefix: network("10.20.0.1/16")}, {Device: "wan1", Prefix: network("198.18.1.2/24")}, {Device: "wan1", Prefix: network("203.0.113.2/24")},
		{Device: "lan", Prefix: network("fe80::1/64")}, {Device: "lan", Prefix: network("fd00::1/64")},
		{Device: "wan1", Prefix: network("fe80::2/64")}, {Device: "wan1", Prefix: network("2001:db8::2/64")}, {Device: "wan1", Prefix: network("2001:db8:9::2/64")},
	}
	for _, test := range []struct {
		route       uplink.Route
		destination string
		want        string
	}{
		{uplink.Route{Destination: network("0.0.0.0/0"), Device: "wan1", Gateway: address("198.18.1.1")}, "1.1.1.1", "198.18.1.2"},
		{uplink.Route{Destination: network("0.0.0.0/0"), Device: "wan1", Gateway: address("203.0.113.1")}, "1.1.1.1", "203.0.113.2"},
		{uplink.Route{Destination: network("0.0.0.0/0"), Device: "wan1", Gateway: address("192.0.2.1")}, "1.1.1.1", "198.18.1.2"},
		{uplink.Route{Destination: network("0.0.0.0/0"), Device: "wan1", Gateway: address("198.18.1.1"), Source: address("203.0.113.2")}, "1.1.1.1", "203.0.113.2"},
		{uplink.Route{Destination: network("203.0.113.0/24"), Device: "wan1"}, "203.0.113.10", "203.0.113.2"},
		{uplink.Route{Destination: network("0.0.0.0/0"), Device: "tun0"}, "1.1.1.1", "invalid IP"},
		{uplink.Route{Destination: network("0.0.0.0/0"), Device: "wan1"}, "10.20.0.1", "10.20.0.1"}, // to itself
		{uplink.Route{Destination: network("192.0.2.0/24"), Device: "wan1"}, "1.1.1.1", "invalid IP"},
		{uplink.Route{Destination: network("2001:db8::/64"), Device: "wan1"}, "2001:db8::9", "2001:db8::2"},
		{uplink.Route{Destination: network("2001:db8:9::/64"), Device: "wan1"}, "2001:db8:9::9", "2001:db8:9::2"},
		{uplink.Route{Destination: network("fe80::/64"), Device: "wan1"}, "fe80::9", "fe80::2"},
		// Most gateways are link-local, which says nothing of the source.
		{uplink.Route{Destination: network("::/0"), Device: "wan1", Gateway: address("fe80::1")}, "2001:db8:ffff::1", "2001:db8::2"},
		{uplink.Route{Destination: network("::/0"), Device: "wan1", Gateway: address("fe80::1")}, "2001:db8:9::9", "2001:db8:9::2"},
		{uplink.Route{Destination: network("::/0"), Device: "wan1", Gateway: address("2001:db8:9::1")}, "2001:db8::9", "2001:db8::2"},
	} {
		test.route.Type = uplink.Unicast
		destination := address(test.destination)
		w := &walker{family: family.Of(destination), plan: &plan.Family{}, main: &uplink.Main{Routes: []uplink.Route{test.route}}}
		for _, a := range own {
			if family.Of(a.Prefix.Addr()) == w.family {
				w.main.Addresses = append(w.main.Addresses, a)
			}
		}
		w.Input.Plan = &plan.Plan{}
		if got := w.sourceFor(Packet{Destination: destination, Own: true}).String(); got != test.want {
			t.Errorf("%+v to %s: %s, want %s", test.route, test.destination, got, test.want)
		}
	}
}

// TestDeviceTowards: the device that main's route leads to, unless that tells
// nothing of where a host is.
func TestDeviceTowards(t *testing.T) {
	w := &walker{main: &uplink.Main{Routes: []uplink.Route{
		{Destination: network("0.0.0.0/0"), Type: uplink.Unicast, Device: "wan1"},
		{Destination: network("10.0.0.0/8"), Type: uplink.Unicast, Device: "lan"},
		{Destination: network("10.1.0.0/16"), Type: uplink.Unicast, Nexthops: []uplink.Nexthop{{Device: "a"}, {Device: "b"}}},
		{Destination: network("10.2.0.0/16"), Type: uplink.Unreachable},
	}}}
	for text, want := range map[string]string{"10.9.9.9": "lan", "10.1.1.1": "", "10.2.1.1": "", "203.0.113.10": "", "fd00::5": ""} {
		if got := w.deviceTowards(address(text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestWays: every type of route in a few words.
func TestWays(t *testing.T) {
	hop := []Hop{{Device: "wan1", Gateway: address("198.18.1.1")}}
	for _, test := range []struct {
		route Route
		want  string
	}{
		{Route{Type: "none"}, "refused, network unreachable"},
		{Route{Type: "local"}, "to the router itself, unless a port forward applies"},
		{Route{Type: "broadcast"}, "broadcast"},
		{Route{Type: "multicast"}, "multicast, not forwarded"},
		{Route{Type: "unreachable"}, "refused with an ICMP error"},
		{Route{Type: "blackhole"}, "dropped silently"},
		{Route{Type: "prohibit"}, "prohibit"},
		{Route{Type: "unicast", Destination: network("0.0.0.0/0"), Hops: hop}, "default via 198.18.1.1 dev wan1"},
		{Route{Type: "unicast", Destination: network("203.0.113.10/32"), Hops: hop}, "203.0.113.10 via 198.18.1.1 dev wan1"},
		{Route{Type: "unicast", Destination: network("203.0.113.0/24"), Hops: []Hop{{Device: "a"}, {Device: "b"}}}, "203.0.113.0/24 dev a or dev b"},
	} {
		if got := test.route.way(); got != test.want {
			t.Errorf("%+v: %q, want %q", test.route, got, test.want)
		}
	}
	none := Route{Type: "none", Passed: []string{"7000: x"}}
	if got := none.lines(); !slices.Equal(got, []string{"ip rule 7000: x", "no table has a route: refused, network unreachable"}) {
		t.Errorf("lines %q", got)
	}
}

// TestPacketText: the description as a person would write it.
func TestPacketText(t *testing.T) {
	unknown := func(p *Packet) { p.Protocol, p.SourcePort, p.DestinationPort = Unknown, Unknown, Unknown }
	for want, p := range map[string]Packet{
		"ipv4: tcp, 10.20.1.5:4000 → 203.0.113.10:443, coming in on an unknown device":          packet("10.20.1.5", "203.0.113.10"),
		"ipv4: tcp, 10.20.1.5:4000 → 203.0.113.10:443, coming in on 'eth1'":                     packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.InDevice = "eth1" }),
		"ipv4: tcp, (no source) → 203.0.113.10:443, from the router itself":                     packet("", "203.0.113.10", func(p *Packet) { p.Own = true }),
		"ipv4: any protocol, 10.20.1.5 → 203.0.113.10, coming in on an unknown device":          packet("10.20.1.5", "203.0.113.10", unknown),
		"ipv6: protocol 47, [fd00::5]:4000 → [2001:db8::1]:443, coming in on an unknown device": packet("fd00::5", "2001:db8::1", func(p *Packet) { p.Protocol = 47 }),
		"ipv6: icmpv6, fd00::5 → 2001:db8::1, coming in on an unknown device":                   packet("fd00::5", "2001:db8::1", unknown, func(p *Packet) { p.Protocol = 58 }),
	} {
		if got := p.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestSameWay: in what two outcomes can differ for the person who asks.
func TestSameWay(t *testing.T) {
	base := Outcome{Conditions: []string{"a"}, Share: 0.5, Mark: 1, ConnectionMark: 2, Route: Route{Type: "unicast", Destination: network("0.0.0.0/0"), Hops: []Hop{{Device: "a"}}}}
	if !sameWay(base, base) {
		t.Error("an outcome differs from itself")
	}
	for name, change := range map[string]func(*Outcome){
		"conditions": func(o *Outcome) { o.Conditions = nil }, "share": func(o *Outcome) { o.Share = 1 }, "mark": func(o *Outcome) { o.Mark = 3 },
		"mark of the connection": func(o *Outcome) { o.ConnectionMark = 3 }, "route": func(o *Outcome) { o.Route.Hops = []Hop{{Device: "b"}} },
	} {
		other := base
		change(&other)
		if sameWay(base, other) {
			t.Errorf("another %s makes no difference", name)
		}
	}
	same := base
	same.Draw, same.Route.Priority = ByTurn, 9001
	if !sameWay(base, same) {
		t.Error("how it came to be makes a difference")
	}
}

// TestWithoutText names the member, and tells of its absence only what changes.
func TestWithoutText(t *testing.T) {
	lan := packet("10.20.1.5", "203.0.113.10")
	now := Explain(world(t, "", uplinks()), lan)
	then := Explain(world(t, "", uplinks(), "wan2"), lan)
	for _, test := range []struct {
		member string
		then   *Explanation
		want   string
	}{
		{"wan3", now, "\nwithout 'wan3': nothing would change\n"},
		{"wan2", then, "\nwithout 'wan2':\n\n  1. the first packet of a connection has no mark yet\n"},
	} {
		with := *now
		with.Compare(test.member, test.then)
		if got, found := strings.CutPrefix(with.Text(), now.Text()); !found || !strings.HasPrefix(got, test.want) {
			t.Errorf("got %s", got)
		}
	}
}
