package main

import "testing"

// TestMWAN3ConfigurationsRoute imports mwan3's shipped configuration, those of
// its documentation and others, and sends packets to each of their rules, past
// them, and again while lines are down.
func TestMWAN3ConfigurationsRoute(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		m := newMWAN3Router(t, backend)
		for _, c := range append(mwan3Documented, mwan3Larger...) {
			t.Run(c.name, func(t *testing.T) { m.run(t, c) })
		}
	})
}

// mwan3Documented are the shipped configuration and the documentation's, and
// the two simplest ways to use mwan3.
var mwan3Documented = []mwan3Case{
	{
		name: "shipped", lines: []string{"wan wan6", "wanb wanb6"}, // all but wan are disabled
		steps: []mwan3Step{
			{nil, []mwan3Flow{
				{"https", "tcp lan > 203.0.113.5:443", kept(1)},
				// No uplink for IPv6 is enabled.
				{"https", "tcp lan6 > [2001:db8:ffff::5]:443", refused},
				{"default_rule_v4", "tcp lan > 203.0.113.5:80", over(1)},
				{"default_rule_v4", "udp lan > 203.0.113.5:53", over(1)},
				{"default_rule_v4", "icmp lan > 203.0.113.5", over(1)},
				{"default_rule_v6", "tcp lan6 > [2001:db8:ffff::5]:80", refused},
			}},
			{[]int{1}, []mwan3Flow{
				{"https", "tcp lan > 203.0.113.5:443", refused},
				{"default_rule_v4", "udp lan > 203.0.113.5:53", refused},
			}},
		},
	},
	{
		name: "wiki", lines: []string{"wan wan6", "wanb wanb6"},
		setup: "ipset create youtube hash:ip && ipset add youtube 203.0.113.77",
		steps: []mwan3Step{
			{nil, []mwan3Flow{
				{"youtube", "tcp lan > 203.0.113.77:80", kept(1)},
				{"youtube", "tcp lan > 203.0.113.77:443", kept(1)},
				{"default_rule_v4", "tcp lan > 203.0.113.77:8080", dealt(1, 1)},
				{"default_rule_v4", "tcp lan > 203.0.113.78:80", dealt(1, 1)},
				{"default_rule_v4", "udp lan > 203.0.113.77:443", dealt(1, 1)},
				{"mail_out", "tcp 172.16.1.20 > 203.0.113.5:25", over(2)},
				{"mail_out", "icmp 172.16.1.20 > 203.0.113.5", over(2)},
				{"default_rule_v4", "tcp 172.16.1.21 > 203.0.113.5:25", dealt(1, 1)},
				{"voip", "udp lan > 203.0.113.5:5060", over(1)},
				{"voip", "udp lan > 203.0.113.5:5061", over(1)},
				{"default_rule_v4", "udp lan > 203.0.113.5:5062", dealt(1, 1)},
				{"default_rule_v4", "tcp lan > 203.0.113.5:5060", dealt(1, 1)},
				{"vpn_local", "tcp lan > 10.8.200.1:80", mainTable},
				{"vpn_local", "tcp lan > 10.8.200.1:443", mainTable},
				{"default_rule_v4", "tcp lan > 10.9.0.1:80", dealt(1, 1)},
				{"https", "tcp lan > 203.0.113.5:443", kept(1, 1)},
				{"https", "tcp lan6 > [2001:db8:ffff::5]:443", kept(1, 1)},
				{"default_rule_v6", "udp lan6 > [2001:db8:ffff::5]:443", dealt(1, 1)},
				{"default_rule_v6", "udp lan6 > [2001:db8:ffff::5]:5060", dealt(1, 1)},
			}},
			{[]int{1}, []mwan3Flow{
				{"youtube", "tcp lan > 203.0.113.77:80", refused},
				{"mail_out", "tcp 172.16.1.20 > 203.0.113.5:25", over(2)},
				{"voip", "udp lan > 203.0.113.5:5060", over(2)},
				{"vpn_local", "tcp lan > 10.8.200.1:80", mainTable},
				{"https", "tcp lan > 203.0.113.5:443", kept(0, 1)},
				{"default_rule_v4", "tcp lan > 203.0.113.5:80", over(2)},
				{"default_rule_v6", "tcp lan6 > [2001:db8:ffff::5]:80", over(2)},
			}},
			{[]int{2}, []mwan3Flow{
				{"youtube", "tcp lan > 203.0.113.77:80", kept(1)},
				{"mail_out", "tcp 172.16.1.20 > 203.0.113.5:25", refused},
				{"voip", "udp lan > 203.0.113.5:5060", over(1)},
				{"https", "tcp lan6 > [2001:db8:ffff::5]:443", kept(1)},
			}},
			{[]int{1, 2}, []mwan3Flow{
				{"voip", "udp lan > 203.0.113.5:5060", refused},
				{"vpn_local", "tcp lan > 10.8.200.1:80", mainTable},
				{"default_rule_v4", "tcp lan > 203.0.113.5:80", refused},
				{"default_rule_v6", "tcp lan6 > [2001:db8:ffff::5]:80", refused},
			}},
		},
	},
	{
		name: "failover", lines: []string{"dsl", "lte"},
		steps: []mwan3Step{
			{nil, []mwan3Flow{
				{"default_rule", "tcp lan > 203.0.113.5:80", over(1)},
				{"default_rule", "icmp lan > 203.0.113.5", over(1)},
				{"", "tcp lan6 > [2001:db8:ffff::5]:80", mainTable},
			}},
			{[]int{1}, []mwan3Flow{{"default_rule", "tcp lan > 203.0.113.5:80", over(2)}}},
			{[]int{2}, []mwan3Flow{{"default_rule", "tcp lan > 203.0.113.5:80", over(1)}}},
			{[]int{1, 2}, []mwan3Flow{{"default_rule", "tcp lan > 203.0.113.5:80", refused}}},
		},
	},
	{
		name: "addresses", lines: []string{"wan", "wanb", "spare"}, // spare is disabled
		steps: []mwan3Step{
			{nil, []mwan3Flow{
				{"sticky_even", "tcp 10.20.1.2 > 203.0.113.5:443", over(2)},
				{"sticky_odd", "tcp 10.20.1.3 > 203.0.113.5:443", over(1)},
				{"sticky_even", "tcp 192.168.1.4 > 203.0.113.7:443", over(2)},
				{"school", "udp 192.168.1.4 > 203.0.113.7:443", over(1)},
				{"school", "udp 192.168.2.4 > 198.51.100.9:53", over(1)},
				{"school", "udp 192.168.2.4 > 10.77.7.7:53", over(1)},
				{"default_rule", "udp 192.168.2.4 > 10.77.7.8:53", over(2)},
				{"default_rule", "udp 192.168.3.4 > 203.0.113.7:53", over(2)},
				{"six", "tcp lan6 > [2001:db8:ffff::5]:80", over(2)},
				{"six_odd", "tcp fd00:10::5 > [2001:db8:ffff::6]:80", over(1)},
				{"six_odd", "tcp fd00:10::6 > [2001:db8:ffff::6]:80", mainTable.by("unmatched")},
			}},
			{[]int{1}, []mwan3Flow{{"sticky_odd", "tcp 10.20.1.3 > 203.0.113.5:443", over(2)}}},
			{[]int{2}, []mwan3Flow{{"sticky_even", "tcp 10.20.1.2 > 203.0.113.5:443", over(1)}}},
		},
	},
	{
		name: "unmatched", lines: []string{"one", "two"},
		steps: []mwan3Step{
			{nil, []mwan3Flow{
				{"unmatched", "tcp lan > 203.0.113.5:80", dealt(3, 1)},
				{"https", "tcp lan > 203.0.113.5:443", kept(3, 1)},
				{"", "tcp lan > 203.0.113.5:81", mainTable},
				{"", "udp lan > 203.0.113.5:80", mainTable},
				{"", "icmp lan > 203.0.113.5", mainTable},
				{"", "udp lan6 > [2001:db8:ffff::5]:80", mainTable},
				{"unmatched", "tcp lan6 > [2001:db8:ffff::5]:80", dealt(3, 1)},
			}},
			{[]int{1}, []mwan3Flow{
				{"unmatched", "tcp lan > 203.0.113.5:80", over(2)},
				{"https", "tcp lan > 203.0.113.5:443", kept(0, 1)},
				{"", "tcp lan > 203.0.113.5:81", mainTable},
			}},
		},
	},
}
