package uplink

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/config"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
)

// freshNamespace moves the test into a network namespace of its own, with a
// loopback device.
func freshNamespace(t *testing.T) {
	t.Helper()
	netlab.FreshNamespace(t)
	run(t, "ip link set lo up")
}

func run(t *testing.T, command string) {
	t.Helper()
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// cable makes a device whose other end, NAME-far, is in the same namespace.
func cable(t *testing.T, name string) {
	t.Helper()
	run(t, "ip link add "+name+" type veth peer name "+name+"-far")
	run(t, "ip link set "+name+" up")
	run(t, "ip link set "+name+"-far up")
	settled(t, name)
}

// settled waits until the kernel has set a device's operational state.
func settled(t *testing.T, name string) {
	t.Helper()
	deadline := time.Now().Add(netlab.SettleTimeout)
	h := open(t)
	for {
		h.Forget()
		s, err := takeSnapshot(h)
		if err != nil {
			t.Fatal(err)
		}
		if s.links[name].running {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("device %s never came up", name)
		}
	}
}

// open opens the kernel of the test's namespace.
func open(t *testing.T) *kernel.Handle {
	t.Helper()
	h, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func read(t *testing.T, members ...config.Member) State {
	t.Helper()
	s, err := NetifdSource{Kernel: open(t)}.Read(members)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func networks(pairs ...string) []Network {
	var list []Network
	for i := 0; i < len(pairs); i += 2 {
		n := Network{Prefix: prefix(pairs[i])}
		if pairs[i+1] != "" {
			n.Source = addr(pairs[i+1])
		}
		list = append(list, n)
	}
	return list
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, inJSON(got), inJSON(want))
	}
}

func inJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%+v", v)
	}
	return string(b)
}

// Several leases on one cable, as macvlan devices with one gateway. The main
// table has its default routes with different metrics.
func TestCampus(t *testing.T) {
	freshNamespace(t)
	cable(t, "eth0")
	var members []config.Member
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("vth%d", i)
		run(t, "ip link add "+name+" link eth0 type macvlan mode bridge")
		run(t, "ip link set "+name+" up")
		run(t, fmt.Sprintf("ip addr add 183.169.64.%d/20 dev %s", i, name))
		run(t, fmt.Sprintf("ip route add default via 183.169.79.254 dev %s metric %d", name, i))
		settled(t, name)
		members = append(members, config.Member{Name: fmt.Sprintf("wan%d", i), Device: name})
	}
	members[2].Gateway = addr("183.169.79.253")
	s := read(t, members...)
	for i, gateway := range []string{"183.169.79.254", "183.169.79.254", "183.169.79.253"} {
		own := fmt.Sprintf("183.169.64.%d", i+1)
		expect(t, members[i].Name, s.Members[i], Member{Name: members[i].Name, IPv4: &Path{
			Device: members[i].Device, Up: true, Gateway: addr(gateway), Addresses: []netip.Addr{addr(own)},
			Networks: networks("183.169.64.0/20", own),
		}})
	}
	if !s.IPv4.Enabled || len(s.IPv4.Routes) != 6 || !s.IPv4.Routes[0].IsDefault() || s.IPv4.Routes[0].Device != "vth1" {
		t.Errorf("the main table is %s", inJSON(s.IPv4.Routes))
	}
	expect(t, "first addresses", s.IPv4.Addresses[:2], []Address{
		{Device: "lo", Prefix: prefix("127.0.0.1/8")}, {Device: "vth1", Prefix: prefix("183.169.64.1/20")}})
}

func TestReasons(t *testing.T) {
	freshNamespace(t)
	cable(t, "wan1")
	member := config.Member{Name: "m", Interface: "wan1"}
	reason := func() string {
		p := read(t, member).Members[0].IPv4
		if p.Up != (p.Reason == "") {
			t.Errorf("up is %v with reason %q", p.Up, p.Reason)
		}
		return p.Reason
	}
	steps := []struct{ command, want string }{
		{"", "no IPv4 address on 'wan1'"},
		{"ip addr add 192.0.2.2/24 dev wan1", "no gateway: no default route over 'wan1' in the main table (set option gateway)"},
		{"ip route add default via 192.0.2.1 dev wan1", ""},
		{"ip link set wan1 state dormant", "device 'wan1' has no link"}, // as while 802.1X is not through
		{"ip link set wan1 state up", ""},
		{"ip link set wan1-far down", "device 'wan1' has no link"},
		{"ip link set wan1 down", "device 'wan1' is down"},
		{"ip link del wan1", "device 'wan1' does not exist"},
	}
	for _, step := range steps {
		if step.command != "" {
			run(t, step.command)
		}
		deadline := time.Now().Add(netlab.SettleTimeout) // the link's state follows a little later
		got := reason()
		for got != step.want && time.Now().Before(deadline) {
			got = reason()
		}
		if got != step.want {
			t.Errorf("after %q: %q, want %q", step.command, got, step.want)
		}
	}
}

func TestIPv4Gateways(t *testing.T) {
	tests := map[string]struct {
		commands []string
		gateway  string
		networks []Network
	}{
		"a leg of a multipath route": {
			commands: []string{
				"ip addr add 192.0.2.2/24 dev wan1", "ip addr add 198.51.100.2/24 dev wan2",
				"ip route add default nexthop via 198.51.100.1 dev wan2 nexthop via 192.0.2.1 dev wan1",
			},
			gateway: "192.0.2.1", networks: networks("192.0.2.0/24", "192.0.2.2"),
		},
		"the lower metric": {
			commands: []string{
				"ip addr add 192.0.2.2/24 dev wan1",
				"ip route add default via 192.0.2.9 dev wan1 metric 20", "ip route add default via 192.0.2.1 dev wan1 metric 10",
			},
			gateway: "192.0.2.1", networks: networks("192.0.2.0/24", "192.0.2.2"),
		},
		"a default route without gateway": {
			commands: []string{"ip addr add 192.0.2.2/32 dev wan1", "ip route add default dev wan1"},
		},
		"a peer on a cable": {
			commands: []string{"ip addr add 192.0.2.2 peer 203.0.113.1/32 dev wan1"},
			gateway:  "203.0.113.1", networks: networks("203.0.113.1/32", "192.0.2.2"),
		},
		"an address without its connected route": {
			commands: []string{"ip addr add 192.0.2.2/24 dev wan1 noprefixroute", "ip route add default via 192.0.2.1 dev wan1 onlink"},
			gateway:  "192.0.2.1", networks: networks("192.0.2.0/24", "192.0.2.2"),
		},
		"two networks and a secondary address; a static route is no network": {
			commands: []string{
				"ip addr add 192.0.2.2/24 dev wan1", "ip addr add 192.0.2.3/24 dev wan1", "ip addr add 10.9.0.2/16 dev wan1",
				"ip route add default via 192.0.2.1", "ip route add 172.16.0.0/12 dev wan1", "ip route add 10.8.0.0/16 via 192.0.2.1",
			},
			gateway: "192.0.2.1", networks: networks("10.9.0.0/16", "10.9.0.2", "192.0.2.0/24", "192.0.2.2"),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			freshNamespace(t)
			cable(t, "wan1")
			cable(t, "wan2")
			for _, c := range tt.commands {
				run(t, c)
			}
			p := read(t, config.Member{Name: "m", Device: "wan1"}).Members[0].IPv4
			gateway := netip.Addr{}
			if tt.gateway != "" {
				gateway = addr(tt.gateway)
			}
			if !p.Up || p.Gateway != gateway {
				t.Errorf("gateway %v, want %v (reason %q)", p.Gateway, gateway, p.Reason)
			}
			expect(t, "networks", p.Networks, tt.networks)
			if p.Addresses[0] != addr("192.0.2.2") {
				t.Errorf("addresses %v: the primary one is not first", p.Addresses)
			}
		})
	}
}

func TestIPv6GatewayOfIPv4(t *testing.T) {
	freshNamespace(t)
	cable(t, "wan1")
	run(t, "ip addr add 192.0.2.2/24 dev wan1")
	run(t, "ip -4 route add 0.0.0.0/0 via inet6 fe80::1 dev wan1")
	p := read(t, config.Member{Name: "m", Device: "wan1"}).Members[0].IPv4
	if want := "the gateway fe80::1 of 'wan1' is no IPv4 address (set option gateway)"; p.Up || p.Reason != want || p.Gateway.IsValid() {
		t.Errorf("reason %q and gateway %v, want %q", p.Reason, p.Gateway, want)
	}
}

// openTun makes a tun device and keeps it open, which is its link.
func openTun(t *testing.T, name string) {
	t.Helper()
	file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	req, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(int(file.Fd()), unix.TUNSETIFF, req); err != nil {
		t.Fatal(err)
	}
}

func TestPointToPoint(t *testing.T) {
	freshNamespace(t)
	openTun(t, "ppp0")
	run(t, "ip link set ppp0 up")
	run(t, "ip addr add 100.64.0.7 peer 100.64.0.1/32 dev ppp0")
	run(t, "ip -6 addr add 2001:db8::7/64 dev ppp0 nodad")
	settled(t, "ppp0")
	m := read(t, config.Member{Name: "m", Device: "ppp0"}).Members[0]
	expect(t, "IPv4", m.IPv4, &Path{Device: "ppp0", Up: true, Addresses: []netip.Addr{addr("100.64.0.7")},
		Networks: networks("100.64.0.1/32", "100.64.0.7")})
	expect(t, "IPv6", m.IPv6, &Path{Device: "ppp0", Up: true, Addresses: []netip.Addr{addr("2001:db8::7")},
		Networks: networks("2001:db8::/64", "2001:db8::7")})
	run(t, "ip route add default via 100.64.0.1 dev ppp0")
	if p := read(t, config.Member{Name: "m", Device: "ppp0"}).Members[0].IPv4; p.Gateway.IsValid() {
		t.Errorf("gateway %v on a point-to-point link", p.Gateway)
	}
	configured := config.Member{Name: "m", Device: "ppp0", Gateway: addr("100.64.0.9")}
	if p := read(t, configured).Members[0].IPv4; p.Gateway != configured.Gateway {
		t.Errorf("gateway %v, want the configured one", p.Gateway)
	}
}

func TestIPv6(t *testing.T) {
	freshNamespace(t)
	cable(t, "wan1")
	cable(t, "wan2")
	plain := config.Member{Name: "m", Device: "wan1"}
	if p := read(t, plain).Members[0].IPv6; p != nil {
		t.Errorf("a path without anything of IPv6: %s", inJSON(p))
	}
	withGateway := config.Member{Name: "m", Device: "wan1", Gateway6: addr("fe80::1")}
	if p := read(t, withGateway).Members[0].IPv6; p == nil || p.Reason != "no IPv6 address on 'wan1'" {
		t.Errorf("with a gateway only: %s", inJSON(p))
	}
	for _, command := range []string{
		"ip addr add 2001:db8:1::9/64 dev wan1 nodad preferred_lft 0 valid_lft 1000",
		"ip addr add 2001:db8:1::2/64 dev wan1 nodad",
		"ip addr add 2001:db8:1::5/128 dev wan1 nodad",
		"ip addr add 2001:db8:2::2/64 dev wan1 nodad noprefixroute",
		"ip addr add fe80::77/64 dev wan1 nodad",
	} {
		run(t, command)
	}
	if p := read(t, plain).Members[0].IPv6; p == nil || p.Reason != "no gateway: no default route over 'wan1' in the main table (set option gateway6)" {
		t.Errorf("without a default route: %s", inJSON(p))
	}
	for _, command := range []string{
		"ip -6 route add default from 2001:db8:f00::/56 via fe80::1 dev wan1",
		"ip -6 route add default from 2001:db8:1::/64 via fe80::1 dev wan1",
		"ip -6 route add default from 2001:db8:bad::/56 via fe80::1 dev wan2",
		"ip -6 route add 2001:db8:5::/64 dev wan1 proto ra",
	} {
		run(t, command)
	}
	s := read(t, plain)
	p := s.Members[0].IPv6
	expect(t, "networks", p.Networks, networks("2001:db8:1::/64", "2001:db8:1::2", "2001:db8:2::/64", "2001:db8:2::2", "2001:db8:5::/64", ""))
	expect(t, "prefixes", p.Prefixes, []netip.Prefix{prefix("2001:db8:1::/64"), prefix("2001:db8:f00::/56")})
	if !p.Up || p.Gateway != addr("fe80::1") {
		t.Errorf("gateway %v, reason %q", p.Gateway, p.Reason)
	}
	if n := len(p.Addresses); n != 4 || p.Addresses[n-1] != addr("2001:db8:1::9") {
		t.Errorf("addresses %v, want four with the deprecated one last", p.Addresses)
	}
	index := slices.IndexFunc(s.IPv6.Routes, func(r Route) bool { return r.From == prefix("2001:db8:bad::/56") })
	if index < 0 || s.IPv6.Routes[index].Device != "wan2" || s.IPv6.Routes[index].Metric != 1024 {
		t.Errorf("the main table %s lacks wan2's source-specific route", inJSON(s.IPv6.Routes))
	}
	if !slices.Contains(s.IPv6.Addresses, Address{Device: "lo", Prefix: prefix("::1/128")}) {
		t.Errorf("the addresses %s lack ::1", inJSON(s.IPv6.Addresses))
	}
	configured := config.Member{Name: "m", Device: "wan1", Prefix6: []netip.Prefix{prefix("2001:db8:c::/48")}}
	expect(t, "configured prefixes", read(t, configured).Members[0].IPv6.Prefixes, configured.Prefix6)
	other := config.Member{Name: "m", Interface: "wan1", Interface6: "wan2"}
	if p := read(t, other).Members[0]; p.IPv4.Device != "wan1" || p.IPv6.Device != "wan2" {
		t.Errorf("devices %s and %s, want wan1 and wan2", p.IPv4.Device, p.IPv6.Device)
	}
}

// A line may have a delegated prefix and no global address of its own.
func TestIPv6PrefixOnly(t *testing.T) {
	freshNamespace(t)
	cable(t, "wan1")
	run(t, "ip -6 route add default from 2001:db8:f00::/56 via fe80::1 dev wan1")
	p := read(t, config.Member{Name: "m", Device: "wan1"}).Members[0].IPv6
	if p == nil || !p.Up || p.Gateway != addr("fe80::1") {
		t.Errorf("got %s", inJSON(p))
	}
}

func TestTentativeAddress(t *testing.T) {
	freshNamespace(t)
	cable(t, "wan1")
	// Nothing answers while the other end is in the same namespace, so the
	// address stays tentative as long as probes are sent: 100 of them.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/wan1/dad_transmits", []byte("100"), 0); err != nil {
		t.Fatal(err)
	}
	run(t, "ip addr add 2001:db8::1/64 dev wan1")
	member := config.Member{Name: "m", Device: "wan1", Gateway6: addr("fe80::1")}
	p := read(t, member).Members[0].IPv6
	if p == nil || p.Up || p.Reason != "no IPv6 address on 'wan1'" || len(p.Networks) != 0 && p.Networks[0].Source.IsValid() {
		t.Errorf("got %s", inJSON(p))
	}
}

func TestIPv6SwitchedOff(t *testing.T) {
	freshNamespace(t)
	cable(t, "wan1")
	run(t, "ip addr add 2001:db8::1/64 dev wan1 nodad")
	if !read(t).IPv6.Enabled {
		t.Error("IPv6 is not enabled")
	}
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	s := read(t, config.Member{Name: "a", Device: "wan1"}, config.Member{Name: "b", Device: "wan1", Gateway6: addr("fe80::1")})
	if s.IPv6.Enabled || len(s.IPv6.Addresses)+len(s.IPv6.Routes) != 0 || s.Members[0].IPv6 != nil {
		t.Errorf("got %s", inJSON(s))
	}
	if p := s.Members[1].IPv6; p == nil || p.Up || p.Reason != "IPv6 is switched off in the kernel" {
		t.Errorf("with a configured gateway: %s", inJSON(p))
	}
}

func TestMainTable(t *testing.T) {
	freshNamespace(t)
	cable(t, "wan1")
	cable(t, "wan2")
	for _, command := range []string{
		"ip addr add 192.0.2.2/24 dev wan1", "ip addr add 198.51.100.2 peer 198.51.100.1/32 dev wan2",
		"ip route add unreachable 10.0.0.0/8 metric 9", "ip route add blackhole 10.1.0.0/16",
		"ip route add prohibit 10.2.0.0/16", "ip route add throw 10.3.0.0/16",
		"ip route add 10.4.0.0/16 metric 7 nexthop via 192.0.2.1 dev wan1 nexthop via 198.51.100.1 dev wan2",
		"ip route add 10.5.0.0/16 via 192.0.2.1 src 192.0.2.2 table 300",
		"ip route add local 10.6.0.0/16 dev lo table main",
	} {
		run(t, command)
	}
	main := read(t).IPv4
	expect(t, "routes", main.Routes, []Route{
		{Destination: prefix("10.0.0.0/8"), Type: Unreachable, Metric: 9},
		{Destination: prefix("10.1.0.0/16"), Type: Blackhole},
		{Destination: prefix("10.2.0.0/16"), Type: Prohibit},
		{Destination: prefix("10.3.0.0/16"), Type: Throw},
		{Destination: prefix("10.4.0.0/16"), Type: Unicast, Metric: 7, Nexthops: []Nexthop{
			{Device: "wan1", Gateway: addr("192.0.2.1")}, {Device: "wan2", Gateway: addr("198.51.100.1")}}},
		{Destination: prefix("192.0.2.0/24"), Type: Unicast, Device: "wan1", Source: addr("192.0.2.2")},
		{Destination: prefix("198.51.100.1/32"), Type: Unicast, Device: "wan2", Source: addr("198.51.100.2")},
	})
	if !slices.Contains(main.Addresses, Address{Device: "wan2", Prefix: prefix("198.51.100.2/32"), Peer: addr("198.51.100.1")}) {
		t.Errorf("no address with its peer in %s", inJSON(main.Addresses))
	}
}

func TestStateAsJSON(t *testing.T) {
	freshNamespace(t)
	cable(t, "wan1")
	for _, command := range []string{
		"ip addr add 192.0.2.2/24 dev wan1", "ip addr add 2001:db8::2/64 dev wan1 nodad",
		"ip route add default via 192.0.2.1", "ip -6 route add default from 2001:db8::/56 via fe80::1 dev wan1",
	} {
		run(t, command)
	}
	want := read(t, config.Member{Name: "a", Device: "wan1"}, config.Member{Name: "b", Device: "gone"})
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got State
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if again := read(t, config.Member{Name: "a", Device: "wan1"}, config.Member{Name: "b", Device: "gone"}); !reflect.DeepEqual(again, want) {
		t.Errorf("two reads differ:\n%s\n%s", inJSON(again), inJSON(want))
	}
}
