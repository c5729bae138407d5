package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

// rulesOf plans rules for two members with both families, a and b, of which b
// is offline.
func rulesOf(t *testing.T, text string, change func(*uplink.State)) *Plan {
	t.Helper()
	file, err := uci.Parse("loadbalance", []byte("config member 'a'\nconfig member 'b'\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Read(file)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	uplinks := world("a", "b")
	if change != nil {
		change(&uplinks)
	}
	return build(t, cfg, uplinks, "b")
}

// lines are the configured rules of a family, without the last rule of their
// chain, which sends what none of them matches to policy 'balanced'.
func lines(t *testing.T, p *Plan, f family.Family) []string {
	t.Helper()
	var all []string
	for _, r := range chain(t, p.Family(f), rulesChain).Rules {
		if r.Origin != "" {
			all = append(all, r.Args(""))
		}
	}
	return all
}

// TestLinesOfARule: each option as the lines that it becomes in the tables of
// the families. '=' stands for the lines of IPv4.
func TestLinesOfARule(t *testing.T) {
	const (
		to  = " -g lb_member_a"
		set = "-m set --match-set "
		not = "-m set ! --match-set "
	)
	interfaces := func(s *uplink.State) { s.Interfaces = map[string]string{"lan": "br-lan"} }
	foreign := func(s *uplink.State) { s.Sets = map[string]string{"four": "ipv4", "six": "ipv6"} }
	for _, tt := range []struct {
		name    string
		options string // parted by ;
		change  func(*uplink.State)
		v4, v6  []string
	}{
		{"no selector", "", nil, []string{"-g lb_member_a"}, []string{"="}},
		{"disabled", "enabled 0", nil, nil, nil},
		{"family", "family ipv6", nil, nil, []string{"-g lb_member_a"}},
		{"source", "src_ip 10.0.0.0/8", nil, []string{"-s 10.0.0.0/8" + to}, nil},
		{"not a source", "src_ip !10.0.0.1", nil, []string{"! -s 10.0.0.1/32" + to}, nil},
		{"destination", "dest_ip 2001:db8::/32", nil, nil, []string{"-d 2001:db8::/32" + to}},
		{"not a destination", "dest_ip !2001:db8::1", nil, nil, []string{"! -d 2001:db8::1/128" + to}},
		{"one of each family", "dest_ip 10.0.0.1;dest_ip 2001:db8::1", nil, []string{"-d 10.0.0.1/32" + to}, []string{"-d 2001:db8::1/128" + to}},
		{"two sources", "src_ip 10.0.0.1;src_ip 10.0.0.2", nil, []string{set + "lb_rule.r.s4 src" + to}, nil},
		{"two that are no sources", "src_ip !10.0.0.1;src_ip !10.0.0.2", nil, []string{not + "lb_rule.r.sn4 src" + to}, nil},
		{"a source and not another", "src_ip 10.0.0.0/8;src_ip !10.0.0.1", nil, []string{"-s 10.0.0.0/8 " + not + "lb_rule.r.sn4 src" + to}, nil},
		{"two that are no destinations", "dest_ip !2001:db8::1;dest_ip !2001:db8::2", nil, nil, []string{not + "lb_rule.r.dn6 dst" + to}},
		{"source and destination", "src_ip 10.0.0.1;dest_ip 10.0.0.2", nil, []string{"-s 10.0.0.1/32 -d 10.0.0.2/32" + to}, nil},
		{"a masked source", "src_ip 0.0.0.1/0.0.0.1", nil, []string{"-s 0.0.0.1/0.0.0.1" + to}, nil},
		{"not a masked destination", "dest_ip !::a0/::f0", nil, nil, []string{"! -d ::a0/::f0" + to}},
		{"a mask that is a prefix", "dest_ip 10.9.8.7/255.255.0.0", nil, []string{"-d 10.9.0.0/16" + to}, nil},
		{"masked sources, a prefix and an exception", "src_ip 0.0.0.1/0.0.0.3,0.0.0.2/0.0.0.3;src_ip 10.0.0.0/30;src_ip !10.0.0.1", nil, []string{
			"-s 10.0.0.0/30 " + not + "lb_rule.r.sn4 src" + to,
			"-s 0.0.0.1/0.0.0.3 " + not + "lb_rule.r.sn4 src" + to,
			"-s 0.0.0.2/0.0.0.3 " + not + "lb_rule.r.sn4 src" + to}, nil},
		{"masked on both sides, both families", "src_ip 0.0.0.1/0.0.0.1;src_ip ::1/::1;dest_ip 0.0.0.0/0.0.0.1;dest_ip ::/::1", nil,
			[]string{"-s 0.0.0.1/0.0.0.1 -d 0.0.0.0/0.0.0.1" + to}, []string{"-s ::1/::1 -d ::/::1" + to}},
		{"MAC addresses", "src_mac 02:00:5e:00:53:0a;src_mac 02:00:5e:00:53:0b", nil,
			[]string{"-m mac --mac-source 02:00:5E:00:53:0A" + to, "-m mac --mac-source 02:00:5E:00:53:0B" + to}, []string{"="}},
		{"protocols", "proto tcp udp", nil, []string{"-p 6" + to, "-p 17" + to}, []string{"="}},
		{"a protocol of one family", "proto icmp tcp", nil, []string{"-p 1" + to, "-p 6" + to}, []string{"-p 6" + to}},
		{"ports", "proto tcp;src_port 1000;dest_port 80,8000-8100", nil,
			[]string{"-p 6 -m multiport --sports 1000 -m multiport --dports 80,8000:8100" + to}, []string{"="}},
		{"more ports than fit", "proto udp;dest_port 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", nil,
			[]string{"-p 17 -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15" + to, "-p 17 -m multiport --dports 16" + to}, []string{"="}},
		{"more ranges than fit, which count twice", "proto udp;src_port 1-2 3-4 5-6 7-8 9-10 11-12 13-14 15 17-18", nil,
			[]string{"-p 17 -m multiport --sports 1:2,3:4,5:6,7:8,9:10,11:12,13:14,15" + to, "-p 17 -m multiport --sports 17:18" + to}, []string{"="}},
		{"ICMP type", "proto icmp;icmp_type echo-request", nil, []string{"-p 1 -m icmp --icmp-type echo-request" + to}, nil},
		{"ICMPv6 type", "proto icmpv6;icmp_type 128", nil, nil, []string{"-p 58 -m icmp6 --icmpv6-type 128" + to}},
		{"DSCP", "dscp EF", nil, []string{"-m dscp --dscp 0x2e" + to}, []string{"="}},
		{"DSCP 0", "dscp 0", nil, []string{"-m dscp --dscp 0x00" + to}, []string{"="}},
		{"device", "src_device br-lan", nil, []string{"-i br-lan" + to}, []string{"="}},
		{"interface", "src_iface lan", interfaces, []string{"-i br-lan" + to}, []string{"="}},
		{"interface without netifd", "src_iface lan", nil, []string{"-i lan" + to}, []string{"="}},
		{"interface that is down", "src_iface guest", interfaces, nil, nil},
		{"set", "ipset ours", nil, []string{set + "lb_ours dst" + to}, nil},
		{"source set", "ipset_src ours", nil, []string{set + "lb_ours src" + to}, nil},
		{"another program's set", "ipset four;ipset_src four", foreign, []string{set + "four src " + set + "four dst" + to}, nil},
		{"another program's set of IPv6", "ipset six", foreign, nil, []string{set + "six dst" + to}},
		{"a set that is missing", "ipset none", foreign, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "config ipset 'ours'\nconfig rule 'r'\n"
			for _, o := range strings.Split(tt.options+";use_policy a", ";") {
				name, value, _ := strings.Cut(o, " ")
				if kind := "list"; name != "" {
					if name == "use_policy" {
						kind = "option"
					}
					text += "\t" + kind + " " + name + " '" + value + "'\n"
				}
			}
			p := rulesOf(t, text, tt.change)
			if slices.Equal(tt.v6, []string{"="}) {
				tt.v6 = tt.v4
			}
			for f, want := range map[family.Family][]string{family.IPv4: tt.v4, family.IPv6: tt.v6} {
				if got := lines(t, p, f); !slices.Equal(got, want) {
					t.Errorf("%s:\n%s\nwant\n%s", f, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		})
	}
}

// TestRuleLeftOut: a rule that cannot work now is told of by file and line, and
// the others stay.
func TestRuleLeftOut(t *testing.T) {
	p := rulesOf(t, "config rule 'r'\n\toption ipset 'none'\n\tlist src_ip '10.0.0.1 10.0.0.2'\n"+
		"config rule\n\toption family ipv6\n\toption src_iface 'guest'\nconfig rule\n\toption use_policy a\n",
		func(s *uplink.State) { s.Interfaces = map[string]string{} })
	want := []string{
		"loadbalance:3: rule 'r' is left out: there is no set 'none' for ipv4 now",
		"loadbalance:6: rule '@rule[1]' is left out: interface 'guest' has no device now",
	}
	if !slices.Equal(p.Notices, want) {
		t.Errorf("notices %q, want %q", p.Notices, want)
	}
	for _, f := range family.All {
		if got := lines(t, p, f); !slices.Equal(got, []string{"-g lb_member_a"}) {
			t.Errorf("%s: %q", f, got)
		}
		if sets := p.Family(f).Sets; len(sets) != 1 {
			t.Errorf("%s: sets of a rule that is left out: %v", f, sets)
		}
	}
}

// TestEntriesOfRuleSets: several addresses of a rule are in a set of its own,
// each side and its negation apart.
func TestEntriesOfRuleSets(t *testing.T) {
	p := rulesOf(t, `config rule 'r'
	list src_ip '10.0.0.2'
	list src_ip '10.0.0.1'
	list src_ip '10.0.0.1'
	list src_ip '2001:db8::1'
	list src_ip '!10.9.0.1'
	list dest_ip '!10.9.0.2'
	list dest_ip '!10.9.0.3'
`, nil)
	want := map[string]string{"lb_rule.r.s4": "[10.0.0.1/32 10.0.0.2/32]", "lb_rule.r.sn4": "[10.9.0.1/32]", "lb_rule.r.dn4": "[10.9.0.2/32 10.9.0.3/32]"}
	got := map[string]string{}
	for _, s := range p.IPv4.Sets {
		if s.Name != LocalSet(family.IPv4) {
			got[s.Name] = fmt.Sprint(s.Entries)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("sets %v, want %v", got, want)
	}
}

// TestWhatARuleUses: where the lines of a rule lead, and through what.
func TestWhatARuleUses(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		target     string
		chain      []string // the rules of the target, where the rule has a chain
	}{
		{"nothing", "config rule 'r'\n", "lb_policy_balanced", nil},
		{"a policy", "config policy 'p'\nconfig rule 'r'\n\toption use_policy p\n", "lb_policy_p", nil},
		{"a member", "config rule 'r'\n\toption use_policy a\n", "lb_member_a", nil},
		{"a member that is offline", "config rule 'r'\n\toption use_policy b\n", "lb_member_unreachable", nil},
		{"main", "config rule 'r'\n\toption use_policy default\n", "lb_member_default", nil},
		{"refusal", "config rule 'r'\n\toption use_policy unreachable\n", "lb_member_unreachable", nil},
		{"the bin", "config rule 'r'\n\toption use_policy blackhole\n", "lb_member_blackhole", nil},
		{"a member, logged", "config rule 'r'\n\toption use_policy a\n\toption log 1\n", "lb_rule_r",
			[]string{`-j LOG --log-prefix "lb r: "`, "-g lb_member_a"}},
		{"without a name, logged", "config rule 'q'\nconfig rule\n\toption log 1\n", "lb_anon_1",
			[]string{`-j LOG --log-prefix "lb @rule[1]: "`, "-g lb_policy_balanced"}},
		{"a member, sticky, which says nothing", "config rule 'r'\n\toption use_policy a\n\toption sticky 1\n", "lb_member_a", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := rulesOf(t, tt.text, nil)
			for _, f := range family.All {
				got := lines(t, p, f)
				last, isGoto := strings.CutPrefix(got[len(got)-1], "-g ")
				if !isGoto || last != tt.target {
					t.Errorf("%s: %q, want -g %s", f, got, tt.target)
				}
				if tt.chain == nil {
					continue
				}
				var rules []string
				for _, r := range chain(t, p.Family(f), last).Rules {
					rules = append(rules, r.Args(""))
				}
				if !slices.Equal(rules, tt.chain) {
					t.Errorf("%s: %s is %q, want %q", f, last, rules, tt.chain)
				}
			}
		})
	}
}

// TestLogPrefix: the LOG target takes 29 characters (struct xt_log_info).
func TestLogPrefix(t *testing.T) {
	const name = "a_name_of_twenty_four_ch"
	for label, want := range map[string]string{"r": "lb r: ", name: "lb " + name + ": ", name + "s": "lb " + name + ": "} {
		if got := logPrefix(label); got != want || len(got) > 29 {
			t.Errorf("%s: %q, want %q", label, got, want)
		}
	}
}

// TestStickyPairs: the sets of a rule that keeps pairs are of another type, and
// have other names, so that the kind can be changed while rules name the others.
func TestStickyPairs(t *testing.T) {
	p := rulesOf(t, "config rule 'r'\n\toption sticky 1\n\toption sticky_key source_dest\n\toption timeout 2m\n", nil)
	for f, version := range map[family.Family]string{family.IPv4: "4", family.IPv6: "6"} {
		var got []string
		for _, name := range []string{"lb_rule_r", "lb_sticky_r_1"} {
			for _, r := range chain(t, p.Family(f), name).Rules {
				got = append(got, r.Args(""))
			}
		}
		set := "lb_rule.r.p1" + version
		want := []string{"-m set --match-set " + set + " src,dst,dst -g lb_sticky_r_1",
			"-j SET --add-set " + set + " src,dst,dst --exist --timeout 120", "-g lb_member_a"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", f, got, want)
		}
		if !slices.ContainsFunc(p.Family(f).Sets, func(s Set) bool { return s.Name == set && s.Pairs && s.Timeout == 120 }) {
			t.Errorf("%s: sets %v, want pairs in %s", f, p.Family(f).Sets, set)
		}
	}
}

// TestForeignMark: bits of another program are one more condition of each line.
func TestForeignMark(t *testing.T) {
	p := rulesOf(t, "config rule 'r'\n\toption fwmark 0x10/0xf0\n\toption proto 'tcp udp'\n\toption use_policy a\n", nil)
	want := []string{"-m mark --mark 0x10/0xf0 -p 6 -g lb_member_a", "-m mark --mark 0x10/0xf0 -p 17 -g lb_member_a"}
	for _, f := range family.All {
		if got := lines(t, p, f); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", f, got, want)
		}
	}
}

// TestRouterRules: a rule for the router's own packets stands where only these
// pass, with its chains and sets, and nowhere if they are not dealt out; a rule by
// MAC address everywhere else.
func TestRouterRules(t *testing.T) {
	const rules = "config rule 'own'\n\toption src_iface router\n\toption sticky 1\n" +
		"config rule 'mac'\n\toption src_mac 02:00:5e:00:53:01\n\toption use_policy a\n" +
		"config rule 'all'\n\toption dest_ip 192.0.2.1\n\toption use_policy a\n"
	const mac, all = "-m mac --mac-source 02:00:5E:00:53:01 -g lb_member_a", "-d 192.0.2.1/32 -g lb_member_a"
	for _, tt := range []struct {
		name, globals string
		own           []string // nil: no chain
		chain         string
	}{
		{"all", "", []string{"-g lb_rule_own", all, "-g lb_policy_balanced"}, "lb_rule_own"},
		{"router_traffic 0", "config globals globals\n\toption router_traffic 0\n", nil, ""},
		{"a member is not for them", "config member 'c'\n\toption router_traffic 0\n",
			[]string{"-g lb_rule_own-out", all, "-g lb_policy_balanced-out"}, "lb_rule_own-out"},
	} {
		p := rulesOf(t, tt.globals+rules, nil)
		got := map[string][]string{}
		var chains []string
		for _, c := range p.IPv4.Chains {
			for _, r := range c.Rules {
				got[c.Name] = append(got[c.Name], r.Args(""))
			}
			if strings.HasPrefix(c.Name, "lb_rule_") {
				chains = append(chains, c.Name)
			}
		}
		if want := []string{mac, all, "-g lb_policy_balanced"}; !slices.Equal(got[rulesChain], want) {
			t.Errorf("%s: what comes in passes %q, want %q", tt.name, got[rulesChain], want)
		}
		if !slices.Equal(got[rulesOutChain], tt.own) {
			t.Errorf("%s: the router's own pass %q, want %q", tt.name, got[rulesOutChain], tt.own)
		}
		if strings.Join(chains, " ") != tt.chain {
			t.Errorf("%s: rules have the chains %v, want %s", tt.name, chains, tt.chain)
		}
		for _, c := range p.IPv6.Chains {
			if strings.Contains(c.Name, "own") {
				t.Errorf("%s: IPv6 has %s", tt.name, c.Name)
			}
		}
	}
}

// TestStickyRule: a live member's set is asked, and what enters a source into
// it leads to the member. Sets of dead members stay, but nobody asks them.
func TestStickyRule(t *testing.T) {
	p := rulesOf(t, "config rule 'r'\n\toption sticky 1\n\toption timeout 2m\n\toption log 1\n", nil)
	for f, version := range map[family.Family]string{family.IPv4: "4", family.IPv6: "6"} {
		var got []string
		for _, name := range []string{"lb_rule_r", "lb_sticky_r_1"} {
			c := chain(t, p.Family(f), name)
			for _, r := range c.Rules {
				got = append(got, r.Args(""))
			}
			got = append(got, strings.Join(c.Cascade, ","))
		}
		set := "lb_rule.r.m1" + version
		want := []string{`-j LOG --log-prefix "lb r: "`, "-m set --match-set " + set + " src -g lb_sticky_r_1", "lb_sticky_r_1",
			"-j SET --add-set " + set + " src --exist --timeout 120", "-g lb_member_a", ""}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", f, got, want)
		}
		if got := chain(t, p.Family(f), "lb_sticky_r_1").Policy; got != BalancedPolicy {
			t.Errorf("%s: its connections are dealt by policy %q", f, got)
		}
		timeouts := map[string]int{}
		for _, s := range p.Family(f).Sets {
			if s.Timeout > 0 {
				timeouts[s.Name] = s.Timeout
			}
		}
		if want := map[string]int{set: 120, "lb_rule.r.m2" + version: 120}; !maps.Equal(timeouts, want) {
			t.Errorf("%s: sets with a time limit %v, want %v", f, timeouts, want)
		}
	}
}
