package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// open moves the test into a network namespace of its own, makes two devices
// there, and opens a Handle.
func open(t *testing.T) *Handle {
	t.Helper()
	netlab.FreshNamespace(t)
	run(t, "ip link set lo up")
	run(t, "ip link add wan1 type veth peer name wan2")
	for _, device := range []string{"wan1", "wan2"} {
		run(t, "ip link set "+device+" up")
	}
	h, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func run(t *testing.T, command string) {
	t.Helper()
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// routes returns the routes of one table.
func routes(t *testing.T, h *Handle, f family.Family, table int) []Route {
	t.Helper()
	all, err := h.Routes(f)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(r Route) bool { return r.Table != table })
}

// rules returns the rules with our priorities.
func rules(t *testing.T, h *Handle, f family.Family) []netlink.Rule {
	t.Helper()
	all, err := h.Rules(f)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(r netlink.Rule) bool { return r.Priority < 6000 || r.Priority > 9999 })
}

func TestRoutesOfOthers(t *testing.T) {
	h := open(t)
	run(t, "ip addr add 10.1.0.1/24 dev wan1")
	run(t, "ip addr add 10.2.0.1/24 dev wan2")
	run(t, "ip addr add 2001:db8:1::1/64 dev wan1 nodad")
	const static = unix.RTPROT_STATIC
	plain := func(f family.Family) Route {
		return Route{Family: f, Table: 77, Type: unix.RTN_UNICAST, Protocol: static, Destination: f.Default()}
	}
	tests := []struct {
		command string
		want    func(*Route)
	}{
		{"-4 route add default via 10.1.0.9 dev wan1 src 10.1.0.1 metric 7", func(r *Route) {
			r.Gateway, r.Device, r.Source, r.Metric = addr("10.1.0.9"), "wan1", addr("10.1.0.1"), 7
		}},
		{"-4 route add 10.9.0.0/16 via inet6 fe80::9 dev wan1 onlink", func(r *Route) {
			r.Destination, r.Gateway, r.Device, r.OnLink = prefix("10.9.0.0/16"), addr("fe80::9"), "wan1", true
		}},
		{"-4 route add 10.9.0.0/16 dev wan1 mtu 1400", func(r *Route) {
			r.Destination, r.Device, r.Scope, r.Special = prefix("10.9.0.0/16"), "wan1", unix.RT_SCOPE_LINK, true
		}},
		{"-4 route add default nexthop via 10.1.0.9 dev wan1 nexthop via 10.2.0.9 dev wan2", func(r *Route) {
			r.Nexthops = []Nexthop{{"wan1", addr("10.1.0.9")}, {"wan2", addr("10.2.0.9")}}
		}},
		{"-4 route add 10.9.0.0/16 tos 0x10 dev wan1", func(r *Route) {
			r.Destination, r.Device, r.Scope, r.TOS = prefix("10.9.0.0/16"), "wan1", unix.RT_SCOPE_LINK, 0x10
		}},
		{"-4 route add throw 10.9.0.0/16", func(r *Route) {
			r.Destination, r.Type = prefix("10.9.0.0/16"), unix.RTN_THROW
		}},
		{"-6 route add default from 2001:db8:100::/56 via fe80::9 dev wan1", func(r *Route) {
			r.From, r.Gateway, r.Device, r.Metric = prefix("2001:db8:100::/56"), addr("fe80::9"), "wan1", 1024
		}},
		{"-6 route add unreachable default", func(r *Route) { r.Type, r.Metric = unix.RTN_UNREACHABLE, 1024 }},
		{"-6 route add 2001:db8:9::/48 dev wan1 metric 5", func(r *Route) {
			r.Destination, r.Device, r.Metric = prefix("2001:db8:9::/48"), "wan1", 5
		}},
	}
	for _, test := range tests {
		run(t, "ip "+strings.Replace(test.command, " add ", " add table 77 protocol static ", 1))
		f := family.IPv4
		if strings.HasPrefix(test.command, "-6") {
			f = family.IPv6
		}
		want := plain(f)
		test.want(&want)
		h.Forget()
		if got := routes(t, h, f, 77); !reflect.DeepEqual(got, []Route{want}) {
			t.Errorf("%s:\n got %+v\nwant %+v", test.command, got, want)
		}
		run(t, "ip "+test.command[:2]+" route flush table 77")
	}
}

// What a dump has besides routes, and what it should never have.
func TestParseRoute(t *testing.T) {
	message := func(familyNumber uint8, flags uint32, attributes ...*nl.RtAttr) []byte {
		header := nl.RtMsg{RtMsg: unix.RtMsg{Family: familyNumber, Table: 77, Type: unix.RTN_UNICAST, Flags: flags}}
		b := slices.Clone(header.Serialize())
		for _, a := range attributes {
			b = append(b, a.Serialize()...)
		}
		return b
	}
	oneNexthop := (&nl.RtNexthop{}).Serialize()
	tests := []struct {
		name     string
		message  []byte
		ok       bool
		nexthops int
	}{
		{"a route", message(unix.AF_INET, 0), true, 0},
		{"a copy", message(unix.AF_INET6, unix.RTM_F_CLONED), false, 0},
		{"MPLS", message(unix.AF_MPLS, 0, nl.NewRtAttr(unix.RTA_DST, []byte{1})), false, 0},
		{"a nexthop", message(unix.AF_INET, 0, nl.NewRtAttr(unix.RTA_MULTIPATH, oneNexthop)), true, 1},
		{"half a nexthop", message(unix.AF_INET, 0, nl.NewRtAttr(unix.RTA_MULTIPATH, append(slices.Clone(oneNexthop), 99, 0, 0, 0, 0, 0, 0, 0))), true, 1},
		{"half a header", message(unix.AF_INET, 0)[:8], false, 0},
		{"half an attribute", append(message(unix.AF_INET, 0), 99, 0, 1, 0), true, 0},
		{"an empty gateway", message(unix.AF_INET, 0, nl.NewRtAttr(unix.RTA_VIA, nil), nl.NewRtAttr(unix.RTA_OIF, nil)), true, 0},
	}
	for _, test := range tests {
		if r, ok := parseRoute(test.message, nil); ok != test.ok || len(r.Nexthops) != test.nexthops {
			t.Errorf("%s: %+v, %v", test.name, r, ok)
		}
	}
}

// Each list is dumped once, and again after a change of ours.
func TestEachListIsReadOnce(t *testing.T) {
	h := open(t)
	route := Route{Table: 301, Type: unix.RTN_UNICAST, Protocol: 108, Scope: unix.RT_SCOPE_LINK, Destination: family.IPv4.Default(), Device: "wan1"}
	rule := netlink.NewRule()
	rule.Family, rule.Priority, rule.Table, rule.Protocol = netlink.FAMILY_V4, 8001, 301, 108
	if n := len(routes(t, h, family.IPv4, 301)) + len(rules(t, h, family.IPv4)); n != 0 {
		t.Fatalf("%d routes and rules before there is one", n)
	}
	run(t, "ip route add unreachable default table 301 metric 9")
	run(t, "ip rule add lookup 301 priority 8002")
	if n := len(routes(t, h, family.IPv4, 301)) + len(rules(t, h, family.IPv4)); n != 0 {
		t.Errorf("%d routes and rules were read again", n)
	}
	if err := errors.Join(h.AddRoute(route), h.AddRule(*rule)); err != nil {
		t.Fatal(err)
	}
	if got := routes(t, h, family.IPv4, 301); len(got) != 2 || !reflect.DeepEqual(got[0], route) {
		t.Errorf("routes after a change of ours: %+v", got)
	}
	if got := rules(t, h, family.IPv4); len(got) != 2 {
		t.Errorf("rules after a change of ours: %+v", got)
	}
	names := func() int {
		links, err := h.Links()
		if err != nil {
			t.Fatal(err)
		}
		return len(links)
	}
	before := names()
	run(t, "ip link del wan2")
	if names() != before {
		t.Error("the devices were read again")
	}
	if h.Forget(); names() != before-2 {
		t.Error("the devices were not forgotten")
	}
	if err := h.AddRoute(Route{Table: 301, Type: unix.RTN_UNICAST, Destination: prefix("10.0.0.0/8"), Device: "wan2"}); !errors.Is(err, unix.ENODEV) {
		t.Errorf("a route over a device that went: %v", err)
	}
}

// Rules that suppress something are told apart from those beside them, also in
// tables for which the library does not send it.
func TestSuppressingRules(t *testing.T) {
	h := open(t)
	for _, f := range family.All {
		for _, table := range []int{254, 301} {
			mask := uint32(0x3f00)
			plain := netlink.NewRule()
			plain.Family, plain.Priority, plain.Table, plain.Protocol = int(Number(f)), 6001, table, 108
			plain.Mark, plain.Mask = 0x100, &mask
			noDefault, noGroup := *plain, *plain
			noDefault.SuppressPrefixlen, noGroup.SuppressIfgroup = 0, 3
			variants := []netlink.Rule{*plain, noDefault, noGroup}
			for _, r := range variants {
				if err := h.AddRule(r); err != nil {
					t.Fatal(err)
				}
			}
			if got := rules(t, h, f); !reflect.DeepEqual(got, variants) {
				t.Errorf("%s: read back %+v, want %+v", f, got, variants)
			}
			for _, i := range []int{1, 2, 0} {
				if err := h.DeleteRule(variants[i]); err != nil {
					t.Fatal(err)
				}
				if got := rules(t, h, f); slices.ContainsFunc(got, func(r netlink.Rule) bool { return reflect.DeepEqual(r, variants[i]) }) {
					t.Errorf("%s: another rule than %+v was deleted", f, variants[i])
				}
			}
			if err := h.DeleteRule(noDefault); !errors.Is(err, unix.ENOENT) {
				t.Errorf("%s: deleted twice: %v", f, err)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	h := open(t)
	run(t, "ip addr add 10.1.0.1/24 dev wan1")
	run(t, "ip addr add 10.2.0.1 peer 10.2.0.9/30 dev wan2")
	run(t, "ip addr add 2001:db8::1 peer 2001:db8::9 dev wan2 nodad")
	names, err := h.DeviceNames()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range family.All {
		addresses, err := h.Addresses(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addresses {
			if p := Prefix(a.IPNet); !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
				got = append(got, names[a.LinkIndex]+" "+p.String()+" "+Prefix(a.Peer).String())
			}
		}
	}
	want := []string{
		"wan1 10.1.0.1/24 invalid Prefix",
		"wan2 10.2.0.1/32 10.2.0.9/30",
		"wan2 2001:db8::1/128 2001:db8::9/128",
	}
	slices.Sort(got[:2]) // devices come in no certain order
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInterruptedDumps(t *testing.T) {
	tests := []struct {
		name         string
		interrupted  int
		failure      error
		calls, items int
	}{
		{"at once", 0, nil, 1, 1},
		{"at last", dumpAttempts - 1, nil, dumpAttempts, 1},
		{"for ever", dumpAttempts, netlink.ErrDumpInterrupted, dumpAttempts, 0},
		{"refused", 0, unix.EPERM, 1, 0},
	}
	for _, test := range tests {
		var known []int
		calls := 0
		dump := func() ([]int, error) {
			calls++
			if calls <= test.interrupted {
				return []int{7, 8}, netlink.ErrDumpInterrupted
			}
			return []int{calls}, test.failure
		}
		all, err := once(&known, "things", dump)
		if calls != test.calls || len(all) != test.items || !errors.Is(err, test.failure) {
			t.Errorf("%s: %d calls, %v, %v", test.name, calls, all, err)
		}
		if (known != nil) != (test.failure == nil) {
			t.Errorf("%s: known %v", test.name, known)
		}
	}
}

// TestManyRoutes: of a main table with more routes than anybody should keep, only
// what an uplink may be concerned by is left, and nothing of a smaller one.
func TestManyRoutes(t *testing.T) {
	h := open(t)
	run(t, "ip addr add 10.1.0.1/16 dev wan1")
	run(t, "ip -6 addr add 2001:db8:1::1/64 dev wan1 nodad")
	for f, gateway := range map[family.Family]string{family.IPv4: "10.1.0.2", family.IPv6: "2001:db8:1::2"} {
		batch := func(verb string, from, to int) {
			t.Helper()
			var text strings.Builder
			for i := from; i < to; i++ {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)}), 32)
				if f == family.IPv6 {
					p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb9, byte(i >> 8), byte(i)}), 64)
				}
				fmt.Fprintf(&text, "route %s %v via %s dev wan1\n", verb, p, gateway)
			}
			file := filepath.Join(t.TempDir(), "batch")
			if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, "ip -batch "+file)
			h.Forget()
		}
		kept := map[family.Family][]string{
			family.IPv4: {"default", "128.0.0.0/1", "10.1.7.0/24"},
			family.IPv6: {"default", "8000::/1", "2001:db8:1:0:7::/80"},
		}[f]
		for _, destination := range kept {
			run(t, "ip route add "+destination+" via "+gateway+" dev wan1")
		}
		run(t, "ip route add "+gateway+" dev wan1 table 77")
		batch("add", 0, ManyRoutes-2)
		count := len(routes(t, h, f, unix.RT_TABLE_MAIN))
		if h.HasMany(f) || count < ManyRoutes {
			t.Errorf("%s: %d routes, many %v", f, count, h.HasMany(f))
		}
		batch("add", ManyRoutes-2, ManyRoutes+1)
		left := routes(t, h, f, unix.RT_TABLE_MAIN)
		if got, want := len(left), count-(ManyRoutes-2); !h.HasMany(f) || got != want {
			t.Errorf("%s: %d routes are left, want %d", f, got, want)
		}
		for _, destination := range kept {
			if destination == "default" {
				destination = f.Default().String()
			}
			if !slices.ContainsFunc(left, func(r Route) bool { return r.Destination.String() == destination }) {
				t.Errorf("%s: %s is left out", f, destination)
			}
		}
		if other := routes(t, h, f, 77); len(other) != 1 {
			t.Errorf("%s: %d routes in another table", f, len(other))
		}
		batch("del", ManyRoutes-2, ManyRoutes+1)
		if routes(t, h, f, unix.RT_TABLE_MAIN); h.HasMany(f) {
			t.Errorf("%s: routes of a small table are left out", f)
		}
	}
}
