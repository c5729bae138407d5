package main

import (
	"net"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// ruleBase sends what no rule matches over uplink 3; main's own default is
// uplink 1.
var ruleBase = members(netlab.Separate, 3) + `
config policy 'balanced'
	list use_member 'wan3'

config policy 'two'
	list use_member 'wan2'

config policy 'hash'
	list use_member 'wan2'
	option balance 'source'

config policy 'dice'
	list use_member 'wan2'
	option balance 'random'

`

const unmatched = 3

// newRuleRouter is a router of both families with a guest network that has
// IPv6, too.
func newRuleRouter(t *testing.T, backend, config string) *router {
	t.Helper()
	r := newRouter(t, backend, netlab.Options{Uplinks: 3, IPv6: true, NAT66: true, LANHosts: 20}, config)
	r.sh("ip -6 route add default via fe80::1 dev wan1 metric 1")
	r.sh("ip -6 addr add fd03::1/64 dev guest")
	r.sh("ip6tables-" + backend + " -t nat -A POSTROUTING -s fd03::/64 -o wan+ -j MASQUERADE")
	_, err := r.lab.Guest.Run("sh", "-c", "ip -6 addr add "+guestHost6.String()+"/64 dev lan nodad && ip -6 route replace default via fd03::1 dev lan")
	check(t, err)
	return r
}

// TestRulesMatchWhatTheySay applies one rule after another and sends it packets
// that it must match and packets that it must not.
func TestRulesMatchWhatTheySay(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRuleRouter(t, backend, ruleBase)
		r.sh(foreignSets)
		for _, command := range []string{"iptables-", "ip6tables-"} {
			r.sh(command + backend + " -t raw -A PREROUTING -m dscp --dscp 48 -j MARK --set-xmark 0x41/0xff")
		}
		// Connection tracking looks for UDP's checksum in UDP-Lite.
		check(t, r.lab.Router.Sysctl("net/netfilter/nf_conntrack_checksum", "0"))
		shots := newPacketRange(t, r.lab)
		mac := clientMAC(t, r.lab)
		for _, s := range shapes {
			r.configure(ruleBase + s.config(mac))
			r.must("apply")
			if again := r.must("plan"); again != "" {
				t.Errorf("%s: plan after apply:\n%s", s.name, again)
			}
			for _, f := range family.All {
				via := s.via
				if via == 0 {
					via = 2
				}
				if !s.matches(f) {
					via = unmatched
				}
				shots.expect(s.name, f, via, s.match)
				shots.expect(s.name, f, unmatched, s.other)
			}
		}
	})
}

// expect checks which uplink packets take, as far as they exist in a family.
func (r *packetRange) expect(name string, f family.Family, via int, packets []packet) {
	r.t.Helper()
	for _, p := range packets {
		if !p.exists(f) {
			continue
		}
		if got := r.line(p, f); got != via {
			r.t.Errorf("%s, %s: uplink %d, want %d: %v", name, f, got, via, p)
		}
	}
}

func clientMAC(t *testing.T, l *netlab.Lab) string {
	t.Helper()
	var device *net.Interface
	check(t, l.Client.Do(func() (err error) {
		device, err = net.InterfaceByName("lan")
		return err
	}))
	return device.HardwareAddr.String()
}

// TestRulesRefuse: what a rule sends nowhere gets an answer or none, and stays
// off every uplink; the rule's own neighbours go on.
func TestRulesRefuse(t *testing.T) {
	config := ruleBase + `
config rule 'no'
	list dest_ip '203.0.113.10'
	list dest_ip '2001:db8:ffff::a'
	option use_policy 'unreachable'

config rule 'hole'
	list dest_ip '203.0.113.11'
	list dest_ip '2001:db8:ffff::b'
	option use_policy 'blackhole'

config rule 'dead'
	list dest_ip '203.0.113.12'
	list dest_ip '2001:db8:ffff::c'
	option use_policy 'wan2'
`
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRuleRouter(t, backend, config)
		check(t, r.lab.IfDown(2))
		r.must("apply")
		shots := newPacketRange(t, r.lab)
		for _, f := range family.All {
			for _, server := range []int{10, 12} {
				tag := shots.send(tcp(1, server, 80), f)
				if !shots.refused(f, tag, arrivalLimit) {
					t.Errorf("%s, server %d: no answer", f, server)
				}
				shots.expectNowhere(tag)
			}
			tag := shots.send(tcp(1, 11, 80), f)
			if shots.refused(f, tag, quiet) {
				t.Errorf("%s, server 11: there was an answer", f)
			}
			shots.expectNowhere(tag)
			shots.expect("another server", f, unmatched, to(13))
		}
	})
}

// TestNamedSetChangesFamily while a rule uses it.
func TestNamedSetChangesFamily(t *testing.T) {
	config := ruleBase + "config rule\n\toption ipset 'named'\n\toption use_policy 'wan2'\nconfig ipset 'named'\n"
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRuleRouter(t, backend, config+"\tlist entry '203.0.113.10'\n")
		shots := newPacketRange(t, r.lab)
		r.must("apply")
		shots.expect("IPv4 set", family.IPv4, 2, to(10))
		shots.expect("IPv4 set", family.IPv6, unmatched, to(10))
		r.configure(config + "\toption family 'ipv6'\n\tlist entry '2001:db8:ffff::a'\n")
		r.must("apply")
		shots.expect("IPv6 set", family.IPv4, unmatched, to(10))
		shots.expect("IPv6 set", family.IPv6, 2, to(10))
		if again := r.must("plan"); again != "" {
			t.Errorf("plan after apply:\n%s", again)
		}
	})
}

// TestRuleWaitsForItsSet: the rule whose set is missing is left out alone, with
// a message, until the set exists.
func TestRuleWaitsForItsSet(t *testing.T) {
	config := ruleBase + `
config rule 'waiting'
	option ipset 'later'
	option use_policy 'wan2'

config rule 'other'
	list dest_ip '203.0.113.40'
	option use_policy 'wan1'
`
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRuleRouter(t, backend, config)
		shots := newPacketRange(t, r.lab)
		_, messages, code := r.call("apply")
		if code != 0 || !hasLine(messages, "", "rule 'waiting' is left out: there is no set 'later'") {
			t.Errorf("exit code %d, messages:\n%s", code, messages)
		}
		shots.expect("no set", family.IPv4, unmatched, to(30))
		shots.expect("no set", family.IPv4, 1, to(40))
		r.sh("ipset create later hash:ip && ipset add later 203.0.113.30")
		r.must("apply")
		shots.expect("set", family.IPv4, 2, to(30))
		shots.expect("set", family.IPv4, 1, to(40))
	})
}
