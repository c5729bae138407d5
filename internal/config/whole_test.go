package config

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"loadbalance/internal/family"
)

// TestNoOptionIsForgotten reads globals and a member in which every option has
// another value than by default.
func TestNoOptionIsForgotten(t *testing.T) {
	c := read(t, `config globals 'globals'
	option enabled '0'
	option mark_mask '0X00FF0000'
	option router_traffic '0'
	option ignore_split_default '1'
	option balance 'random'
	option loglevel 'debug'
	option monitor '0'
	list bypass '10.0.0.0/8'
	list bypass '2001:db8::/32'
config member 'wan1'
	option enabled '0'
	option interface 'wan'
	option interface6 'wan6'
	option gateway '192.0.2.1'
	option gateway6 'fe80::1'
	list prefix6 '2001:db8::/56'
	option weight '2'
	option metric '3'
	option mark '0x40000'
	option table '299'
	option router_traffic '0'
	option quota '1.5 tb'
	option quota_day '28'
	option quota_action 'off'
	list track_ip '1.1.1.1 2001:db8::1'
	list track_ip 'gateway'
	option track_method 'http'
	option track_url 'http://example.org:81/'
	option track_status '200'
	option portal_retry '90'
	option reliability '3'
	option interval '5'
	option timeout '4'
	option down '6'
	option up '7'
	option window '8'
	option failure_loss '50'
	option recovery_loss '9'
	option failure_latency '500'
	option recovery_latency '250'
	option initial_state 'offline'
	option on_dead 'clear'
	option failback 'never'
	option passive '0'
`)
	globals := Globals{
		MarkMask: 0xff0000, IgnoreSplitDefault: true, Balance: Random, LogLevel: "debug",
		Bypass: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
	}
	if !reflect.DeepEqual(c.Globals, globals) {
		t.Errorf("got globals\n%+v\nwant\n%+v", c.Globals, globals)
	}
	wan1 := Member{
		Name: "wan1", Interface: "wan", Interface6: "wan6",
		Gateway: netip.MustParseAddr("192.0.2.1"), Gateway6: netip.MustParseAddr("fe80::1"),
		Prefix6: []netip.Prefix{netip.MustParsePrefix("2001:db8::/56")}, Weight: 2, Metric: 3, Mark: 0x40000, Table: 299,
		Quota: Quota{1.5e12, 28, "off"},
		Track: Track{
			IPs: []netip.Addr{netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("2001:db8::1")}, Gateway: true,
			Method: "http", Port: 81, URL: "http://example.org:81/", Status: 200, Reliability: 3,
			Interval: 5 * time.Second, Timeout: 4 * time.Second, Down: 6, Up: 7, Window: 8, FailureLoss: 50, RecoveryLoss: 9,
			FailureLatency: 500 * time.Millisecond, RecoveryLatency: 250 * time.Millisecond, PortalRetry: 90 * time.Second,
			InitialState: "offline", OnDead: "clear", Failback: "never",
		},
	}
	if !reflect.DeepEqual(c.Members, []Member{wan1}) {
		t.Errorf("got member\n%+v\nwant\n%+v", c.Members, wan1)
	}
}

// TestLossLimits: the default of the lower limit follows an upper one that is
// smaller, and 0 switches either off.
func TestLossLimits(t *testing.T) {
	for _, c := range []struct {
		options           []string
		failure, recovery int
	}{
		{nil, 30, 10},
		{[]string{"option failure_loss 5"}, 5, 5},
		{[]string{"option failure_loss 11"}, 11, 10},
		{[]string{"option failure_loss 0"}, 0, 0},
		{[]string{"option recovery_loss 0"}, 30, 0},
		{[]string{"option failure_loss 20", "option recovery_loss 20"}, 20, 20},
		{[]string{"option failure_loss 0", "option recovery_loss 20"}, 0, 20},
	} {
		track := read(t, member(append(c.options, "list track_ip 1.1.1.1")...)).Members[0].Track
		if track.FailureLoss != c.failure || track.RecoveryLoss != c.recovery {
			t.Errorf("%v: %d and %d, want %d and %d", c.options, track.FailureLoss, track.RecoveryLoss, c.failure, c.recovery)
		}
	}
}

// TestTrackPorts: each method asks its own port unless told otherwise, and a
// method without ports asks none.
func TestTrackPorts(t *testing.T) {
	for _, c := range []struct {
		options []string
		want    uint16
	}{
		{[]string{"option track_method ping"}, 0},
		{[]string{"option track_method ping", "option track_port 80"}, 0},
		{[]string{"option track_method arp"}, 0},
		{[]string{"option track_method tcp"}, 443},
		{[]string{"option track_method tcp", "option track_port 80"}, 80},
		{[]string{"option track_method dns"}, 53},
		{[]string{"option track_method http", "option track_url http://example.org/"}, 80},
		{[]string{"option track_method http", "option track_url http://example.org:81/", "option track_port 82"}, 81},
	} {
		config, problems := Read(parse(t, member(append(c.options, "list track_ip 1.1.1.1")...)))
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		if got := config.Members[0].Track.Port; got != c.want {
			t.Errorf("%v: port %d, want %d", c.options, got, c.want)
		}
	}
}

// TestTargets: one address in two spellings is one target.
func TestTargets(t *testing.T) {
	config, problems := Read(parse(t, member("list track_ip '2001:db8::1 2001:DB8:0::1 1.1.1.1 gateway gateway'")))
	track := config.Members[0].Track
	if len(track.IPs) != 2 || !track.Gateway || len(problems) != 2 || problems.HasErrors() {
		t.Errorf("targets %v, gateway %v, problems %v", track.IPs, track.Gateway, problems)
	}
}

// TestTableRange: the tables that are the system's or come with an index are
// refused, and their neighbours are not.
func TestTableRange(t *testing.T) {
	for table, want := range map[string]bool{
		"252": true, "253": false, "254": false, "255": false, "256": true, "299": true, "300": false, "363": false, "364": true,
	} {
		_, problems := Read(parse(t, "config globals g\n\toption mark_mask 0x3f000000\n"+member("option table "+table)))
		if problems.HasErrors() == want {
			t.Errorf("table %s: %v", table, problems)
		}
	}
}

// TestDisabledMembers take no part: they are not judged by the mask, take no
// room in it, and no policy deals to them.
func TestDisabledMembers(t *testing.T) {
	c := read(t, `config globals g
	option mark_mask 7
config member off
	option enabled 0
	option mark 0x1000000
	option table 254
config member a
config member b
config member c
config member d
config policy all
`)
	if got := outline(c); got != "members [off a b c d] policies [all:a,b,c,d balanced:a,b,c,d] rules [] sets []" {
		t.Error(got)
	}
	var names []string
	for _, m := range c.EnabledMembers() {
		names = append(names, m.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "c", "d"}) {
		t.Errorf("enabled: %v", names)
	}
}

// TestPolicyTakesMembersNumbers: without a list a policy has all enabled
// members with their own weights and tiers, and its own ones go before them.
func TestPolicyTakesMembersNumbers(t *testing.T) {
	c := read(t, `config member a
	option weight 5
	option metric 6
config member b
config policy all
	option balance random
config policy some
	list use_member ''
	list use_member 'a metric=2'
	list use_member 'b weight=3'
`)
	for name, want := range map[string][]PolicyMember{
		"all":      {{"a", 5, 6}, {"b", 1, 1}},
		"some":     {{"a", 5, 2}, {"b", 3, 1}},
		"balanced": {{"a", 5, 6}, {"b", 1, 1}},
	} {
		if got := c.Policy(name).Members; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestWhatRulesName: interfaces, and sets that other programs have to make, of
// enabled rules alone.
func TestWhatRulesName(t *testing.T) {
	c := read(t, `config rule
	option src_iface 'lan'
	option ipset 'theirs'
config rule
	option src_iface 'guest'
	option ipset 'ours'
	option ipset_src 'more'
config rule
	option src_iface 'lan'
	option ipset 'theirs'
config rule
	option enabled 0
	option src_iface 'dmz'
	option ipset 'nobodys'
config rule
config ipset 'ours'
`)
	if got := c.RuleInterfaces(); !slices.Equal(got, []string{"guest", "lan"}) {
		t.Errorf("interfaces: %v", got)
	}
	if got := c.ForeignSets(); !slices.Equal(got, []string{"more", "theirs"}) {
		t.Errorf("sets: %v", got)
	}
}

// TestProtocolExists: a rule of a family is written only where the family has
// its protocol.
func TestProtocolExists(t *testing.T) {
	for number, want := range map[uint8][2]bool{6: {true, true}, 1: {true, false}, 51: {true, false}, 58: {false, true}} {
		for i, f := range []family.Family{family.IPv4, family.IPv6} {
			if got := (Proto{Number: number}).ExistsIn(f); got != want[i] {
				t.Errorf("protocol %d exists in %s: %v", number, f, got)
			}
		}
	}
}

// TestDroppedProblems: of the problems that are too many, the worst counts, in
// whatever order they come.
func TestDroppedProblems(t *testing.T) {
	warning, err, fatal := Problem{}, Problem{Severity: Error}, Problem{Severity: Error, Fatal: true}
	for _, rest := range [][]Problem{{fatal, warning}, {warning, fatal}, {warning, err}, {err, warning}, {warning, warning}} {
		var c collector
		for range maxProblems {
			c.add(warning)
		}
		errors, fatals := false, false
		for _, p := range rest {
			c.add(p)
			errors, fatals = errors || p.Severity == Error, fatals || p.Fatal
		}
		all := c.sorted()
		if all.HasErrors() != errors || all.Fatal() != fatals || all[maxProblems].Text != "2 more problems here or elsewhere" {
			t.Errorf("%v: %v, errors %v, fatal %v", rest, all[maxProblems:], all.HasErrors(), all.Fatal())
		}
	}
}
