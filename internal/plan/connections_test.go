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
		Search: true, mask: fwmark.Fallback, live: []int{1, 4, 8}, reused: []int{4}, vacated: []int{8},
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
	p, err := Build(Input{Config: cfg, Uplinks: world("a", "b", "c"), State: before, Kernel: Kernel{Ours: true}})
	if err != nil {
		t.Fatal(err)
	}
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
