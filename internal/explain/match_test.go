package explain

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// walkerFor walks the plan without rules in the packet's family.
func walkerFor(t *testing.T, p Packet) *walker {
	t.Helper()
	in := world(t, "", uplinks())
	w := &walker{Input: in, family: p.Family(), mask: 0x3f000000, plan: in.Plan.Family(p.Family()), main: in.Plan.Uplinks.Main(p.Family())}
	return w
}

// TestHolds: each condition for packets that it holds for, that it does not
// hold for, and of which the description does not tell.
func TestHolds(t *testing.T) {
	p := func(change ...func(*Packet)) Packet { return packet("10.20.1.5", "203.0.113.10", change...) }
	six := func(source string, change ...func(*Packet)) Packet {
		return packet(source, "2001:db8:ffff::1", change...)
	}
	icmp := func(protocol, kind, code int) func(*Packet) {
		return func(p *Packet) { p.Protocol, p.ICMPType, p.ICMPCode = protocol, kind, code }
	}
	device := func(name string) func(*Packet) { return func(p *Packet) { p.InDevice = name } }
	mac := func(text string) func(*Packet) { return func(p *Packet) { p.SourceMAC = text } }
	mark := func(mark uint32) func(*Packet) { return func(p *Packet) { p.Mark = mark } }
	marked := func(p *Packet) { p.MarkKnown = true }
	own := func(p *Packet) { p.Own = true }
	noProtocol := func(p *Packet) { p.Protocol = Unknown }
	noPorts := func(p *Packet) { p.SourcePort, p.DestinationPort = Unknown, Unknown }
	dscp := func(n int) func(*Packet) { return func(p *Packet) { p.DSCP = n } }
	ports := plan.Ports{Ranges: []config.PortRange{{First: 80, Last: 80}, {First: 440, Last: 443}}}
	from := plan.Ports{Ranges: []config.PortRange{{First: 4000, Last: 4001}}, Source: true}
	lan, host := network("10.20.0.0/16"), network("203.0.113.10/32")
	four := func(text string) plan.ICMPType { return plan.ICMPType{Family: family.IPv4, Type: text} }
	local := plan.InSet{Name: plan.LocalSet(family.IPv4)}
	masked := func(address, mask string, source, not bool) plan.Match {
		return plan.Masked{Masked: config.Masked{Address: netip.MustParseAddr(address), Mask: netip.MustParseAddr(mask), Not: not}, Source: source}
	}
	for _, test := range []struct {
		match  plan.Match
		packet Packet
		want   truth
	}{
		{plan.InDevice("eth1"), p(device("eth1")), yes},
		{plan.InDevice("eth1"), p(device("eth2")), no},
		{plan.InDevice("eth1"), p(), unknown},
		{plan.InDevice("eth1"), p(own), no},
		{plan.NotOutDevice("lo"), p(own), yes},
		{plan.NotOutDevice("lo"), packet("", "127.0.0.1", own), no},
		{plan.NotOutDevice("lo"), packet("", "198.18.1.2", own), no},
		{plan.NotOutDevice("eth1"), p(own), no},
		{plan.MarkIs{Value: 0x1000000, Mask: 0x3f000000}, p(mark(0x1010000)), yes},
		{plan.MarkIs{Value: 0x1000000, Mask: 0x3f000000}, p(mark(0x3000000)), no},
		{plan.MarkIs{Mask: 0x3f000000, Not: true}, p(mark(0x3000000)), yes},
		{plan.MarkIs{Mask: 0x3f000000, Not: true}, p(mark(0x10000)), no},
		{plan.MarkIs{Value: 0x10000, Mask: 0xff0000}, p(mark(0x1010000), marked), yes},
		{plan.MarkIs{Value: 0x10000, Mask: 0xff0000}, p(mark(0x1020000), marked), no},
		{plan.MarkIs{Mask: 0xff0000}, p(marked), yes},
		{plan.MarkIs{Value: 0x10000, Mask: 0xff0000}, p(mark(0x1010000)), unknown},
		{plan.Source{Prefix: lan}, p(), yes},
		{plan.Source{Prefix: host}, p(), no},
		{plan.Source{Prefix: lan, Not: true}, p(), no},
		{plan.Destination{Prefix: host}, p(), yes},
		{plan.Destination{Prefix: lan}, p(), no},
		{plan.Destination{Prefix: lan, Not: true}, p(), yes},
		{local, packet("203.0.113.10", "10.20.1.5"), yes},
		{local, p(), no},
		{plan.InSet{Name: local.Name, Source: true}, p(), yes},
		{plan.InSet{Name: local.Name, Not: true}, p(), yes},
		{plan.InSet{Name: "theirs"}, p(), unknown},
		{plan.InSet{Name: "theirs", Not: true}, p(), unknown},
		{plan.SourceMAC("02:00:5e:00:53:0a"), p(mac("02:00:5e:00:53:0a")), yes},
		{plan.SourceMAC("02:00:5E:00:53:0A"), p(mac("02:00:5e:00:53:0a")), yes},
		{plan.SourceMAC("02:00:5e:00:53:0a"), p(mac("02:00:5e:00:53:0b")), no},
		{plan.SourceMAC("02:00:5e:00:53:0a"), p(mac("")), unknown},
		{plan.SourceMAC("02:00:5e:00:53:0a"), p(own, mac("")), no},
		{plan.SourceMAC("02:00:5e:00:53:0a"), p(own, mac("02:00:5e:00:53:0a")), no},
		{plan.Protocol(6), p(), yes},
		{plan.Protocol(17), p(), no},
		{plan.Protocol(17), p(noProtocol), unknown},
		{ports, p(), yes},
		{ports, p(func(p *Packet) { p.DestinationPort = 440 }), yes},
		{ports, p(func(p *Packet) { p.DestinationPort = 439 }), no},
		{ports, p(func(p *Packet) { p.DestinationPort = 444 }), no},
		{ports, p(func(p *Packet) { p.DestinationPort = 80 }), yes},
		{ports, p(noPorts), unknown},
		{from, p(), yes},
		{from, p(func(p *Packet) { p.SourcePort = 443 }), no},
		{from, p(noPorts), unknown},
		{four("echo-request"), p(icmp(1, 8, 0)), yes},
		{four("echo-request"), p(icmp(1, 0, 0)), no},
		{four("echo-request"), p(icmp(1, Unknown, Unknown)), unknown},
		{four("echo-reply"), p(icmp(1, Unknown, Unknown)), no},
		{four("port-unreachable"), p(icmp(1, 3, 3)), yes},
		{four("port-unreachable"), p(icmp(1, 3, 1)), no},
		{four("port-unreachable"), p(icmp(1, 3, Unknown)), unknown},
		{four("destination-unreachable"), p(icmp(1, 3, Unknown)), yes},
		{four("packet-too-big"), p(icmp(1, 2, 0)), no}, // a type of ICMPv6
		{plan.ICMPv6Type(135), six("fd00::5", icmp(58, 135, 0)), yes},
		{plan.ICMPv6Type(135), six("fd00::5", icmp(58, 136, 0)), no},
		{plan.ICMPv6Type(135), six("fd00::5", icmp(58, Unknown, Unknown)), no},
		{plan.ICMPv6Type(135), six("fd00::5", icmp(Unknown, 135, 0)), yes},
		{plan.ICMPv6Type(135), six("fd00::5", icmp(6, 135, 0)), no},
		{plan.DSCP(46), p(dscp(46)), yes},
		{plan.DSCP(46), p(dscp(0)), no},
		{plan.DSCP(0), p(dscp(Unknown)), unknown},
		{plan.Slot{Number: slotOf(address("10.20.1.5"), 32, plan.ClusterSeed), Total: 32}, p(), yes},
		{plan.Slot{Number: slotOf(address("10.20.1.5"), 32, plan.ClusterSeed)%32 + 1, Total: 32}, p(), no},
		{plan.Slot{Number: slotOf(address("10.20.1.5"), 32, plan.ClusterSeed), Total: 32}, p(icmp(1, 0, 0)), no}, // has no entry
		{masked("::5", "::1f", true, false), six("fd00::5"), yes},
		{masked("::5", "::1f", true, false), six("fd00::25"), yes},
		{masked("::5", "::1f", true, false), six("fd00::15"), no},
		{masked("0.0.0.1", "0.0.0.1", true, false), p(), yes},
		{masked("0.0.0.1", "0.0.0.1", true, true), p(), no},
		{masked("0.0.0.0", "0.0.0.1", true, false), p(), no},
		{masked("203.0.0.10", "255.0.0.255", false, false), p(), yes},
		{masked("203.0.0.11", "255.0.0.255", false, true), p(), yes},
		{masked("0.0.0.1", "0.0.0.1", true, false), six("fd00::1"), no},
		{plan.CtState("INVALID,UNTRACKED,ESTABLISHED"), p(), no},
		{plan.CtState("INVALID,UNTRACKED,ESTABLISHED"), p(icmp(1, 0, 0)), yes},
		{plan.CtOriginal{}, p(), yes},
		{plan.CtOriginal{}, p(icmp(1, 0, 0)), no},
	} {
		w := walkerFor(t, test.packet)
		if got := w.holds(&path{packet: test.packet, Outcome: Outcome{Mark: test.packet.Mark}}, test.match); got != test.want {
			t.Errorf("%s for %+v: %d, want %d", test.match.Args(), test.packet, got, test.want)
		}
	}
}

// TestHoldsOfAConnection: what its entry tells goes before the packet.
func TestHoldsOfAConnection(t *testing.T) {
	p := packet("203.0.113.10", "198.18.3.2", func(p *Packet) { p.Protocol, p.ICMPType = 1, 0 })
	w := walkerFor(t, p)
	slot := plan.Slot{Number: slotOf(address("10.20.1.5"), 32, plan.ClusterSeed), Total: 32}
	for _, test := range []struct {
		match      plan.Match
		connection *Connection
		want       truth
	}{
		{plan.CtOriginal{}, nil, no},
		{plan.CtOriginal{}, &Connection{}, yes},
		{plan.CtOriginal{}, &Connection{Reply: true}, no},
		{plan.CtState("INVALID,UNTRACKED,ESTABLISHED"), &Connection{}, no},
		{plan.CtState("INVALID,UNTRACKED,ESTABLISHED"), &Connection{Answered: true}, yes},
		{plan.CtState("INVALID,UNTRACKED,ESTABLISHED"), &Connection{Reply: true}, yes},
		{slot, &Connection{Source: address("10.20.1.5"), Reply: true}, yes},
		{slot, &Connection{Source: address("10.20.1.5")}, yes},
	} {
		w.Connection = test.connection
		if got := w.holds(&path{packet: p}, test.match); got != test.want {
			t.Errorf("%s with %+v: %d, want %d", test.match.Args(), test.connection, got, test.want)
		}
	}
}

// TestInSet: a set whose entries are all ours is known; of others the kernel is
// asked, also of what others have entered into an open one of ours.
func TestInSet(t *testing.T) {
	p := packet("10.20.1.5", "203.0.113.40")
	in := world(t, "config ipset 'open'\n\tlist domain example.org\n\tlist entry 192.0.2.1\nconfig rule 's'\n\toption sticky 1\n", uplinks())
	w := &walker{Input: in, family: family.IPv4, plan: &in.Plan.IPv4}
	set := func(name string) plan.InSet { return plan.InSet{Name: name} }
	for _, test := range []struct {
		match  plan.InSet
		answer func(string, ...netip.Addr) (bool, error)
		want   truth
	}{
		{set("lb_streaming"), nil, yes},
		{plan.InSet{Name: "lb_streaming", Source: true}, nil, no},
		{plan.InSet{Name: "lb_streaming", Source: true}, func(string, ...netip.Addr) (bool, error) { return true, nil }, no},
		{set("lb_open"), nil, unknown},
		{set("lb_open"), func(string, ...netip.Addr) (bool, error) { return true, nil }, yes},
		{set("lb_open"), func(string, ...netip.Addr) (bool, error) { return false, nil }, no},
		{set("lb_rule.s.m14"), func(string, ...netip.Addr) (bool, error) { return true, nil }, yes},
		{set("theirs"), func(name string, a ...netip.Addr) (bool, error) {
			return name == "theirs" && a[0] == p.Destination, nil
		}, yes},
		{plan.InSet{Name: "theirs", Source: true}, func(_ string, a ...netip.Addr) (bool, error) { return a[0] == p.Source && len(a) == 1, nil }, yes},
		{plan.InSet{Name: "pairs", Source: true, Pair: true}, func(_ string, a ...netip.Addr) (bool, error) {
			return slices.Equal(a, []netip.Addr{p.Source, p.Destination}), nil
		}, yes},
		{set("theirs"), func(string, ...netip.Addr) (bool, error) { return true, errors.New("it is not there") }, unknown},
	} {
		w.InSet = test.answer
		if got := w.inSet(&p, test.match); got != test.want {
			t.Errorf("%+v: %d, want %d", test.match, got, test.want)
		}
	}
}

// TestICMPNames: what iptables makes of each name that the configuration takes,
// as "type" or "type/code" (RFC 792, RFC 4443, RFC 4861).
func TestICMPNames(t *testing.T) {
	want := map[family.Family]string{
		family.IPv4: `echo-reply 0, destination-unreachable 3, network-unreachable 3/0, host-unreachable 3/1, protocol-unreachable 3/2,
			port-unreachable 3/3, fragmentation-needed 3/4, source-route-failed 3/5, network-unknown 3/6, host-unknown 3/7,
			network-prohibited 3/9, host-prohibited 3/10, communication-prohibited 3/13, source-quench 4, redirect 5, echo-request 8,
			router-advertisement 9, router-solicitation 10, time-exceeded 11, ttl-zero-during-transit 11/0, ttl-zero-during-reassembly 11/1,
			parameter-problem 12, ip-header-bad 12/0, required-option-missing 12/1, timestamp-request 13, timestamp-reply 14,
			address-mask-request 17, address-mask-reply 18`,
		family.IPv6: `destination-unreachable 1, no-route 1/0, communication-prohibited 1/1, address-unreachable 1/3, port-unreachable 1/4,
			packet-too-big 2, time-exceeded 3, ttl-zero-during-transit 3/0, ttl-zero-during-reassembly 3/1, parameter-problem 4, bad-header 4/0,
			unknown-header-type 4/1, unknown-option 4/2, echo-request 128, echo-reply 129, router-solicitation 133, router-advertisement 134,
			neighbour-solicitation 135, neighbor-solicitation 135, neighbour-advertisement 136, neighbor-advertisement 136, redirect 137`,
	}
	for f, list := range want {
		names := strings.Split(list, ",")
		known := 0
		for _, numbers := range config.ICMPTypes {
			if numbers[f] != "" {
				known++
			}
		}
		if len(names) != known {
			t.Errorf("%s: %d names, want %d", f, known, len(names))
		}
		for _, line := range names {
			name, numbers, _ := strings.Cut(strings.TrimSpace(line), " ")
			number, code, err := ParseICMPType(f, name)
			wantNumber, wantCode, wantErr := ParseICMPType(f, numbers)
			if err != nil || wantErr != nil || number != wantNumber || code != wantCode {
				t.Errorf("%s: %s is %d/%d (%v), want %s", f, name, number, code, err, numbers)
			}
		}
	}
}

// TestICMPNumbers: types and codes by number.
func TestICMPNumbers(t *testing.T) {
	for text, want := range map[string][2]int{"0": {0, Unknown}, "8": {8, Unknown}, "255": {255, Unknown}, "3/0": {3, 0}, "3/255": {3, 255}} {
		if number, code, err := ParseICMPType(family.IPv4, text); err != nil || number != want[0] || code != want[1] {
			t.Errorf("%s: %d/%d, %v", text, number, code, err)
		}
	}
	for _, text := range []string{"", "256", "3/", "3/256", "/3", "-1", "0x8", "3/1/1", "packet-too-big"} {
		if number, code, err := ParseICMPType(family.IPv4, text); err == nil {
			t.Errorf("%q: %d/%d", text, number, code)
		}
	}
}

// TestTracked: which types of ICMP begin a connection for conntrack.
func TestTracked(t *testing.T) {
	for f, begins := range map[family.Family][]int{family.IPv4: {8, 13, 15, 17}, family.IPv6: {128, 139}} {
		p := packet("10.20.1.5", "203.0.113.10")
		if f == family.IPv6 {
			p = packet("fd00::5", "2001:db8:ffff::1")
		}
		w := walkerFor(t, p)
		p.Protocol = icmpOf[f]
		got := []int{}
		for p.ICMPType = 0; p.ICMPType < 256; p.ICMPType++ {
			if w.tracked(p) {
				got = append(got, p.ICMPType)
			}
		}
		if len(got) != len(begins) {
			t.Errorf("%s: %v, want %v", f, got, begins)
		}
		for i := range got {
			if got[i] != begins[i] {
				t.Errorf("%s: %v, want %v", f, got, begins)
				break
			}
		}
		p.ICMPType = Unknown
		if !w.tracked(p) {
			t.Errorf("%s: of an unknown type", f)
		}
		p.ICMPType, p.Protocol = 0, 6
		if !w.tracked(p) {
			t.Errorf("%s: not of ICMP", f)
		}
	}
}

// TestPacketJSON: what the description does not give is left out.
func TestPacketJSON(t *testing.T) {
	whole := Packet{Source: address("10.20.1.5"), Destination: address("203.0.113.10"), Protocol: 6, SourcePort: 1, DestinationPort: 2,
		ICMPType: 3, ICMPCode: 4, InDevice: "br-lan", Own: true, SourceMAC: "02:00:5e:00:53:01", DSCP: 5, Mark: 7}
	none := Packet{Destination: address("2001:db8::1"), Protocol: Unknown, SourcePort: Unknown, DestinationPort: Unknown,
		ICMPType: Unknown, ICMPCode: Unknown, DSCP: Unknown}
	zero := Packet{Destination: address("203.0.113.10")}
	for want, p := range map[string]Packet{
		`{"family":"ipv4","src":"10.20.1.5","dst":"203.0.113.10","protocol":6,"sport":1,"dport":2,"icmp_type":3,"icmp_code":4,"in":"br-lan",` +
			`"own":true,"mac":"02:00:5e:00:53:01","dscp":5,"mark":7}`: whole,
		`{"family":"ipv6","dst":"2001:db8::1","own":false}`:                                                                        none,
		`{"family":"ipv4","dst":"203.0.113.10","protocol":0,"sport":0,"dport":0,"icmp_type":0,"icmp_code":0,"own":false,"dscp":0}`: zero,
	} {
		if got, err := json.Marshal(p); err != nil || string(got) != want {
			t.Errorf("got  %s (%v)\nwant %s", got, err, want)
		}
	}
}
