package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// twentyRules send server 101 over one member, server 102 and on likewise, but
// for one rule in whose place a piece of text stands.
func twentyRules(member string, faulty int, text string) string {
	var b strings.Builder
	for i := 1; i <= 20; i++ {
		if i == faulty {
			b.WriteString(text)
			continue
		}
		fmt.Fprintf(&b, "config rule 'r%d'\n\tlist dest_ip '%v'\n\toption use_policy '%s'\n", i, netlab.Server(100+i), member)
	}
	return b.String()
}

// faultyRules would match server 107. Line is that of the mistake, in the text.
var faultyRules = []struct {
	text    string
	line    int
	message string
}{
	{"config rule 'r7'\n\tlist dest_ip 203.0.113.107\n\toption dest_port 80\n", 3, "rule 'r7': option 'dest_port' needs option 'proto'"},
	{"config rule 'r7'\n\tlist dest_ip 203.0.113.107\n\toption use_policy wan9\n", 3, "rule 'r7': option 'use_policy': there is no policy or member 'wan9'"},
	{"config rule 'r7'\n\tlist dest_ip 203.0.113.107\n\tlist src_ip 10.20.1.300\n", 3, "rule 'r7': option 'src_ip': '10.20.1.300' is not an IP address"},
	{"config rule 'r7'\n\tlist dest_ip 203.0.113.107\n\toption proto tcp\n\toption icmp_type echo-request\n", 4, "rule 'r7': option 'icmp_type' needs option 'proto'"},
	{"config rule\n\tlist dest_ip 203.0.113.107\n\toption dscp EF1\n", 3, "rule '@rule[6]': option 'dscp': 'EF1' is not a DSCP class"},
	{"config rule 'r7'\n\tlist dest_ip 203.0.113.107\n\toption src_mac 02:00:5e:00:53\n", 3, "rule 'r7': option 'src_mac': '02:00:5e:00:53' is not a MAC address"},
}

// TestOneFaultyRuleOfTwenty: at boot the other nineteen work, on a reload the
// running twenty stay. Both name the rule and exit with 2.
func TestOneFaultyRuleOfTwenty(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3, IPv6: true}, ruleBase)
		shots := newPacketRange(t, r.lab)
		for _, fault := range faultyRules {
			line := strings.Count(ruleBase+twentyRules("wan2", 7, ""), "\n") - 13*3 + fault.line
			refused := func(when string) {
				t.Helper()
				_, messages, code := r.call("apply")
				if code != 2 || !hasLine(messages, fmt.Sprintf("loadbalance:%d: ", line), fault.message) {
					t.Errorf("%s: exit code %d, want 2 and %q in line %d:\n%s", when, code, fault.message, line, messages)
				}
			}
			r.configure(ruleBase + twentyRules("wan2", 7, fault.text))
			refused("at boot")
			shots.expectTwenty("at boot", 2, 7)

			r.configure(ruleBase + twentyRules("wan1", 0, ""))
			r.must("apply")
			r.configure(ruleBase + twentyRules("wan2", 7, fault.text))
			refused("on a reload")
			shots.expectTwenty("on a reload", 1, 0)

			r.must("stop")
			check(t, os.RemoveAll(r.runDir()))
		}
	})
}

// expectTwenty checks that the servers 101 to 120 are reached over an uplink,
// but for the one whose rule is missing.
func (r *packetRange) expectTwenty(when string, via, missing int) {
	r.t.Helper()
	for i := 1; i <= 20; i++ {
		if i == missing {
			r.expect(when, family.IPv4, unmatched, to(100+i))
			continue
		}
		r.expect(when, family.IPv4, via, to(100+i))
	}
}
