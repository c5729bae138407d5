package routing

import (
	"net/netip"
	"slices"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

func memberRule(priority, table, suppress int) uplink.Rule {
	return uplink.Rule{Action: uplink.LookUp, Priority: priority, Mark: 0x1000000, Mask: 0x3f000000, Table: table, Suppress: suppress}
}

func defaultVia(table int, gateway, device string) plan.Route {
	return plan.Route{Table: table, Type: uplink.Unicast, Destination: prefix("0.0.0.0/0"),
		Gateway: addr(gateway), Device: device, OnLink: true}
}

func have(routes ...plan.Route) []Route {
	var list []Route
	for _, r := range routes {
		list = append(list, Route{Route: r})
	}
	return list
}

func texts(ops []Op) []string {
	var list []string
	for _, o := range ops {
		list = append(list, o.String())
	}
	return list
}

func TestDiffRules(t *testing.T) {
	own := memberRule(6001, 301, 0)
	balanced := memberRule(9001, 301, -1)
	unmasked := uplink.Rule{Action: uplink.LookUp, Priority: 9501, From: prefix("10.0.0.9/8"), Mark: 7, Table: 301, Suppress: -5}
	tests := map[string]struct {
		want     []uplink.Rule
		have     []Rule
		add, del []string
	}{
		"nothing": {},
		"all new, written once": {
			want: []uplink.Rule{own, balanced, own},
			add: []string{
				"ip -4 rule add fwmark 0x1000000/0x3f000000 lookup 301 suppress_prefixlength 0 priority 6001 protocol 108",
				"ip -4 rule add fwmark 0x1000000/0x3f000000 lookup 301 priority 9001 protocol 108",
			},
		},
		"as wanted": {
			want: []uplink.Rule{own},
			have: []Rule{{Rule: own}},
		},
		"a planned rule is compared as the kernel prints it": {
			want: []uplink.Rule{unmasked},
			have: []Rule{{Rule: uplink.Rule{Action: uplink.LookUp, Priority: 9501, From: prefix("10.0.0.0/8"), Table: 301, Suppress: -1}}},
		},
		"another suppression": {
			want: []uplink.Rule{{Priority: 7000, Action: uplink.LookUp, Table: 254, Suppress: 1}},
			have: []Rule{{Rule: uplink.Rule{Action: uplink.LookUp, Priority: 7000, Table: 254, Suppress: 0}}},
			add:  []string{"ip -4 rule add lookup main suppress_prefixlength 1 priority 7000 protocol 108"},
			del:  []string{"ip -4 rule del lookup main suppress_prefixlength 0 priority 7000 protocol 108"},
		},
		"a rule with a selector that we never write is not the wanted one": {
			want: []uplink.Rule{balanced},
			have: []Rule{{Rule: balanced, Altered: true}},
			add: []string{
				"ip -4 rule del fwmark 0x1000000/0x3f000000 lookup 301 priority 9001 protocol 108",
				"ip -4 rule add fwmark 0x1000000/0x3f000000 lookup 301 priority 9001 protocol 108",
			},
		},
		"two of the same": {
			want: []uplink.Rule{own},
			have: []Rule{{Rule: own}, {Rule: own}},
			del:  []string{"ip -4 rule del fwmark 0x1000000/0x3f000000 lookup 301 suppress_prefixlength 0 priority 6001 protocol 108"},
		},
		"oif and from": {
			want: []uplink.Rule{
				{Priority: 8001, Action: uplink.LookUp, Out: "wan1", Table: 301, Suppress: -1},
				{Priority: 9501, Action: uplink.LookUp, From: prefix("192.0.2.7/32"), Table: 252, Suppress: -1},
				{Priority: 9980, Action: uplink.LookUp, Mask: 0x3f000000, Table: 301, Suppress: -1},
			},
			add: []string{
				"ip -4 rule add oif wan1 lookup 301 priority 8001 protocol 108",
				"ip -4 rule add from 192.0.2.7 lookup 252 priority 9501 protocol 108",
				"ip -4 rule add fwmark 0x0/0x3f000000 lookup 301 priority 9980 protocol 108",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := Diff(family.IPv4, tt.want, nil, State{Rules: tt.have})
			if got := texts(c.AddRules); !slices.Equal(got, tt.add) {
				t.Errorf("added:\n%q\nwant:\n%q", got, tt.add)
			}
			if got := texts(c.DeleteRules); !slices.Equal(got, tt.del) {
				t.Errorf("deleted:\n%q\nwant:\n%q", got, tt.del)
			}
			if c.Empty() != (len(tt.add)+len(tt.del) == 0) {
				t.Errorf("Empty() = %v", c.Empty())
			}
		})
	}
}

func TestDiffRoutes(t *testing.T) {
	first := defaultVia(301, "183.169.79.254", "vth1")
	second := defaultVia(301, "183.169.79.253", "vth1")
	network := plan.Route{Table: 301, Type: uplink.Unicast, Destination: prefix("10.1.2.3/8"), Device: "vth1", Source: addr("10.1.2.3")}
	masked := network
	masked.Destination = prefix("10.0.0.0/8")
	throw := plan.Route{Table: 301, Type: uplink.Throw, Destination: prefix("10.20.0.0/16")}
	odd := Route{Route: first, Altered: true}
	beside := Route{Route: first, Altered: true, beside: true}
	tests := map[string]struct {
		want     []plan.Route
		have     []Route
		add, del []string
	}{
		"all new": {
			want: []plan.Route{network, throw, first},
			add: []string{
				"ip -4 route add 10.0.0.0/8 dev vth1 src 10.1.2.3 table 301 protocol 108",
				"ip -4 route add throw 10.20.0.0/16 table 301 protocol 108",
				"ip -4 route add default via 183.169.79.254 dev vth1 table 301 protocol 108 onlink",
			},
		},
		"as wanted": {
			want: []plan.Route{network, throw, first},
			have: have(first, throw, masked),
		},
		"another gateway is replaced, nothing deleted": {
			want: []plan.Route{second},
			have: have(first),
			add:  []string{"ip -4 route replace default via 183.169.79.253 dev vth1 table 301 protocol 108 onlink"},
		},
		"another type is replaced": {
			want: []plan.Route{{Table: 361, Type: uplink.Blackhole, Destination: prefix("0.0.0.0/0")}},
			have: have(plan.Route{Table: 361, Type: uplink.Unreachable, Destination: prefix("0.0.0.0/0")}),
			add:  []string{"ip -4 route replace blackhole default table 361 protocol 108"},
		},
		"an odd route is replaced": {
			want: []plan.Route{first},
			have: []Route{odd},
			add:  []string{"ip -4 route replace default via 183.169.79.254 dev vth1 table 301 protocol 108 onlink"},
		},
		"a route of another metric lies beside and goes": {
			want: []plan.Route{first},
			have: []Route{beside},
			add:  []string{"ip -4 route add default via 183.169.79.254 dev vth1 table 301 protocol 108 onlink"},
			del:  []string{"ip -4 route del default via 183.169.79.254 dev vth1 table 301 protocol 108 onlink"},
		},
		"of two one is right": {
			want: []plan.Route{first},
			have: have(second, first),
			del:  []string{"ip -4 route del default via 183.169.79.253 dev vth1 table 301 protocol 108 onlink"},
		},
		"the same destination in another table": {
			want: []plan.Route{defaultVia(302, "183.169.79.254", "vth1")},
			have: have(first),
			add:  []string{"ip -4 route add default via 183.169.79.254 dev vth1 table 302 protocol 108 onlink"},
			del:  []string{"ip -4 route del default via 183.169.79.254 dev vth1 table 301 protocol 108 onlink"},
		},
		"a route twice in the plan is written once": {
			want: []plan.Route{throw, throw},
			add:  []string{"ip -4 route add throw 10.20.0.0/16 table 301 protocol 108"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := Diff(family.IPv4, nil, tt.want, State{Routes: tt.have})
			if got := texts(c.AddRoutes); !slices.Equal(got, tt.add) {
				t.Errorf("added:\n%q\nwant:\n%q", got, tt.add)
			}
			if got := texts(c.DeleteRoutes); !slices.Equal(got, tt.del) {
				t.Errorf("deleted:\n%q\nwant:\n%q", got, tt.del)
			}
		})
	}
}
