package advice

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// TestOwnerOfRule: by the numbers that programs use unless told otherwise.
func TestOwnerOfRule(t *testing.T) {
	for _, tt := range []struct {
		rule uplink.Rule
		want string
	}{
		{uplink.Rule{Priority: 999, Mask: 0x3f00}, ""},
		{uplink.Rule{Priority: 1000, Mask: 0x3f00}, "mwan3"},
		{uplink.Rule{Priority: 3999, Mask: 0x3f00}, "mwan3"},
		{uplink.Rule{Priority: 4000, Mask: 0x3f00}, ""},
		{uplink.Rule{Priority: 2000, Mask: 0xff00}, ""},
		{uplink.Rule{Priority: 5209}, ""},
		{uplink.Rule{Priority: 5210}, "Tailscale"},
		{uplink.Rule{Priority: 5270}, "Tailscale"},
		{uplink.Rule{Priority: 5271}, ""},
		{uplink.Rule{Priority: 100, Table: 52}, "Tailscale"},
		{uplink.Rule{Priority: 100, Table: 51}, ""},
		{uplink.Rule{Priority: 100, Table: 51820}, "wg-quick"},
		{uplink.Rule{Priority: 110, Mark: 0x1bd00, Mask: 0xffffffff, Table: 7121}, "NetBird"},
		{uplink.Rule{Priority: 2023, Mark: 0x8000000, Mask: 0x8000000, Table: 2023}, "dae"},
		{uplink.Rule{Priority: 2023, Table: 2023}, ""},
		{uplink.Rule{Priority: 9001, Table: 2022}, "sing-box or Clash"},
		{uplink.Rule{Priority: 100, Mask: 0xff0000}, "pbr"},
		{uplink.Rule{Priority: 100, Mark: 1, Table: 100}, "a transparent proxy"},
		{uplink.Rule{Priority: 100, Mark: 1, Table: 101}, ""},
		{uplink.Rule{Priority: 100, Mark: 2, Table: 100}, ""},
	} {
		if got := owner(tt.rule); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.rule, got, tt.want)
		}
	}
}

// TestMarkClashesBesideMWAN3: what is mwan3's is an error of its own while it
// runs; all else is told, and so is what it left behind.
func TestMarkClashesBesideMWAN3(t *testing.T) {
	chains := []iptables.Marker{{Chain: "mwan3_iface_in_wan", Bits: 0x3f00}, {Chain: "mark_it", Bits: 0x100}, {Chain: "elsewhere", Bits: 0x10000}}
	foreign := uplink.Rule{Priority: 100, Mark: 0x100, Mask: 0x100}
	mwan3 := uplink.Rule{Priority: 2001, Mark: 0x100, Mask: 0x3f00}
	for _, tt := range []struct {
		hook  []string
		rules []uplink.Rule
		want  []string // what each sentence is about
	}{
		{nil, []uplink.Rule{foreign}, []string{"chain 'mwan3_iface_in_wan'", "chain 'mark_it'", "ip rule 100 "}},
		{[]string{"mwan3_hook"}, []uplink.Rule{foreign}, []string{"chain 'mark_it'", "ip rule 100 "}},
		{nil, []uplink.Rule{mwan3, foreign}, []string{"chain 'mark_it'", "ip rule 100 "}},
	} {
		f := finder{Facts: Facts{Config: &config.Config{Globals: config.Globals{MarkMask: 0x3f00}}, Uplinks: uplink.State{IPv4: uplink.Main{Rules: tt.rules}},
			Mangle: map[family.Family]*iptables.Table{family.IPv4: {Markers: chains, ForeignChains: tt.hook}, family.IPv6: nil}}}
		f.markClashes()
		got := f.Warnings
		same := len(got) == len(tt.want)
		for i := range got {
			same = same && strings.Contains(got[i], tt.want[i])
		}
		if !same {
			t.Errorf("hook %q, rules %v: %q, want sentences about %q", tt.hook, tt.rules, got, tt.want)
		}
	}
}

// TestZones: which zones there are, and which translate IPv4 sources.
func TestZones(t *testing.T) {
	for text, want := range map[string]string{
		"config zone\n option name a\n option masq 1\n":                                                                                   "a:true",
		"config zone\n option name a\n option masq yes\n":                                                                                 "a:true",
		"config zone\n option name a\n option masq 0\n":                                                                                   "a:false",
		"config zone\n option name a\n":                                                                                                   "a:false",
		"config zone\n option name a\n option masq 1\n option family ipv6\n":                                                              "a:false",
		"config zone\n option name a\n option masq 1\n option family ipv4\n":                                                              "a:true",
		"config zone\n option name a\n option masq 1\n option enabled 0\n":                                                                "",
		"config rule\n option name a\n option masq 1\n":                                                                                   "",
		"config zone\n option name a\nconfig nat\n option src a\n option target SNAT\n":                                                   "a:true",
		"config zone\n option name a\nconfig nat\n option src a\n option target masquerade\n":                                             "a:true",
		"config zone\n option name a\nconfig zone\n option name b\nconfig nat\n option src '*'\n option target SNAT\n":                    "a:true b:true",
		"config zone\n option name a\nconfig nat\n option src b\n option target SNAT\n":                                                   "a:false",
		"config zone\n option name a\nconfig nat\n option src a\n option target ACCEPT\n":                                                 "a:false",
		"config zone\n option name a\nconfig nat\n option src a\n option target SNAT\n option enabled 0\n":                                "a:false",
		"config zone\n option name a\nconfig redirect\n option src a\n option target SNAT\n":                                              "a:false",
		"config zone\n option name a\n option family ipv6\nconfig nat\n option src a\n option target SNAT\nconfig zone\n option name b\n": "a:false b:false",
	} {
		var got []string
		for _, z := range zones(parse(t, text)) {
			got = append(got, fmt.Sprintf("%s:%v", z.name, z.masq))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %v, want %s", text, got, want)
		}
	}
}

// TestZoneHolds: by the name of a network, by a device, or by what a device's
// name begins with.
func TestZoneHolds(t *testing.T) {
	z := zone{networks: []string{"wan", "wanb"}, devices: []string{"eth1", "ppp+"}}
	for _, tt := range []struct {
		networks []string
		device   string
		want     bool
	}{
		{nil, "", false},
		{[]string{"wan"}, "", true},
		{[]string{"lan", "wanb"}, "eth9", true},
		{[]string{"lan"}, "eth9", false},
		{[]string{"wa"}, "", false},
		{nil, "eth1", true},
		{nil, "eth10", false},
		{nil, "ppp0", true},
		{nil, "ppp", true},
		{nil, "ppp+", true},
		{nil, "pp", false},
	} {
		if got := z.holds(tt.networks, tt.device); got != tt.want {
			t.Errorf("networks %q, device %q: %v", tt.networks, tt.device, got)
		}
	}
	if (zone{devices: []string{"+"}}).holds(nil, "") {
		t.Error("no device is held as any device")
	}
}

// TestNetworksOfAMember: its interface, and the networks that use its device.
func TestNetworksOfAMember(t *testing.T) {
	network := parse(t, `config interface wan
	option device eth1
config interface old
	option ifname 'eth9 eth1'
config interface dsl
	option proto pppoe
	option device eth2
config interface wg0
	option proto wireguard
config interface eth1
	option proto static
config interface
	option device eth1
	option proto pppoe
config device
	option device eth1
`)
	for _, tt := range []struct {
		member config.Member
		device string
		want   []string
	}{
		{config.Member{Interface: "wan"}, "", []string{"wan"}},
		{config.Member{Interface: "dsl"}, "pppoe-dsl", []string{"dsl", "dsl"}},
		{config.Member{Device: "eth1"}, "eth1", []string{"wan", "old", ""}},
		{config.Member{Device: "wg0"}, "wg0", []string{"wg0"}},
		{config.Member{Device: "pppoe-"}, "pppoe-", nil},
		{config.Member{Device: "eth2"}, "eth2", []string{"dsl"}},
		{config.Member{Device: "eth3"}, "eth3", nil},
	} {
		if got := (Facts{Files: Files{Network: network}}).networksOf(tt.member, tt.device); !slices.Equal(got, tt.want) {
			t.Errorf("%+v on %q: %q, want %q", tt.member, tt.device, got, tt.want)
		}
		want := 0
		if tt.member.Interface != "" {
			want = 1
		}
		if got := (Facts{}).networksOf(tt.member, tt.device); len(got) != want {
			t.Errorf("%+v without a network file: %q", tt.member, got)
		}
	}
}

// TestMemberOfAFamily: who is warned of a zone that does not masquerade.
func TestMemberOfAFamily(t *testing.T) {
	up, down := &uplink.Path{Device: "eth1", Up: true}, &uplink.Path{Device: "eth1"}
	for _, tt := range []struct {
		name       string
		ipv4, ipv6 *uplink.Path
		want       bool
	}{
		{"nothing is known", nil, nil, true},
		{"IPv6 alone, IPv4 is not there", nil, up, true},
		{"IPv6 alone", down, up, false},
		{"both are down", down, down, true},
		{"IPv4 is down", down, nil, true},
		{"both", up, up, true},
		{"without a device", &uplink.Path{}, nil, true},
	} {
		f := twoMembers(t)
		f.Firewall = parse(t, "config zone\n option name lan\n")
		f.Uplinks.Members = []uplink.Member{{Name: "wan2", IPv4: tt.ipv4, IPv6: tt.ipv6}}
		f.Config.Members = f.Config.Members[1:2]
		found := finder{Facts: f}
		if found.unmasqueraded(); len(found.Warnings) > 0 != tt.want {
			t.Errorf("%s: %q", tt.name, found.Warnings)
		}
	}
	// The device in the file counts where no other is known.
	f := twoMembers(t)
	f.Uplinks.Members[1].IPv4 = &uplink.Path{}
	found := finder{Facts: f}
	if found.unmasqueraded(); len(found.Warnings) > 0 {
		t.Errorf("by its configured device: %q", found.Warnings)
	}
}

// TestBootLink: S, two digits and the program, nothing else.
func TestBootLink(t *testing.T) {
	for name, want := range map[string]bool{
		"S19mwan3": true, "S00mwan3": true, "S99mwan3": true, "K19mwan3": false, "S1mwan3": false, "S199mwan3": false,
		"Sx9mwan3": false, "S1xmwan3": false, "S1:mwan3": false, "S:9mwan3": false,
		"S19mwan4": false, "S19": false, "mwan3": false, "S19mwan3x": false,
	} {
		dir := t.TempDir()
		for _, folder := range []string{"config", "rc.d"} {
			if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "rc.d", name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if files, err := ReadFiles(filepath.Join(dir, "config")); err != nil || (files.MWAN3Link != "") != want {
			t.Errorf("%s: %q, %v", name, files.MWAN3Link, err)
		}
	}
}

// TestOffloadingIsReadInDefaults alone.
func TestOffloadingIsReadInDefaults(t *testing.T) {
	for text, want := range map[string]int{
		"config defaults\n option flow_offloading 1\n":                               1,
		"config defaults\n option flow_offloading 0\n":                               0,
		"config zone\n option flow_offloading 1\n":                                   0,
		"config zone\n option flow_offloading 1\nconfig defaults\n":                  0,
		"config zone\nconfig defaults\n option flow_offloading_hw 1\n":               1,
		"config defaults\nconfig defaults\n option flow_offloading true\n":           1,
		"config defaults\n option flow_offloading 1\n option flow_offloading_hw 1\n": 1,
	} {
		f := finder{Facts: Facts{Files: Files{Firewall: parse(t, text)}}}
		if f.offloading(); len(f.Notes) != want {
			t.Errorf("%q: %q", text, f.Notes)
		}
	}
}

// TestForeignDefault: which default route of main counts as the best.
func TestForeignDefault(t *testing.T) {
	members := []string{"eth1", ""}
	refused := defaultRoute("", 0)
	refused.Type = uplink.Unreachable
	legs := defaultRoute("", 0)
	legs.Nexthops = []uplink.Nexthop{{Device: "tun0"}, {Device: "eth1"}}
	elsewhere := defaultRoute("", 0)
	elsewhere.Nexthops = []uplink.Nexthop{{Device: "tun0"}, {Device: "tun1"}}
	for _, tt := range []struct {
		routes []uplink.Route
		want   string
	}{
		{nil, ""},
		{[]uplink.Route{defaultRoute("eth1", 5), defaultRoute("tun0", 6)}, ""},
		{[]uplink.Route{defaultRoute("eth1", 5), defaultRoute("tun0", 5)}, ""},
		{[]uplink.Route{defaultRoute("tun0", 5), defaultRoute("eth1", 5)}, "tun0"},
		{[]uplink.Route{refused, defaultRoute("tun0", 5), defaultRoute("eth1", 6)}, "tun0"},
		{[]uplink.Route{legs}, ""},
		{[]uplink.Route{elsewhere}, "tun0"},
	} {
		if got := foreignDefault(&uplink.Main{Routes: tt.routes}, members); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.routes, got, tt.want)
		}
	}
}

// TestFreeMask: as high as possible, with room for all members.
func TestFreeMask(t *testing.T) {
	for _, tt := range []struct {
		used    uint32
		members int
		want    uint32
	}{
		{0, 2, 0xfc000000},
		{0, 60, 0xfc000000},
		{0, 61, 0xfe000000},
		{0, 199, 0xff000000},
		{0x8000000, 12, 0xf0000000},
		{0x8000000, 13, 0x7e00000},
		{0x8ffffff, 12, 0xf0000000},
		{0x8ffffff, 13, 0},
		{0xffffff00, 60, 0xfc},
		{0xffffff03, 61, 0},
		{0xfffffff8, 4, 0x7},
		{0xfffffff8, 5, 0},
		{0xffffffff, 1, 0},
	} {
		if got := freeMask(tt.used, tt.members); got != tt.want {
			t.Errorf("%#x used, %d members: %#x, want %#x", tt.used, tt.members, got, tt.want)
		}
	}
}

// TestRoutedLine: a member without masquerading is warned of until it is declared
// to be a routed line.
func TestRoutedLine(t *testing.T) {
	f := twoMembers(t)
	f.Firewall = parse(t, "config zone\n option name wan\n list network wan1\n option masq 1\nconfig zone\n option name routed\n list device eth2\n")
	const noReplies = "LAN hosts with private addresses get no replies over it unless its other end has a route to them: "
	for routerTraffic, want := range map[bool]Advice{
		true: {Warnings: []string{"member 'wan2': device 'eth2' is in the firewall zone 'routed', which does not masquerade, so " + noReplies +
			"set option masq '1' in that zone in /etc/config/firewall, or, if it is a routed line, option router_traffic '0' in the member"}},
		false: {Notes: []string{"member 'wan2' is a routed line (router_traffic '0'): " + noReplies + "a rule or policy has to keep them off"}},
	} {
		f.Config.Members[1].RouterTraffic = routerTraffic
		if got := Find(f); !slices.Equal(got.Warnings, want.Warnings) || !slices.Equal(got.Notes, want.Notes) {
			t.Errorf("router_traffic %v: %+v", routerTraffic, got)
		}
	}
}
