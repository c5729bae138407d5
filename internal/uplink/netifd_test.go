package uplink

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// device is a device of the kernel in a test, with addresses such as
// "192.0.2.2/24" or "100.64.0.7 peer 100.64.0.1".
type device struct {
	name         string
	pointToPoint bool
	addresses    []string
}

// kernelWith is a kernel with devices that are up and an empty main table, so
// that every gateway in a result is one that netifd told.
func kernelWith(devices ...device) *snapshot {
	s := &snapshot{links: map[string]link{}, ipv6: true}
	for _, d := range devices {
		s.links[d.name] = link{up: true, running: true, pointToPoint: d.pointToPoint}
		for _, text := range d.addresses {
			a := kernelAddress(d.name, text)
			f := family.Of(a.Prefix.Addr())
			s.addresses[f] = append(s.addresses[f], a)
		}
	}
	return s
}

func kernelAddress(name, text string) address {
	own, peer, isPeer := strings.Cut(text, " peer ")
	if isPeer {
		p := addr(peer)
		return address{Address: Address{Device: name, Prefix: netip.PrefixFrom(addr(own), p.BitLen()), Peer: p},
			network: netip.PrefixFrom(p, p.BitLen())}
	}
	a := address{Address: Address{Device: name, Prefix: prefix(text)}, network: prefix(text).Masked()}
	if a.Prefix.Addr().IsLinkLocalUnicast() {
		a.scope = unix.RT_SCOPE_LINK
	}
	return a
}

// recorded returns the interfaces of a recorded answer of netifd.
func recorded(t *testing.T, name string) []netifdInterface {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "netifd", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	interfaces, err := parseDump(text)
	if err != nil {
		t.Fatal(err)
	}
	return interfaces
}

func addrs(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, a := range list {
		all = append(all, addr(a))
	}
	return all
}

func prefixes(list ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, p := range list {
		all = append(all, prefix(p))
	}
	return all
}

func TestNetifdInterfaces(t *testing.T) {
	eth1 := device{name: "eth1", addresses: []string{"192.0.2.7/24"}}
	lan := networks("192.0.2.0/24", "192.0.2.7")
	tests := map[string]struct {
		file   string
		member config.Member // Name is "m"
		kernel []device
		v4, v6 *Path
	}{
		"static": {
			file: "static", member: config.Member{Interface: "wan"},
			kernel: []device{{name: "eth1", addresses: []string{"192.0.2.2/24", "2001:db8:1::2/64"}}},
			v4: &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.1"), Addresses: addrs("192.0.2.2"),
				Networks: networks("192.0.2.0/24", "192.0.2.2"), DNS: addrs("192.0.2.53")},
			v6: &Path{Device: "eth1", Up: true, Gateway: addr("2001:db8:1::1"), Addresses: addrs("2001:db8:1::2"),
				Networks: networks("2001:db8:1::/64", "2001:db8:1::2"), DNS: addrs("2001:db8:1::53")},
		},
		"dhcp: a resolver on the router and a repeated one": {
			file: "dhcp", member: config.Member{Interface: "wan"}, kernel: []device{eth1},
			v4: &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.1"), Addresses: addrs("192.0.2.7"), Networks: lan, DNS: addrs("192.0.2.53")},
		},
		"the configured gateway wins": {
			file: "dhcp", member: config.Member{Interface: "wan", Gateway: addr("192.0.2.99")}, kernel: []device{eth1},
			v4: &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.99"), Addresses: addrs("192.0.2.7"), Networks: lan, DNS: addrs("192.0.2.53")},
		},
		"pppoe with its dynamic wan_6": {
			file: "pppoe", member: config.Member{Interface: "wan"},
			kernel: []device{{name: "pppoe-wan", pointToPoint: true, addresses: []string{"100.64.0.7 peer 100.64.0.1", "2001:db8:1::7/64", "fe80::7/128"}}},
			v4: &Path{Device: "pppoe-wan", Up: true, Addresses: addrs("100.64.0.7"),
				Networks: networks("100.64.0.1/32", "100.64.0.7"), DNS: addrs("198.51.100.53")},
			v6: &Path{Device: "pppoe-wan", Up: true, Addresses: addrs("2001:db8:1::7"), Prefixes: prefixes("2001:db8:f00::/56"),
				Networks: networks("2001:db8:1::/64", "2001:db8:1::7"), DNS: addrs("2001:db8:1::53")},
		},
		"dhcp with dhcpv6 as an alias on the same device": {
			file: "dhcpv6", member: config.Member{Interface: "wan"},
			kernel: []device{{name: "eth1", addresses: []string{"192.0.2.7/24", "2001:db8:1::7/128"}}},
			v4:     &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.1"), Addresses: addrs("192.0.2.7"), Networks: lan, DNS: addrs("192.0.2.53")},
			v6: &Path{Device: "eth1", Up: true, Gateway: addr("fe80::1"), Addresses: addrs("2001:db8:1::7"),
				Prefixes: prefixes("2001:db8:f00::/56"), DNS: addrs("2001:db8:1::53")},
		},
		"a delegated prefix and no address": {
			file: "dhcpv6", member: config.Member{Interface: "wan"}, kernel: []device{eth1},
			v4: &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.1"), Addresses: addrs("192.0.2.7"), Networks: lan, DNS: addrs("192.0.2.53")},
			v6: &Path{Device: "eth1", Up: true, Gateway: addr("fe80::1"), Prefixes: prefixes("2001:db8:f00::/56"), DNS: addrs("2001:db8:1::53")},
		},
		"the configured prefix wins": {
			file: "dhcpv6", member: config.Member{Interface: "wan", Interface6: "wan6", Prefix6: prefixes("2001:db8:aa::/48")}, kernel: []device{eth1},
			v4: &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.1"), Addresses: addrs("192.0.2.7"), Networks: lan, DNS: addrs("192.0.2.53")},
			v6: &Path{Device: "eth1", Up: true, Gateway: addr("fe80::1"), Prefixes: prefixes("2001:db8:aa::/48"), DNS: addrs("2001:db8:1::53")},
		},
		"6in4 as interface6": {
			file: "6in4", member: config.Member{Interface: "wan", Interface6: "henet"},
			kernel: []device{eth1, {name: "6in4-henet", pointToPoint: true, addresses: []string{"2001:db8:5::2/64"}}},
			v4:     &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.1"), Addresses: addrs("192.0.2.7"), Networks: lan},
			v6: &Path{Device: "6in4-henet", Up: true, Addresses: addrs("2001:db8:5::2"), Prefixes: prefixes("2001:db8:6::/48"),
				Networks: networks("2001:db8:5::/64", "2001:db8:5::2")},
		},
		"6in4 is not found by itself": {
			file: "6in4", member: config.Member{Interface: "wan"},
			kernel: []device{eth1, {name: "6in4-henet", pointToPoint: true, addresses: []string{"2001:db8:5::2/64"}}},
			v4:     &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.1"), Addresses: addrs("192.0.2.7"), Networks: lan},
		},
		"wireguard": {
			file: "wireguard", member: config.Member{Interface: "wg0"},
			kernel: []device{{name: "wg0", pointToPoint: true, addresses: []string{"10.64.0.2/32", "2001:db8:7::2/128"}}},
			v4:     &Path{Device: "wg0", Up: true, Addresses: addrs("10.64.0.2"), DNS: addrs("10.64.0.1")},
			v6:     &Path{Device: "wg0", Up: true, Addresses: addrs("2001:db8:7::2")},
		},
		"a default route without gateway on a device that is not marked point-to-point": {
			file: "wireguard", member: config.Member{Interface: "wg0"},
			kernel: []device{{name: "wg0", addresses: []string{"10.64.0.2/32"}}},
			v4:     &Path{Device: "wg0", Up: true, Addresses: addrs("10.64.0.2"), DNS: addrs("10.64.0.1")},
		},
		"a modem with its dynamic children": {
			file: "wwan", member: config.Member{Interface: "wwan"},
			kernel: []device{{name: "wwan0", pointToPoint: true, addresses: []string{"100.70.1.2/30", "2001:db8:8::2/64"}}},
			v4: &Path{Device: "wwan0", Up: true, Addresses: addrs("100.70.1.2"),
				Networks: networks("100.70.1.0/30", "100.70.1.2"), DNS: addrs("198.51.100.1")},
			v6: &Path{Device: "wwan0", Up: true, Addresses: addrs("2001:db8:8::2"),
				Networks: networks("2001:db8:8::/64", "2001:db8:8::2"), DNS: addrs("2001:db8:8::53")},
		},
		"a modem that speaks Ethernet": {
			file: "wwan", member: config.Member{Interface: "wwan"},
			kernel: []device{{name: "wwan0", addresses: []string{"100.70.1.2/30"}}},
			v4: &Path{Device: "wwan0", Up: true, Gateway: addr("100.70.1.1"), Addresses: addrs("100.70.1.2"),
				Networks: networks("100.70.1.0/30", "100.70.1.2"), DNS: addrs("198.51.100.1")},
		},
		"a modem whose IPv4 is on its way": {
			file: "wwan-pending", member: config.Member{Interface: "wwan"}, kernel: []device{{name: "wwan0", pointToPoint: true}},
			v4: &Path{Device: "wwan0", Reason: "interface 'wwan_4' is still coming up"},
		},
		"a macvlan device": {
			file: "macvlan", member: config.Member{Interface: "wan2"},
			kernel: []device{{name: "vth1", addresses: []string{"183.169.64.1/20"}}, {name: "vth2", addresses: []string{"183.169.64.2/20"}}},
			v4: &Path{Device: "vth2", Up: true, Gateway: addr("183.169.79.254"), Addresses: addrs("183.169.64.2"),
				Networks: networks("183.169.64.0/20", "183.169.64.2"), DNS: addrs("183.169.2.10")},
		},
		"a VLAN of a bridge": {
			file: "bridge-vlan", member: config.Member{Interface: "wan"}, kernel: []device{{name: "br-lan.100", addresses: []string{"192.0.2.2/24"}}},
			v4: &Path{Device: "br-lan.100", Up: true, Gateway: addr("192.0.2.1"), Addresses: addrs("192.0.2.2"), Networks: networks("192.0.2.0/24", "192.0.2.2")},
		},
		"option defaultroute and peerdns 0": {
			file: "no-defaultroute", member: config.Member{Interface: "wan"}, kernel: []device{eth1},
			v4: &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.1"), Addresses: addrs("192.0.2.7"), Networks: lan},
		},
		"option ip4table, and the lower metric": {
			file: "own-table", member: config.Member{Interface: "wan"}, kernel: []device{eth1},
			v4: &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.1"), Addresses: addrs("192.0.2.7"), Networks: lan},
		},
		"a device that the kernel does not have": {
			file: "dhcp", member: config.Member{Interface: "wan"},
			v4: &Path{Device: "eth1", Gateway: addr("192.0.2.1"), DNS: addrs("192.0.2.53"), Reason: "device 'eth1' does not exist"},
		},
		"a renamed, deleted or disabled interface": {
			file: "dhcp", member: config.Member{Interface: "wan1"}, kernel: []device{eth1},
			v4: &Path{Reason: "interface 'wan1' does not exist in /etc/config/network, or is disabled there"},
		},
		"a renamed IPv6 interface": {
			file: "dhcp", member: config.Member{Interface: "wan", Interface6: "wan6"}, kernel: []device{eth1},
			v4: &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.1"), Addresses: addrs("192.0.2.7"), Networks: lan, DNS: addrs("192.0.2.53")},
			v6: &Path{Reason: "interface 'wan6' does not exist in /etc/config/network, or is disabled there"},
		},
		"a member with a device stays with the kernel": {
			file: "dhcp", member: config.Member{Device: "eth1"}, kernel: []device{eth1},
			v4: &Path{Device: "eth1", Addresses: addrs("192.0.2.7"), Networks: lan,
				Reason: "no gateway: no default route over 'eth1' in the main table (set option gateway)"},
		},
		"a device's name that is none": {
			file: "hostile", member: config.Member{Interface: "wan"}, kernel: []device{eth1},
			v4: &Path{Reason: "interface 'wan' is up, but has no device that can be an uplink"},
		},
		"the router itself": {
			file: "hostile", member: config.Member{Interface: "self"}, kernel: []device{{name: "lo", addresses: []string{"127.0.0.1/8"}}},
			v4: &Path{Reason: "interface 'self' is up, but has no device that can be an uplink"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.member.Name = "m"
			n := &netifd{snapshot: kernelWith(tt.kernel...), interfaces: recorded(t, tt.file), members: []config.Member{tt.member}}
			m := n.state().Members[0]
			expect(t, "IPv4", m.IPv4, tt.v4)
			expect(t, "IPv6", m.IPv6, tt.v6)
		})
	}
}

func TestNetifdStates(t *testing.T) {
	tests := map[string]string{
		"down":     "interface 'down' is down",
		"pending":  "interface 'pending' is still coming up: AUTH_FAILED",
		"missing":  "interface 'missing' is down: its device 'usb0' is missing",
		"nodevice": "interface 'nodevice' is down: its device is missing",
		"off":      "interface 'off' is down: it was switched off (`ifup off` brings it up)",
		"failed":   "interface 'failed' is down: PIN_LOCKED",
		"odd":      "interface 'odd' is down",
	}
	interfaces := recorded(t, "states")
	for name, want := range tests {
		n := &netifd{snapshot: kernelWith(), interfaces: interfaces,
			members: []config.Member{{Name: "m", Interface: name}, {Name: "n", Interface: name, Interface6: name}}}
		s := n.state()
		expect(t, name, s.Members[0], Member{Name: "m", IPv4: &Path{Reason: want}})
		expect(t, name+" as interface6", s.Members[1].IPv6, &Path{Reason: want})
	}
}

// Two uplinks on one device: an alias has its own address, gateway and
// networks, and does not give its IPv4 to the other member.
func TestNetifdAlias(t *testing.T) {
	n := &netifd{
		snapshot: kernelWith(device{name: "eth1", addresses: []string{
			"192.0.2.2/24", "192.0.2.3/24", "198.51.100.3/24", "192.0.2.200/24", "2001:db8:1::7/64"}}),
		interfaces: recorded(t, "alias"),
		members:    []config.Member{{Name: "a", Interface: "wan"}, {Name: "b", Interface: "wanb", Interface6: "wan6"}},
	}
	s := n.state()
	expect(t, "wan", s.Members[0], Member{Name: "a", IPv4: &Path{Device: "eth1", Up: true, Gateway: addr("192.0.2.1"),
		// 192.0.2.200 is nobody's interface: a keepalived address counts for
		// all uplinks on the device.
		Addresses: addrs("192.0.2.2", "192.0.2.200"), DNS: addrs("192.0.2.53"), Networks: networks("192.0.2.0/24", "192.0.2.2")}})
	expect(t, "wanb (IPv4)", s.Members[1].IPv4, &Path{Device: "eth1", Up: true, Gateway: addr("198.51.100.1"),
		Addresses: addrs("192.0.2.3", "198.51.100.3", "192.0.2.200"),
		Networks:  networks("192.0.2.0/24", "192.0.2.3", "198.51.100.0/24", "198.51.100.3")})
	expect(t, "wanb (IPv6)", s.Members[1].IPv6, &Path{Device: "eth1", Up: true, Gateway: addr("fe80::1"),
		Addresses: addrs("2001:db8:1::7"), Networks: networks("2001:db8:1::/64", "2001:db8:1::7")})
}

func TestNetifdLeavesOutWhatIsNoAddress(t *testing.T) {
	interfaces := recorded(t, "hostile")
	index := slices.IndexFunc(interfaces, func(i netifdInterface) bool { return i.Name == "wan2" })
	got := interfaces[index]
	expect(t, "addresses", got.Addresses, [2][]netip.Addr{})
	expect(t, "prefixes", got.Prefixes, prefixes("2001:db8:9::/48"))
	expect(t, "resolvers", got.DNS, [2][]netip.Addr{addrs("192.0.2.53")})
	// A metric that is no number to be believed comes last, in netifd's order.
	expect(t, "default routes", got.Defaults[family.IPv4], []netifdRoute{
		{Gateway: addr("192.0.2.77"), Metric: maxMetric - 1}, {Gateway: addr("192.0.2.5"), Metric: maxMetric - 1}})
	if got := interfaces[0].L3Device; got != "" {
		t.Errorf("device %q was taken", got)
	}
}

func TestNetifdUnreadable(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"interface": {}}`, `{"interface": [{"interface": 7}]}`,
		`{"interface": [{"interface": "wan", "up": "yes"}]}`} {
		if _, err := parseDump([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), "ubus call network.interface dump: ") {
			t.Errorf("%.40q: error %v", text, err)
		}
	}
	for _, text := range []string{"{}", `{"interface": null}`, `{"interface": [{}]}`, `{"interface": [{"interface": "a\nb"}]}`} {
		if interfaces, err := parseDump([]byte(text)); err != nil || len(interfaces) != 0 {
			t.Errorf("%q: %v, error %v", text, interfaces, err)
		}
	}
}

// FuzzNetifd feeds any answer: what comes out can stand in a rule, and no
// message holds more than one printable line.
func FuzzNetifd(f *testing.F) {
	files, err := filepath.Glob("testdata/netifd/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d recorded answers, error %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	members := []config.Member{{Name: "a", Interface: "wan"}, {Name: "b", Interface: "wan2", Interface6: "wan6"}, {Name: "c", Interface: "wwan"}}
	f.Fuzz(func(t *testing.T, text []byte) {
		interfaces, err := parseDump(text)
		if err != nil {
			return
		}
		n := &netifd{snapshot: kernelWith(device{name: "eth1", addresses: []string{"192.0.2.2/24"}}), interfaces: interfaces, members: members}
		for _, m := range n.state().Members {
			for _, family := range family.All {
				if p := m.Path(family); p != nil {
					checkPath(t, family, p)
				}
			}
		}
	})
}

func checkPath(t *testing.T, f family.Family, p *Path) {
	if p.Device != "" && !config.ValidDevice(p.Device) {
		t.Errorf("device %q", p.Device)
	}
	if p.Up != (p.Reason == "") || p.Up && p.Device == "" {
		t.Errorf("up %v on device %q with reason %q", p.Up, p.Device, p.Reason)
	}
	if strings.ContainsFunc(p.Reason, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(p.Reason) > 300 {
		t.Errorf("reason %q", p.Reason)
	}
	for _, a := range slices.Concat(p.DNS, []netip.Addr{p.Gateway}) {
		if a.IsValid() && (family.Of(a) != f || !config.IsUnicast(a) || a.Zone() != "" || a.Is4In6()) {
			t.Errorf("address %v", a)
		}
	}
	for _, prefix := range p.Prefixes {
		if !config.IsUnicast(prefix.Addr()) || prefix != prefix.Masked() || !prefix.Addr().Is6() {
			t.Errorf("prefix %v", prefix)
		}
	}
}
