package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/uplink"
)

// world has a path for each named member in both families, with a prefix of
// its own.
func world(names ...string) uplink.State {
	state := uplink.State{IPv4: uplink.Main{Enabled: true}, IPv6: uplink.Main{Enabled: true}}
	for i, name := range names {
		v4 := netip.AddrFrom4([4]byte{198, 51, byte(100 + i), 2})
		v6 := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i)})
		state.Members = append(state.Members, uplink.Member{
			Name: name,
			IPv4: &uplink.Path{Device: name, Up: true, Addresses: []netip.Addr{v4},
				Networks: []uplink.Network{{Prefix: netip.PrefixFrom(v4, 24).Masked(), Source: v4}},
				DNS:      []netip.Addr{netip.AddrFrom4([4]byte{9, 9, 9, byte(i)})}},
			IPv6: &uplink.Path{Device: name, Up: true, Addresses: []netip.Addr{v6.Next()},
				Prefixes: []netip.Prefix{netip.PrefixFrom(v6, 56)}},
		})
	}
	return state
}

// balanced is a configuration of the named members with policy 'balanced'.
func balanced(names ...string) *config.Config {
	cfg := configured(fwmark.Fallback, strings.Join(names, " "))
	cfg.Globals.RouterTraffic = true
	p := config.Policy{Name: BalancedPolicy, Balance: config.NTH, LastResort: config.LastDefault}
	for _, m := range cfg.Members {
		if m.Enabled {
			p.Members = append(p.Members, config.PolicyMember{Name: m.Name, Weight: m.Weight, Metric: m.Metric})
		}
	}
	cfg.Policies = []config.Policy{p}
	return cfg
}

func build(t *testing.T, cfg *config.Config, uplinks uplink.State, offline ...string) *Plan {
	t.Helper()
	in := Input{Config: cfg, Uplinks: uplinks, Verdicts: Verdicts{}}
	for _, f := range family.All {
		in.Verdicts[f] = map[string]Verdict{}
		for _, name := range offline {
			in.Verdicts[f][name] = Verdict{Offline: "no answer"}
		}
	}
	p := Build(in)
	return p
}

func chain(t *testing.T, f *Family, name string) Chain {
	t.Helper()
	i := slices.IndexFunc(f.Chains, func(c Chain) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no chain %s", name)
	}
	return f.Chains[i]
}

// TestOfflineMember: a member that its health check has judged offline is
// dealt nothing, but keeps its routes, through which its probes go out.
func TestOfflineMember(t *testing.T) {
	healthy := build(t, balanced("a", "b", "c"), world("a", "b", "c"))
	p := build(t, balanced("a", "b", "c"), world("a", "b", "c"), "b")
	for _, f := range family.All {
		policy := chain(t, p.Family(f), PolicyChain(BalancedPolicy))
		if slices.Contains(policy.Cascade, "lb_member_b") || !slices.Contains(policy.Cascade, "lb_member_a") {
			t.Errorf("%s: the cascade deals %v", f, policy.Cascade)
		}
		if fmt.Sprint(p.Family(f).Routes) != fmt.Sprint(healthy.Family(f).Routes) {
			t.Errorf("%s: routes changed with a verdict: %v", f, p.Family(f).Routes)
		}
		if s := p.Members[1].State(f); !s.Up || s.Online || s.Active || s.Share != 0 {
			t.Errorf("%s: %+v", f, s)
		}
		if s := p.Members[0].State(f); !s.Up || !s.Online || !s.Active || s.Share != 0.5 {
			t.Errorf("%s: %+v", f, s)
		}
	}
	for _, rule := range chain(t, &p.IPv4, hookChain).Rules {
		if rule.Args("") == "-d 9.9.9.1/32 -g lb_member_b" {
			t.Error("a resolver is asked over a line that is offline")
		}
	}
	refused := "-s 2001:db8:100::/56 -g lb_member_unreachable"
	if !slices.ContainsFunc(chain(t, &p.IPv6, hookChain).Rules, func(r Rule) bool { return r.Args("") == refused }) {
		t.Errorf("hosts with an address of the offline line are not refused (%s)", refused)
	}
}

// TestTiers: only the lowest tier with a live member is dealt anything.
func TestTiers(t *testing.T) {
	cfg := balanced("a", "b", "c")
	for i, metric := range []int{1, 2, 2} {
		cfg.Policies[0].Members[i].Metric = metric
	}
	tests := []struct {
		offline []string
		want    map[string]float64
	}{
		{nil, map[string]float64{"a": 1}},
		{[]string{"b"}, map[string]float64{"a": 1}},
		{[]string{"a"}, map[string]float64{"b": 0.5, "c": 0.5}},
		{[]string{"a", "c"}, map[string]float64{"b": 1}},
		{[]string{"a", "b", "c"}, map[string]float64{}},
	}
	for _, tt := range tests {
		p := build(t, cfg, world("a", "b", "c"), tt.offline...)
		for _, m := range p.Members {
			if m.IPv4.Share != tt.want[m.Name] || m.IPv4.Active != (tt.want[m.Name] > 0) {
				t.Errorf("offline %v: %s has share %v (active %v), want %v", tt.offline, m.Name, m.IPv4.Share, m.IPv4.Active, tt.want[m.Name])
			}
		}
	}
}

func TestFamiliesThatAreWanted(t *testing.T) {
	off := world("a")
	off.IPv6.Enabled = false
	only4 := world("a")
	only4.Members[0].IPv6 = nil
	tests := []struct {
		name    string
		cfg     *config.Config
		uplinks uplink.State
		want4   bool
		want6   bool
	}{
		{"both", balanced("a"), world("a"), true, true},
		{"IPv6 off in the kernel", balanced("a"), off, true, false},
		{"no member has IPv6", balanced("a"), only4, true, false},
		{"no member at all", balanced(), world("a"), false, false},
		{"all members disabled", balanced("-a"), world("a"), false, false},
		{"nothing known of the member", balanced("a"), world(), true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := build(t, tt.cfg, tt.uplinks)
			if got := len(p.IPv4.Chains) > 0; got != tt.want4 {
				t.Errorf("IPv4 wanted: %v", got)
			}
			if got := len(p.IPv6.Chains) > 0; got != tt.want6 {
				t.Errorf("IPv6 wanted: %v", got)
			}
		})
	}
}

// TestRoundedSharesAreTold once, although both families round.
func TestRoundedSharesAreTold(t *testing.T) {
	cfg := balanced("a", "b")
	cfg.Policies[0].Members[0].Weight = 1000
	p := build(t, cfg, world("a", "b"))
	want := "policy 'balanced': the weights need more than 256 turns"
	n := 0
	for _, notice := range p.Notices {
		if strings.HasPrefix(notice, want) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("notices %q", p.Notices)
	}
}

// TestUnboundSources: a socket with the address that main's best default route
// gives is not taken for a bound one.
func TestUnboundSources(t *testing.T) {
	address := func(device, prefix string) uplink.Address {
		return uplink.Address{Device: device, Prefix: netip.MustParsePrefix(prefix)}
	}
	via := func(device, gateway string, metric int) uplink.Route {
		r := uplink.Route{Destination: netip.MustParsePrefix("0.0.0.0/0"), Type: uplink.Unicast, Device: device, Metric: metric}
		if gateway != "" {
			r.Gateway = netip.MustParseAddr(gateway)
		}
		return r
	}
	two := []uplink.Address{address("a", "198.51.100.2/24"), address("a", "203.0.113.2/24"), address("b", "198.51.101.2/24")}
	withSource := via("b", "198.51.101.1", 1)
	withSource.Source = netip.MustParseAddr("198.51.101.2")
	multipath := uplink.Route{Destination: netip.MustParsePrefix("0.0.0.0/0"), Type: uplink.Unicast, Nexthops: []uplink.Nexthop{
		{Device: "a", Gateway: netip.MustParseAddr("198.51.100.1")}, {Device: "b", Gateway: netip.MustParseAddr("198.51.101.1")}}}
	tests := []struct {
		name   string
		routes []uplink.Route
		want   []string // members whose address shows that a socket was bound
	}{
		{"the best default's member", []uplink.Route{via("b", "198.51.101.1", 2), via("a", "198.51.100.1", 1)}, []string{"b"}},
		{"the address in the gateway's network", []uplink.Route{via("a", "203.0.113.1", 1)}, []string{"a", "b"}},
		{"a gateway in no network", []uplink.Route{via("b", "192.0.2.1", 1)}, []string{"a"}},
		{"a route with a source", []uplink.Route{withSource}, []string{"a"}},
		{"a route's source that is not in the gateway's network", routes("default via 198.51.100.1 dev a src 203.0.113.2"), []string{"a", "b"}},
		{"a route for some sources only", routes("default via 198.51.101.1 dev b from 192.0.2.0/24", "default via 198.51.100.1 dev a metric 5"), []string{"b"}},
		{"an error route", routes("default type unreachable", "default via 198.51.100.1 dev a metric 5"), []string{"b"}},
		{"the first of equal ones", routes("default via 198.51.100.1 dev a", "default via 198.51.101.1 dev b"), []string{"b"}},
		{"a route without gateway: the device's first address", routes("default dev a"), []string{"b"}},
		{"both legs of a multipath route", []uplink.Route{multipath}, nil},
		{"another device", []uplink.Route{via("tun0", "", 1)}, []string{"a", "b"}},
		{"no default in main: the first live member", nil, []string{"b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			uplinks := world("a", "b")
			uplinks.IPv4.Addresses, uplinks.IPv4.Routes = two, tt.routes
			p := build(t, balanced("a", "b"), uplinks)
			var got []string
			for _, rule := range chain(t, &p.IPv4, hookChain).Rules {
				if args := rule.Args(""); strings.HasPrefix(args, "-s ") {
					got = append(got, args[len(args)-1:])
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("rules for sources of %v, want %v", got, tt.want)
			}
		})
	}
}

func TestChainNames(t *testing.T) {
	letters := strings.Repeat("n", 32)
	seen := map[string]string{}
	for length := 1; length <= 32; length++ {
		for _, last := range "ab" {
			name := letters[:length-1] + string(last)
			for _, chain := range []string{MemberChain(name), PolicyChain(name)} {
				if len(chain) > maxChainName {
					t.Errorf("%s: %d characters", chain, len(chain))
				}
				if other, twice := seen[chain]; twice {
					t.Errorf("%s stands for %s and %s", chain, other, name)
				}
				seen[chain] = name
			}
		}
	}
	if got := MemberChain("eighteen_letters_x"); got != "lb_member_eighteen_letters_x" {
		t.Errorf("a name that fits became %s", got)
	}
}

// TestSetNames: every name fits the kernel, and the families have different
// ones.
func TestSetNames(t *testing.T) {
	seen := map[string]string{}
	for length := 1; length <= 32; length++ {
		for _, last := range "ab" {
			name := strings.Repeat("n", length-1) + string(last)
			for _, f := range family.All {
				set := UserSet(config.IPSet{Name: name, Family: f})
				rb := ruleBuilder{familyBuilder: &familyBuilder{family: f}, prefix: named, id: name}
				for _, kernel := range []string{set, rb.ruleSet("s"), rb.ruleSet("m199")} {
					if len(kernel) > 31 || seen[kernel] != "" {
						t.Errorf("%s stands for %s (%s) and %q, with %d characters", kernel, name, f, seen[kernel], len(kernel))
					}
					seen[kernel] = name + " (" + f.String() + ")"
				}
			}
		}
	}
}

// TestChainMark: the mark changes with anything in the chain, but not with the
// place where a cascade stands.
func TestChainMark(t *testing.T) {
	base := Chain{Name: "lb_x", Rules: []Rule{on(Return{})}, Cascade: []string{"a", "b"}}
	if again := (Chain{Name: "lb_x", Rules: []Rule{on(Return{})}, Cascade: []string{"a", "b"}}); again.Fingerprint() != base.Fingerprint() {
		t.Error("equal chains have different marks")
	}
	for _, other := range []Chain{
		{Name: "lb_y", Rules: base.Rules, Cascade: base.Cascade},
		{Name: "lb_x", Rules: []Rule{on(Return{}, InDevice("a"))}, Cascade: base.Cascade},
		{Name: "lb_x", Rules: []Rule{on(Return{}), on(Return{})}, Cascade: base.Cascade},
		{Name: "lb_x", Cascade: base.Cascade},
		{Name: "lb_x", Rules: base.Rules, Cascade: []string{"b", "a"}},
		{Name: "lb_x", Rules: base.Rules},
	} {
		if other.Fingerprint() == base.Fingerprint() {
			t.Errorf("%+v has the same mark", other)
		}
	}
}

func TestBroadcast(t *testing.T) {
	tests := []struct{ prefix, peer, want string }{
		{"192.168.1.1/24", "", "192.168.1.255"},
		{"10.1.2.3/9", "", "10.127.255.255"},
		{"192.0.2.1/30", "", "192.0.2.3"},
		{"192.0.2.0/31", "", ""}, // RFC 3021
		{"192.0.2.1/32", "", ""},
		{"192.0.2.1/24", "192.0.2.9", ""}, // the network is the peer's
		{"2001:db8::1/64", "", ""},
	}
	for _, tt := range tests {
		a := uplink.Address{Prefix: netip.MustParsePrefix(tt.prefix)}
		if tt.peer != "" {
			a.Peer = netip.MustParseAddr(tt.peer)
		}
		got, ok := a.Broadcast()
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("%s: %v %v, want %s", tt.prefix, got, ok, tt.want)
		}
	}
}

// TestWholeMarks: sockets with marks that ip rules before ours compare as a whole
// are left alone; all others are dealt.
func TestWholeMarks(t *testing.T) {
	const whole = 0xffffffff
	uplinks := world("a")
	uplinks.IPv4.Rules = []uplink.Rule{
		{Priority: 110, Mark: 0x1bd00, Mask: whole, Not: true},
		{Priority: 5999, Mark: 0x162, Mask: 0xf000fff},
		{Priority: 6000, Mark: 0x2024, Mask: whole},        // behind ours
		{Priority: 5210, Mark: 0x80000, Mask: 0xff0000},    // no bit of ours
		{Priority: 2023, Mark: 0x8000000, Mask: 0x8000000}, // a clash
		{Priority: 100, Mask: whole},                       // unmarked packets
		{Priority: 99},                                     // any packet
	}
	var got []string
	for _, r := range chain(t, &build(t, balanced("a"), uplinks).IPv4, "lb_out").Rules {
		if _, returns := r.Target.(Return); returns {
			got = append(got, r.Matches[0].Args())
		}
	}
	if want := []string{"-m mark --mark 0x1bd00/0xffffffff", "-m mark --mark 0x162/0xf000fff"}; !slices.Equal(got, want) {
		t.Errorf("left alone: %q, want %q", got, want)
	}
}
