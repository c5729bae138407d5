package main

import (
	"fmt"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// TestForeignRules: an ip rule of another program that takes packets away is
// named by apply, check and status, and followed by explain; one that does not,
// is not.
func TestForeignRules(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true, NAT66: true}, members(netlab.Separate, 2))
		r.must("apply")
		host := r.lab.LANHosts()[4]
		r.sh(fmt.Sprintf("ip route add default via %v dev wan1 table 50", r.lab.Uplink(1).Gateway))
		r.sh("ip route add unreachable default table 51; ip -6 route add default via fe80::1 dev wan1 table 50")
		r.sh("ip route add 10.99.0.0/24 dev vpn table 220; ip rule add priority 220 lookup 220") // IPsec's
		for _, tt := range []struct {
			rule, host, named, explained string
		}{
			{"ip rule %s priority 901 lookup main", "", "ip rule 901 (ipv4), 'lookup main', comes before ours: what it matches leaves by 'wan1'", "ip rule 901, 'lookup main', is another program's"},
			{fmt.Sprintf("ip rule %%s priority 5000 from %v lookup 50", host), host.String(),
				fmt.Sprintf("ip rule 5000 (ipv4), 'from %v lookup 50', comes before ours: what it matches leaves by 'wan1'", host), "ip rule 5000, 'from "},
			{"ip rule %s priority 100 iif lan lookup 50", "", "ip rule 100 (ipv4), 'iif lan lookup 50', comes before ours: what it matches leaves by 'wan1'", "ip rule 100, 'iif lan lookup 50', is"},
			{"ip rule %s priority 100 not from 10.30.0.0/24 lookup 51", "", "ip rule 100 (ipv4), 'not from 10.30.0.0/24 lookup 51', comes before ours: what it matches is refused", "ip rule 100, 'not from 10.30.0.0/24 lookup 51', is"},
			{"ip rule %s priority 100 from 10.20.0.0/16 prohibit", "", "ip rule 100 (ipv4), 'from 10.20.0.0/16 prohibit', comes before ours: what it matches is refused", "ip rule 100, 'from 10.20.0.0/16 prohibit', is"},
			{"ip rule %s priority 100 fwmark 0x2000000/0x3f000000 lookup 50", "", "ip rule 100 (ipv4), 'fwmark 0x2000000/0x3f000000 lookup 50', comes before ours", "ip rule 100, 'fwmark 0x2000000/0x3f000000 lookup 50', is"},
			{"ip -6 rule %s priority 5000 lookup 50", "", "ip rule 5000 (ipv6), 'lookup 50', comes before ours: what it matches leaves by 'wan1'", ""},
			{"ip rule %s priority 5210 fwmark 0x80000/0xff0000 lookup main", "", "", ""}, // Tailscale's
			{"ip rule %s priority 5270 lookup 52", "", "", ""},
			{"ip rule %s priority 32765 lookup main suppress_prefixlength 0", "", "", ""}, // wg-quick's
			{"ip rule %s priority 901 lookup main suppress_prefixlength 0", "", "", ""},
			{"ip rule %s priority 29999 lookup 50", "", "", ""},
		} {
			r.sh(fmt.Sprintf(tt.rule, "add"))
			_, applied, _ := r.call("apply")
			_, checked, code := r.call("check")
			shown := r.must("status")
			for what, text := range map[string]string{"apply": applied, "check": checked, "status": shown} {
				if tt.named == "" && strings.Contains(text, "comes before ours") || !strings.Contains(text, tt.named) {
					t.Errorf("%s: %s says\n%s\nwant %q", tt.rule, what, text, tt.named)
				}
			}
			if code != 0 {
				t.Errorf("%s: check: exit code %d", tt.rule, code)
			}
			source := tt.host
			if source == "" {
				source = r.lab.LANHosts()[1].String()
			}
			if out := r.must("explain", "--src", source, "--dst", netlab.Server(1).String()); !strings.Contains(out, tt.explained) {
				t.Errorf("%s: explain says\n%s", tt.rule, out)
			}
			r.sh(fmt.Sprintf(tt.rule, "del"))
		}
		if set := r.sh("ipset list lb_local"); !strings.Contains(set, "10.99.0.0/24") {
			t.Errorf("what IPsec has a route for is dealt out:\n%s", set)
		}
	})
}
