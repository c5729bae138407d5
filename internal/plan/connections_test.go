package plan

import (
	"net/netip"
	"slices"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/uplink"
)

func address(text string) netip.Addr { return netip.MustParseAddr(text) }

// TestFate: member 1 lives, 2 is offline, 3 has no path, 4 is live but has its
// index from somebody else, 5 is nobody's, 6 and 7 are offline with other
// wishes, 8 is live but has handed over to one that is back.
func TestFate(t *testing.T) {
	path := func(own string) *uplink.Path { return &uplink.Path{Addresses: []netip.Addr{address(own)}} }
	c := Connections{
		Search: true, Mask: fwmark.Fallback, live: []int{1, 4, 8}, reused: []int{4}, vacated: []int{8},
		members: map[int]memberConnections{
			1: {path("198.51.100.1"), ForgetAndReset},
			2: {path("198.51.100.2"), ForgetAndReset},
			3: {nil, ForgetAndReset},
			4: {path("198.51.100.4"), ForgetAndReset},
			6: {nil, Forget},
			7: {nil, Keep},
			8: {path("198.51.100.8"), Keep},
		},
	}
	tests := []struct {
		name        string
		mark        uint32
		destination string
		want        Fate
	}{
		{"of a live member", 0x1000000, "8.8.8.8", Keep},
		{"of an offline member", 0x2000000, "8.8.8.8", ForgetAndReset},
		{"of an offline member, with a foreign bit", 0xc20fffff, "8.8.8.8", ForgetAndReset},
		{"came in by the offline member", 0x2000000, "198.51.100.2", Keep},
		{"went to another member's address", 0x2000000, "198.51.100.1", ForgetAndReset},
		{"of a member without a path", 0x3000000, "8.8.8.8", ForgetAndReset},
		{"of the former owner of an index", 0x4000000, "8.8.8.8", ForgetAndReset},
		{"came in, but to the former owner", 0x4000000, "198.51.100.4", ForgetAndReset},
		{"of nobody", 0x5000000, "8.8.8.8", ForgetAndReset},
		{"on_dead 'clear'", 0x6000000, "8.8.8.8", Forget},
		{"on_dead 'none'", 0x7000000, "8.8.8.8", Keep},
		{"of one that handed over; it is not dead", 0x8000000, "8.8.8.8", ForgetAndReset},
		{"came in by one that handed over", 0x8000000, "198.51.100.8", Keep},
		{"unmarked", 0, "8.8.8.8", Keep},
		{"foreign mark only", 0x80000, "8.8.8.8", Keep},
		{"left to main", 0x3f000000, "8.8.8.8", Keep},
		{"refused", 0x3e000000, "8.8.8.8", Keep},
	}
	for _, tt := range tests {
		if got := c.Fate(tt.mark, address(tt.destination)); got != tt.want {
			t.Errorf("%s: fate %d, want %d", tt.name, got, tt.want)
		}
	}
	none := c
	none.live = nil
	if none.Fate(0x2000000, address("8.8.8.8")) != Keep || none.Fate(0x4000000, address("8.8.8.8")) != ForgetAndReset {
		t.Error("without a live member there is nowhere to go, but an index must not pass on connections")
	}
	c.reused = []int{7}
	if c.Fate(0x7000000, address("8.8.8.8")) != ForgetAndReset {
		t.Error("on_dead 'none' lets an index pass on connections")
	}
	if (Connections{}).Fate(0x2000000, address("8.8.8.8")) != Keep || (Connections{}).LeftToMain(0x3f000000) {
		t.Error("a service that stops judges connections")
	}
	if !c.LeftToMain(0x3f000000) || !c.LeftToMain(0xffffffff) || c.LeftToMain(0x1000000) || c.LeftToMain(0) {
		t.Error("left to main: others than those with mark 'default'")
	}
}

func TestCameIn(t *testing.T) {
	path := &uplink.Path{
		Addresses: []netip.Addr{address("2001:db8::2")},
		Prefixes:  []netip.Prefix{netip.MustParsePrefix("2001:db8:100::/56")},
	}
	tests := []struct {
		destination string
		path        *uplink.Path
		want        bool
	}{
		{"2001:db8::2", path, true},
		{"2001:db8::3", path, false},
		{"2001:db8:100:42::1", path, true}, // a LAN host with a global address
		{"2001:db8:200::1", path, false},
		{"2001:db8::2", nil, false},
	}
	for _, tt := range tests {
		if got := CameIn(tt.path, address(tt.destination)); got != tt.want {
			t.Errorf("%s: %v", tt.destination, got)
		}
	}
}

func TestReusedIndices(t *testing.T) {
	type members = map[string]int
	freed := []FreedIndex{{Name: "gone", Index: 4}}
	tests := []struct {
		name string
		old  Indices
		now  members
		want []int
	}{
		{"first time", Indices{}, members{"a": 1}, nil},
		{"nothing changed", Indices{Members: members{"a": 1, "b": 2}}, members{"a": 1, "b": 2}, nil},
		{"one is gone", Indices{Members: members{"a": 1, "b": 2}}, members{"a": 1}, nil},
		{"a new index", Indices{Members: members{"a": 1}}, members{"a": 1, "b": 2}, nil},
		{"a freed one to somebody else", Indices{Members: members{"a": 1}, Freed: freed}, members{"a": 1, "b": 4}, []int{4}},
		{"a freed one to its owner", Indices{Members: members{"a": 1}, Freed: freed}, members{"a": 1, "gone": 4}, nil},
		{"renamed", Indices{Members: members{"a": 1}}, members{"b": 1}, []int{1}},
		{"exchanged", Indices{Members: members{"a": 1, "b": 2, "c": 3}}, members{"a": 2, "b": 1, "c": 3}, []int{1, 2}},
	}
	for _, tt := range tests {
		if got := reusedIndices(tt.old, Indices{Members: tt.now}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestUnfinishedConnections: what a run did not get to is done by the next, but a
// member that is dealt something again meanwhile keeps its connections.
func TestUnfinishedConnections(t *testing.T) {
	cfg := balanced("a", "b", "c")
	cfg.Policies[0].Members[2].Metric = 2 // c is a backup
	before := &State{
		Indices: Indices{Members: map[string]int{"a": 1, "b": 2, "c": 3}},
		Live:    map[family.Family][]int{family.IPv4: {1, 2, 3}, family.IPv6: {1, 2, 3}},
		Unfinished: map[family.Family]Unfinished{
			family.IPv4: {Vacated: []int{2, 3}, Reused: []int{1}},
		},
	}
	p := Build(Input{Config: cfg, Uplinks: world("a", "b", "c"), State: before, Kernel: Kernel{Ours: true}})
	elsewhere := address("203.0.113.9")
	for _, tt := range []struct {
		name string
		f    family.Family
		mark uint32
		want Fate
	}{
		{"reused", family.IPv4, 0x1000000, ForgetAndReset},
		{"vacated, but active again", family.IPv4, 0x2000000, Keep},
		{"vacated", family.IPv4, 0x3000000, ForgetAndReset},
		{"of a family that was finished", family.IPv6, 0x3000000, Keep},
	} {
		if got := p.Connections[tt.f].Fate(tt.mark, elsewhere); got != tt.want {
			t.Errorf("%s: fate %d, want %d", tt.name, got, tt.want)
		}
	}
	if !p.Connections[family.IPv4].Search || p.Connections[family.IPv6].Search {
		t.Error("only the family that is not finished is to be searched")
	}
}

// TestAdopt: connections that are older than the chains get the mark of the line
// on which they are.
func TestAdopt(t *testing.T) {
	path := func(addresses ...string) *uplink.Path {
		p := &uplink.Path{}
		for _, a := range addresses {
			p.Addresses = append(p.Addresses, address(a))
		}
		return p
	}
	ends := func(source, destination string) Ends { return Ends{address(source), address(destination)} }
	lines := Connections{Mask: fwmark.Fallback, main: 1, local: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")},
		members: map[int]memberConnections{1: {path: path("198.51.100.1")}, 2: {path: path("198.51.100.2")}, 3: {path: nil},
			4: {path: path("2001:db8:4::2")}}}
	lines.members[4].path.Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:4:100::/56")}
	twins, noMain, upgraded := lines, lines, lines
	twins.members = map[int]memberConnections{1: {path: path("198.51.100.1")}, 2: {path: path("198.51.100.1")}, 3: {path: path("198.51.100.3")}, 4: {path: path("198.51.100.3")}}
	noMain.main = 0
	upgraded.Former = 0x3f00
	lan, own, inbound, routed := ends("192.168.1.2", "8.8.8.8"), ends("198.51.100.2", "8.8.8.8"), ends("8.8.8.8", "198.51.100.2"), ends("8.8.8.8", "192.168.1.2")
	tests := []struct {
		name          string
		lines         Connections
		mark          uint32
		first, answer Ends
		want          uint32
	}{
		{"masqueraded", lines, 0, lan, ends("8.8.8.8", "198.51.100.2"), 0x2000000},
		{"the router's own", lines, 0, own, ends("8.8.8.8", "198.51.100.2"), 0x2000000},
		{"inbound to the router", lines, 0, inbound, ends("198.51.100.2", "8.8.8.8"), 0x2000000},
		{"inbound, forwarded", lines, 0, inbound, ends("192.168.1.2", "8.8.8.8"), 0x2000000},
		{"another program's bits", lines, 0x80000, lan, ends("8.8.8.8", "198.51.100.2"), 0x2080000},
		{"dealt already", lines, 0x1000000, lan, ends("8.8.8.8", "198.51.100.2"), 0x1000000},
		{"without address translation", lines, 0, lan, ends("8.8.8.8", "192.168.1.2"), 0x1000000},
		{"likewise, main leaves by no member", noMain, 0, lan, ends("8.8.8.8", "192.168.1.2"), 0},
		{"within the LAN", lines, 0, ends("192.168.1.2", "192.168.2.2"), ends("192.168.2.2", "192.168.1.2"), 0},
		{"into the LAN, without translation", lines, 0, routed, ends("192.168.1.2", "8.8.8.8"), 0},
		{"to a proxy", lines, 0, lan, ends("192.168.1.1", "192.168.1.2"), 0},
		{"over a tunnel that is no member", lines, 0, lan, ends("8.8.8.8", "10.9.9.9"), 0},
		{"twins, one is main's", twins, 0, lan, ends("8.8.8.8", "198.51.100.1"), 0x1000000},
		{"other twins", twins, 0, lan, ends("8.8.8.8", "198.51.100.3"), 0},
		{"a delegated prefix", lines, 0, ends("2001:db8:4:101::2", "2001:db8:ffff::1"), ends("2001:db8:ffff::1", "2001:db8:4:101::2"), 0x4000000},
		{"no former mask", lines, 0x200, lan, ends("8.8.8.8", "192.168.1.2"), 0x1000200},
		{"a former mask", upgraded, 0x200, lan, ends("8.8.8.8", "192.168.1.2"), 0x2000000},
		{"a former mask, others' bits", upgraded, 0x80200, lan, ends("8.8.8.8", "192.168.1.2"), 0x2080000},
		{"a former mask, translated already", upgraded, 0x2000200, lan, ends("8.8.8.8", "192.168.1.2"), 0x2000000},
		{"a former mask, local", upgraded, 0x3f00, lan, ends("192.168.1.1", "192.168.1.2"), 0x3f000000},
		{"bits of a former mask that nobody was dealt", upgraded, 0x1bd00, lan, ends("8.8.8.8", "198.51.100.2"), 0x201bd00},
		{"likewise, with a mark", upgraded, 0x201bd00, lan, ends("8.8.8.8", "198.51.100.2"), 0x201bd00},
		{"a former mask, unmarked", upgraded, 0, lan, ends("8.8.8.8", "198.51.100.2"), 0x2000000},
	}
	for _, tt := range tests {
		if got := tt.lines.Adopt(tt.mark, true, tt.first, tt.answer); got != tt.want {
			t.Errorf("%s: mark %#x, want %#x", tt.name, got, tt.want)
		}
	}
	if got := lines.Adopt(0x80000, false, lan, ends("8.8.8.8", "198.51.100.2")); got != 0x80000 {
		t.Errorf("one that nobody has answered: %#x", got)
	}
	if got := upgraded.Adopt(0x200, false, lan, lan); got != 0x2000000 {
		t.Errorf("one that nobody has answered, with a former mask: %#x", got)
	}
}

// TestAdoptByPlan: what Adopt goes by is what the plan is made for.
func TestAdoptByPlan(t *testing.T) {
	uplinks := world("a", "b")
	uplinks.IPv4.Routes = []uplink.Route{
		{Destination: netip.MustParsePrefix("0.0.0.0/0"), Type: uplink.Unicast, Device: "b", Metric: 5},
		{Destination: netip.MustParsePrefix("0.0.0.0/0"), Type: uplink.Unicast, Device: "a", Metric: 10},
		{Destination: netip.MustParsePrefix("10.0.0.0/8"), Type: uplink.Unicast, Device: "lan"}}
	adopted := func(in Input, remote string) uint32 {
		in.Config, in.Uplinks = balanced("a", "b"), uplinks
		p := Build(in)
		host := address("10.1.1.1")
		return p.Connections[family.IPv4].Adopt(0x100, true, Ends{host, address(remote)}, Ends{address(remote), host})
	}
	if got := adopted(Input{}, "8.8.8.8"); got != 0x2000100 {
		t.Errorf("by main's default route: %#x", got)
	}
	if got := adopted(Input{}, "10.2.2.2"); got != 0x100 {
		t.Errorf("local: %#x", got)
	}
	former := Kernel{Ours: true, MemberChains: []MemberChainMark{{Chain: "lb_member_b"}, {"lb_member_a", 0x100, 0x3f00}}}
	if got := adopted(Input{Kernel: former}, "8.8.8.8"); got != 0x1000000 {
		t.Errorf("a former mask: %#x", got)
	}
	former.MemberChains[1].Mask = 0x3f003f00
	if got := adopted(Input{Kernel: former}, "8.8.8.8"); got != 0x2000100 {
		t.Errorf("a former mask with bits of ours: %#x", got)
	}
}
