package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

// route is a unicast route; "via ADDRESS" is optional.
func route(text string) uplink.Route {
	r := uplink.Route{Type: uplink.Unicast}
	words := strings.Fields(strings.Replace("to "+text, "to default", "to 0.0.0.0/0", 1))
	for i := 0; i+1 < len(words); i += 2 {
		switch value := words[i+1]; words[i] {
		case "to":
			r.Destination = prefix(value)
		case "from":
			r.From = prefix(value)
		case "via":
			r.Gateway = address(value)
		case "dev":
			r.Device = value
		case "src":
			r.Source = address(value)
		case "type":
			r.Type = uplink.RouteType(value)
		case "metric":
			fmt.Sscan(value, &r.Metric)
		}
	}
	return r
}

func routes(lines ...string) []uplink.Route {
	var all []uplink.Route
	for _, line := range lines {
		all = append(all, route(line))
	}
	return all
}

// TestMainDefault: which route of main counts as a default route. Without one,
// unmarked packets have a rule of their own; one that ends the lookup is told.
func TestMainDefault(t *testing.T) {
	for _, tt := range []struct {
		routes       []uplink.Route
		spare, noted bool
	}{
		{nil, true, false},
		{routes("default dev a"), false, false},
		{routes("default via 198.51.100.1 dev a metric 9"), false, false},
		{routes("192.0.2.0/24 dev lan"), true, false},
		{routes("0.0.0.0/1 dev tun0"), true, true},
		{routes("default type unreachable"), true, true},
		{routes("default type blackhole"), true, true},
		{routes("default type prohibit"), true, true},
		{routes("default type throw"), true, false},
		{routes("default type throw", "default dev a"), false, false},
	} {
		uplinks := world("a")
		uplinks.IPv4.Routes = tt.routes
		p := build(t, balanced("a"), uplinks)
		spare := slices.ContainsFunc(p.IPv4.Rules, func(r uplink.Rule) bool { return r.Priority == prioNoMainRoute })
		if spare != tt.spare {
			t.Errorf("%+v: rule at %d: %v, want %v", tt.routes, prioNoMainRoute, spare, tt.spare)
		}
		if noted := len(p.Notices) > 0; noted != tt.noted {
			t.Errorf("%+v: notices %q", tt.routes, p.Notices)
		}
	}
}

// TestLocalDestinations: what main knows better is local, except the member's
// own network on its own device.
func TestLocalDestinations(t *testing.T) {
	for text, want := range map[string]bool{
		"198.51.100.0/24 dev a":                  false, // the network of a
		"198.51.100.0/24 via 198.51.100.9 dev a": true,
		"198.51.100.0/24 dev lan":                true,
		"198.51.100.0/25 dev a":                  true,
		"192.0.2.0/24 dev a":                     true,
		"198.51.101.0/24 dev a":                  true, // the network of b
		"192.0.2.0/24 type unreachable":          true,
		"default dev lan":                        false,
	} {
		uplinks := world("a", "b")
		uplinks.IPv4.Routes = routes(text)
		p := build(t, balanced("a", "b"), uplinks)
		if got := slices.Contains(p.IPv4.Sets[0].Entries, route(text).Destination); got != want {
			t.Errorf("%s: local %v, want %v", text, got, want)
		}
	}
}

// TestHoles: main's destinations inside a member's network are left to main.
func TestHoles(t *testing.T) {
	uplinks := world("a")
	path := uplinks.Members[0].IPv4
	path.Networks = []uplink.Network{{Prefix: prefix("10.0.0.0/8")}, {Prefix: prefix("10.9.0.0/16")}}
	uplinks.IPv4.Routes = routes("default dev a", "0.0.0.0/1 dev tun0", "10.0.0.0/8 dev a", "10.9.0.0/16 dev a", "10.20.0.0/16 dev lan",
		"10.20.0.0/16 dev lan metric 9", "10.9.1.0/24 type unreachable", "192.0.2.0/24 dev lan")
	p := build(t, balanced("a"), uplinks)
	var holes []string
	for _, r := range p.IPv4.Routes {
		if r.Type == uplink.Throw {
			holes = append(holes, r.Destination.String())
		}
	}
	if want := []string{"10.9.1.0/24", "10.20.0.0/16"}; !slices.Equal(holes, want) {
		t.Errorf("holes %v, want %v", holes, want)
	}
}

// TestTwinsAreNotBound: an address that two members have says nothing.
func TestTwinsAreNotBound(t *testing.T) {
	uplinks := world("a", "b", "c", "d")
	uplinks.Members[2].IPv4.Addresses = uplinks.Members[1].IPv4.Addresses
	// Main has no default route, so that an unbound socket gets a's address.
	if got := boundMembers(t, build(t, balanced("a", "b", "c", "d"), uplinks)); !slices.Equal(got, []string{"d"}) {
		t.Errorf("rules for sources of %v, want d alone", got)
	}
	uplinks.Members[0].IPv4.Addresses = nil
	if got := boundMembers(t, build(t, balanced("a", "b", "c", "d"), uplinks)); !slices.Equal(got, []string{"d"}) {
		t.Errorf("without an address of a: rules for sources of %v, want d alone", got)
	}
}

// boundMembers are the members that hook chooses by the packet's source.
func boundMembers(t *testing.T, p *Plan) []string {
	t.Helper()
	var names []string
	for _, rule := range chain(t, &p.IPv4, hookChain).Rules {
		if args := rule.Args(""); strings.HasPrefix(args, "-s ") {
			_, name, _ := strings.Cut(args, "lb_member_")
			names = append(names, name)
		}
	}
	return names
}

// TestPrefixesOfOneMember: a prefix that another member has too, or has an
// address in, does not tell whose a source is.
func TestPrefixesOfOneMember(t *testing.T) {
	uplinks := world("a", "b", "c")
	a, b, c := uplinks.Members[0].IPv6, uplinks.Members[1].IPv6, uplinks.Members[2].IPv6
	shared := prefix("2001:db8:aa::/64")
	a.Prefixes = []netip.Prefix{shared, prefix("2001:db8:bb::/64"), prefix("2001:db8:cc::/64")}
	b.Prefixes, b.Addresses = []netip.Prefix{shared}, []netip.Addr{address("2001:db8:bb::7")}
	c.Prefixes, c.Addresses = nil, nil
	p := build(t, balanced("a", "b", "c"), uplinks)
	var sources []string
	for _, rule := range chain(t, &p.IPv6, hookChain).Rules {
		if args := rule.Args(""); strings.HasPrefix(args, "-s ") {
			sources = append(sources, args)
		}
	}
	if want := []string{"-s 2001:db8:cc::/64 -g lb_member_a"}; !slices.Equal(sources, want) {
		t.Errorf("hook chooses %q, want %q", sources, want)
	}
	var from []string
	for _, r := range p.IPv6.Rules {
		if r.From.IsValid() {
			from = append(from, fmt.Sprint(r.From, " ", r.Priority))
		}
	}
	if want := []string{"2001:db8::1/128 9501", "2001:db8:cc::/64 9501", "2001:db8:bb::7/128 9502"}; !slices.Equal(from, want) {
		t.Errorf("ip rules from %q, want %q", from, want)
	}
}

// TestMemberWithoutDevice: an interface that is gone leaves no device, and a
// rule without one would hold for every packet.
func TestMemberWithoutDevice(t *testing.T) {
	uplinks := world("a", "b")
	uplinks.Members[0].IPv4 = &uplink.Path{Reason: "interface 'a' does not exist"}
	p := build(t, balanced("a", "b"), uplinks)
	for _, r := range p.IPv4.Rules {
		if r.Priority == prioDevice+1 || r.Priority == prioDevice+2 && r.Out != "b" {
			t.Errorf("rule %+v", r)
		}
	}
	for _, r := range chain(t, &p.IPv4, hookChain).Rules {
		if args := r.Args(""); strings.HasPrefix(args, "-i ") && args != "-i b -g lb_member_b" {
			t.Errorf("hook has %s", args)
		}
	}
	for _, s := range p.Sysctls {
		if !strings.HasPrefix(s.Path, "net/ipv4/conf/b/") {
			t.Errorf("sysctl %+v", s)
		}
	}
}

// TestResolvers: what a provider names is asked over its line if it can be a
// server beyond it, and only on the ports of DNS. An address of the other family
// would have the kernel refuse all chains.
func TestResolvers(t *testing.T) {
	uplinks := world("a", "b")
	for f, lan := range map[family.Family]string{family.IPv4: "192.168.1.1/24", family.IPv6: "fd00::1/64"} {
		own := map[family.Family]string{family.IPv4: "9.9.9.9/32", family.IPv6: "2620:fe::9/128"}[f]
		inLAN := netip.MustParsePrefix(lan)
		main, other := uplinks.Main(f), uplinks.Members[1].Path(f).Addresses[0]
		main.Addresses = []uplink.Address{{Device: "lan", Prefix: inLAN}, {Device: "b", Prefix: family.Host(other)}}
		main.Routes = []uplink.Route{{Destination: inLAN.Masked(), Type: uplink.Unicast, Device: "lan"}}
		uplinks.Members[0].Path(f).DNS = []netip.Addr{
			address("9.9.9.9"), address("2620:fe::9"), other, inLAN.Addr(), inLAN.Addr().Next(), address("192.168.1.255"),
			address("0.0.0.0"), address("127.0.0.53"), address("224.0.0.251"), address("255.255.255.255"), address("169.254.7.7"),
			address("::"), address("::1"), address("ff02::fb"), address("fe80::1"),
		}
		p := build(t, balanced("a", "b"), uplinks)
		var got []string
		for _, r := range chain(t, p.Family(f), hookChain).Rules {
			if text := r.Args(""); strings.Contains(text, "--dports") && strings.HasSuffix(text, "lb_member_a") {
				got = append(got, text)
			}
		}
		to := "-d " + own
		want := []string{to + " -p 17 -m multiport --dports 53 -g lb_member_a", to + " -p 6 -m multiport --dports 53,853 -g lb_member_a"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: rules for resolvers %q, want %q", f, got, want)
		}
	}
}

// TestSysctlsOncePerDevice: two members of one device, and one that is down but
// has an address, and one that is down and has none.
func TestSysctlsOncePerDevice(t *testing.T) {
	uplinks := world("a", "b", "c", "d")
	uplinks.Members[1].IPv4.Device = "a"
	uplinks.Members[2].IPv4.Up = false
	uplinks.Members[3].IPv4.Up, uplinks.Members[3].IPv4.Addresses = false, nil
	var got []string
	for _, s := range build(t, balanced("a", "b", "c", "d"), uplinks).Sysctls {
		got = append(got, s.Path)
	}
	want := []string{"net/ipv4/conf/a/rp_filter", "net/ipv4/conf/a/src_valid_mark", "net/ipv4/conf/c/rp_filter", "net/ipv4/conf/c/src_valid_mark"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// A point-to-point line has no address of its own at times, and is up.
	uplinks.Members[3].IPv4.Up = true
	if n := len(build(t, balanced("a", "b", "c", "d"), uplinks).Sysctls); n != 6 {
		t.Errorf("%d settings with d up, want 6", n)
	}
}
