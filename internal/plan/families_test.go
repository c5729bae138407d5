package plan

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// TestIPv6WithoutMembers: where no member has IPv6, it is planned only for a
// rule that is about IPv6 alone, or that keeps traffic from leaving.
func TestIPv6WithoutMembers(t *testing.T) {
	both := family.All[:]
	for _, tt := range []struct {
		name string
		rule config.Rule
		want bool
	}{
		{"deals", config.Rule{Enabled: true, Families: both, Use: BalancedPolicy}, false},
		{"to main", config.Rule{Enabled: true, Families: both, Use: "default"}, false},
		{"refuses", config.Rule{Enabled: true, Families: both, Use: "unreachable"}, true},
		{"drops", config.Rule{Enabled: true, Families: both, Use: "blackhole"}, true},
		{"drops, disabled", config.Rule{Families: both, Use: "blackhole"}, false},
		{"drops IPv4", config.Rule{Enabled: true, Families: both[:1], Use: "blackhole"}, false},
		{"IPv6 alone", config.Rule{Enabled: true, Families: both[1:], Use: BalancedPolicy}, true},
		{"IPv6 alone, disabled", config.Rule{Families: both[1:], Use: BalancedPolicy}, false},
	} {
		cfg := balanced("a")
		tt.rule.DSCP = -1
		cfg.Rules = []config.Rule{tt.rule}
		uplinks := world("a")
		uplinks.Members[0].IPv6 = nil
		for _, enabled := range []bool{true, false} {
			uplinks.IPv6.Enabled = enabled
			p := build(t, cfg, uplinks)
			if got := len(p.IPv6.Chains) > 0; got != (tt.want && enabled) {
				t.Errorf("%s: planned %v, want %v (in the kernel: %v)", tt.name, got, tt.want, enabled)
			}
			if len(p.Notices) > 0 {
				t.Errorf("%s: notices %q", tt.name, p.Notices)
			}
		}
	}
}

// TestNotices tell of families and members that are left out, and of nothing
// else.
func TestNotices(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    *config.Config
		change func(*uplink.State)
		want   []string
	}{
		{"all well", balanced("a"), func(*uplink.State) {}, nil},
		{"no member", balanced(), func(*uplink.State) {}, []string{"no member is configured and enabled: nothing is balanced"}},
		{"IPv6 is off", balanced("a"), func(s *uplink.State) { s.IPv6.Enabled = false },
			[]string{"IPv6 is switched off in the kernel: only IPv4 is balanced"}},
		{"IPv6 is off, and nobody has it", balanced("a"), func(s *uplink.State) { s.IPv6.Enabled, s.Members[0].IPv6 = false, nil }, nil},
		{"one family is down", balanced("a"), func(s *uplink.State) { s.Members[0].IPv4 = &uplink.Path{Reason: "no IPv4 address"} }, nil},
		{"a member is down", balanced("a", "b"), func(s *uplink.State) {
			s.Members[1] = uplink.Member{Name: "b", IPv4: &uplink.Path{Reason: "device 'b' has no link"}}
		}, []string{"member 'b' is left out: device 'b' has no link"}},
		{"nothing is known of a member", balanced("a", "b"), func(s *uplink.State) { s.Members = s.Members[:1] },
			[]string{"member 'b' is left out: has no ipv4"}},
	} {
		uplinks := world("a", "b")
		tt.change(&uplinks)
		if got := build(t, tt.cfg, uplinks).Notices; !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestWithoutIP6Tables: nothing is planned in IPv6, and where somebody wanted it
// the plan says why.
func TestWithoutIP6Tables(t *testing.T) {
	with := build(t, balanced("a", "b"), world("a", "b"))
	in := Input{Config: balanced("a", "b"), Uplinks: world("a", "b"), Kernel: Kernel{NoIP6Tables: true}}
	p := Build(in)
	if !reflect.DeepEqual(p.IPv6, Family{}) || !reflect.DeepEqual(p.IPv4, with.IPv4) {
		t.Errorf("IPv6 is %+v", p.IPv6)
	}
	for _, m := range p.Members {
		if m.IPv6 != (MemberState{Reason: "ip6tables is not installed"}) || !m.IPv4.Online {
			t.Errorf("%s: %+v", m.Name, m)
		}
	}
	if !slices.Equal(p.Notices, []string{"ip6tables is not installed: IPv6 is not balanced"}) {
		t.Errorf("notices %q", p.Notices)
	}
	for i := range in.Uplinks.Members {
		in.Uplinks.Members[i].IPv6 = nil
	}
	if p := Build(in); len(p.Notices) > 0 {
		t.Errorf("nobody has IPv6: %q", p.Notices)
	}
}

// TestMembers: what a plan tells of its members, in file order, with the names
// of their tables by index.
func TestMembers(t *testing.T) {
	cfg := balanced("a", "b=0x1000000", "c")
	for i := range cfg.Members {
		cfg.Members[i].Weight, cfg.Members[i].Metric = 4+i, 2
	}
	cfg.Members[2].Table = 77
	cfg.Policies[0].Members = []config.PolicyMember{{Name: "a", Weight: 3, Metric: 1}, {Name: "b", Weight: 1, Metric: 1}}
	uplinks := world("a", "b", "c")
	uplinks.Members[0].IPv4.Gateway = address("198.51.100.1")
	uplinks.Members[1].IPv6 = nil
	p := build(t, cfg, uplinks)
	up := func(device string, share float64) MemberState {
		return MemberState{Up: true, Online: true, Active: share > 0, Device: device, Share: share}
	}
	a4 := up("a", 0.75)
	a4.Gateway = address("198.51.100.1")
	want := []Member{
		{Name: "a", Index: 2, Mark: 0x2000000, Table: 302, Weight: 3, Metric: 1, IPv4: a4, IPv6: up("a", 1)},
		{Name: "b", Index: 1, Mark: 0x1000000, Table: 301, Weight: 1, Metric: 1, IPv4: up("b", 0.25), IPv6: MemberState{Reason: "has no ipv6"}},
		// Policy 'balanced' leaves it out: its own weight and tier.
		{Name: "c", Index: 3, Mark: 0x3000000, Table: 77, Weight: 6, Metric: 2, IPv4: up("c", 0), IPv6: up("c", 0)},
	}
	if !reflect.DeepEqual(p.Members, want) {
		t.Errorf("got\n%+v\nwant\n%+v", p.Members, want)
	}
	cfg.Policies = nil
	if m := build(t, cfg, uplinks).Members[0]; m.Weight != 4 || m.Metric != 2 {
		t.Errorf("without a policy 'balanced': weight %d, tier %d", m.Weight, m.Metric)
	}
}

// TestSetsOfAFamily: a set is planned in its own family, sorted, without what
// lies in another entry, and with its domains.
func TestSetsOfAFamily(t *testing.T) {
	cfg := balanced("a")
	cfg.IPSets = []config.IPSet{
		{Name: "z", Entries: []netip.Prefix{prefix("203.0.113.7/32"), prefix("192.0.2.0/24"), prefix("203.0.113.0/24")}},
		{Name: "a", Domains: []string{"example.org"}},
		{Name: "six", Family: family.IPv6, Entries: []netip.Prefix{prefix("2001:db8::/32")}},
	}
	p := build(t, cfg, world("a"))
	text := func(sets []Set) string {
		var lines []string
		for _, s := range sets {
			if s.Name != LocalSet(family.IPv4) && s.Name != LocalSet(family.IPv6) {
				lines = append(lines, fmt.Sprint(s.Name, s.Entries, s.Domains))
			}
		}
		return strings.Join(lines, " ")
	}
	if got, want := text(p.IPv4.Sets), "lb_a[] [example.org] lb_z[192.0.2.0/24 203.0.113.0/24] []"; got != want {
		t.Errorf("IPv4: %s, want %s", got, want)
	}
	if got, want := text(p.IPv6.Sets), "lb_six.6[2001:db8::/32] []"; got != want {
		t.Errorf("IPv6: %s, want %s", got, want)
	}
	for _, f := range family.All {
		if sets := p.Family(f).Sets; !slices.IsSortedFunc(sets, func(x, y Set) int { return strings.Compare(x.Name, y.Name) }) {
			t.Errorf("%s: not sorted: %v", f, sets)
		}
	}
}

// TestIsMemberChain: the connections of uplinks are told from the others by
// the chain's name.
func TestIsMemberChain(t *testing.T) {
	for name, want := range map[string]bool{
		MemberChain("a"): true, MemberChain("default"): false, MemberChain("unreachable"): false, MemberChain("blackhole"): false,
		PolicyChain("a"): false, hookChain: false, "": false,
	} {
		if got := IsMemberChain(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
