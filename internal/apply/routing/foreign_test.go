package routing

import (
	"net/netip"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
	"loadbalance/internal/uplink"
)

// TestReadForeign reads what other programs have, with the selectors that the
// kernel has.
func TestReadForeign(t *testing.T) {
	netlab.FreshNamespace(t)
	for _, command := range []string{
		"ip link set lo up",
		"ip rule add priority 220 lookup 220",
		"ip rule add priority 901 lookup main",
		"ip rule add priority 1000 l3mdev",
		"ip rule add priority 2001 fwmark 0x100/0x3f00 lookup 1 suppress_prefixlength 0",
		"ip rule add priority 2002 not fwmark 0xca6c lookup 51820",
		"ip rule add priority 3000 from 10.20.0.0/24 to 10.9.0.0/16 tos 0x10 iif lo goto 32766",
		"ip rule add priority 3001 ipproto udp sport 500 dport 4000-4500 prohibit",
		"ip rule add priority 3002 oif lo nop",
		"ip rule add priority 3003 uidrange 0-99 unreachable",
		"ip rule add priority 9001 fwmark 0x100/0x3f00 lookup 301 protocol 108",
		"ip -6 rule add priority 6200 from 2001:db8::/32 blackhole",
		"ip route add unreachable 192.0.2.0/24 table 301",
		"ip route add unreachable 198.51.100.0/24 table 301 protocol 108",
		"ip route add unreachable 198.51.100.0/24",
		"ip route add throw 203.0.113.0/24 table 252",
		"ip route add unreachable 203.0.113.0/24 table 253",
		"ip route add local default dev lo table 100",
		"ip -6 route add unreachable 2001:db8::/32 table 1000",
	} {
		words := strings.Fields(command)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	h, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	var got [2]uplink.Main
	for _, f := range family.All {
		if err := (Netlink{Handle: h}).ReadForeign(f, &got[f]); err != nil {
			t.Fatal(err)
		}
	}
	prefix := netip.MustParsePrefix
	want := [2]uplink.Main{
		family.IPv4: {
			Rules: []uplink.Rule{
				{Priority: 220, Action: uplink.LookUp, Table: 220, Suppress: -1},
				{Priority: 901, Action: uplink.LookUp, Table: 254, Suppress: -1},
				{Priority: 2001, Action: uplink.LookUp, Table: 1, Suppress: 0, Mark: 0x100, Mask: 0x3f00},
				{Priority: 2002, Action: uplink.LookUp, Table: 51820, Suppress: -1, Mark: 0xca6c, Mask: 0xffffffff, Not: true},
				{Priority: 3000, Action: uplink.GoTo, Target: 32766, Suppress: -1, From: prefix("10.20.0.0/24"),
					To: prefix("10.9.0.0/16"), TOS: 0x10, In: "lo"},
				{Priority: 3001, Action: "prohibit", Suppress: -1, Protocol: 17, SourcePort: uplink.PortRange{First: 500, Last: 500},
					Port: uplink.PortRange{First: 4000, Last: 4500}},
				{Priority: 3002, Action: uplink.Nop, Suppress: -1, Out: "lo"},
				{Priority: 3003, Action: "unreachable", Suppress: -1, Users: true},
			},
			Tables: map[int][]uplink.Route{
				100: {{Destination: family.IPv4.Default(), Type: uplink.Local, Device: "lo"}},
				252: {{Destination: prefix("203.0.113.0/24"), Type: uplink.Throw}},
				301: {{Destination: prefix("192.0.2.0/24"), Type: uplink.Unreachable}},
			},
		},
		family.IPv6: {
			Rules: []uplink.Rule{{Priority: 6200, Action: "blackhole", Suppress: -1, From: prefix("2001:db8::/32")}},
			Tables: map[int][]uplink.Route{
				1000: {{Destination: prefix("2001:db8::/32"), Type: uplink.Unreachable, Metric: 1024}},
			},
		},
	}
	for _, f := range family.All {
		if !reflect.DeepEqual(got[f], want[f]) {
			t.Errorf("%s:\n got %+v\nwant %+v", f, got[f], want[f])
		}
	}
}
