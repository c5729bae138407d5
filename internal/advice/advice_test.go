package advice

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/plan"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

// twoMembers is a quiet system: wan1 is an interface, wan2 a device, both are
// up and lie in a zone that masquerades.
func twoMembers(t *testing.T) Facts {
	up := func(device string) *uplink.Path { return &uplink.Path{Device: device, Up: true} }
	return Facts{
		Config: &config.Config{
			Globals: config.Globals{Enabled: true, MarkMask: 0x3f000000},
			Members: []config.Member{
				{Name: "wan1", Enabled: true, Interface: "wan1", RouterTraffic: true},
				{Name: "wan2", Enabled: true, Device: "eth2", RouterTraffic: true},
				{Name: "off", Enabled: false, Interface: "off"},
			},
		},
		Uplinks: uplink.State{
			Members: []uplink.Member{{Name: "wan1", IPv4: up("eth1")}, {Name: "wan2", IPv4: up("eth2")}},
			IPv4: uplink.Main{Enabled: true,
				Routes: []uplink.Route{defaultRoute("eth1", 10), defaultRoute("eth2", 20)},
				Rules: []uplink.Rule{
					{Priority: 2000, Table: 5}, {Priority: 5210, Mark: 0x80000, Mask: 0xff0000, Table: 254},
					{Priority: 5270, Table: 52}, {Priority: 10000, Table: 254},
					{Priority: 30000, Mark: 0x10000, Mask: 0xff0000, Table: 256},
				},
				Tables: map[int][]uplink.Route{52: {{}}, 256: {{}}}},
			IPv6: uplink.Main{Tables: map[int][]uplink.Route{52: {{}}}},
		},
		Members: []plan.Member{{Name: "wan1", Table: 301}, {Name: "wan2", Table: 252}},
		Mangle:  map[family.Family]*iptables.Table{family.IPv4: {}},
		Files:   Files{Firewall: parse(t, quietFirewall)},
	}
}

func add(main *uplink.Main, rules ...uplink.Rule) { main.Rules = append(main.Rules, rules...) }

const quietFirewall = "config defaults\n option flow_offloading 0\n" +
	"config zone\n option name lan\n list network lan\n" +
	"config zone\n option name wan\n list network wan1\n list device eth2\n option masq 1\n"

func parse(t *testing.T, text string) *uci.File {
	t.Helper()
	file, err := uci.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func addresses(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func defaultRoute(device string, metric int) uplink.Route {
	return uplink.Route{Destination: family.IPv4.Default(), Type: uplink.Unicast, Device: device, Metric: metric}
}

func TestFind(t *testing.T) {
	const vpn = "the main table's best default route (ipv4) leaves by 'tun0', which is not a member (a VPN for all traffic?): " +
		"balanced connections do not use it; make it a member, or exempt what must use it by list bypass or a rule with use_policy 'default'"
	markers := func(list ...iptables.Marker) func(*testing.T, *Facts) {
		return func(_ *testing.T, f *Facts) { f.Mangle[family.IPv4].Markers = list }
	}
	tests := map[string]struct {
		change func(*testing.T, *Facts)
		want   Advice
	}{
		"a quiet system with pbr and Tailscale": {change: func(*testing.T, *Facts) {}},
		"no member is enabled": {change: func(t *testing.T, f *Facts) {
			f.Config.Members = f.Config.Members[2:]
			f.MWAN3Link = "/etc/rc.d/S19mwan3"
			f.Mangle[family.IPv4].ForeignChains = []string{"mwan3_hook"}
			f.Firewall = parse(t, "config defaults\n option flow_offloading 1\n")
		}},
		"switched off": {change: func(_ *testing.T, f *Facts) {
			f.Config.Globals.Enabled = false
			f.MWAN3Link = "/etc/rc.d/S19mwan3"
		}},
		"mwan3 by its chains: one sentence, and none about its marks": {
			change: func(_ *testing.T, f *Facts) {
				f.Mangle[family.IPv6] = &iptables.Table{ForeignChains: []string{"mwan3_hook"},
					Markers: []iptables.Marker{{Chain: "mwan3_iface_in_wan", Bits: 0x3f00}}}
				f.MWAN3Link = "/etc/rc.d/S19mwan3"
			},
			want: Advice{Errors: []string{MWAN3Running}},
		},
		"mwan3 by its ip rules": {
			change: func(_ *testing.T, f *Facts) {
				add(&f.Uplinks.IPv4, uplink.Rule{Priority: 1001, Table: 1}, uplink.Rule{Priority: 2001, Mark: 0x100, Mask: 0x3f00, Table: 1})
			},
			want: Advice{Errors: []string{MWAN3Running}},
		},
		"mwan3 is only enabled": {
			change: func(_ *testing.T, f *Facts) { f.MWAN3Link = "/etc/rc.d/S19mwan3" },
			want: Advice{Errors: []string{"mwan3 starts at boot (/etc/rc.d/S19mwan3), and both would balance the same connections: " +
				"run `/etc/init.d/mwan3 disable`"}},
		},
		"chains that write marks": {
			change: markers(iptables.Marker{Chain: "qos_Default", Bits: 0xff000000}, iptables.Marker{Chain: "PBR_PREROUTING", Bits: 0xff0000},
				iptables.Marker{Chain: "FORWARD", Bits: 0xffffffff}),
			want: Advice{Warnings: []string{
				"mangle (ipv4): chain 'qos_Default' (probably qos-scripts) sets the mark bits 0xff000000, which overlap ours (0x3f000000): " +
					"connections would change their uplink; give one of the two another mask (here: option mark_mask '0xfc00', which is free)",
				"mangle (ipv4): chain 'FORWARD' sets the mark bits 0xffffffff, which overlap ours (0x3f000000): " +
					"connections would change their uplink; no other mask helps: let it look at its own bits alone (such as mask 0xc0ffffff)",
			}},
		},
		"our mask lies in that of pbr and Tailscale": {
			change: func(_ *testing.T, f *Facts) { f.Config.Globals.MarkMask = 0x3f0000 },
			want: Advice{Warnings: []string{
				"ip rule 5210 (ipv4) (probably Tailscale) matches the mark bits 0xff0000, which overlap ours (0x3f0000): " +
					"it would miss its own packets or catch balanced ones; give one of the two another mask (here: option mark_mask '0xfc000000', which is free)",
				"ip rule 30000 (ipv4) (probably pbr) matches the mark bits 0xff0000, which overlap ours (0x3f0000): " +
					"it would miss its own packets or catch balanced ones; give one of the two another mask (here: option mark_mask '0xfc000000', which is free)",
			}},
		},
		"marks without a mask": {
			change: func(_ *testing.T, f *Facts) {
				add(&f.Uplinks.IPv4, uplink.Rule{Priority: 32765, Mark: 0xca6c, Mask: 0xffffffff, Table: 51820})
				add(&f.Uplinks.IPv6, uplink.Rule{Priority: 100, Mark: 1, Mask: 0xffffffff, Table: 100})
			},
			want: Advice{Warnings: []string{
				"ip rule 32765 (ipv4) (probably wg-quick) matches the mark bits 0xffffffff, which overlap ours (0x3f000000): " +
					"it would miss its own packets or catch balanced ones; no other mask helps: let it look at its own bits alone (such as mask 0xc0ffffff)",
				"ip rule 100 (ipv6) (probably a transparent proxy) matches the mark bits 0xffffffff, which overlap ours (0x3f000000): " +
					"it would miss its own packets or catch balanced ones; no other mask helps: let it look at its own bits alone (such as mask 0xc0ffffff)",
			}},
		},
		"programs that keep their own packets out of a tunnel": {
			change: func(_ *testing.T, f *Facts) {
				add(&f.Uplinks.IPv4, uplink.Rule{Priority: 32764, Mark: 0xca6c, Mask: 0xffffffff, Not: true, Table: 51820},
					uplink.Rule{Priority: 110, Mark: 0x1bd00, Mask: 0xffffffff, Not: true, Table: 7120})
			},
		},
		"dae, and a proxy that compares the whole mark": {
			change: func(_ *testing.T, f *Facts) {
				add(&f.Uplinks.IPv4, uplink.Rule{Priority: 2023, Mark: 0x8000000, Mask: 0x8000000, Table: 2023})
				f.NFT = []iptables.Marker{{Chain: "inet clash output", Compared: 0xffffffff}, {Chain: "inet pbr out", Bits: 0xff0000, Compared: 0xff0000}}
			},
			want: Advice{Warnings: []string{
				"nftables: chain 'inet clash output' matches the mark bits 0xffffffff, which overlap ours (0x3f000000): " +
					"it would miss its own packets or catch balanced ones; no other mask helps: let it look at its own bits alone (such as mask 0xc0ffffff)",
				"ip rule 2023 (ipv4) (probably dae) matches the mark bits 0x8000000, which overlap ours (0x3f000000): " +
					"it would miss its own packets or catch balanced ones; give one of the two another mask (here: option mark_mask '0xf0000000', which is free)",
			}},
		},
		"ip rules among ours": {
			change: func(_ *testing.T, f *Facts) {
				add(&f.Uplinks.IPv4, uplink.Rule{Priority: 5999, Table: 9}, uplink.Rule{Priority: 6000, Table: 9})
				add(&f.Uplinks.IPv6, uplink.Rule{Priority: 9999, Table: 9}, uplink.Rule{Priority: 10000, Table: 9})
			},
			want: Advice{Warnings: []string{
				"ip rule 6000 (ipv4) is in our range (6000 to 9999) and can take packets away from their uplink: give it another priority",
				"ip rule 9999 (ipv6) is in our range (6000 to 9999) and can take packets away from their uplink: give it another priority",
			}},
		},
		"routes in our tables": {
			change: func(_ *testing.T, f *Facts) {
				f.Uplinks.IPv4.Tables = map[int][]uplink.Route{252: {{}, {}}, 302: {{}}}
				f.Uplinks.IPv6.Tables = map[int][]uplink.Route{362: {{}}}
			},
			want: Advice{Warnings: []string{
				"table 252 (ipv4) of member 'wan2' has a route of another program: give that program another table, or the member (option table)",
				"table 362 (ipv6) of our unreachable route has a route of another program: give that program another table, or the member (option table)",
			}},
		},
		"sets by domain": {
			change: func(_ *testing.T, f *Facts) {
				f.Config.Globals.Monitor = true
				f.Config.IPSets = []config.IPSet{{Name: "a", Domains: []string{"a.example"}}, {Name: "b"}, {Name: "c", Domains: []string{"c.example"}}}
			},
			want: Advice{Limits: []string{
				"ipset 'a', 'c': addresses are learnt from the DNS answers of this router alone: what hosts ask others, " +
					"also by DNS over TLS or HTTPS, is not seen, nor is what they know already",
			}},
		},
		"sets by domain without a monitor": {
			change: func(_ *testing.T, f *Facts) {
				f.Config.IPSets = []config.IPSet{{Name: "a", Domains: []string{"a.example"}}}
			},
			want: Advice{Warnings: []string{
				"ipset 'a': 'domain' has no effect with monitor '0': the monitor learns the addresses",
			}},
		},
		"no firewall": {change: func(_ *testing.T, f *Facts) { f.Firewall = nil }},
		"members in no zone": {
			change: func(t *testing.T, f *Facts) {
				f.Firewall = parse(t, "config zone\n option name lan\n list network lan\nconfig zone\n option name wan\n list network wan\n option masq 1\n")
			},
			want: Advice{Warnings: []string{
				"member 'wan1': interface 'wan1' is in no firewall zone that masquerades, so " + noReplies +
					"add list network 'wan1' to the zone 'wan' in /etc/config/firewall, " + ifRouted,
				"member 'wan2': device 'eth2' is in no firewall zone that masquerades, so " + noReplies +
					"add list device 'eth2' to the zone 'wan' in /etc/config/firewall, " + ifRouted,
			}},
		},
		"a zone that does not masquerade, and none that does": {
			change: func(t *testing.T, f *Facts) {
				f.Firewall = parse(t, "config zone\n option name wan\n option network 'x wan1'\n option masq 0\n"+
					"config zone\n option name six\n option device eth2\n option masq 1\n option family ipv6\n"+
					"config zone\n option name old\n option device eth2\n option masq 1\n option enabled 0\n")
			},
			want: Advice{Warnings: []string{
				"member 'wan1': interface 'wan1' is in the firewall zone 'wan', which does not masquerade, so " + noReplies +
					"set option masq '1' in that zone in /etc/config/firewall, " + ifRouted,
				"member 'wan2': device 'eth2' is in the firewall zone 'six', which does not masquerade, so " + noReplies +
					"set option masq '1' in that zone in /etc/config/firewall, " + ifRouted,
			}},
		},
		"no zones at all": {
			change: func(t *testing.T, f *Facts) {
				f.Config.Members = f.Config.Members[:1]
				f.Firewall = parse(t, "config defaults\n")
			},
			want: Advice{Warnings: []string{
				"member 'wan1': interface 'wan1' is in no firewall zone that masquerades, so " + noReplies +
					"add list network 'wan1' to a zone with option masq '1' in /etc/config/firewall, " + ifRouted}},
		},
		"words, a wildcard and a section nat": {change: func(t *testing.T, f *Facts) {
			f.Firewall = parse(t, "config zone\n option name a\n option network 'x wan1'\n"+
				"config zone\n option name b\n option device 'eth+'\n option masq on\n"+
				"config nat\n option src a\n option target masquerade\n")
		}},
		"networks on a member's device": {change: func(t *testing.T, f *Facts) {
			f.Uplinks.Members[0].IPv4.Device = "pppoe-dsl"
			f.Uplinks.IPv4.Routes = nil
			f.Firewall = parse(t, "config zone\n option name wan\n list network dsl\n list network lte\n option masq 1\n")
			f.Network = parse(t, "config interface dsl\n option proto pppoe\n option device eth9\nconfig interface lte\n option device eth2\n")
		}},
		"an uplink for IPv6 alone": {change: func(t *testing.T, f *Facts) {
			f.Config.Members = f.Config.Members[:1]
			f.Uplinks.Members[0] = uplink.Member{Name: "wan1", IPv4: &uplink.Path{Device: "eth1"}, IPv6: &uplink.Path{Device: "eth1", Up: true}}
			f.Uplinks.IPv4.Routes = nil
			f.Firewall = parse(t, "config defaults\n")
		}},
		"a VPN has the best default route": {
			change: func(_ *testing.T, f *Facts) {
				f.Uplinks.IPv4.Routes = append(f.Uplinks.IPv4.Routes, defaultRoute("tun0", 0))
			},
			want: Advice{Warnings: []string{vpn}},
		},
		"a VPN with a worse one": {change: func(_ *testing.T, f *Facts) {
			f.Uplinks.IPv4.Routes = append(f.Uplinks.IPv4.Routes, defaultRoute("tun0", 11))
		}},
		"routes that are no competition": {change: func(_ *testing.T, f *Facts) {
			sourced, refused := defaultRoute("tun0", 0), defaultRoute("", 0)
			sourced.From, refused.Type = netip.MustParsePrefix("192.0.2.0/24"), uplink.Unreachable
			specific := uplink.Route{Destination: netip.MustParsePrefix("0.0.0.0/1"), Type: uplink.Unicast, Device: "tun0"}
			f.Uplinks.IPv4.Routes = append(f.Uplinks.IPv4.Routes, sourced, refused, specific)
		}},
		"a leg over a member": {change: func(_ *testing.T, f *Facts) {
			multi := defaultRoute("", 0)
			multi.Nexthops = []uplink.Nexthop{{Device: "tun0"}, {Device: "eth2"}}
			f.Uplinks.IPv4.Routes = append(f.Uplinks.IPv4.Routes, multi)
		}},
		"all legs elsewhere": {
			change: func(_ *testing.T, f *Facts) {
				multi := defaultRoute("", 0)
				multi.Nexthops = []uplink.Nexthop{{Device: "tun0"}, {Device: "tun1"}}
				f.Uplinks.IPv4.Routes = append(f.Uplinks.IPv4.Routes, multi)
			},
			want: Advice{Warnings: []string{vpn}},
		},
		"a large main table": {
			change: func(_ *testing.T, f *Facts) { f.Uplinks.IPv6.Large = true },
			want: Advice{Notes: []string{"the main table, or one of another program, has more than 5000 routes (ipv6): they are used as ever, but connections to their destinations take turns like all others, " +
				"and are cut off when the member dies whose turn they took; list bypass exempts what must not be"}},
		},
		"main has no default route": {change: func(_ *testing.T, f *Facts) { f.Uplinks.IPv4.Routes = nil }},
		"a default route in a family without members": {change: func(_ *testing.T, f *Facts) {
			f.Uplinks.IPv6.Routes = []uplink.Route{{Destination: family.IPv6.Default(), Type: uplink.Unicast, Device: "tun0"}}
		}},
		"clients cannot be told": {
			change: func(_ *testing.T, f *Facts) {
				f.TCPLoose = "0"
				f.Config.Members[0].Track = config.Track{OnDead: "reset"}
				f.Config.Members[1].Track = config.Track{OnDead: "reset"}
			},
			want: Advice{Warnings: []string{"net.netfilter.nf_conntrack_tcp_loose is 0: TCP connections of a dead line hang until they time out " +
				"instead of being reset at once; leave it at 1, the default, in /etc/sysctl.conf"}},
		},
		"clients are not to be told": {change: func(_ *testing.T, f *Facts) {
			f.TCPLoose = "0"
			f.Config.Members[0].Track = config.Track{OnDead: "none"}
			f.Config.Members[1].Track = config.Track{OnDead: "clear"}
		}},
		"clients can be told": {change: func(_ *testing.T, f *Facts) {
			f.TCPLoose = "1"
			f.Config.Members[0].Track = config.Track{OnDead: "reset"}
		}},
		"nobody to ask": {
			change: func(_ *testing.T, f *Facts) {
				f.Config.Members[0].Track = config.Track{Gateway: true}
				f.Config.Members[1].Track = config.Track{IPs: addresses("2001:db8::1")}
			},
			want: Advice{Warnings: []string{
				"member 'wan1' has no probe target: track_ip has no address of a family that is up, and no gateway is known; add an address, such as 1.1.1.1",
				"member 'wan2' has no probe target: track_ip has no address of a family that is up, and no gateway is known; add an address, such as 1.1.1.1",
			}},
		},
		"the router itself is asked, be the line up or down": {
			change: func(_ *testing.T, f *Facts) {
				f.Uplinks.IPv4.Addresses = []uplink.Address{{Device: "br-lan", Prefix: netip.MustParsePrefix("192.168.1.1/24")}}
				f.Config.Members[0].Track = config.Track{IPs: addresses("192.168.1.1")}
				f.Config.Members[1].Track = f.Config.Members[0].Track
				f.Uplinks.Members[1].IPv4.Up = false
			},
			want: Advice{Errors: []string{health.OwnTarget("wan1", netip.MustParseAddr("192.168.1.1")), health.OwnTarget("wan2", netip.MustParseAddr("192.168.1.1"))}},
		},
		"somebody to ask, in one family or when the line is up": {change: func(_ *testing.T, f *Facts) {
			f.Config.Members[0].Track = config.Track{IPs: addresses("192.0.2.1")}
			f.Uplinks.Members[0].IPv6 = &uplink.Path{Device: "eth1", Up: true}
			f.Config.Members[1].Track = config.Track{Gateway: true}
			f.Uplinks.Members[1].IPv4.Up = false
		}},
		"targets that are no neighbours": {
			change: func(_ *testing.T, f *Facts) {
				targets := addresses("192.0.2.9", "192.0.2.1", "198.51.100.7", "203.0.113.1", "2001:db8::1", "fe80::1", "2001:db8:9::1")
				for i := range f.Config.Members[:2] {
					f.Config.Members[i].Track = config.Track{Method: "arp", IPs: targets}
				}
				wan1 := &f.Uplinks.Members[0]
				wan1.IPv4.Gateway = targets[1]
				wan1.IPv4.Networks = []uplink.Network{{Prefix: netip.MustParsePrefix("198.51.100.0/24")}, {Prefix: netip.MustParsePrefix("203.0.113.1/32")}}
				wan1.IPv6 = &uplink.Path{Device: "eth1", Up: true, Networks: []uplink.Network{{Prefix: netip.MustParsePrefix("2001:db8::/64")}}}
				f.Uplinks.Members[1].IPv4.Networks = wan1.IPv4.Networks[1:] // point-to-point
			},
			want: Advice{Warnings: []string{
				"member 'wan1': track_ip 192.0.2.9 is in no network of 'eth1', and track_method 'arp' reaches only neighbours: " +
					"on Ethernet it will never answer; use 'gateway' or another track_method",
				"member 'wan1': track_ip 2001:db8:9::1 is in no network of 'eth1', and track_method 'arp' reaches only neighbours: " +
					"on Ethernet it will never answer; use 'gateway' or another track_method",
			}},
		},
		"targets that are asked otherwise, or not now": {change: func(_ *testing.T, f *Facts) {
			for i := range f.Config.Members[:2] {
				f.Config.Members[i].Track = config.Track{Method: []string{"ping", "arp"}[i], IPs: addresses("192.0.2.9")}
				f.Uplinks.Members[i].IPv4.Networks = []uplink.Network{{Prefix: netip.MustParsePrefix("198.51.100.0/24")}}
			}
			f.Uplinks.Members[1].IPv4.Up = false
		}},
		"flow offloading": {
			change: func(t *testing.T, f *Facts) {
				f.Firewall = parse(t, strings.Replace(quietFirewall, "flow_offloading 0", "flow_offloading_hw 1", 1))
			},
			want: Advice{Notes: []string{"option flow_offloading_hw is set in /etc/config/firewall: balancing works, since a connection gets its uplink " +
				"before it is offloaded, but packet and byte counters miss offloaded traffic"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := twoMembers(t)
			tt.change(t, &f)
			got := Find(f)
			compare(t, "errors", got.Errors, tt.want.Errors)
			compare(t, "warnings", got.Warnings, tt.want.Warnings)
			compare(t, "notes", got.Notes, tt.want.Notes)
		})
	}
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}
