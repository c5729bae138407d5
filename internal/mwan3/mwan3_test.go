package mwan3

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uci"
)

const twoLines = `
config interface 'wan'
	option enabled '1'
config interface 'wanb'
	option enabled '1'
config member 'a'
	option interface 'wan'
config member 'b'
	option interface 'wanb'
config policy 'both'
	list use_member 'a'
	list use_member 'b'
`

// TestRuleMeaning reads the result as the program does.
func TestRuleMeaning(t *testing.T) {
	text := twoLines + `
config rule 'r'
	option family 'ipv4'
	option proto 'tcp'
	option src_ip '10.1.0.0/255.255.0.0'
	option dest_ip '203.0.113.7'
	option src_iface 'lan'
	option src_port '1000:2000'
	option dest_port '80,443'
	option ipset 'video'
	option sticky '1'
	option timeout '900'
	option logging '1'
	option use_policy 'both'
config globals 'globals'
	option logging '1'
`
	cfg, _ := readBack(t, convert(t, text).Text)
	if len(cfg.Rules) != 2 {
		t.Fatalf("%d rules", len(cfg.Rules))
	}
	r := cfg.Rules[0]
	got := fmt.Sprintln(r.Name, r.Families, r.Protos, r.SrcIP.Any, r.DestIP.Any, r.SrcIface, r.SrcPorts, r.DestPorts,
		r.IPSet, r.Sticky, r.Timeout, r.Log, r.Use, r.Enabled)
	want := fmt.Sprintln("r", []family.Family{family.IPv4}, []config.Proto{{Number: 6, Name: "tcp"}}, "[10.1.0.0/16]", "[203.0.113.7/32]",
		"lan", "[{1000 2000}]", "[{80 80} {443 443}]", "video", true, 900*time.Second, true, "both", true)
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if last := cfg.Rules[1]; last.Use != "default" || len(last.Families) != 2 {
		t.Errorf("the last rule is %+v", last)
	}
}

// TestStickyTimeout keeps a rule whose timeout cannot be kept.
func TestStickyTimeout(t *testing.T) {
	for written, want := range map[string]time.Duration{"": 600 * time.Second, "0": 2147483 * time.Second, "soon": 600 * time.Second} {
		text := twoLines + "config rule 'r'\n\toption sticky 1\n\toption timeout '" + written + "'\n\toption use_policy 'both'\n"
		cfg, _ := readBack(t, convert(t, text).Text)
		if len(cfg.Rules) != 1 || !cfg.Rules[0].Sticky || cfg.Rules[0].Timeout != want {
			t.Errorf("timeout %q: %+v", written, cfg.Rules)
		}
	}
}

// TestHostileValues gives every option of a large file values that break out of
// quotes, comments and lines.
func TestHostileValues(t *testing.T) {
	values := []string{"", "x y", "it's", "a\nconfig rule 'evil'", "#", "\t\"", "-j ACCEPT", strings.Repeat("9", 400), "\x1b[2J", "0", "-1", "1.5", "default"}
	for _, name := range []string{"office", "dualstack"} {
		text, err := os.ReadFile(filepath.Join("testdata", name, "mwan3"))
		if err != nil {
			t.Fatal(err)
		}
		file, err := uci.Parse("mwan3", text)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range file.Sections {
			for j := range s.Options {
				for _, v := range values {
					kept := file.Sections[i].Options[j].Values
					file.Sections[i].Options[j].Values = []uci.Value{{Text: v}, {Text: "second"}}
					result, err := newConverter("mwan3").convert(file)
					if err != nil {
						t.Fatalf("%s, %s.%s = %q: %v", name, s.Label(), s.Options[j].Name, v, err)
					}
					cfg, problems := readBack(t, result.Text)
					if problems.HasErrors() || slices.ContainsFunc(cfg.Rules, func(r config.Rule) bool { return r.Name == "evil" }) {
						t.Fatalf("%s, %s.%s = %q: %v\n%s", name, s.Label(), s.Options[j].Name, v, problems, result.Text)
					}
					file.Sections[i].Options[j].Values = kept
				}
			}
		}
	}
}

// TestTheRestIsLeft checks in which families unmatched traffic gets a rule.
func TestTheRestIsLeft(t *testing.T) {
	tests := []struct{ name, options, want string }{
		{"all of both", "", ""},
		{"IPv4 by address", "option dest_ip 0.0.0.0/0", "[ipv6]"},
		{"IPv6 by address", "option dest_ip ::/0", "[ipv4]"},
		{"IPv6 by family", "option family ipv6", "[ipv4]"},
		{"all protocols", "option proto all", ""},
		{"all ports", "option dest_port 0:65535", ""},
		{"all sources", "option src_ip 0.0.0.0/0", "[ipv6]"},
		{"odd sources", "option src_ip 0.0.0.1/0.0.0.1", "[ipv4 ipv6]"},
		{"disabled", "option enabled 0", "[ipv4 ipv6]"},
		{"one protocol", "option proto tcp", "[ipv4 ipv6]"},
		{"one network", "option dest_ip 10.0.0.0/8", "[ipv4 ipv6]"},
		{"one source", "option src_ip 10.0.0.0/8", "[ipv4 ipv6]"},
		{"one interface", "option src_iface lan", "[ipv4 ipv6]"},
		{"a set", "option ipset x", "[ipv4 ipv6]"},
		{"a mark", "option fwmark 1\n\toption fwmask 255", "[ipv4 ipv6]"},
		{"left out", "option dest_port 80", "[ipv4 ipv6]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := twoLines + "config rule 'r'\n\toption use_policy 'both'\n\t" + tt.options + "\n"
			cfg, _ := readBack(t, convert(t, text).Text)
			got := ""
			if last := cfg.Rules[len(cfg.Rules)-1]; last.Name == "unmatched" {
				got = fmt.Sprint(last.Families)
			}
			if got != tt.want {
				t.Errorf("unmatched traffic has a rule for %q, want %q", got, tt.want)
			}
		})
	}
}

// TestShares checks how members with their metrics and weights are folded.
func TestShares(t *testing.T) {
	tests := []struct{ name, members, want string }{
		{"defaults", "wan:: wanb::", "wan 1/1, wanb 1/1"},
		{"tiers", "wan:1:3 wanb:2:7", "wan 1/3, wanb 2/7"},
		{"twice in one tier", "wan:1:3 wanb:1:1 wan:1:2", "wan 1/5, wanb 1/1"},
		{"twice, lower metric later", "wan:5:3 wan:2:9", "wan 2/9"},
		{"twice, lower metric first", "wan:2:9 wan:5:3", "wan 2/9"},
		{"metric 0", "wan:0:1 wanb:7:1", "wan 1/1, wanb 8/1"},
		{"metric too high", "wan:257:1 wanb:256:1", "wanb 256/1"},
		{"weights too high", "wan:1:2000 wanb:1:1000", "wan 1/1000, wanb 1/500"},
		{"weights too high for their ratio", "wan:1:999999 wanb:1:1", "wan 1/1000, wanb 1/1"},
		{"weight 0 beside others", "wan:1:0 wanb:1:1", "wanb 1/1"},
		{"weight 0 alone in its tier", "wan:1:1 wanb:2:0", "wan 1/1, wanb 2/1"},
		{"unknown interface", "wan:: wanc::", "wan 1/1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var text, policy strings.Builder
			text.WriteString(twoLines)
			policy.WriteString("config policy 'p'\n")
			for i, m := range strings.Fields(tt.members) {
				f := strings.Split(m, ":")
				fmt.Fprintf(&text, "config member 'm%d'\n\toption interface '%s'\n\toption metric '%s'\n\toption weight '%s'\n", i, f[0], f[1], f[2])
				fmt.Fprintf(&policy, "\tlist use_member 'm%d'\n", i)
			}
			cfg, _ := readBack(t, convert(t, text.String()+policy.String()).Text)
			var got []string
			for _, m := range cfg.Policy("p").Members {
				got = append(got, fmt.Sprintf("%s %d/%d", m.Name, m.Metric, m.Weight))
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("%v, want %s", got, tt.want)
			}
		})
	}
}

// TestHealth checks what is left of the options of tracking.
func TestHealth(t *testing.T) {
	tests := []struct {
		options string
		want    []string
		not     string
	}{
		{"", nil, "timeout"},
		{"list track_ip 192.0.2.1", []string{"option failure_loss '0'", "option failure_latency '0'"}, "option interval"},
		{"list track_ip 192.0.2.1\noption down 3",
			[]string{"option interval '10s'", "option timeout '4s'", "option down '3'", "option up '5'"}, "NOTE"},
		{"list track_ip 192.0.2.1\noption check_quality 1\noption failure_loss 25",
			[]string{"option failure_loss '25'", "option recovery_loss '10'", "option failure_latency '1000'", "option recovery_latency '500'"}, "NOTE"},
		{"list track_ip 192.0.2.1\noption check_quality 1\noption failure_loss 5",
			[]string{"NOTE: member 'wan': left out: option 'recovery_loss': 10 is more than failure_loss 5"}, "\toption recovery_loss"},
		// What is refused takes along what has no effect without it.
		{"list track_ip 192.0.2.1\noption check_quality 1\noption failure_latency never",
			[]string{"NOTE: member 'wan': left out: option 'failure_latency': 'never' is not a time", "#\toption recovery_latency '500'"}, "\toption recovery_latency"},
		// No target, no option that would have no effect.
		{"list track_ip example.org\nlist track_ip 0.0.0.0\noption track_method httping\noption interval 5\noption reliability 2", []string{
			"NOTE: member 'wan': no target is left to probe: it counts as online as long as its link is up",
			"NOTE: member 'wan': track_ip 'example.org', '0.0.0.0' is left out: only addresses of hosts can be probed, no names"}, "option interval"},
		{"list track_ip example.org\nlist track_ip 192.0.2.1\noption reliability 2",
			[]string{"NOTE: member 'wan': reliability 2 becomes 1, the number of targets that are left"}, "never found"},
		{"list track_ip 2001:db8::1\nlist track_ip 192.0.2.1\noption reliability 2",
			[]string{"NOTE: member 'wan': reliability 2 is more than there are targets, so mwan3 never found the interface online"}, "option reliability"},
		{"option track_gateway 1\nlist track_ip 192.0.2.1\noption reliability 2", []string{"list track_ip 'gateway'", "option reliability '2'"}, "NOTE"},
		{"option track_gateway yes", []string{"list track_ip 'gateway'"}, "NOTE"},
		{"option family ipv6\noption track_gateway 1", nil, "track_ip"},
		{"option flush_conntrack never\noption track_ip 192.0.2.1", nil, "NOTE"},
		{"list flush_conntrack ifup\nlist flush_conntrack disconnected", []string{"NOTE: member 'wan': flush_conntrack 'disconnected', 'ifup' is left out: "}, ""},
		// The shortest interval.
		{"list track_ip 192.0.2.1\noption interval 10\noption failure_interval 1\noption down 3", []string{"option interval '1s'", "option timeout '4s'",
			"probed every '1' s in every state, where mwan3 waited '10' s, '1' s while probes fail and '10' s while a line comes back"}, ""},
		{"list track_ip 192.0.2.1\noption interval 600\noption failure_interval 5\noption recovery_interval 5\noption keep_failure_interval 1", []string{"option interval '5s'"}, "left out"},
		{"list track_ip 192.0.2.1\noption interval 3\noption failure_interval 5\noption recovery_interval 0", []string{"option interval '3s'", "waited '3' s, '5' s while"}, ""},
		{"list track_ip 192.0.2.1\noption failure_interval 5", nil, "option interval"},
		{"option track_ip '192.0.2.1 192.0.2.2'\noption reliability 2", []string{"option reliability '2'"}, "NOTE"},
		{"list track_ip 192.0.2.1\noption track_method httping", []string{"option track_method 'tcp'", "option track_port '80'"}, "track_url '"},
		{"list track_ip 192.0.2.1\noption track_method nping-icmp\noption size 56\noption max_ttl 60\noption count 1", nil, "NOTE"},
		{"list track_ip 192.0.2.1\noption timeout 900", []string{"NOTE: member 'wan': left out: option 'timeout': '900s' is out of range (10ms to 1m)"}, "\toption timeout"},
	}
	for _, tt := range tests {
		text := "config interface 'wan'\n\toption enabled 1\n" + tt.options + "\n"
		got := convert(t, text).Text
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%q: %q is missing in\n%s", tt.options, want, got)
			}
		}
		if tt.not != "" && slices.ContainsFunc(strings.Split(got, "\n"), func(line string) bool {
			note := strings.HasPrefix(line, "# NOTE:")
			return (note || !strings.HasPrefix(line, "#")) && strings.Contains(line, tt.not)
		}) {
			t.Errorf("%q: there is %q in\n%s", tt.options, tt.not, got)
		}
	}
}

// TestLeftOutRules: a rule with a condition that is not carried over is
// commented out, never widened, and named at the top.
func TestLeftOutRules(t *testing.T) {
	tests := []struct{ options, why string }{
		{"option src_zone lan", "option 'src_zone' has no counterpart here"},
		{"option fwmark 0x162", "mwan3 ignored it, since it has only one of fwmark and fwmask"},
		{"option fwmask 0xffff", "mwan3 ignored it, since it has only one of fwmark and fwmask"},
		{"option fwmark 0x100000\noption fwmask 0xff100000", "'0x100000/0xff100000' overlaps mark_mask 0x3f000000"},
		{"option fwmark 0x162\noption fwmask 0xff", "matches nothing or everything"},
		{"option src_iface router", "src_iface 'router' means the router itself here"},
		{"option unheard_of 1", "option 'unheard_of' has no counterpart here"},
		{"option dest_ip 10.0.0.0/8,example.org", "'example.org' is a host name"},
		{"option src_ip '! 10.0.0.1'", "'!' must directly precede an address"},
		{"option ipset off", "set 'off' is left out"},
		{"option ipset_src odd", "set 'odd' is left out"},
		{"option proto all\noption dest_port 443", "mwan3 knows ports only with proto"},
	}
	for _, tt := range tests {
		text := twoLines + "config ipset\n\toption name off\n\toption enabled 0\nconfig ipset\n\toption name odd\n\toption family inet\n" +
			"config rule 'r'\n\toption use_policy 'both'\n" + tt.options + "\n"
		got := convert(t, text).Text
		cfg, _ := readBack(t, got)
		note := regexp.MustCompile(`(?m)^# NOTE: rule 'r': .*` + regexp.QuoteMeta(tt.why)).MatchString(got)
		if len(cfg.Rules) != 1 || cfg.Rules[0].Name != "unmatched" || !note {
			t.Errorf("%q: rules %v, want a note with %q in\n%s", tt.options, cfg.Rules, tt.why, got)
		}
	}
}

// TestNotesInOrder: what changes the way of packets comes first, and equal notes
// are one.
func TestNotesInOrder(t *testing.T) {
	text := twoLines + `
config globals 'globals'
	option rtmon_interval 5
config interface 'third'
	option enabled 1
	option count 3
	list track_ip 192.0.2.1
config interface 'fourth'
	option enabled 1
	option count 3
	list track_ip 192.0.2.1
config rule 'first'
	option src_zone lan
	option use_policy both
config rule 'next'
	option src_zone lan
	option use_policy both
`
	var notes []string
	for _, line := range strings.Split(convert(t, text).Text, "\n") {
		if strings.HasPrefix(line, "# NOTE:") || line == "# Smaller differences:" {
			notes = append(notes, line)
		}
	}
	want := []string{
		"# NOTE: rule 'first', 'next': left out: option 'src_zone' has no counterpart here, and without it the rule might match more",
		"# Smaller differences:",
		"# NOTE: globals 'globals': option 'rtmon_interval' is left out: it has no counterpart here",
		"# NOTE: member 'third', 'fourth': count '3' is left out: each probe is one packet",
	}
	if !slices.Equal(notes, want) {
		t.Errorf("notes:\n%s\nwant\n%s", strings.Join(notes, "\n"), strings.Join(want, "\n"))
	}
}

// TestBadLines: what mwan3's own loader skips is skipped and named, cut and
// escaped.
func TestBadLines(t *testing.T) {
	secret := strings.Repeat("s3cret ", 20)
	text := twoLines + "config rule 'r'\n\toption use_policy both\n\toption src_ip 10.0.0.1 \x1b[2J" + secret + "\n\toption proto tcp\n"
	got := convert(t, text).Text
	cfg, _ := readBack(t, got)
	if len(cfg.Rules) != 2 || len(cfg.Rules[0].Protos) != 1 || len(cfg.Rules[0].SrcIP.Any) != 0 {
		t.Errorf("rules %+v", cfg.Rules)
	}
	const want = `# NOTE: line 15, 'option src_ip 10.0.0.1 \x1b[2Js3cret s3cret s3cret s3cret s3cre...', has a mistake, which mwan3 passes over: unexpected '\x1b[2Js3cret': a value with spaces needs quotes`
	if !strings.Contains(got, want+"\n") {
		t.Errorf("%s\nis missing in\n%s", want, got)
	}
	many := convert(t, twoLines+strings.Repeat("nonsense\n", 30)).Text
	if strings.Count(many, "has a mistake, which mwan3 passes over") != 10 || !strings.Contains(many, "# NOTE: 20 more such lines\n") {
		t.Errorf("30 bad lines:\n%s", many)
	}
	for _, nothing := range []string{"<html>\n<body>\n", "a\x00b"} {
		var refused *uci.SyntaxError
		if _, err := Convert("mwan3", []byte(nothing)); !errors.As(err, &refused) {
			t.Errorf("%q: %v", nothing, err)
		}
	}
}

// TestMembersBeyondTheMask leaves out what the mask has no room for, and what
// hangs on it.
func TestMembersBeyondTheMask(t *testing.T) {
	var text strings.Builder
	text.WriteString("config globals 'globals'\n\toption mmx_mask '0x700'\n") // room for 4
	for i := 1; i <= 6; i++ {
		fmt.Fprintf(&text, "config interface 'wan%d'\n\toption enabled 1\nconfig member 'm%d'\n\toption interface 'wan%d'\n", i, i, i)
	}
	text.WriteString("config policy 'balanced'\n\tlist use_member 'm5'\n\tlist use_member 'm6'\n" +
		"config policy 'some'\n\tlist use_member 'm1'\n\tlist use_member 'm6'\n" +
		"config rule 'gone'\n\toption use_policy 'balanced'\nconfig rule 'stays'\n\toption use_policy 'some'\n")
	cfg, _ := readBack(t, convert(t, text.String()).Text)
	if len(cfg.Members) != 4 || len(cfg.Rules) != 1 || cfg.Rules[0].Name != "stays" || len(cfg.Policy("some").Members) != 1 {
		t.Errorf("members %v, rules %v, policies %v", cfg.Members, cfg.Rules, cfg.Policies)
	}
}

// FuzzConvert lets nothing that libuci accepts become a configuration with
// errors, or keep the conversion from ending.
func FuzzConvert(f *testing.F) {
	f.Add([]byte(twoLines))
	f.Add([]byte("config rule 'balanced'\n\toption use_policy 'x\ny'\n\toption src_port '\x01'\nconfig policy 'x'\n\tlist use_member 'm'\n"))
	f.Add([]byte(twoLines + "config rule 'router'\n\toption src_iface router\n\toption fwmark '1/2'\n\toption fwmask '3\n4'\n\toption use_policy both\n"))
	f.Add([]byte("config interface 'balanced'\noption enabled 1\nlist track_ip 'a\nb'\noption interval -1\nconfig interface main\noption enabled 1\n"))
	f.Add([]byte("config globals globals\noption mmx_mask 1\noption x 'y\nz'\nconfig interface aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var refused *uci.SyntaxError
		if _, err := Convert("mwan3", text); !errors.As(err, &refused) {
			convert(t, string(text))
		}
	})
}
