package uplink

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// iface is an interface of netifd: its name, then "down" where it is not up,
// "dynamic" where another one's protocol made it, and its device.
func iface(text string) netifdInterface {
	i := netifdInterface{Up: true, Available: true, Autostart: true}
	for n, word := range strings.Fields(text) {
		switch {
		case n == 0:
			i.Name = word
		case word == "down":
			i.Up = false
		case word == "dynamic":
			i.Dynamic = true
		default:
			i.L3Device = word
		}
	}
	return i
}

func ifaces(lines ...string) []netifdInterface {
	var all []netifdInterface
	for _, line := range lines {
		all = append(all, iface(line))
	}
	return all
}

func partNames(parts []*netifdInterface) string {
	var names []string
	for _, p := range parts {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

// TestPartsOfAnInterface: its children are those that its protocol made on its
// device; its companions are on the device too, and no other member's.
func TestPartsOfAnInterface(t *testing.T) {
	members := []config.Member{{Name: "m", Interface: "wan"}, {Name: "n", Interface: "theirs", Interface6: "theirs6"}}
	for _, tt := range []struct {
		interfaces            []netifdInterface
		children, companions  string
		device, deviceOfOther string
	}{
		{ifaces("wan eth1", "wan_4 dynamic eth1", "wan_6 dynamic", "wan_x eth1", "wan dynamic eth1", "wanx_6 dynamic eth1", "lan_6 dynamic eth1", "wan_7 dynamic eth9"),
			"wan wan_4 wan_6", "wan_x wan wanx_6 lan_6", "eth1", ""},
		{ifaces("wan", "wan_4 dynamic eth1", "wan_6 dynamic down eth1"), "wan wan_4 wan_6", "", "eth1", ""},
		{ifaces("wan down eth1", "wan_4 dynamic down eth1"), "wan wan_4", "", "", ""},
		{ifaces("wan eth1", "wan6 eth1", "down6 down eth1", "far6 eth9", "theirs eth1", "theirs6 eth1"), "wan", "wan6", "eth1", "eth1"},
		{ifaces("lan eth1", "theirs down eth9"), "", "", "", ""},
	} {
		n := &netifd{interfaces: tt.interfaces, members: members}
		parts := n.withChildren("wan")
		if got := partNames(parts); got != tt.children {
			t.Errorf("%+v: children %q, want %q", tt.interfaces, got, tt.children)
		}
		if got := deviceOfParts(parts); got != tt.device {
			t.Errorf("%+v: device %q, want %q", tt.interfaces, got, tt.device)
		}
		_, companions := n.onDevice(members[0], tt.device)
		companions = slices.DeleteFunc(companions, func(i *netifdInterface) bool { return slices.Contains(parts, i) })
		if got := partNames(companions); got != tt.companions {
			t.Errorf("%+v: companions %q, want %q", tt.interfaces, got, tt.companions)
		}
		want := map[string]string{}
		if tt.device != "" {
			want["wan"] = tt.device
		}
		if tt.deviceOfOther != "" {
			want["theirs"] = tt.deviceOfOther
		}
		if got := n.devices([]string{"wan", "theirs", "missing"}); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%+v: devices %v, want %v", tt.interfaces, got, want)
		}
	}
}

// TestWhoseIPv6: the IPv6 that the kernel has on a device is that of the
// interface which speaks it, where that is another member's, and else of the
// member on the device.
func TestWhoseIPv6(t *testing.T) {
	wan := config.Member{Name: "m", Interface: "wan"}
	withGateway, withPrefix := wan, wan
	withGateway.Gateway6, withPrefix.Prefix6 = addr("fe80::9"), prefixes("2001:db8:7::/56")
	other := config.Member{Name: "n", Interface: "wan6"}
	speaker := func(text string) netifdInterface {
		i := iface(text)
		i.Addresses[family.IPv6] = addrs("2001:db8::2")
		return i
	}
	own := iface("wan eth1")
	own.Addresses[family.IPv6] = addrs("2001:db8::3")
	routed, delegated := iface("wan6 eth1"), iface("wan6 eth1")
	routed.Defaults[family.IPv6] = []netifdRoute{{Gateway: addr("fe80::1")}}
	delegated.Prefixes = prefixes("2001:db8:f00::/56")
	address := kernelWith(device{name: "eth1", addresses: []string{"2001:db8::2/64"}})
	nothing := kernelWith(device{name: "eth1"})
	for _, tt := range []struct {
		name       string
		kernel     *snapshot
		interfaces []netifdInterface
		members    []config.Member
		want       bool
	}{
		{"nobody speaks of it, the kernel has it", address, ifaces("wan eth1"), []config.Member{wan}, true},
		{"nobody has it", nothing, ifaces("wan eth1"), []config.Member{wan}, false},
		{"a default route alone", kernelWith(device{name: "eth1"}).withRoutes("to ::/0 via fe80::1 dev eth1"), ifaces("wan eth1"), []config.Member{wan}, true},
		{"another member's", address, []netifdInterface{iface("wan eth1"), speaker("wan6 eth1")}, []config.Member{wan, other}, false},
		{"another member's, which has a default route", address, []netifdInterface{iface("wan eth1"), routed}, []config.Member{wan, other}, false},
		{"another member's, which has a prefix", address, []netifdInterface{iface("wan eth1"), delegated}, []config.Member{wan, other}, false},
		{"another member's, and the member's too", kernelWith(device{name: "eth1", addresses: []string{"2001:db8::2/64", "2001:db8::3/64"}}),
			[]netifdInterface{own, speaker("wan6 eth1")}, []config.Member{wan, other}, true},
		{"another member's is down", address, []netifdInterface{iface("wan eth1"), speaker("wan6 down eth1")}, []config.Member{wan, other}, true},
		{"another member's is elsewhere", address, []netifdInterface{iface("wan eth1"), speaker("wan6 eth9")}, []config.Member{wan, other}, true},
		{"another member's has IPv4 alone", address, ifaces("wan eth1", "wan6 eth1"), []config.Member{wan, other}, true},
		{"another interface, of no member", address, []netifdInterface{iface("wan eth1"), speaker("wan6 eth1")}, []config.Member{wan}, true},
		{"a configured gateway", nothing, ifaces("wan eth1"), []config.Member{withGateway}, true},
		{"a configured gateway beside another member's", address, []netifdInterface{iface("wan eth1"), speaker("wan6 eth1")}, []config.Member{withGateway, other}, true},
		{"a configured prefix beside another member's", address, []netifdInterface{iface("wan eth1"), speaker("wan6 eth1")}, []config.Member{withPrefix, other}, true},
		{"a configured prefix", nothing, ifaces("wan eth1"), []config.Member{withPrefix}, true},
	} {
		n := &netifd{snapshot: tt.kernel, interfaces: tt.interfaces, members: tt.members}
		p := n.state().Members[0].IPv6
		if (p != nil) != tt.want {
			t.Errorf("%s: %s", tt.name, inJSON(p))
		}
		if m := tt.members[0]; p != nil && m.Gateway6.IsValid() && p.Gateway != m.Gateway6 {
			t.Errorf("%s: gateway %v", tt.name, p.Gateway)
		}
	}
}

// TestOthersOnTheDevice: other members' interfaces, as long as these are up.
func TestOthersOnTheDevice(t *testing.T) {
	m := config.Member{Name: "m", Interface: "wan", Interface6: "wan6"}
	n := &netifd{
		interfaces: ifaces("wan eth1", "wan6 eth1", "b eth1", "c down eth1", "d eth9", "guest eth1"),
		members: []config.Member{m, {Name: "b", Interface: "b"}, {Name: "c", Interface: "c"}, {Name: "d", Interface: "d"},
			{Name: "e", Interface: "wan6", Interface6: "wan"}},
	}
	others, rest := n.onDevice(m, "eth1")
	expect(t, "others", partNames(others), "b")
	expect(t, "the rest", partNames(rest), "guest")
}

// TestReasonOfChild: a missing address is explained by the child of its family,
// while that is not up.
func TestReasonOfChild(t *testing.T) {
	for _, tt := range []struct {
		interfaces []netifdInterface
		addresses  []string
		ipv4, ipv6 string
	}{
		{ifaces("wan eth1", "wan_4 dynamic down eth1", "wan_6 dynamic eth1"), nil, "interface 'wan_4' is down", "no IPv6 address on 'eth1'"},
		{ifaces("wan eth1", "wan_4 dynamic eth1", "wan_6 dynamic down eth1"), nil, "no IPv4 address on 'eth1'", "interface 'wan_6' is down"},
		{ifaces("wan eth1", "wan_4 dynamic down eth1"), []string{"192.0.2.2/24"},
			"no gateway: no default route over 'eth1' in the main table (set option gateway)", "no IPv6 address on 'eth1'"},
	} {
		n := &netifd{snapshot: kernelWith(device{name: "eth1", addresses: tt.addresses}), interfaces: tt.interfaces}
		m := config.Member{Name: "m", Interface: "wan"}
		for f, want := range map[family.Family]string{family.IPv4: tt.ipv4, family.IPv6: tt.ipv6} {
			if got := n.path(f, m, "wan", n.withChildren("wan"), knowledge{}).Reason; got != want {
				t.Errorf("%+v, %s: %q, want %q", tt.interfaces, f, got, want)
			}
		}
	}
	// A path without an address of its own that is up all the same.
	n := &netifd{snapshot: kernelWith(device{name: "eth1"}), interfaces: ifaces("wan eth1", "wan_6 dynamic down eth1")}
	k := knowledge{gateway: addr("fe80::1"), prefixes: prefixes("2001:db8:1::/56")}
	if p := n.path(family.IPv6, config.Member{Name: "m", Interface: "wan"}, "wan", n.withChildren("wan"), k); !p.Up || p.Reason != "" {
		t.Errorf("with a prefix alone: up %v, reason %q", p.Up, p.Reason)
	}
}

// TestMemberWithADeviceHasItsIPv6 also where netifd was asked for others.
func TestMemberWithADeviceHasItsIPv6(t *testing.T) {
	n := &netifd{
		snapshot:   kernelWith(device{name: "eth1", addresses: []string{"2001:db8::2/64"}}),
		interfaces: ifaces("wan eth9"),
		members:    []config.Member{{Name: "a", Device: "eth1"}, {Name: "b", Interface: "wan"}},
	}
	m := n.state().Members[0]
	if m.Name != "a" || m.IPv6 == nil || m.IPv6.Device != "eth1" {
		t.Errorf("got %s", inJSON(m))
	}
}

// parsed is the interface of an answer that has one, with further fields.
func parsed(t *testing.T, fields string) netifdInterface {
	t.Helper()
	interfaces, err := parseDump([]byte(`{"interface": [{"interface": "wan", "up": true, "metric": 7, ` + fields + `}]}`))
	if err != nil || len(interfaces) != 1 {
		t.Fatal(interfaces, err)
	}
	return interfaces[0]
}

// TestOrderOfDefaults: what netifd has set comes before what it has not,
// whatever the metrics, and a route without one has its interface's.
func TestOrderOfDefaults(t *testing.T) {
	i := parsed(t, `"route": [
		{"target": "0.0.0.0", "mask": 0, "nexthop": "192.0.2.9", "metric": 9},
		{"target": "0.0.0.0", "mask": 0, "nexthop": "192.0.2.7"},
		{"target": "0.0.0.0", "mask": 0, "nexthop": "0.0.0.0", "metric": 8},
		{"target": "0.0.0.0", "mask": 0, "nexthop": "", "metric": 10},
		{"target": "0.0.0.0", "mask": 1, "nexthop": "192.0.2.1"},
		{"target": "10.0.0.0", "mask": 0, "nexthop": "192.0.2.1"},
		{"target": "::", "mask": 0, "nexthop": "fe80::1"}],
		"inactive": {"route": [{"target": "0.0.0.0", "mask": 0, "nexthop": "192.0.2.3", "metric": 0}]}`)
	var hops []string
	for _, hop := range learnFrom(family.IPv4, []*netifdInterface{&i}).hops {
		hops = append(hops, hop.String())
	}
	if want := []string{"192.0.2.7", "invalid IP", "192.0.2.9", "invalid IP", "192.0.2.3"}; !slices.Equal(hops, want) {
		t.Errorf("gateways %q, want %q", hops, want)
	}
}

// TestLengthOfPrefix: 128 bits and no more.
func TestLengthOfPrefix(t *testing.T) {
	i := parsed(t, `"ipv6-prefix": [{"address": "2001:db8::1", "mask": 128}, {"address": "2001:db8::2", "mask": 129}, {"address": "2001:db8::3", "mask": -1},
		{"address": "2001:db8:1::4", "mask": 48}]`)
	expect(t, "prefixes", i.Prefixes, prefixes("2001:db8::1/128", "2001:db8:1::/48"))
}

// TestLastError: only what is surely a code gets into messages.
func TestLastError(t *testing.T) {
	const longest = "AZaz09_-AZaz09_-AZaz09_-AZaz09_-AZaz09_-"
	for code, want := range map[string]string{
		longest: longest, longest + "A": "", "": "", "a b": "", "a@": "", "a[": "", "a`": "", "a{": "", "a/": "", "a:": "", "é": "", "a,": "", "a.": "",
	} {
		if got := parsed(t, `"errors": [{"code": "FIRST"}, {"code": "`+code+`"}]`).Error; got != want {
			t.Errorf("%q: %q, want %q", code, got, want)
		}
	}
}
