package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// TestSteps: what is told of a packet's way through the mangle table, of the
// first of its outcomes, and how the member was chosen.
func TestSteps(t *testing.T) {
	const (
		first   = "the first packet of a connection has no mark yet"
		matches = "rule 'it' (loadbalance:17) matches: "
		kept    = "gets the mark 0x3000000 ('wan3'), which the connection keeps"
		wan1    = "gets the mark 0x1000000 ('wan1'), which the connection keeps"
		refused = "gets the mark 0x3e000000 ('unreachable') for this packet only"
	)
	own := func(p *Packet) { p.Own = true }
	rule := func(options ...string) string {
		return "config rule 'it'\n\toption " + strings.Join(options, "\n\toption ") + "\n"
	}
	lan := packet("10.20.1.5", "203.0.113.10")
	slot := fmt.Sprintf("10.20.1.5 hashes to slot %d of 32: ", slotOf(lan.Source, 32, plan.ClusterSeed))
	for _, test := range []struct {
		name       string
		rules      string
		offline    string
		connection *Connection
		packet     Packet
		draw       Draw
		policy     string
		want       []string
	}{
		{"a known connection", "", "", &Connection{Mark: 0x3000000}, lan, ByConnection, "",
			[]string{"the packet belongs to a known connection with the mark of 'wan3'", "keeps the mark 0x3000000 ('wan3')"}},
		{"a reply", "", "", &Connection{Mark: 0x3000000, Reply: true}, packet("203.0.113.10", "198.18.3.2", func(p *Packet) { p.InDevice = "wan3" }), ByConnection, "",
			[]string{"the packet belongs to a known connection (as a reply) with the mark of 'wan3'", "keeps the mark 0x3000000 ('wan3')"}},
		{"a known connection without a mark", "", "", &Connection{Mark: 0x10000}, lan, ByTurn, "balanced",
			[]string{"the packet belongs to a known connection without a mark of ours", "no rule matches: policy 'balanced'",
				"policy 'balanced' deals in turn: 'wan1' gets 33.3 %", wan1}},
		{"one that was answered", "", "", &Connection{Answered: true}, lan, ByConnection, "",
			[]string{"the packet belongs to a known connection without a mark of ours",
				"the connection was answered before it had a mark: it stays on the main table's route"}},
		{"a socket's mark with bits of ours", "", "", nil, packet("198.18.1.2", "203.0.113.10", own, func(p *Packet) { p.Mark = 0x3010000 }), NoDraw, "",
			[]string{"the packet already has the mark 0x3010000", "the mark 0x3010000 has bits of mark_mask but is no member's: left alone"}},
		{"a socket's mark", "", "", nil, packet("198.18.1.2", "203.0.113.10", own, func(p *Packet) { p.Mark = 0x3000000 }), NoDraw, "",
			[]string{"the packet already has the mark 0x3000000", "keeps the mark 0x3000000 ('wan3')"}},
		{"another program's mark", rule("use_policy wan3"), "", nil, packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.Mark = 0x10000 }), NoDraw, "",
			[]string{first, matches + "'wan3'", kept}},
		{"the router's own, which keep off wan2", "config member 'wan2'\n\toption router_traffic '0'\n", "", nil, packet("198.18.1.2", "203.0.113.10", own), ByOnlyOneAlive, "balanced",
			[]string{first, "no rule matches: policy 'balanced'", "policy 'balanced' (without members of router_traffic '0') has only one live member: 'wan1'", wan1}},
		{"a local destination", "", "", nil, packet("10.20.1.5", "10.99.0.1"), NoDraw, "",
			[]string{first, "the destination is local: it is in set lb_local (routes of main, addresses of the router, option bypass)",
				"gets the mark 0x3f000000 ('default'), which the connection keeps"}},
		{"a member's network", "", "", nil, packet("10.20.1.5", "198.18.3.9"), NoDraw, "",
			[]string{first, "the destination is in 198.18.3.0/24, the network of 'wan3'", kept}},
		{"a resolver", "", "", nil, packet("10.20.1.5", "9.9.9.9", func(p *Packet) { p.Protocol, p.DestinationPort = 17, 53 }), NoDraw, "",
			[]string{first, "the destination 9.9.9.9 is a DNS server of 'wan3'", kept}},
		{"a source in a delegated prefix", "", "", nil, packet("2001:db8:1:100::5", "2001:db8:ffff::1"), NoDraw, "",
			[]string{first, "the source 2001:db8:1:100::/56 belongs to 'wan1'", wan1}},
		{"a source in a delegated prefix, offline", "", "wan1", nil, packet("2001:db8:1:100::5", "2001:db8:ffff::1"), NoDraw, "",
			[]string{first, "the source 2001:db8:1:100::/56 belongs to 'wan1', which is not online: refused", refused}},
		{"a bound socket", "", "", nil, packet("198.18.3.2", "203.0.113.10"), NoDraw, "",
			[]string{first, "the source 198.18.3.2 belongs to 'wan3'", kept}},
		{"no connection", "", "", nil, packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.Protocol, p.ICMPType = 1, 0 }), NoDraw, "",
			[]string{"the packet belongs to no known connection and cannot begin one", "a packet without a connection is not balanced"}},
		{"neighbour discovery", "", "", nil, packet("fd00::5", "2001:db8:ffff::1", func(p *Packet) { p.Protocol, p.ICMPType = 58, 135 }), NoDraw, "",
			[]string{"the packet belongs to no known connection and cannot begin one", "neighbour discovery is not balanced"}},
		{"from outside", "", "", nil, packet("203.0.113.10", "198.18.3.2", func(p *Packet) { p.InDevice = "wan3" }), ByArrival, "",
			[]string{first, "comes in on 'wan3': the connection belongs to 'wan3', replies leave by it", kept}},
		{"a member", rule("use_policy wan3"), "", nil, lan, NoDraw, "", []string{first, matches + "'wan3'", kept}},
		{"a member that is offline", rule("use_policy wan3"), "wan3", nil, lan, NoDraw, "",
			[]string{first, matches + "member 'wan3' is not online: refused", refused}},
		{"refused", rule("use_policy unreachable"), "", nil, lan, NoDraw, "", []string{first, matches + "'unreachable'", refused}},
		{"main", rule("use_policy default"), "", nil, lan, NoDraw, "",
			[]string{first, matches + "'default'", "gets the mark 0x3f000000 ('default'), which the connection keeps"}},
		{"by hash", rule("use_policy hashed"), "", nil, lan, ByHash, "hashed",
			[]string{first, matches + "policy 'hashed'", "policy 'hashed': " + slot + "'wan1'", wan1}},
		{"by chance", rule("use_policy chance"), "", nil, lan, ByChance, "chance",
			[]string{first, matches + "policy 'chance'", "policy 'chance' deals by chance: 'wan1' gets 33.3 %", wan1}},
		{"the only live member", rule("use_policy third"), "", nil, lan, ByOnlyOneAlive, "third",
			[]string{first, matches + "policy 'third'", "policy 'third' has only one live member: 'wan3'", kept}},
		{"a last resort", rule("use_policy third"), "wan3", nil, lan, ByLastResort, "third",
			[]string{first, matches + "policy 'third'", "policy 'third' has no live member: last resort 'unreachable'", refused}},
		{"a last resort in main", "", "wan1 wan2 wan3", nil, lan, ByLastResort, "balanced",
			[]string{first, "no rule matches: policy 'balanced'", "policy 'balanced' has no live member: last resort 'default'",
				"gets the mark 0x3f000000 ('default') for this packet only"}},
		{"a member, logged", rule("use_policy wan3", "log 1"), "", nil, lan, NoDraw, "",
			[]string{first, matches + "'wan3'", `is logged by the kernel, as "lb it: …"`, kept}},
		{"a policy, logged", rule("use_policy third", "log 1"), "", nil, lan, ByOnlyOneAlive, "third",
			[]string{first, matches + "policy 'third'", `is logged by the kernel, as "lb it: …"`, "goes to policy 'third'",
				"policy 'third' has only one live member: 'wan3'", kept}},
		{"sticky, a new source", rule("use_policy third", "sticky 1"), "", nil, lan, ByOnlyOneAlive, "third",
			[]string{first, matches + "policy 'third'", "policy 'third' (rule 'it' (loadbalance:17), sticky) has only one live member: 'wan3'",
				"10.20.1.5 is added to set lb_rule.it.m34 for 600 s: its next connections use the same member", kept}},
		{"sticky, a known source", rule("use_policy chance", "sticky 1"), "", nil, packet("10.20.1.9", "203.0.113.10"), BySticky, "chance",
			[]string{first, matches + "policy 'chance'", "10.20.1.9 has a sticky entry: it keeps 'wan1'",
				"10.20.1.9 is added to set lb_rule.it.m14 for 600 s: its next connections use the same member", wan1}},
		{"sticky, a new pair", rule("use_policy third", "sticky 1", "sticky_key source_dest"), "", nil, lan, ByOnlyOneAlive, "third",
			[]string{first, matches + "policy 'third'", "policy 'third' (rule 'it' (loadbalance:17), sticky) has only one live member: 'wan3'",
				"10.20.1.5 to 203.0.113.10 is added to set lb_rule.it.p34 for 600 s: its next connections use the same member", kept}},
		{"sticky, a known pair", rule("use_policy chance", "sticky 1", "sticky_key source_dest"), "", nil, packet("10.20.1.9", "203.0.113.10"), BySticky, "chance",
			[]string{first, matches + "policy 'chance'", "10.20.1.9 to 203.0.113.10 has a sticky entry: it keeps 'wan1'",
				"10.20.1.9 to 203.0.113.10 is added to set lb_rule.it.p14 for 600 s: its next connections use the same member", wan1}},
		{"sticky, by hash", rule("use_policy hashed", "sticky 1"), "", nil, lan, ByHash, "hashed",
			[]string{first, matches + "policy 'hashed'", "policy 'hashed' (rule 'it' (loadbalance:17), sticky): " + slot + "'wan1'",
				"10.20.1.5 is added to set lb_rule.it.m14 for 600 s: its next connections use the same member", wan1}},
		{"the router's own to a member's network, beside a MAC address", rule("src_mac 02:00:5e:00:53:01", "use_policy wan1"), "", nil,
			packet("", "198.18.3.9"), NoDraw, "", []string{first, "the destination is in 198.18.3.0/24, the network of 'wan3'", kept}},
		{"a host of a line that is no member", "", "", nil, packet("2001:db8:9::5", "2001:db8:ffff::1", func(p *Packet) { p.InDevice = "br-lan" }), NoDraw, "",
			[]string{first, "the source 2001:db8:9::/56 belongs to a line that is no member: main's default route for it",
				"gets the mark 0x3f000000 ('default'), which the connection keeps"}},
		{"the router's own, beside a MAC address", rule("src_mac 02:00:5e:00:53:01", "use_policy wan1") + "config rule 'other'\n\toption use_policy wan3\n",
			"", nil, packet("", "203.0.113.10"), NoDraw, "", []string{first, "rule 'other' (loadbalance:20) matches: 'wan3'", kept}},
	} {
		t.Run(test.name, func(t *testing.T) {
			state := uplinks()
			state.Members[2].IPv4.DNS = []netip.Addr{address("9.9.9.9")}
			state.IPv6.Routes = append(state.IPv6.Routes, uplink.Route{Destination: network("::/0"), From: network("2001:db8:9::/56"),
				Type: uplink.Unicast, Device: "wan9", Gateway: address("fe80::9")})
			in := world(t, test.rules, state, strings.Fields(test.offline)...)
			in.Connection = test.connection
			in.InSet = func(set string, a ...netip.Addr) (bool, error) {
				pair := set == "lb_rule.it.p14" && len(a) == 2 && a[1] == address("203.0.113.10")
				return (pair || set == "lb_rule.it.m14" && len(a) == 1) && a[0] == address("10.20.1.9"), nil
			}
			o := explained(t, in, test.packet)[0]
			var got []string
			for _, s := range o.Steps {
				got = append(got, s.Text)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			if o.Draw != test.draw || o.Policy != test.policy {
				t.Errorf("draw %q of policy %q, want %q of %q", o.Draw, o.Policy, test.draw, test.policy)
			}
		})
	}
}

// TestConditions: what is left open is decided once on each way, and no way
// contradicts itself.
func TestConditions(t *testing.T) {
	rule := func(name, selector, use string) string {
		return "config rule '" + name + "'\n\toption " + strings.ReplaceAll(selector, ";", "\n\toption ") + "\n\toption use_policy " + use + "\n"
	}
	const mac = "src_mac 02:00:5e:00:53:09"
	unknownMAC := func(p *Packet) { p.SourceMAC = "" }
	unknownProtocol := func(p *Packet) { p.Protocol, p.SourcePort, p.DestinationPort = Unknown, Unknown, Unknown }
	for _, test := range []struct {
		name   string
		rules  string
		packet Packet
		want   []string
	}{
		{"the same one twice", rule("a", mac+";dest_ip 203.0.113.99", "wan1") + rule("b", mac, "wan2") + rule("c", mac, "wan1") + rule("d", "log 0", "wan3"),
			packet("10.20.1.5", "203.0.113.10", unknownMAC),
			[]string{"[the source MAC address is 02:00:5e:00:53:09] wan2", "[not: the source MAC address is 02:00:5e:00:53:09] wan3"}},
		{"what was assumed rules out others", rule("a", "proto udp", "wan1") + rule("b", "proto tcp", "wan2") + rule("c", "log 0", "wan3"),
			packet("10.20.1.5", "203.0.113.10", unknownProtocol),
			[]string{"[the protocol is number 17] wan1", "[not: the protocol is number 17; the protocol is number 6] wan2",
				"[not: the protocol is number 17; not: the protocol is number 6] wan3"}},
		{"several at once, then the same again", rule("a", "proto tcp;dest_port 53", "wan1") + rule("b", "proto tcp;dest_port 53", "wan2") + rule("c", "log 0", "wan3"),
			packet("10.20.1.5", "203.0.113.10", unknownProtocol),
			[]string{"[the protocol is number 6 and the destination port is in 53] wan1",
				"[not: the protocol is number 6 and the destination port is in 53] wan3"}},
		{"several at once, then one of them", rule("a", "proto tcp;dest_port 53", "wan1") + rule("b", "proto tcp", "wan2") + rule("c", "log 0", "wan3"),
			packet("10.20.1.5", "203.0.113.10", unknownProtocol),
			[]string{"[the protocol is number 6 and the destination port is in 53] wan1",
				"[not: the protocol is number 6 and the destination port is in 53; the protocol is number 6] wan2",
				"[not: the protocol is number 6 and the destination port is in 53; not: the protocol is number 6] wan3"}},
		{"a source port", rule("a", "proto tcp;src_port 5000-6000", "wan1") + rule("b", "log 0", "wan3"),
			packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.SourcePort = Unknown }),
			[]string{"[the source port is in 5000:6000] wan1", "[not: the source port is in 5000:6000] wan3"}},
		{"sets of others", rule("a", "ipset theirs", "wan1") + rule("b", "ipset_src theirs", "wan2") + rule("c", "log 0", "wan3"),
			packet("10.20.1.5", "203.0.113.10"),
			[]string{"[the destination is in set theirs] wan1", "[not: the destination is in set theirs; the source is in set theirs] wan2",
				"[not: the destination is in set theirs; not: the source is in set theirs] wan3"}},
		{"the device", rule("a", "src_device eth7", "wan1") + rule("b", "src_device eth8", "wan2") + rule("c", "log 0", "wan3"),
			packet("192.168.7.7", "203.0.113.10"),
			[]string{"[it comes in on 'wan1'] wan1", "[not: it comes in on 'wan1'; it comes in on 'wan2'] wan2",
				"[not: it comes in on 'wan1'; not: it comes in on 'wan2'; it comes in on 'wan3'] wan3",
				"[not: it comes in on 'wan1'; not: it comes in on 'wan2'; not: it comes in on 'wan3'; it comes in on 'eth7'] wan1",
				"[not: it comes in on 'wan1'; not: it comes in on 'wan2'; not: it comes in on 'wan3'; not: it comes in on 'eth7'; it comes in on 'eth8'] wan2",
				"[not: it comes in on 'wan1'; not: it comes in on 'wan2'; not: it comes in on 'wan3'; not: it comes in on 'eth7'; not: it comes in on 'eth8'] wan3"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			state := uplinks()
			state.Sets = map[string]string{"theirs": "ipv4"}
			var got []string
			for _, o := range explained(t, world(t, test.rules, state), test.packet) {
				got = append(got, "["+strings.Join(o.Conditions, "; ")+"] "+o.Member)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// TestWhatFollows: what the description leaves out and its addresses tell.
func TestWhatFollows(t *testing.T) {
	const others = "mangle rules of other programs are not considered here"
	for _, test := range []struct {
		name   string
		packet Packet
		own    bool
		device string
		source string
		notes  []string
	}{
		{"from the LAN", packet("10.20.1.5", "203.0.113.10"), false, "br-lan", "10.20.1.5",
			[]string{"the packet comes in on 'br-lan', since main's route to 10.20.1.5 leads there"}},
		{"from nowhere that main knows", packet("192.168.7.7", "203.0.113.10"), false, "", "192.168.7.7", nil},
		{"the device is given", packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.InDevice = "eth7" }), false, "eth7", "10.20.1.5", nil},
		{"an address of the router", packet("10.20.0.1", "203.0.113.10"), true, "", "10.20.0.1", []string{"the router itself sends the packet"}},
		{"an address of the router, coming in", packet("10.20.0.1", "203.0.113.10", func(p *Packet) { p.InDevice = "eth7" }), false, "eth7", "10.20.0.1", nil},
		{"no source", packet("", "203.0.113.10"), true, "", "198.18.1.2", []string{"the router itself sends the packet",
			"the kernel chooses the source 198.18.1.2, by the route that it finds before the packet is marked"}},
		{"the router's own", packet("", "203.0.113.10", func(p *Packet) { p.Own = true }), true, "", "198.18.1.2",
			[]string{"the kernel chooses the source 198.18.1.2, by the route that it finds before the packet is marked"}},
		{"no source that the kernel could choose", packet("", "2001:db8:ffff::1"), true, "", "", []string{"the router itself sends the packet"}},
		{"ICMP without a type", packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.Protocol, p.InDevice = 1, "br-lan" }), false, "br-lan", "10.20.1.5",
			[]string{"the ICMP type is not given: one that begins a connection, such as echo-request, is assumed"}},
		{"ICMP with a type", packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.Protocol, p.InDevice, p.ICMPType = 1, "br-lan", 8 }), false, "br-lan", "10.20.1.5", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := Explain(world(t, "", uplinks()), test.packet)
			source := ""
			if e.Packet.Source.IsValid() {
				source = e.Packet.Source.String()
			}
			if e.Packet.Own != test.own || e.Packet.InDevice != test.device || source != test.source {
				t.Errorf("own %v, device %q, source %q; want %v, %q, %q", e.Packet.Own, e.Packet.InDevice, source, test.own, test.device, test.source)
			}
			if want := append(test.notes, others); !slices.Equal(e.Notes, want) {
				t.Errorf("notes %q, want %q", e.Notes, want)
			}
		})
	}
}

// TestKnownConnectionNeedsNoType: its ICMP type is nobody's guess.
func TestKnownConnectionNeedsNoType(t *testing.T) {
	in := world(t, "", uplinks())
	in.Connection = &Connection{Mark: 0x3000000}
	e := Explain(in, packet("10.20.1.5", "203.0.113.10", func(p *Packet) { p.Protocol, p.InDevice = 1, "br-lan" }))
	if len(e.Notes) != 1 || e.Outcomes[0].Member != "wan3" {
		t.Errorf("%+v", e)
	}
}

// TestReply: only connections that come in on an uplink have a reply to tell
// of, and that carries the connection's mark.
func TestReply(t *testing.T) {
	for _, test := range []struct {
		name   string
		packet Packet
		change func(*uplink.State)
		want   string // "" for none
	}{
		{"to the router", packet("203.0.113.10", "198.18.3.2", func(p *Packet) { p.InDevice = "wan3" }), nil, "9003 default via 198.18.3.1 dev wan3"},
		{"to a host behind it", packet("203.0.113.10", "10.20.1.5", func(p *Packet) { p.InDevice = "wan3" }), nil, "9003 default via 198.18.3.1 dev wan3"},
		{"from the uplink's own network", packet("198.18.3.9", "198.18.3.2", func(p *Packet) { p.InDevice = "wan3" }), nil, "6003 198.18.3.0/24 dev wan3"},
		{"from the LAN", packet("10.20.1.5", "203.0.113.10"), nil, ""},
		{"of the router", packet("", "203.0.113.10"), nil, ""},
		{"a member without a device", packet("192.168.7.7", "203.0.113.10"), func(s *uplink.State) { *s.Members[2].IPv4 = uplink.Path{} }, ""},
	} {
		state := uplinks()
		if test.change != nil {
			test.change(&state)
		}
		outcomes := explained(t, world(t, "", state), test.packet)
		got := ""
		// The last one is that under no further condition, such as the device.
		if reply := outcomes[len(outcomes)-1].Reply; reply != nil {
			got = fmt.Sprintf("%d %s", reply.Priority, reply.way())
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
