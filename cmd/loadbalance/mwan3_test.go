package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// mwan3Lines are mwan3's sections for uplinks: wan1 and wan2 in one tier, 3 to
// 1, and wan3 behind them.
const mwan3Lines = `
config interface 'wan1'
	option enabled '1'

config interface 'wan2'
	option enabled '1'

config interface 'wan3'
	option enabled '1'

config member 'wan1_m1_w3'
	option interface 'wan1'
	option metric '1'
	option weight '3'

config member 'wan2_m1_w1'
	option interface 'wan2'
	option metric '1'
	option weight '1'

config member 'wan3_m2'
	option interface 'wan3'
	option metric '2'

config policy 'balanced'
	list use_member 'wan1_m1_w3'
	list use_member 'wan2_m1_w1'
	list use_member 'wan3_m2'

config policy 'only2'
	list use_member 'wan2_m1_w1'

config policy 'only3'
	list use_member 'wan3_m2'
	option last_resort 'default'
`

// mwan3Rules are rules of each kind, and two that mwan3 did not apply as they
// stand.
const mwan3Rules = `
config rule 'echo'
	option proto 'tcp'
	option dest_port '7'
	option use_policy 'only3'

config rule 'dns'
	option proto 'udp'
	option dest_port '53'
	option family 'ipv4'
	option use_policy 'only2'

config rule 'mail'
	option dest_ip '203.0.113.25'
	option use_policy 'only2'

config rule 'https'
	option sticky '1'
	option proto 'tcp'
	option dest_port '443'
	option use_policy 'balanced'

config rule 'left_alone'
	option dest_ip '203.0.113.200'
	option use_policy 'default'

config rule 'refused'
	option dest_ip '203.0.113.201'
	option use_policy 'unreachable'

config rule 'port_only'
	option dest_port '80'
	option use_policy 'only3'

config rule 'misspelt'
	option proto 'tcp'
	option dest_port '80'
	option use_policy 'balancd'

config rule 'default_rule_v4'
	option dest_ip '0.0.0.0/0'
	option family 'ipv4'
	option use_policy 'balanced'
`

// importMWAN3 converts a configuration of mwan3 on the router and applies it.
func (r *router) importMWAN3(text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, "mwan3.old")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.configure(r.must("import-mwan3", path))
	r.must("apply")
	if again := r.must("plan"); again != "" {
		r.t.Errorf("plan after apply:\n%s", again)
	}
}

// TestImportedFromMWAN3 applies imported configurations and looks for the
// routing that mwan3 documents, with real connections.
func TestImportedFromMWAN3(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3, IPv6: true, NAT66: true}, "")
		t.Run("rules", func(t *testing.T) { expectMWAN3Rules(t, r) })
		t.Run("no catch-all", func(t *testing.T) { expectMWAN3LeavesTheRest(t, r) })
		t.Run("uplinks lost", func(t *testing.T) { expectMWAN3Tiers(t, r) })
		t.Run("both families", func(t *testing.T) { expectMWAN3BothFamilies(t, r) })
	})
}

func expectMWAN3Rules(t *testing.T, r *router) {
	r.importMWAN3(mwan3Lines + mwan3Rules)
	expectShares(t, r.lab.Connect(netlab.Traffic{Count: 80}), 0, 60, 20, 0)
	expectOver(t, r.lab.Connect(toPort(6, 1, netlab.EchoPort)), 3)
	expectOver(t, r.lab.Connect(udpToPort(6, netlab.DNSPort)), 2)
	expectOver(t, r.lab.Connect(toPort(6, 25, netlab.HTTPPort)), 2)
	expectOver(t, r.lab.Connect(toPort(6, 200, netlab.HTTPPort)), 1)
	expectRefused(t, r.lab.Connect(toPort(2, 201, netlab.HTTPPort)))
	// A rule for a port does not take other ports of the same server.
	expectShares(t, r.lab.Connect(toPort(40, 1, netlab.DNSPort)), 0, 30, 10, 0)
	var used [4]int
	for _, host := range r.lab.LANHosts() {
		traffic := toPort(5, 1, netlab.HTTPSPort)
		traffic.Sources = []netip.Addr{host}
		tally := r.lab.Connect(traffic)
		expectOneUplink(t, 1, host, tally)
		for uplink, n := range tally.ByUplink {
			if n > 0 {
				used[uplink]++
			}
		}
	}
	if used[1] == 0 || used[2] == 0 {
		t.Errorf("hosts by uplink: %v, want some on 1 and on 2", used)
	}
}

// expectMWAN3LeavesTheRest lets a policy named 'balanced' stand in the file
// without a rule that gives it what no rule matches.
func expectMWAN3LeavesTheRest(t *testing.T, r *router) {
	const web = `
config rule 'web'
	option proto 'tcp'
	option dest_port '80'
	option use_policy 'balanced'
`
	r.importMWAN3(mwan3Lines + web)
	expectShares(t, r.lab.Connect(netlab.Traffic{Count: 40}), 0, 30, 10, 0)
	expectOver(t, r.lab.Connect(toPort(12, 1, netlab.EchoPort)), 1)
}

// expectMWAN3Tiers takes uplinks away, from the last tier and from the first.
func expectMWAN3Tiers(t *testing.T, r *router) {
	r.importMWAN3(mwan3Lines + mwan3Rules)
	check(t, r.lab.IfDown(3))
	r.must("apply")
	expectOver(t, r.lab.Connect(toPort(6, 1, netlab.EchoPort)), 1) // last_resort 'default': the main table
	check(t, r.lab.IfUp(3), r.lab.IfDown(2))
	r.must("apply")
	expectOver(t, r.lab.Connect(netlab.Traffic{Count: 12}), 1)
	expectRefused(t, r.lab.Connect(toPort(2, 25, netlab.HTTPPort))) // mwan3's default: unreachable
	check(t, r.lab.IfDown(1))
	r.must("apply")
	expectOver(t, r.lab.Connect(netlab.Traffic{Count: 12}), 3)
	check(t, r.lab.IfUp(1), r.lab.IfUp(2))
}

// expectMWAN3BothFamilies has an interface of its own for each family of each
// line, as OpenWrt and mwan3 have them, with other weights in IPv6.
func expectMWAN3BothFamilies(t *testing.T, r *router) {
	const config = `
config interface 'wan'
	option enabled '1'

config interface 'wan6'
	option enabled '1'
	option family 'ipv6'

config interface 'wanb'
	option enabled '1'

config interface 'wanb6'
	option enabled '1'
	option family 'ipv6'

config member 'wan_w3'
	option interface 'wan'
	option weight '3'

config member 'wanb_w1'
	option interface 'wanb'

config member 'wan6_w1'
	option interface 'wan6'

config member 'wanb6_w4'
	option interface 'wanb6'
	option weight '4'

config policy 'balanced'
	list use_member 'wan_w3'
	list use_member 'wan6_w1'
	list use_member 'wanb_w1'
	list use_member 'wanb6_w4'

config rule 'all'
	option use_policy 'balanced'
`
	n := r.startNetifd()
	one, two := r.lab.Uplink(1), r.lab.Uplink(2)
	n.answer(onUplink("wan", one), onUplink6("wan6", one), onUplink("wanb", two), onUplink6("wanb6", two))
	r.importMWAN3(config)
	expectShares(t, r.lab.Connect(netlab.Traffic{Count: 40}), 0, 30, 10, 0)
	traffic := netlab.Traffic{Count: 40, Server: server(netlab.Server6(1), netlab.HTTPPort)}
	expectShares(t, r.lab.Connect(traffic), 0, 8, 32, 0)
}

// onUplink6 is an interface that has the IPv6 of an uplink.
func onUplink6(name string, u netlab.Uplink) string {
	return fmt.Sprintf(`{"interface": "%s", "up": true, "available": true, "autostart": true, "l3_device": "%s", "device": "@other",
		"ipv6-address": [{"address": "%s", "mask": %d}],
		"route": [{"target": "::", "mask": 0, "nexthop": "%s", "source": "::/0"}]}`,
		name, u.Device, u.Address6.Addr(), u.Address6.Bits(), u.Gateway6)
}

// toPort is traffic to a port of an IPv4 server.
func toPort(count, number int, port uint16) netlab.Traffic {
	return netlab.Traffic{Count: count, Server: server(netlab.Server(number), port)}
}

func udpToPort(count int, port uint16) netlab.Traffic {
	return netlab.Traffic{Count: count, Network: "udp", Server: server(netlab.Server(1), port)}
}

// expectRefused checks that every flow failed by an ICMP error, not by waiting.
func expectRefused(t *testing.T, tally netlab.Tally) {
	t.Helper()
	if tally.OK() > 0 || tally.Failed == 0 {
		t.Errorf("%d flows worked, %d failed", tally.OK(), tally.Failed)
	}
	if tally.Err == nil || strings.Contains(tally.Err.Error(), "timeout") || tally.Elapsed > time.Minute {
		t.Errorf("refused by %v after %s", tally.Err, tally.Elapsed)
	}
}
