package main

import (
	"net/netip"
	"testing"

	"loadbalance/internal/netlab"
)

// TestRulesChooseUplinks sends connections that rules tell apart.
func TestRulesChooseUplinks(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, members(netlab.Separate, 3)+`
config rule 'bank'
	option dest_ip '203.0.113.10'
	option proto 'tcp'
	option dest_port '443,8000-8100'
	option use_policy 'wan2'

config rule 'hosts'
	list src_ip '10.20.1.1'
	list src_ip '10.20.1.2'
	list dest_ip '!203.0.113.20'
	option use_policy 'wan3'

config rule 'set'
	option ipset 'streaming'
	option use_policy 'wan1'
	option log '1'

config ipset 'streaming'
	list entry '203.0.113.30'
	list entry '203.0.113.32/28'

config policy 'hash'
	option balance 'source'

config rule 'sticky'
	option dest_ip '203.0.113.50'
	option sticky '1'

config rule 'spread'
	option dest_ip '203.0.113.60'
	option use_policy 'hash'
`)
		r.must("apply")
		if again := r.must("plan"); again != "" {
			t.Errorf("plan after apply:\n%s", again)
		}
		hosts := r.lab.LANHosts()
		for _, test := range []struct {
			name   string
			server int
			port   uint16
			source netip.Addr
			want   int
		}{
			{"bank", 10, 443, hosts[4], 2},
			{"two hosts", 5, 80, hosts[0], 3},
			{"set", 30, 80, hosts[5], 1},
			{"set, network", 40, 80, hosts[5], 1},
		} {
			tally := r.lab.Connect(netlab.Traffic{Count: 6, Sources: []netip.Addr{test.source},
				Server: netip.AddrPortFrom(netlab.Server(test.server), test.port)})
			if tally.Failed > 0 || tally.ByUplink[test.want] != 6 {
				t.Errorf("%s: %v, want all over uplink %d (%v)", test.name, tally, test.want, tally.Err)
			}
		}
		for _, server := range []int{50, 60} {
			for _, host := range hosts {
				tally := r.lab.Connect(netlab.Traffic{Count: 5, Sources: []netip.Addr{host},
					Server: netip.AddrPortFrom(netlab.Server(server), 80)})
				expectOneUplink(t, server, host, tally)
			}
		}
	})
}

// expectOneUplink checks that all connections of a host to a server took the
// same uplink.
func expectOneUplink(t *testing.T, server int, host netip.Addr, tally netlab.Tally) {
	t.Helper()
	used := 0
	for uplink, n := range tally.ByUplink {
		if uplink > 0 && n > 0 {
			used++
		}
	}
	if tally.Failed > 0 || tally.ByUplink[0] > 0 || used != 1 {
		t.Errorf("server %d, host %s: %v (%v), want one uplink", server, host, tally.ByUplink, tally.Err)
	}
}
