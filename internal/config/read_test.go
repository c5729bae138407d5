package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/uci"
)

// read parses a text that has no problems.
func read(t *testing.T, text string) *Config {
	t.Helper()
	c, problems := Read(parse(t, text))
	for _, p := range problems {
		t.Errorf("unexpected problem: %s", p)
	}
	return c
}

func TestDefaults(t *testing.T) {
	got := read(t, "config member 'wan1'\nconfig rule\n")
	want := &Config{
		Globals: Globals{
			Enabled: true, MarkMask: 0x3f000000, RouterTraffic: true,
			Balance: NTH, LogLevel: "notice", Monitor: true,
		},
		Members: []Member{{
			Name: "wan1", Enabled: true, Interface: "wan1", Weight: 1, Metric: 1, RouterTraffic: true, Quota: Quota{Day: 1, Action: "last"},
			Track: Track{
				Method: "ping", Status: 204, Reliability: 1,
				Interval: 500 * time.Millisecond, Timeout: 800 * time.Millisecond,
				Down: 4, Up: 6, Window: 60, FailureLoss: 30, RecoveryLoss: 10,
				InitialState: "online", OnDead: "reset", Failback: "new", PortalRetry: time.Minute,
			},
		}},
		Policies: []Policy{{
			Name: "balanced", Balance: NTH, LastResort: LastDefault,
			Members: []PolicyMember{{Name: "wan1", Weight: 1, Metric: 1}},
		}},
		Rules: []Rule{{
			Pos: Pos{"loadbalance", 2}, Label: "@rule[0]", Enabled: true,
			Families: []family.Family{family.IPv4, family.IPv6},
			DSCP:     -1, Timeout: 600 * time.Second, Use: "balanced",
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// Latency is judged only where a limit is given, and the lower limit follows it.
func TestLatencyLimits(t *testing.T) {
	for _, c := range []struct {
		options           []string
		failure, recovery time.Duration
	}{
		{nil, 0, 0},
		{[]string{"option failure_latency 0"}, 0, 0},
		{[]string{"option failure_latency 500"}, 500 * time.Millisecond, 300 * time.Millisecond},
		{[]string{"option failure_latency 200"}, 200 * time.Millisecond, 200 * time.Millisecond},
		{[]string{"option failure_latency 200", "option recovery_latency 50"}, 200 * time.Millisecond, 50 * time.Millisecond},
	} {
		track := read(t, member(append(c.options, "list track_ip 1.1.1.1")...)).Members[0].Track
		if track.FailureLatency != c.failure || track.RecoveryLatency != c.recovery {
			t.Errorf("%v: %s and %s, want %s and %s", c.options, track.FailureLatency, track.RecoveryLatency, c.failure, c.recovery)
		}
	}
}

// everyOption has all options of all sections at once.
const everyOption = `
config globals 'globals'
	option enabled '1'
	option mark_mask '0x3f000000'
	option router_traffic '1'
	option ignore_split_default '0'
	option balance 'nth'
	option loglevel 'notice'
	option monitor '1'
	list bypass '10.0.0.0/8'

config member 'wan1'
	option enabled '1'
	option interface 'wan1'
	option interface6 'wan1_6'
	option gateway '183.169.79.254'
	option gateway6 'fe80::1'
	list prefix6 '2001:db8::/56'
	option weight '1'
	option metric '1'
	option mark '0x5000000'
	option table '252'
	option router_traffic '0'
	option quota '50GB'
	option quota_day '1'
	option quota_action 'last'
	list track_ip '1.1.1.1'
	list track_ip '2606:4700:4700::1111'
	list track_ip 'gateway'
	option track_method 'tcp'
	option track_port '443'
	option reliability '1'
	option interval '500ms'
	option timeout '800ms'
	option down '4'
	option up '6'
	option window '60'
	option failure_loss '30'
	option recovery_loss '10'
	option failure_latency '500'
	option recovery_latency '300'
	option initial_state 'online'
	option on_dead 'reset'
	option failback 'new'
	option passive '1'

config member 'wan2'
	option device 'vth1'
	option track_ip '9.9.9.9'
	option track_method 'http'
	option track_url 'http://[2001:db8::1]:8080/generate_204?x=1'
	option track_status '204'
	option portal_retry '60'

config policy 'balanced'
	list use_member 'wan1'
	list use_member 'wan2 weight=3 metric=2'
	option balance 'source'
	option last_resort 'unreachable'
	option failback 'never'

config rule 'bank'
	option enabled '1'
	option family 'ipv4'
	list src_ip '10.20.3.0/24'
	list src_ip '!10.20.3.7'
	list dest_ip '203.0.113.0/24'
	list src_mac '02-00-5E-00-53-01'
	option src_iface 'guest'
	option proto 'tcp udp'
	option src_port '1024:65535'
	option dest_port '80,443 8000-8100'
	option ipset 'streaming'
	option ipset_src 'foreign'
	option dscp 'EF'
	option fwmark '0x1/0xff'
	option sticky '1'
	option sticky_key 'source_dest'
	option timeout '10m'
	option use_policy 'wan2'
	option log '1'

config rule
	option src_device 'br-guest'
	option proto 'icmp'
	option icmp_type 'echo-request'
	option use_policy 'blackhole'

config ipset 'streaming'
	option family 'ipv4'
	list entry '203.0.113.0/24'
	list entry '203.0.113.0/24'
	option loadfile '/etc/loadbalance.d/streaming.txt'
	list domain 'Example.org'
`

func TestEveryOption(t *testing.T) {
	c := read(t, everyOption)
	wan1, wan2 := c.Member("wan1"), c.Member("wan2")
	if wan1.Mark != 0x5000000 || wan1.Table != 252 || wan1.Interface6 != "wan1_6" || wan1.Gateway6 != netip.MustParseAddr("fe80::1") {
		t.Errorf("wan1: %+v", wan1)
	}
	if len(wan1.Track.IPs) != 2 || !wan1.Track.Gateway || wan1.Track.Port != 443 {
		t.Errorf("wan1's track: %+v", wan1.Track)
	}
	if wan1.RouterTraffic || !wan2.RouterTraffic {
		t.Errorf("router_traffic of wan1: %v, of wan2: %v", wan1.RouterTraffic, wan2.RouterTraffic)
	}
	if wan1.Quota != (Quota{50e9, 1, "last"}) || wan2.Quota.Bytes != 0 {
		t.Errorf("quotas: %+v and %+v", wan1.Quota, wan2.Quota)
	}
	if wan2.Device != "vth1" || wan2.Interface != "" || wan2.Track.Port != 8080 {
		t.Errorf("wan2: %+v", wan2)
	}
	members := []PolicyMember{{"wan1", 1, 1}, {"wan2", 3, 2}}
	policy := Policy{Name: "balanced", Balance: Source, LastResort: LastUnreachable, Failback: "never", Members: members}
	if !reflect.DeepEqual(c.Policies, []Policy{policy}) {
		t.Errorf("policies: %+v", c.Policies)
	}
	bank := Rule{
		Pos: Pos{"loadbalance", 62}, Name: "bank", Label: "bank", Enabled: true,
		Families: []family.Family{family.IPv4},
		SrcIP: AddressMatch{
			Any: []netip.Prefix{netip.MustParsePrefix("10.20.3.0/24")},
			Not: []netip.Prefix{netip.MustParsePrefix("10.20.3.7/32")},
		},
		DestIP: AddressMatch{Any: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}},
		SrcMAC: []string{"02:00:5e:00:53:01"}, SrcIface: "guest",
		Protos:   []Proto{{6, "tcp"}, {17, "udp"}},
		SrcPorts: []PortRange{{1024, 65535}}, DestPorts: []PortRange{{80, 80}, {443, 443}, {8000, 8100}},
		IPSet: "streaming", IPSetSrc: "foreign", DSCP: 46, FWMark: 1, FWMask: 0xff,
		Sticky: true, StickyPair: true, Timeout: 10 * time.Minute, Use: "wan2", Log: true,
	}
	if !reflect.DeepEqual(c.Rules[0], bank) {
		t.Errorf("got rule\n%+v\nwant\n%+v", c.Rules[0], bank)
	}
	ping := c.Rules[1]
	if ping.ICMPType != "echo-request" || !reflect.DeepEqual(ping.Families, []family.Family{family.IPv4}) || ping.SrcDevice != "br-guest" {
		t.Errorf("second rule: %+v", ping)
	}
	streaming := IPSet{
		Pos: Pos{"loadbalance", 89}, Name: "streaming", Entries: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
		LoadFile: "/etc/loadbalance.d/streaming.txt", Domains: []string{"example.org"},
	}
	if !reflect.DeepEqual(c.IPSets, []IPSet{streaming}) {
		t.Errorf("sets: %+v", c.IPSets)
	}
}

// TestWithoutFaulty shows what is left of a file with errors.
func TestWithoutFaulty(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{
			"policy keeps its other members",
			"config member a\n\toption weight 0\nconfig member b\nconfig policy p\n\tlist use_member a\n\tlist use_member b\n\tlist use_member x\n" +
				"config rule r\n\toption use_policy p\n",
			"members [b] policies [p:b balanced:b] rules [r] sets []",
		},
		{
			"policy without members and its rules go",
			"config member a\n\toption weight 0\nconfig member b\nconfig policy p\n\tlist use_member a\nconfig rule r\n\toption use_policy p\nconfig rule q\n",
			"members [b] policies [balanced:b] rules [q] sets []",
		},
		{
			"policy with disabled members has its last resort",
			"config member a\n\toption enabled 0\nconfig member b\nconfig policy p\n\tlist use_member a\nconfig rule r\n\toption use_policy p\n",
			"members [a b] policies [p: balanced:b] rules [r] sets []",
		},
		{
			"policy whose only line is malformed goes",
			"config member a\nconfig policy p\n\tlist use_member 'a wieght=2'\nconfig rule r\n\toption use_policy p\n",
			"members [a] policies [balanced:a] rules [] sets []",
		},
		{
			"policy without a list stays without members",
			"config member a\n\toption enabled 0\nconfig policy p\nconfig rule r\n\toption use_policy p\n",
			"members [a] policies [p: balanced:] rules [r] sets []",
		},
		{
			"a warning behind an error does not mend it",
			"config member a\n\toption weight 0\n\toption colour red\nconfig member b\n",
			"members [b] policies [balanced:b] rules [] sets []",
		},
		{
			"balanced falls back to all members",
			"config member a\nconfig policy balanced\n\tlist use_member x\nconfig rule r\n",
			"members [a] policies [balanced:a] rules [r] sets []",
		},
		{
			"rule of a faulty set goes, of a foreign set stays",
			"config ipset s\n\tlist entry 1\nconfig rule r\n\toption ipset s\nconfig rule q\n\toption ipset_src t\n",
			"members [] policies [balanced:] rules [q] sets []",
		},
		{
			"first of two with the same device",
			"config member a\n\toption device eth1\nconfig member b\n\toption device eth1\n",
			"members [a] policies [balanced:a] rules [] sets []",
		},
		{
			"first members that fit the mask",
			"config globals globals\n\toption mark_mask 7\nconfig member a\nconfig member b\nconfig member c\nconfig member d\nconfig member e\nconfig member f\n",
			"members [a b c d] policies [balanced:a,b,c,d] rules [] sets []",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, _ := Read(parse(t, c.text))
			if got := outline(config); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// outline names the sections of a configuration.
func outline(c *Config) string {
	var members, policies, rules, sets []string
	for _, m := range c.Members {
		members = append(members, m.Name)
	}
	for _, p := range c.Policies {
		var uses []string
		for _, m := range p.Members {
			uses = append(uses, m.Name)
		}
		policies = append(policies, p.Name+":"+strings.Join(uses, ","))
	}
	for _, r := range c.Rules {
		rules = append(rules, r.Label)
	}
	for _, s := range c.IPSets {
		sets = append(sets, s.Name)
	}
	return fmt.Sprintf("members %v policies %v rules %v sets %v", members, policies, rules, sets)
}

func TestSeverity(t *testing.T) {
	for _, c := range []struct {
		name, text    string
		errors, fatal bool
	}{
		{"nothing", "config member a\n", false, false},
		{"warning", "config globals globals\n\toption colour red\n", false, false},
		{"error", "config member a\n\toption weight 0\n", true, false},
		{"faulty globals", "config globals globals\n\toption enabled x\n", true, true},
		{"second globals", "config globals a\nconfig globals b\n", true, true},
		{"anonymous globals", "config globals\n\toption enabled 0\n", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := Read(parse(t, c.text))
			if problems.HasErrors() != c.errors || problems.Fatal() != c.fatal {
				t.Errorf("errors %v, fatal %v: %v", problems.HasErrors(), problems.Fatal(), problems)
			}
		})
	}
}

// TestManyProblems shows that a hostile file cannot make problems without end,
// and that the worst of those left out still counts.
func TestManyProblems(t *testing.T) {
	junk := strings.Repeat("x! ", maxProblems)
	text := "config member a\n\tlist prefix6 '" + junk + "'\n\toption colour red\nconfig policy p\n\toption last_resort x\n"
	_, problems := Read(parse(t, text))
	if len(problems) != maxProblems+1 {
		t.Fatalf("%d problems", len(problems))
	}
	last := problems[maxProblems]
	if last.Text != "2 more problems here or elsewhere" || last.Severity != Error {
		t.Errorf("the last one: %s %s", last.Severity, last)
	}
}

func TestSorted(t *testing.T) {
	_, problems := Read(parse(t, "config rule\n\toption log x\nconfig member a\n\toption weight 0\nconfig globals g\n\toption enabled x\n"))
	var lines []int
	for _, p := range problems {
		lines = append(lines, p.Pos.Line)
	}
	if !reflect.DeepEqual(lines, []int{2, 4, 6}) {
		t.Errorf("lines %v", lines)
	}
}

// TestPinsAccepted holds the pins that look like mistakes and are none.
func TestPinsAccepted(t *testing.T) {
	for _, c := range []struct {
		name, text  string
		mark, table int
	}{
		{"table of the own index", "config member a\n\toption mark 0x5000000\n\toption table 305\n", 0x5000000, 305},
		{"mark in a scattered mask", "config globals g\n\toption mark_mask 0xf0f0\nconfig member a\n\toption mark 0x1010\n\toption table 317\n", 0x1010, 317},
		{"whole mask", "config globals g\n\toption mark_mask 0xFFFFFFFF\nconfig member a\n\toption mark 199\n\toption table 252\n", 199, 252},
		{"last mark", "config member a\n\toption mark 1006632960\n\toption table 364\n", 0x3c000000, 364},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := read(t, c.text).Member("a")
			if int(m.Mark) != c.mark || m.Table != c.table {
				t.Errorf("mark 0x%x, table %d", m.Mark, m.Table)
			}
		})
	}
}

// TestValuesByHand holds what no parser hands out, but a caller could.
func TestValuesByHand(t *testing.T) {
	file := &uci.File{Name: "loadbalance", Sections: []uci.Section{
		{Type: "member", Name: "a", Line: 1, Options: []uci.Option{
			{Name: "device", Line: 2, Values: []uci.Value{{Text: "e\x00th\xff", Line: 2}}},
			{Name: "weight", Line: 3},
		}},
		{Type: "member", Name: "a", Line: 4},
	}}
	_, problems := Read(file)
	want := []string{
		`loadbalance:2: member 'a': option 'device': 'e\x00th\xff' is not a device name (1 to 15 characters, no spaces, quotes, slashes or wildcards)`,
		`loadbalance:4: member 'a': the name is already taken by member 'a' (line 1)`,
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// TestAccepted holds spellings of valid rules.
func TestAccepted(t *testing.T) {
	for _, c := range []struct {
		option string
		got    func(Rule) any
		want   any
	}{
		{"option proto 'TCP,6,udp'", func(r Rule) any { return r.Protos }, []Proto{{6, "tcp"}, {17, "udp"}}},
		{"list proto 'ipv6-icmp'", func(r Rule) any { return r.Families }, []family.Family{family.IPv6}},
		{"option proto 'udplite icmp'", func(r Rule) any { return len(r.Families) }, 2},
		{"option proto ah", func(r Rule) any { return r.Families }, []family.Family{family.IPv4}},
		{"option proto '43 44 51 60'", func(r Rule) any { return r.Families }, []family.Family{family.IPv4}},
		{"option proto 'esp ah'", func(r Rule) any { return len(r.Families) }, 2},
		{"option proto 'ah icmpv6'", func(r Rule) any { return len(r.Families) }, 2},
		{"option proto any", func(r Rule) any { return len(r.Protos) }, 0},
		{"option proto 'dccp sctp udplite'\n\toption src_port 80", func(r Rule) any { return len(r.Protos) }, 3},
		{"option proto tcp\n\toption dest_port '80-80 81:81'", func(r Rule) any { return r.DestPorts }, []PortRange{{80, 80}, {81, 81}}},
		{"option proto '0'", func(r Rule) any { return len(r.Protos) }, 0},
		{"option proto '047'", func(r Rule) any { return r.Protos }, []Proto{{47, "47"}}},
		{"option dscp 0x2e", func(r Rule) any { return r.DSCP }, 46},
		{"option dscp cs0", func(r Rule) any { return r.DSCP }, 0},
		{"option dscp 63", func(r Rule) any { return r.DSCP }, 63},
		{"option proto icmp\n\toption icmp_type 3/04", func(r Rule) any { return r.ICMPType }, "3/4"},
		{"option proto icmpv6\n\toption icmp_type 128", func(r Rule) any { return r.ICMPType }, "128"},
		{"option ipset pbr.wan-4:x", func(r Rule) any { return r.IPSet }, "pbr.wan-4:x"},
		{"option use_policy balanced", func(r Rule) any { return r.Use }, "balanced"},
		{"option use_policy default", func(r Rule) any { return r.Use }, "default"},
		{"option timeout 2147483", func(r Rule) any { return r.Timeout }, 2147483 * time.Second},
		{"option timeout 600", func(r Rule) any { return r.Timeout }, 600 * time.Second},
		{"option timeout 90s", func(r Rule) any { return r.Timeout }, 90 * time.Second},
		{"option timeout 10m", func(r Rule) any { return r.Timeout }, 600 * time.Second},
		{"option timeout 2h", func(r Rule) any { return r.Timeout }, 7200 * time.Second},
		{"option src_ip '10.0.0.1 2001:db8::/32'", func(r Rule) any { return len(r.Families) }, 2},
		{"list dest_ip 0.0.0.0/0", func(r Rule) any { return r.DestIP.Any }, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
		{"option dest_ip '10.0.0.0/8,!10.0.0.1'", func(r Rule) any { return r.DestIP }, AddressMatch{
			Any: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Not: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}},
		{"list dest_ip 10.1.2.3/255.0.0.0", func(r Rule) any { return r.DestIP.Any }, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{"list src_ip !10.0.0.3/0.0.0.1", func(r Rule) any { return r.SrcIP.Masked }, []Masked{
			{netip.MustParseAddr("0.0.0.1"), netip.MustParseAddr("0.0.0.1"), true}}},
		{"list src_mac 0200.5e00.5301", func(r Rule) any { return r.SrcMAC }, []string{"02:00:5e:00:53:01"}},
		{"option enabled no", func(r Rule) any { return r.Enabled }, false},
	} {
		rules := read(t, "config rule r\n\t"+c.option+"\n").Rules
		if len(rules) != 1 {
			t.Errorf("%s: %d rules", c.option, len(rules))
			continue
		}
		if got := c.got(rules[0]); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.option, got, c.want)
		}
	}
}
