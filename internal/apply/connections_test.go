package apply

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/netlab"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

func address(text string) netip.Addr { return netip.MustParseAddr(text) }

// TestJudge: member 1 lives, 2 is offline, 3 has no path, 4 is live but has its
// index from somebody else, 5 is nobody's, 6 and 7 are offline with other
// wishes, 8 is live but has handed over to one that is back.
func TestJudge(t *testing.T) {
	up := plan.MemberState{Up: true, Online: true}
	changes := &Changes{
		Plan: &plan.Plan{Members: []plan.Member{
			{Name: "a", Index: 1, IPv4: up},
			{Name: "b", Index: 2, IPv4: plan.MemberState{Up: true}},
			{Name: "c", Index: 3},
			{Name: "d", Index: 4, IPv4: up},
			{Name: "f", Index: 6, IPv4: plan.MemberState{Up: true}},
			{Name: "g", Index: 7, IPv4: plan.MemberState{Up: true}},
			{Name: "h", Index: 8, IPv4: up},
		}},
		uplinks: uplink.State{Members: []uplink.Member{
			{Name: "a", IPv4: &uplink.Path{Addresses: []netip.Addr{address("198.51.100.1")}}},
			{Name: "b", IPv4: &uplink.Path{Addresses: []netip.Addr{address("198.51.100.2")}}},
			{Name: "c"},
			{Name: "d", IPv4: &uplink.Path{Addresses: []netip.Addr{address("198.51.100.4")}}},
			{Name: "h", IPv4: &uplink.Path{Addresses: []netip.Addr{address("198.51.100.8")}}},
		}},
		members: []config.Member{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"},
			{Name: "f", Track: config.Track{OnDead: "clear"}},
			{Name: "g", Track: config.Track{OnDead: "none"}},
			{Name: "h", Track: config.Track{OnDead: "none"}}},
		reused:  []int{4},
		vacated: map[family.Family][]int{family.IPv4: {8}},
	}
	judge := changes.judge(family.IPv4, fwmark.Fallback)
	tests := []struct {
		name        string
		mark        uint32
		destination string
		want        fate
	}{
		{"of a live member", 0x100, "8.8.8.8", keep},
		{"of an offline member", 0x200, "8.8.8.8", forgetAndReset},
		{"of an offline member, with a foreign bit", 0xff000200, "8.8.8.8", forgetAndReset},
		{"came in by the offline member", 0x200, "198.51.100.2", keep},
		{"went to another member's address", 0x200, "198.51.100.1", forgetAndReset},
		{"of a member without a path", 0x300, "8.8.8.8", forgetAndReset},
		{"of the former owner of an index", 0x400, "8.8.8.8", forgetAndReset},
		{"came in, but to the former owner", 0x400, "198.51.100.4", forgetAndReset},
		{"of nobody", 0x500, "8.8.8.8", forgetAndReset},
		{"on_dead 'clear'", 0x600, "8.8.8.8", forget},
		{"on_dead 'none'", 0x700, "8.8.8.8", keep},
		{"of one that handed over; it is not dead", 0x800, "8.8.8.8", forgetAndReset},
		{"came in by one that handed over", 0x800, "198.51.100.8", keep},
		{"unmarked", 0, "8.8.8.8", keep},
		{"foreign mark only", 0x80000, "8.8.8.8", keep},
		{"left to main", 0x3f00, "8.8.8.8", keep},
		{"refused", 0x3e00, "8.8.8.8", keep},
	}
	for _, tt := range tests {
		entry := conntrack.Entry{Mark: tt.mark, Original: conntrack.Tuple{Destination: address(tt.destination)}}
		if got := judge(entry); got != tt.want {
			t.Errorf("%s: fate %d, want %d", tt.name, got, tt.want)
		}
	}
	judge = changes.judge(family.IPv6, fwmark.Fallback)
	if judge(conntrack.Entry{Mark: 0x200}) != keep || judge(conntrack.Entry{Mark: 0x400}) != forgetAndReset {
		t.Error("without a live member there is nowhere to go, but an index must not pass on connections")
	}
	changes.members[6].Track.OnDead = "none"
	changes.reused = []int{7}
	if judge := changes.judge(family.IPv4, fwmark.Fallback); judge(conntrack.Entry{Mark: 0x700}) != forgetAndReset {
		t.Error("on_dead 'none' lets an index pass on connections")
	}
	changes.reused = nil
	if changes.judge(family.IPv6, fwmark.Fallback) != nil {
		t.Error("without a live member there is nowhere to go, but connections are judged")
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
		entry := conntrack.Entry{Original: conntrack.Tuple{Destination: address(tt.destination)}}
		if got := cameIn(entry, tt.path); got != tt.want {
			t.Errorf("%s: %v", tt.destination, got)
		}
	}
}

func prefixList(text string) []netip.Prefix {
	var all []netip.Prefix
	for _, word := range strings.Fields(text) {
		all = append(all, netip.MustParsePrefix(word))
	}
	return all
}

func TestFreedDestinations(t *testing.T) {
	wanted := &plan.Plan{
		IPv4: plan.Family{Sets: []plan.Set{{Name: "lb_local", Entries: prefixList("10.0.0.0/8 192.168.1.0/24")}}},
		IPv6: plan.Family{Sets: []plan.Set{{Name: "lb_local6", Entries: prefixList("fd00::/64")}}},
	}
	tests := []struct {
		name       string
		have       []ipset.Set
		ipv4, ipv6 string
	}{
		{"nothing there", nil, "", ""},
		{"all the same", []ipset.Set{{Name: "lb_local", Entries: prefixList("10.0.0.0/8 192.168.1.0/24")}}, "", ""},
		{"one more wanted", []ipset.Set{{Name: "lb_local", Entries: prefixList("10.0.0.0/8")}}, "", ""},
		{"some less", []ipset.Set{
			{Name: "lb_local", Entries: prefixList("10.0.0.0/8 10.99.0.0/24 192.168.1.0/24")},
			{Name: "lb_local6", Entries: prefixList("fd99::/64")}}, "10.99.0.0/24", "fd99::/64"},
		{"another set", []ipset.Set{{Name: "lb_streaming", Entries: prefixList("203.0.113.0/24")}}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			freed := freedDestinations(wanted, tt.have)
			if !slices.Equal(freed[family.IPv4], prefixList(tt.ipv4)) || !slices.Equal(freed[family.IPv6], prefixList(tt.ipv6)) {
				t.Errorf("freed %v", freed)
			}
		})
	}
	if freed := freedDestinations(&plan.Plan{}, tests[3].have); len(freed) > 0 {
		t.Errorf("with nothing wanted: %v", freed)
	}
}

func TestReusedIndices(t *testing.T) {
	type members = map[string]int
	freed := []plan.FreedIndex{{Name: "gone", Index: 4}}
	tests := []struct {
		name string
		old  plan.Indices
		now  members
		want []int
	}{
		{"first time", plan.Indices{}, members{"a": 1}, nil},
		{"nothing changed", plan.Indices{Members: members{"a": 1, "b": 2}}, members{"a": 1, "b": 2}, nil},
		{"one is gone", plan.Indices{Members: members{"a": 1, "b": 2}}, members{"a": 1}, nil},
		{"a new index", plan.Indices{Members: members{"a": 1}}, members{"a": 1, "b": 2}, nil},
		{"a freed one to somebody else", plan.Indices{Members: members{"a": 1}, Freed: freed}, members{"a": 1, "b": 4}, []int{4}},
		{"a freed one to its owner", plan.Indices{Members: members{"a": 1}, Freed: freed}, members{"a": 1, "gone": 4}, nil},
		{"renamed", plan.Indices{Members: members{"a": 1}}, members{"b": 1}, []int{1}},
		{"exchanged", plan.Indices{Members: members{"a": 1, "b": 2, "c": 3}}, members{"a": 2, "b": 1, "c": 3}, []int{1, 2}},
	}
	for _, tt := range tests {
		if got := reusedIndices(tt.old, plan.Indices{Members: tt.now}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestOtherHolds asks a real kernel: the programs would make a table by
// looking for one.
func TestOtherHolds(t *testing.T) {
	netlab.FreshNamespace(t)
	kernel := newFakeKernel(t)
	e := kernel.engine(t.TempDir())
	check := func(when string, nft, legacy bool) {
		t.Helper()
		if got := e.otherHolds(family.IPv4, true); got != nft {
			t.Errorf("%s: nftables has a table: %v", when, got)
		}
		if got := e.otherHolds(family.IPv4, false); got != legacy {
			t.Errorf("%s: legacy has a table: %v", when, got)
		}
	}
	check("nothing there", false, false)
	if out, err := exec.Command("iptables-legacy", "-t", "mangle", "-S").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	check("legacy used", false, true)
	if e.otherHolds(family.IPv6, false) {
		t.Error("IPv6 counts as used")
	}
	kernel.mangle.legacy, kernel.other.legacy = true, false
	kernel.other.tables[family.IPv4] = newFakeTable()
	check("both used", true, true)
}

func TestTableNames(t *testing.T) {
	dir := t.TempDir() + "/rt_tables.d"
	e := &Engine{NamesDir: dir}
	file := dir + "/" + namesFile
	names := []plan.TableName{{Table: 301, Name: "wan1"}, {Table: 252, Name: "lte"}}
	write := func(names []plan.TableName) {
		t.Helper()
		if err := e.writeNames(names); err != nil {
			t.Fatal(err)
		}
	}
	write(nil) // nothing there, nothing to do
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made for nothing")
	}
	write(names)
	want := "# written by loadbalance\n301\twan1\n252\tlte\n"
	text, err := os.ReadFile(file)
	if err != nil || string(text) != want {
		t.Errorf("%q, %v", text, err)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	write(names)
	after, err := os.Stat(file)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("written again without a change (%v)", err)
	}
	write(nil)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestSummary(t *testing.T) {
	cfg := readConfig(t, firstConfig)
	changes, err := FromNothing(cfg, worldOf(cfg))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ipv4: 10 chains written, 2 jumps set, 13 ip rules added, 6 routes set",
		"ipv6: 10 chains written, 2 jumps set, 16 ip rules added, 4 routes set",
		"sets: 4 changes",
		"sysctls: 6 changes",
	}
	if got := changes.Summary(); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if changes.Empty() {
		t.Error("empty")
	}
	s := newService(t)
	s.must(firstConfig)
	actual, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	same, err := s.Plan(cfg, worldOf(cfg), nil, actual)
	if err != nil {
		t.Fatal(err)
	}
	if !same.Empty() || same.Commands() != "" || len(same.Summary()) > 0 {
		t.Errorf("nothing changed, but: %v\n%s", same.Summary(), same.Commands())
	}
}
