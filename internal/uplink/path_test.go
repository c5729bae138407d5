package uplink

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// kernelRoute is a unicast route of the main table, as `ip route` writes it,
// with "nexthop DEVICE GATEWAY" for each leg. Its protocol is static unless the
// text says kernel or ra.
func kernelRoute(text string) route {
	r := route{protocol: unix.RTPROT_STATIC, Route: Route{Type: Unicast}}
	words := strings.Fields(text)
	for len(words) > 1 {
		switch value := words[1]; words[0] {
		case "to":
			r.Destination = prefix(value)
		case "from":
			r.From = prefix(value)
		case "via":
			r.Gateway = addr(value)
		case "dev":
			r.Device = value
		case "src":
			r.Source = addr(value)
		case "type":
			r.Type = RouteType(value)
		case "proto":
			r.protocol = map[string]uint8{"kernel": unix.RTPROT_KERNEL, "ra": unix.RTPROT_RA}[value]
		case "nexthop":
			r.Nexthops = append(r.Nexthops, Nexthop{Device: value, Gateway: addr(words[2])})
			words = words[1:]
		}
		words = words[2:]
	}
	return r
}

// withRoutes adds routes, the preferred ones first, as the main table is read.
func (s *snapshot) withRoutes(lines ...string) *snapshot {
	for _, line := range lines {
		r := kernelRoute(line)
		f := family.Of(r.Destination.Addr())
		s.routes[f] = append(s.routes[f], r)
	}
	return s
}

// withFlags sets the flags of the device's address.
func (s *snapshot) withFlags(text string, flags uint32) *snapshot {
	a := addr(text)
	for i, known := range s.addresses[family.Of(a)] {
		if known.Prefix.Addr() == a {
			s.addresses[family.Of(a)][i].flags = flags
		}
	}
	return s
}

// TestGatewayOfPath: the configured gateway, none on a point-to-point link,
// netifd's, main's, and at last the other end of a cable with two addresses.
func TestGatewayOfPath(t *testing.T) {
	cable := device{name: "eth1", addresses: []string{"192.0.2.2/24"}}
	tun := device{name: "eth1", pointToPoint: true, addresses: []string{"192.0.2.2/24"}}
	pair := device{name: "eth1", addresses: []string{"192.0.2.2 peer 203.0.113.1"}}
	configured := knowledge{gateway: addr("192.0.2.9")}
	learnt := knowledge{learnt: learnt{hops: []netip.Addr{addr("192.0.2.8"), addr("192.0.2.7")}}}
	const none = "no gateway: no default route over 'eth1' in the main table (set option gateway)"
	for _, tt := range []struct {
		name    string
		device  device
		routes  []string
		k       knowledge
		gateway string
		reason  string
	}{
		{"configured", cable, []string{"to 0.0.0.0/0 via 192.0.2.1 dev eth1"}, configured, "192.0.2.9", ""},
		{"configured, point-to-point", tun, nil, configured, "192.0.2.9", ""},
		{"point-to-point", tun, []string{"to 0.0.0.0/0 via 192.0.2.1 dev eth1"}, learnt, "", ""},
		{"netifd's first", cable, []string{"to 0.0.0.0/0 via 192.0.2.1 dev eth1"}, learnt, "192.0.2.8", ""},
		{"main's", cable, []string{"to 0.0.0.0/0 via 192.0.2.1 dev eth1", "to 0.0.0.0/0 via 192.0.2.4 dev eth1"}, knowledge{}, "192.0.2.1", ""},
		{"main's, by a leg", cable, []string{"to 0.0.0.0/0 nexthop eth2 198.51.100.1 nexthop eth1 192.0.2.1"}, knowledge{}, "192.0.2.1", ""},
		{"main's, without gateway", cable, []string{"to 0.0.0.0/0 dev eth1"}, knowledge{}, "", ""},
		{"main's, before the other end", pair, []string{"to 0.0.0.0/0 via 192.0.2.1 dev eth1"}, knowledge{}, "192.0.2.1", ""},
		{"the other end", pair, nil, knowledge{}, "203.0.113.1", ""},
		{"another device's default", cable, []string{"to 0.0.0.0/0 via 198.51.100.1 dev eth2"}, knowledge{}, "", none},
		{"an error route", cable, []string{"to 0.0.0.0/0 dev eth1 type unreachable"}, knowledge{}, "", none},
		{"half of a default", cable, []string{"to 0.0.0.0/1 via 192.0.2.1 dev eth1"}, knowledge{}, "", none},
		{"an IPv6 gateway", cable, []string{"to 0.0.0.0/0 via fe80::1 dev eth1"}, knowledge{}, "",
			"the gateway fe80::1 of 'eth1' is no IPv4 address (set option gateway)"},
	} {
		s := kernelWith(tt.device, device{name: "eth2", addresses: []string{"198.51.100.2 peer 198.51.100.9"}}).withRoutes(tt.routes...)
		p := s.path(family.IPv4, "eth1", tt.k)
		gateway := ""
		if p.Gateway.IsValid() {
			gateway = p.Gateway.String()
		}
		if gateway != tt.gateway || p.Reason != tt.reason || p.Up != (tt.reason == "") {
			t.Errorf("%s: gateway %q, reason %q, up %v; want %q, %q", tt.name, gateway, p.Reason, p.Up, tt.gateway, tt.reason)
		}
	}
}

// TestReasonOfPath: the first thing that is wrong is told.
func TestReasonOfPath(t *testing.T) {
	sound := func() *snapshot {
		return kernelWith(device{name: "eth1", addresses: []string{"192.0.2.2/24", "2001:db8::2/64"}})
	}
	gateways := map[family.Family]netip.Addr{family.IPv4: addr("192.0.2.1"), family.IPv6: addr("fe80::1")}
	for _, tt := range []struct {
		change     func(*snapshot)
		ipv4, ipv6 string
	}{
		{func(*snapshot) {}, "", ""},
		{func(s *snapshot) { s.ipv6 = false }, "", "IPv6 is switched off in the kernel"},
		{func(s *snapshot) { s.links = nil }, "device 'eth1' does not exist", "device 'eth1' does not exist"},
		{func(s *snapshot) { s.links["eth1"] = link{running: true} }, "device 'eth1' is down", "device 'eth1' is down"},
		{func(s *snapshot) { s.links["eth1"] = link{up: true} }, "device 'eth1' has no link", "device 'eth1' has no link"},
		{func(s *snapshot) { s.addresses = [2][]address{} }, "no IPv4 address on 'eth1'", "no IPv6 address on 'eth1'"},
	} {
		s := sound()
		tt.change(s)
		for f, want := range map[family.Family]string{family.IPv4: tt.ipv4, family.IPv6: tt.ipv6} {
			if got := s.path(f, "eth1", knowledge{gateway: gateways[f]}); got.Reason != want {
				t.Errorf("%s: %q, want %q", f, got.Reason, want)
			}
		}
	}
	// A delegated prefix is enough for IPv6.
	s := kernelWith(device{name: "eth1"})
	if p := s.path(family.IPv6, "eth1", knowledge{gateway: addr("fe80::1"), prefixes: prefixes("2001:db8:1::/56")}); !p.Up {
		t.Errorf("with a prefix alone: %q", p.Reason)
	}
}

// TestAddressesOfPath: which addresses of the device packets may leave with,
// and in which order.
func TestAddressesOfPath(t *testing.T) {
	s := kernelWith(device{name: "eth1", addresses: []string{
		"169.254.1.1/16", "192.0.2.3/24", "192.0.2.2/24", "2001:db8::1/64", "2001:db8::2/64", "2001:db8::3/64", "2001:db8::4/64",
		"2001:db8::5/64", "2001:db8::6/64", "2001:db8::7/64", "fe80::1/64"}},
		device{name: "eth2", addresses: []string{"192.0.2.4/24", "2001:db8::9/64"}})
	s.addresses[family.IPv4][0].scope = unix.RT_SCOPE_HOST
	s.withFlags("192.0.2.3", unix.IFA_F_DEPRECATED|unix.IFA_F_TENTATIVE)
	s.withFlags("2001:db8::1", unix.IFA_F_DEPRECATED)
	s.withFlags("2001:db8::2", unix.IFA_F_TEMPORARY)
	s.withFlags("2001:db8::4", unix.IFA_F_TENTATIVE)
	s.withFlags("2001:db8::5", unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC)
	s.withFlags("2001:db8::6", unix.IFA_F_DADFAILED)
	s.withFlags("2001:db8::7", unix.IFA_F_PERMANENT)
	expect(t, "IPv4", s.ownAddresses(family.IPv4, "eth1"), addrs("192.0.2.3", "192.0.2.2"))
	expect(t, "IPv6", s.ownAddresses(family.IPv6, "eth1"),
		addrs("2001:db8::3", "2001:db8::5", "2001:db8::7", "2001:db8::1", "2001:db8::2"))
}

// TestNetworksOfPath: connected networks are those of the kernel and of router
// advertisements, and of addresses that came without their route.
func TestNetworksOfPath(t *testing.T) {
	eth1 := device{name: "eth1", addresses: []string{"192.0.2.2/24", "192.0.2.130/25", "198.51.100.7/32", "2001:db8::2/64", "2001:db8:5::2/128", "fe80::2/64"}}
	eth2 := device{name: "eth2", addresses: []string{"203.0.113.2/24", "2001:db8:9::2/64"}}
	own4 := networks("192.0.2.0/24", "192.0.2.2", "192.0.2.128/25", "192.0.2.130")
	own6 := networks("2001:db8::/64", "2001:db8::2")
	for _, tt := range []struct {
		name  string
		route string
		v4    []Network
		v6    []Network
	}{
		{"no route", "to 10.0.0.0/8 dev eth2 proto kernel", own4, own6},
		{"the address's own", "to 192.0.2.0/24 dev eth1 proto kernel src 192.0.2.2", own4, own6},
		{"the route's source", "to 192.0.2.0/24 dev eth1 proto kernel src 192.0.2.130",
			networks("192.0.2.0/24", "192.0.2.130", "192.0.2.128/25", "192.0.2.130"), own6},
		{"the address that came with it, not one that lies in it", "to 192.0.2.128/25 dev eth1 proto kernel", own4, own6},
		{"an address that lies in it", "to 192.0.0.0/16 dev eth1 proto kernel", append(networks("192.0.0.0/16", "192.0.2.2"), own4...), own6},
		{"no address in it", "to 10.0.0.0/8 dev eth1 proto kernel", append(networks("10.0.0.0/8", ""), own4...), own6},
		{"static", "to 10.0.0.0/8 dev eth1", own4, own6},
		{"behind a gateway", "to 10.0.0.0/8 via 192.0.2.1 dev eth1 proto kernel", own4, own6},
		{"default", "to 0.0.0.0/0 dev eth1 proto kernel", own4, own6},
		{"error", "to 10.0.0.0/8 dev eth1 proto kernel type unreachable", own4, own6},
		{"the other end", "to 10.9.9.9/32 dev eth1 proto kernel", append(networks("10.9.9.9/32", ""), own4...), own6},
		{"itself", "to 198.51.100.7/32 dev eth1 proto kernel", own4, own6},
		{"advertised", "to 2001:db8:7::/64 dev eth1 proto ra", own4, append(networks("2001:db8::/64", "2001:db8::2"), networks("2001:db8:7::/64", "")...)},
		{"link-local", "to fe80::/64 dev eth1 proto kernel", own4, own6},
	} {
		s := kernelWith(eth1, eth2).withRoutes(tt.route)
		expect(t, tt.name+" (IPv4)", s.networks(family.IPv4, "eth1"), tt.v4)
		expect(t, tt.name+" (IPv6)", s.networks(family.IPv6, "eth1"), tt.v6)
	}
	nested := kernelWith(device{name: "eth1", addresses: []string{"192.0.2.130/25", "192.0.2.2/24"}}).withRoutes("to 192.0.2.0/24 dev eth1 proto kernel")
	expect(t, "the smaller network's address first", nested.networks(family.IPv4, "eth1"), own4)
	tentative := kernelWith(eth1).withFlags("2001:db8::2", unix.IFA_F_TENTATIVE)
	expect(t, "of an address that is not there yet", tentative.networks(family.IPv6, "eth1"), []Network(nil))
}

// TestPrefixesOfPath: those of main's source-specific default routes over the
// device, with netifd's, unless some are configured.
func TestPrefixesOfPath(t *testing.T) {
	s := kernelWith(device{name: "eth1", addresses: []string{"2001:db8::2/64"}}).withRoutes(
		"to ::/0 via fe80::1 dev eth1",
		"to ::/0 from 2001:db8:2::/56 via fe80::1 dev eth1",
		"to ::/0 from 2001:db8:1::/56 via fe80::1 dev eth1",
		"to ::/0 from 2001:db8:1::/56 via fe80::2 dev eth1",
		"to ::/0 from 2001:db8:3::/56 via fe80::1 dev eth2",
		"to ::/0 from 2001:db8:4::/56 nexthop eth2 fe80::1 nexthop eth1 fe80::1",
		"to ::/0 from 2001:db8:5::/56 dev eth1 type unreachable",
		"to 2001:db8::/32 from 2001:db8:6::/56 via fe80::1 dev eth1")
	learnt := learnt{prefixes: prefixes("2001:db8:1::/56", "2001:db8::/56", "2001:db8:1::/48")}
	expect(t, "main's", s.path(family.IPv6, "eth1", knowledge{}).Prefixes, prefixes("2001:db8:1::/56", "2001:db8:2::/56", "2001:db8:4::/56"))
	expect(t, "with netifd's", s.path(family.IPv6, "eth1", knowledge{learnt: learnt}).Prefixes,
		prefixes("2001:db8::/56", "2001:db8:1::/48", "2001:db8:1::/56", "2001:db8:2::/56", "2001:db8:4::/56"))
	expect(t, "configured", s.path(family.IPv6, "eth1", knowledge{prefixes: prefixes("2001:db8:7::/48"), learnt: learnt}).Prefixes, prefixes("2001:db8:7::/48"))
	expect(t, "of IPv4", s.path(family.IPv4, "eth1", knowledge{learnt: learnt}).Prefixes, []netip.Prefix(nil))
}

// TestWhetherThereIsIPv6: a path for IPv6 exists where an address, a default
// route or an option speaks of it.
func TestWhetherThereIsIPv6(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kernel *snapshot
		member config.Member
		device string // "" for no path
	}{
		{"nothing", kernelWith(device{name: "eth1"}), config.Member{Device: "eth1"}, ""},
		{"an address", kernelWith(device{name: "eth1", addresses: []string{"2001:db8::2/64"}}), config.Member{Device: "eth1"}, "eth1"},
		{"a link-local address", kernelWith(device{name: "eth1", addresses: []string{"fe80::2/64"}}), config.Member{Device: "eth1"}, ""},
		{"a default route", kernelWith(device{name: "eth1"}).withRoutes("to ::/0 via fe80::1 dev eth1"), config.Member{Device: "eth1"}, "eth1"},
		{"another's default route", kernelWith(device{name: "eth1"}).withRoutes("to ::/0 via fe80::1 dev eth2"), config.Member{Device: "eth1"}, ""},
		{"an address of another", kernelWith(device{name: "eth2", addresses: []string{"2001:db8::2/64"}}), config.Member{Device: "eth1"}, ""},
		{"a gateway", kernelWith(device{name: "eth1"}), config.Member{Device: "eth1", Gateway6: addr("fe80::1")}, "eth1"},
		{"a prefix", kernelWith(device{name: "eth1"}), config.Member{Device: "eth1", Prefix6: prefixes("2001:db8::/56")}, "eth1"},
		{"an interface of its own", kernelWith(), config.Member{Interface: "eth1", Interface6: "eth2"}, "eth2"},
		{"the interface's name is the device's", kernelWith(device{name: "eth1", addresses: []string{"2001:db8::2/64"}}), config.Member{Interface: "eth1"}, "eth1"},
	} {
		got := ""
		if p := tt.kernel.ipv6Path(tt.member); p != nil {
			got = p.Device
		}
		if got != tt.device {
			t.Errorf("%s: path on %q, want %q", tt.name, got, tt.device)
		}
		if p := tt.kernel.ipv4Path(tt.member); p == nil || p.Device != "eth1" {
			t.Errorf("%s: IPv4 %+v", tt.name, p)
		}
	}
	// What is configured is used.
	s := kernelWith(device{name: "eth1", addresses: []string{"192.0.2.2/24", "2001:db8::2/64"}})
	m := config.Member{Device: "eth1", Gateway: addr("192.0.2.9"), Gateway6: addr("fe80::9"), Prefix6: prefixes("2001:db8:7::/56")}
	if p := s.ipv4Path(m); !p.Up || p.Gateway != m.Gateway {
		t.Errorf("IPv4: %+v", p)
	}
	p := s.ipv6Path(m)
	if !p.Up || p.Gateway != m.Gateway6 {
		t.Errorf("IPv6: %+v", p)
	}
	expect(t, "prefixes", p.Prefixes, m.Prefix6)
}

// TestLeaveOut: what another member has on the same device, with the networks
// that only it reaches.
func TestLeaveOut(t *testing.T) {
	p := &Path{
		Addresses: addrs("192.0.2.2", "192.0.2.3", "198.51.100.3"),
		Networks:  networks("192.0.2.0/24", "192.0.2.3", "198.51.100.0/24", "198.51.100.3", "203.0.113.0/24", ""),
	}
	p.leaveOut(nil)
	expect(t, "no others", p.Networks, networks("192.0.2.0/24", "192.0.2.3", "198.51.100.0/24", "198.51.100.3", "203.0.113.0/24", ""))
	p.leaveOut(addrs("192.0.2.3", "198.51.100.3"))
	expect(t, "addresses", p.Addresses, addrs("192.0.2.2"))
	expect(t, "networks", p.Networks, networks("192.0.2.0/24", "192.0.2.2", "203.0.113.0/24", ""))
}

// TestPathByName: the state answers for a member and a family.
func TestPathByName(t *testing.T) {
	four, six := &Path{Device: "a"}, &Path{Device: "b"}
	s := State{Members: []Member{{Name: "x", IPv4: six}, {Name: "m", IPv4: four, IPv6: six}}, IPv4: Main{Enabled: true}}
	if s.Path("m", family.IPv4) != four || s.Path("m", family.IPv6) != six || s.Path("x", family.IPv6) != nil || s.Path("y", family.IPv4) != nil {
		t.Error("another path than that of the member and family")
	}
	if !s.Main(family.IPv4).Enabled || s.Main(family.IPv6).Enabled {
		t.Error("the main table of the other family")
	}
}

// TestPreferredRoutesFirst: the order in which the main table is told.
func TestPreferredRoutesFirst(t *testing.T) {
	ordered := []string{
		"to 0.0.0.0/0 dev a", "to 10.0.0.0/8 dev a", "to 10.0.0.0/9 dev a", "to 10.0.0.0/9 dev b",
		"to 10.0.0.0/9 via 192.0.2.1 dev b", "to 11.0.0.0/8 dev a",
		"to ::/0 dev a", "to ::/0 from 2001:db8::/32 dev a", "to ::/0 from 2001:db8::/48 dev a", "to ::/0 from 2001:db9::/32 dev a",
	}
	for i := range ordered {
		for j := range ordered {
			got := compareRoutes(kernelRoute(ordered[i]), kernelRoute(ordered[j]))
			if got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s before %s: %d", ordered[i], ordered[j], got)
			}
		}
	}
	cheap, dear := kernelRoute("to ::/0 from 2001:db9::/32 dev b"), kernelRoute("to ::/0 dev a")
	dear.Metric = 1
	if compareRoutes(cheap, dear) >= 0 {
		t.Error("the lower metric does not come first")
	}
}
