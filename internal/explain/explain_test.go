package explain

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

// configuration is what the tests explain, unless they bring their own rules.
// A rule's line is that of its section: rules begin in line 17.
const configuration = `config member 'wan1'
config member 'wan2'
	option weight '2'
config member 'wan3'
	option metric '2'

config policy 'hashed'
	option balance 'source'
config policy 'chance'
	option balance 'random'
config policy 'third'
	list use_member 'wan3'

config ipset 'streaming'
	list entry '203.0.113.32/28'

`

func address(text string) netip.Addr   { return netip.MustParseAddr(text) }
func network(text string) netip.Prefix { return netip.MustParsePrefix(text) }

// uplinks are three members with a LAN, a VPN and main's default over wan1.
func uplinks() uplink.State {
	s := uplink.State{IPv4: uplink.Main{Enabled: true}, IPv6: uplink.Main{Enabled: true}}
	for i := 1; i <= 3; i++ {
		device := fmt.Sprintf("wan%d", i)
		own4, net4 := address(fmt.Sprintf("198.18.%d.2", i)), network(fmt.Sprintf("198.18.%d.0/24", i))
		own6, net6 := address(fmt.Sprintf("2001:db8:%d::2", i)), network(fmt.Sprintf("2001:db8:%d::/64", i))
		gateway, delegated := address(fmt.Sprintf("198.18.%d.1", i)), network(fmt.Sprintf("2001:db8:%d:100::/56", i))
		s.Members = append(s.Members, uplink.Member{Name: device,
			IPv4: &uplink.Path{Device: device, Up: true, Gateway: gateway, Addresses: []netip.Addr{own4},
				Networks: []uplink.Network{{Prefix: net4, Source: own4}}},
			IPv6: &uplink.Path{Device: device, Up: true, Gateway: address("fe80::1"), Addresses: []netip.Addr{own6},
				Networks: []uplink.Network{{Prefix: net6, Source: own6}}, Prefixes: []netip.Prefix{delegated}},
		})
		s.IPv4.Addresses = append(s.IPv4.Addresses, uplink.Address{Device: device, Prefix: netip.PrefixFrom(own4, 24)})
		s.IPv4.Routes = append(s.IPv4.Routes,
			uplink.Route{Destination: net4, Type: uplink.Unicast, Device: device, Source: own4},
			uplink.Route{Destination: network("0.0.0.0/0"), Type: uplink.Unicast, Device: device, Gateway: gateway, Metric: i})
		s.IPv6.Addresses = append(s.IPv6.Addresses, uplink.Address{Device: device, Prefix: netip.PrefixFrom(own6, 64)})
		s.IPv6.Routes = append(s.IPv6.Routes,
			uplink.Route{Destination: net6, Type: uplink.Unicast, Device: device},
			uplink.Route{Destination: network("::/0"), From: delegated, Type: uplink.Unicast, Device: device, Gateway: address("fe80::1"), Metric: i})
	}
	s.IPv4.Addresses = append(s.IPv4.Addresses, uplink.Address{Device: "br-lan", Prefix: network("10.20.0.1/16")})
	s.IPv4.Routes = append(s.IPv4.Routes,
		uplink.Route{Destination: network("10.20.0.0/16"), Type: uplink.Unicast, Device: "br-lan"},
		uplink.Route{Destination: network("10.99.0.0/24"), Type: uplink.Unicast, Device: "vpn0"})
	s.IPv6.Routes = append(s.IPv6.Routes,
		uplink.Route{Destination: network("fd00::/64"), Type: uplink.Unicast, Device: "br-lan"},
		uplink.Route{Destination: network("2001:db8:1:100::/64"), Type: uplink.Unicast, Device: "br-lan"})
	return s
}

// world plans rules behind the configuration.
func world(t *testing.T, rules string, state uplink.State, offline ...string) Input {
	t.Helper()
	file, err := uci.Parse("loadbalance", []byte(configuration+rules))
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Read(file)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	in := plan.Input{Config: cfg, Uplinks: state, Verdicts: plan.Verdicts{}}
	for _, f := range family.All {
		in.Verdicts[f] = map[string]plan.Verdict{}
		for _, name := range offline {
			in.Verdicts[f][name] = plan.Verdict{Offline: "no answer"}
		}
	}
	p := plan.Build(in)
	return Input{Config: cfg, Plan: p}
}

// packet is a TCP connection's first packet from the LAN.
func packet(source, destination string, change ...func(*Packet)) Packet {
	p := Packet{Destination: address(destination), Protocol: 6, SourcePort: 4000, DestinationPort: 443,
		ICMPType: Unknown, ICMPCode: Unknown, DSCP: 0, SourceMAC: "02:00:5e:00:53:01"}
	if source != "" {
		p.Source = address(source)
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func explained(t *testing.T, in Input, p Packet) []Outcome {
	t.Helper()
	e := Explain(in, p)
	return e.Outcomes
}

// brief writes an outcome in one line: share, member, ip rule, table, way.
func brief(o Outcome) string {
	text := fmt.Sprintf("%.3f %s %d %d %s", o.Share, cmp.Or(o.Member, "-"), o.Route.Priority, o.Route.Table, o.Route.way())
	if len(o.Conditions) > 0 {
		text = "[" + strings.Join(o.Conditions, "; ") + "] " + text
	}
	return text
}

func TestOutcomes(t *testing.T) {
	const (
		wan1    = "wan1 9001 301 default via 198.18.1.1 dev wan1"
		wan2    = "wan2 9002 302 default via 198.18.2.1 dev wan2"
		wan3    = "wan3 9003 303 default via 198.18.3.1 dev wan3"
		refused = "refused with an ICMP error"
	)
	rule := func(options ...string) string {
		text := "config rule 'it'\n"
		for _, o := range options {
			name, value, _ := strings.Cut(o, " ")
			text += "\tlist " + name + " '" + value + "'\n"
		}
		return strings.ReplaceAll(text, "\tlist use_policy", "\toption use_policy")
	}
	lan := func(change ...func(*Packet)) Packet { return packet("10.20.1.5", "203.0.113.10", change...) }
	for _, test := range []struct {
		name   string
		rules  string
		packet Packet
		want   []string
	}{
		{"no rule", "", lan(), []string{"0.333 " + wan1, "0.667 " + wan2}},
		{"member", rule("src_ip 10.20.1.0/24", "use_policy wan3"), lan(), []string{"1.000 " + wan3}},
		{"other source", rule("src_ip 10.20.2.0/24", "use_policy wan3"), lan(), []string{"0.333 " + wan1, "0.667 " + wan2}},
		{"negated source", rule("src_ip !10.20.1.5", "use_policy wan3"), lan(), []string{"0.333 " + wan1, "0.667 " + wan2}},
		{"positive and negated", rule("src_ip 10.20.0.0/16", "src_ip !10.20.1.6", "use_policy wan3"), lan(), []string{"1.000 " + wan3}},
		{"two addresses", rule("dest_ip 203.0.113.9", "dest_ip 203.0.113.10", "use_policy wan3"), lan(), []string{"1.000 " + wan3}},
		{"set", rule("ipset streaming", "use_policy wan3"), packet("10.20.1.5", "203.0.113.40"), []string{"1.000 " + wan3}},
		{"port", rule("proto tcp", "dest_port 80 440-450", "use_policy wan3"), lan(), []string{"1.000 " + wan3}},
		{"other port", rule("proto tcp", "dest_port 80", "use_policy wan3"), lan(), []string{"0.333 " + wan1, "0.667 " + wan2}},
		{"chance", rule("use_policy chance"), lan(), []string{"0.333 " + wan1, "0.667 " + wan2}},
		{"only live member", rule("use_policy third"), lan(), []string{"1.000 " + wan3}},
		{"refused", rule("use_policy unreachable"), lan(), []string{"1.000 unreachable 9400 362 " + refused}},
		{"dropped", rule("use_policy blackhole"), lan(), []string{"1.000 blackhole 9400 361 dropped silently"}},
		{"default", rule("use_policy default"), lan(), []string{"1.000 default 32766 254 default via 198.18.1.1 dev wan1"}},
		{"MAC address not given", rule("src_mac 02:00:5e:00:53:09", "use_policy wan3"),
			lan(func(p *Packet) { p.SourceMAC = "" }),
			[]string{"[the source MAC address is 02:00:5e:00:53:09] 1.000 " + wan3,
				"[not: the source MAC address is 02:00:5e:00:53:09] 0.333 " + wan1,
				"[not: the source MAC address is 02:00:5e:00:53:09] 0.667 " + wan2}},
		{"one MAC address is no other", rule("src_mac 02:00:5e:00:53:09", "use_policy wan3") +
			"config rule\n\toption src_mac '02:00:5e:00:53:08'\n\toption use_policy 'wan1'\n",
			lan(func(p *Packet) { p.SourceMAC = "02:00:5e:00:53:08" }), []string{"1.000 " + wan1}},
		{"protocol and port not given", rule("proto udp", "dest_port 53", "use_policy wan3"),
			lan(func(p *Packet) { p.Protocol, p.DestinationPort = Unknown, Unknown }),
			[]string{"[the protocol is number 17 and the destination port is in 53] 1.000 " + wan3,
				"[not: the protocol is number 17 and the destination port is in 53] 0.333 " + wan1,
				"[not: the protocol is number 17 and the destination port is in 53] 0.667 " + wan2}},
		{"DSCP not given", rule("dscp EF", "use_policy wan3") + "config rule\n\toption dscp 'EF'\n\toption use_policy 'wan1'\n",
			lan(func(p *Packet) { p.DSCP = Unknown }),
			[]string{"[the DSCP is 0x2e] 1.000 " + wan3, "[not: the DSCP is 0x2e] 0.333 " + wan1, "[not: the DSCP is 0x2e] 0.667 " + wan2}},
		{"mark not given", rule("fwmark 0x1/0xff", "use_policy wan3") + "config rule\n\toption fwmark 0x1/0xff\n\toption use_policy 'wan1'\n", lan(),
			[]string{"[its mark is 0x1/0xff] 1.000 " + wan3, "[not: its mark is 0x1/0xff] 0.333 " + wan1, "[not: its mark is 0x1/0xff] 0.667 " + wan2}},
		{"two marks of which one is given", rule("fwmark 0x1/0xff", "use_policy wan3") + "config rule\n\toption fwmark 0x200/0xf00\n\toption use_policy 'wan1'\n",
			lan(func(p *Packet) { p.Mark, p.MarkKnown = 0x202, true }), []string{"1.000 " + wan1}},
		{"for the router itself, a host", rule("src_iface router", "use_policy wan3"), lan(), []string{"0.333 " + wan1, "0.667 " + wan2}},
		{"for the router itself, its own", rule("src_iface router", "use_policy wan3"), packet("", "203.0.113.10"), []string{"1.000 " + wan3}},
		{"for the router itself, its own, known by --in", rule("src_iface router", "use_policy wan3"),
			packet("10.20.0.1", "203.0.113.10", func(p *Packet) { p.Own = true }), []string{"1.000 " + wan3}},
		{"pairs, entries not known", rule("sticky 1", "sticky_key source_dest", "use_policy third"), lan(),
			[]string{"[the source with its destination is in set lb_rule.it.p34] 1.000 " + wan3,
				"[not: the source with its destination is in set lb_rule.it.p34] 1.000 " + wan3}},
		{"sticky, entries not known", rule("sticky 1", "use_policy balanced"), lan(),
			[]string{"[the source is in set lb_rule.it.m14] 1.000 " + wan1,
				"[not: the source is in set lb_rule.it.m14; the source is in set lb_rule.it.m24] 1.000 " + wan2,
				"[not: the source is in set lb_rule.it.m14; not: the source is in set lb_rule.it.m24] 0.333 " + wan1,
				"[not: the source is in set lb_rule.it.m14; not: the source is in set lb_rule.it.m24] 0.667 " + wan2}},
		{"another network of main's", rule("use_policy wan3"), packet("10.20.1.5", "10.99.0.10"),
			[]string{"1.000 default 7000 254 10.99.0.0/24 dev vpn0"}},
		{"to the router", "", packet("10.20.1.5", "10.20.0.1"),
			[]string{"1.000 default 0 255 to the router itself, unless a port forward applies"}},
		{"an uplink's own network", "", packet("10.20.1.5", "198.18.3.9"), []string{"1.000 wan3 6003 303 198.18.3.0/24 dev wan3"}},
		{"comes in", "", packet("203.0.113.10", "198.18.3.2", func(p *Packet) { p.InDevice = "wan3" }),
			[]string{"1.000 wan3 0 255 to the router itself, unless a port forward applies"}},
		{"the router's own", rule("src_mac 02:00:5e:00:53:01", "use_policy wan3"), packet("", "203.0.113.10"),
			[]string{"0.333 " + wan1, "0.667 " + wan2}},
		{"the router's own, bound", "", packet("198.18.3.2", "203.0.113.10"), []string{"1.000 " + wan3}},
		{"IPv6 from a delegated prefix", "", packet("2001:db8:1:100::5", "2001:db8:ffff::1"),
			[]string{"1.000 wan1 9001 301 default via fe80::1 dev wan1"}},
		{"ULA", rule("dest_ip 2001:db8:ffff::/64", "use_policy wan2"), packet("fd00::5", "2001:db8:ffff::1"),
			[]string{"1.000 wan2 9002 302 default via fe80::1 dev wan2"}},
		{"an answer to no request", rule("use_policy wan3"),
			packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.Protocol, p.ICMPType, p.ICMPCode = 1, 0, 0 }),
			[]string{"1.000 - 32766 254 default via 198.18.1.1 dev wan1"}},
		{"neighbour discovery", rule("use_policy wan3"),
			packet("fd00::5", "2001:db8:ffff::1", func(p *Packet) { p.Protocol, p.ICMPType, p.ICMPCode = 58, 135, 0 }),
			[]string{"1.000 - 0 0 refused, network unreachable"}},
		{"ICMP type", rule("proto icmp", "icmp_type echo-request", "use_policy wan3"),
			packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.Protocol, p.ICMPType, p.ICMPCode = 1, 8, 0 }), []string{"1.000 " + wan3}},
		{"other ICMP code", rule("proto icmp", "icmp_type 8/1", "use_policy wan3") + "config rule\n\toption use_policy 'wan1'\n",
			packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.Protocol, p.ICMPType, p.ICMPCode = 1, 8, 0 }), []string{"1.000 " + wan1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, o := range explained(t, world(t, test.rules, uplinks()), test.packet) {
				got = append(got, brief(o))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestRuleIsNamed(t *testing.T) {
	o := explained(t, world(t, "config rule 'bank'\n\toption use_policy 'hashed'\n", uplinks()), packet("10.20.1.5", "203.0.113.10"))
	if len(o) != 1 || o[0].Rule != "rule 'bank' (loadbalance:17)" || o[0].Policy != "hashed" || o[0].Draw != ByHash {
		t.Errorf("got %+v", o)
	}
}

func TestAnswersOfIncomingConnections(t *testing.T) {
	in := packet("203.0.113.10", "198.18.3.2", func(p *Packet) { p.InDevice = "wan3" })
	o := explained(t, world(t, "", uplinks()), in)
	if len(o) != 1 || o[0].Draw != ByArrival || o[0].Reply == nil {
		t.Fatalf("got %+v", o)
	}
	if r := o[0].Reply; r.Priority != 9003 || r.Table != 303 || r.way() != "default via 198.18.3.1 dev wan3" {
		t.Errorf("answer: %+v", r)
	}
}

func TestKnownConnections(t *testing.T) {
	for _, test := range []struct {
		name       string
		connection Connection
		packet     Packet
		want       []string
	}{
		{"its mark decides", Connection{Mark: 0x3000000}, packet("10.20.1.5", "203.0.113.10"),
			[]string{"1.000 wan3 9003 303 default via 198.18.3.1 dev wan3"}},
		{"other programs' bits stay", Connection{Mark: 0x3010000}, packet("10.20.1.5", "203.0.113.10"),
			[]string{"1.000 wan3 9003 303 default via 198.18.3.1 dev wan3"}},
		{"without a mark it is dealt", Connection{Mark: 0x10000}, packet("10.20.1.5", "203.0.113.10"),
			[]string{"0.333 wan1 9001 301 default via 198.18.1.1 dev wan1", "0.667 wan2 9002 302 default via 198.18.2.1 dev wan2"}},
		{"an answer to a LAN host", Connection{Mark: 0x3000000, Reply: true, Destination: address("10.20.1.5"), Source: address("10.20.1.5")},
			packet("203.0.113.10", "198.18.3.2", func(p *Packet) { p.InDevice = "wan3" }),
			[]string{"1.000 wan3 7000 254 10.20.0.0/16 dev br-lan"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := world(t, "", uplinks())
			in.Connection = &test.connection
			var got []string
			for _, o := range explained(t, in, test.packet) {
				got = append(got, brief(o))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestStickyEntryDecides(t *testing.T) {
	in := world(t, "config rule 'it'\n\toption sticky '1'\n", uplinks())
	in.InSet = func(set string, a ...netip.Addr) (bool, error) {
		return set == "lb_rule.it.m24" && a[0] == address("10.20.1.5"), nil
	}
	kept := explained(t, in, packet("10.20.1.5", "203.0.113.10"))
	if len(kept) != 1 || kept[0].Member != "wan2" || kept[0].Draw != BySticky {
		t.Errorf("got %+v", kept)
	}
	if dealt := explained(t, in, packet("10.20.1.6", "203.0.113.10")); len(dealt) != 2 || dealt[0].Draw != ByTurn {
		t.Errorf("got %+v", dealt)
	}
}

// TestMainTable changes main around the members.
func TestMainTable(t *testing.T) {
	lan := packet("10.20.1.5", "203.0.113.10")
	for _, test := range []struct {
		name   string
		change func(*uplink.State)
		want   string
	}{
		{"an error route ends the lookup", func(s *uplink.State) {
			s.IPv4.Routes = append(s.IPv4.Routes, uplink.Route{Destination: network("0.0.0.0/0"), Type: uplink.Unreachable})
		}, "1.000 wan3 7000 254 refused with an ICMP error"},
		{"half of a split default", func(s *uplink.State) {
			s.IPv4.Routes = append(s.IPv4.Routes, uplink.Route{Destination: network("128.0.0.0/1"), Type: uplink.Unicast, Device: "tun0"})
		}, "1.000 default 7000 254 128.0.0.0/1 dev tun0"},
		{"several legs", func(s *uplink.State) {
			s.IPv4.Routes = append(s.IPv4.Routes, uplink.Route{Destination: network("203.0.113.0/24"), Type: uplink.Unicast,
				Nexthops: []uplink.Nexthop{{Device: "a"}, {Device: "b"}}})
		}, "1.000 default 7000 254 203.0.113.0/24 dev a or dev b"},
		{"a link that is gone", func(s *uplink.State) { *s.Members[2].IPv4 = uplink.Path{Device: "wan3"} },
			"1.000 unreachable 9400 362 refused with an ICMP error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			state := uplinks()
			test.change(&state)
			o := explained(t, world(t, "config rule 'it'\n\toption use_policy 'wan3'\n", state), lan)
			if len(o) != 1 || brief(o[0]) != test.want {
				t.Errorf("got %v\nwant %s", o, test.want)
			}
		})
	}
}

func TestWithout(t *testing.T) {
	lan := packet("10.20.1.5", "203.0.113.10")
	now := Explain(world(t, "", uplinks()), lan)
	for _, test := range []struct {
		member  string
		changed bool
		want    int
	}{{"wan2", true, 1}, {"wan3", false, 2}} {
		then := Explain(world(t, "", uplinks(), test.member), lan)
		now.Compare(test.member, then)
		if c := now.Without; c.Changed != test.changed || len(c.Outcomes) != test.want {
			t.Errorf("without %s: changed %v, %d outcomes", test.member, c.Changed, len(c.Outcomes))
		}
	}
}

func TestSharesAddUp(t *testing.T) {
	for _, policy := range []string{"balanced", "chance", "hashed"} {
		sum := 0.0
		in := world(t, "config rule 'it'\n\toption use_policy '"+policy+"'\n", uplinks())
		for _, o := range explained(t, in, packet("10.20.1.5", "203.0.113.10")) {
			sum += o.Share
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("%s: shares add up to %v", policy, sum)
		}
	}
}

// TestLargeTable: what is said of a packet's route is not all that there is.
func TestLargeTable(t *testing.T) {
	state := uplinks()
	state.IPv4.Large = true
	e := Explain(world(t, "", state), packet("10.20.1.5", "203.0.113.10"))
	want := "a routing table is too large to be read here: its route to the destination, if it has one, comes first ('ip route get 203.0.113.10')"
	if !slices.Contains(e.Notes, want) {
		t.Errorf("notes %q", e.Notes)
	}
}
