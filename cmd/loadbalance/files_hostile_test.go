package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"loadbalance/internal/netlab"
)

// token is a part of every hostile value and of nothing else.
const token = "pwn3d"

// hostileValues are texts that would do harm if they got into the input of
// iptables-restore, into a shell, or onto a terminal. FILE is a file that must
// never come into being.
func hostileValues(file string) []string {
	values := []string{
		"x' -j ACCEPT " + token,
		`x" -j ACCEPT "` + token,
		"x\n-A PREROUTING -j ACCEPT -m comment --comment " + token,
		"x\nCOMMIT\n*filter\n-P INPUT DROP\nCOMMIT\n# " + token,
		"x\r\n:" + token + " - [0:0]",
		"-j ACCEPT " + token,
		"--" + token + " x",
		"-" + token + "/",
		"$(touch FILE) " + token,
		"`touch FILE` " + token,
		"x; touch FILE; # " + token,
		"x | touch FILE & " + token,
		token + `\`,
		`\"` + token + `\n`,
		"10.0.0.1 " + token,
		"10.0.0.1/8 -j " + token,
		"1 " + token,
		"0x1000000/0x3f000000 -j " + token,
		"wan1 weight=1 " + token,
		"eth1 -j " + token,
		"%s%n%d " + token,
		"! " + token,
		"../../../etc/" + token + "?",
		"Ünïcødé 漢字 \u202e " + token,
		"\x1b[2J\x07\x08 " + token,
		"\xff\xfe " + token,
		strings.Repeat(token, 1<<20/len(token)),
	}
	for i := range values {
		values[i] = strings.ReplaceAll(values[i], "FILE", file)
	}
	return values
}

// hostileOptions are all options by section type; lists are marked with a *.
var hostileOptions = map[string]string{
	"globals": "enabled mark_mask router_traffic ignore_split_default balance loglevel monitor *bypass",
	"member": "enabled interface interface6 device gateway gateway6 *prefix6 weight metric mark table *track_ip track_method " +
		"track_port track_url track_status reliability interval timeout down up window failure_loss recovery_loss " +
		"failure_latency recovery_latency initial_state on_dead failback passive router_traffic",
	"policy": "*use_member balance last_resort",
	"rule": "enabled family *src_ip *dest_ip *src_mac src_iface src_device proto icmp_type dest_port src_port ipset ipset_src " +
		"dscp sticky timeout use_policy log",
	"ipset": "family *entry loadfile *domain",
}

// quoted writes a value as UCI does.
func quoted(value string) string { return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'" }

// hostileLine is the line of a file that gives an option a value.
func hostileLine(option, value string) string {
	if name, list := strings.CutPrefix(option, "*"); list {
		return "\tlist " + name + " " + quoted(value) + "\n"
	}
	return "\toption " + option + " " + quoted(value) + "\n"
}

// hostileSections gives each line a section of its own.
func hostileSections(sectionType string, lines []string) string {
	var text strings.Builder
	for i, line := range lines {
		fmt.Fprintf(&text, "config %s h%d\n%s", sectionType, i, line)
	}
	return text.String()
}

// TestHostileValues boots with a file in which an option has hostile values,
// and looks at everything that iptables-restore is given. It does not depend
// on the back end.
func TestHostileValues(t *testing.T) {
	good := members(netlab.Separate, 2) + "config policy balanced\n\tlist use_member wan1\n\tlist use_member wan2\n" +
		"config rule good\n\toption proto tcp\n\toption dest_port 80\n\toption use_policy wan2\n"
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2, IPv6: true}, good)
	p := newPrograms(t)
	p.record("nft")
	p.link("touch", "sh")
	r.env = p.env()
	r.must("apply")
	want := p.inputs()
	if len(want) != 2 {
		t.Fatalf("%d runs of iptables-restore, want one for each family", len(want))
	}
	// A section with a hostile value is left out, but a policy only loses the
	// option: without the policy its traffic would go to all uplinks.
	r.boot(p)
	r.configure(good + hostileSections("policy", make([]string, len(hostileValues("")))))
	r.must("apply")
	wantPolicies := p.inputs()
	mark := filepath.Join(t.TempDir(), "made")
	for sectionType, options := range hostileOptions {
		for _, option := range strings.Fields(options) {
			name := sectionType + " " + strings.Trim(option, "*")
			if sectionType == "globals" {
				r.boot(p)
				for _, value := range hostileValues(mark) {
					r.configure(good + "config globals g\n" + hostileLine(option, value))
					r.expectInputs(p, name, nil)
				}
				continue
			}
			var lines []string
			for _, value := range hostileValues(mark) {
				lines = append(lines, hostileLine(option, value))
			}
			expected := want
			if name == "policy balance" || name == "policy last_resort" {
				expected = wantPolicies
			}
			r.boot(p)
			r.configure(good + hostileSections(sectionType, lines))
			r.expectInputs(p, name, expected)
		}
	}
	if _, err := os.Stat(mark); !os.IsNotExist(err) {
		t.Errorf("a shell has run a value: %v", err)
	}
}

// boot brings the router to where nothing of ours is there.
func (r *router) boot(p programs) {
	r.t.Helper()
	r.must("stop")
	r.forget()
	p.inputs()
}

// expectInputs applies a file with hostile values and expects what a file
// without their sections gives.
func (r *router) expectInputs(p programs, what string, want []string) {
	r.t.Helper()
	out, messages, code := r.call("apply")
	if code != 2 {
		r.t.Errorf("%s: exit code %d", what, code)
	}
	inputs := p.inputs()
	if !slices.Equal(inputs, want) {
		r.t.Errorf("%s: iptables-restore was given %d inputs that differ from those without the values:\n%.3000s",
			what, len(inputs), strings.Join(inputs, "\n"))
	}
	for _, input := range inputs {
		if strings.Contains(input, token) {
			r.t.Errorf("%s: iptables-restore was given a hostile value", what)
		}
	}
	printed := out + messages
	// 27 values, each shortened and named once or twice.
	if len(printed) > 20<<10 {
		r.t.Errorf("%s: %d bytes of messages", what, len(printed))
	}
	raw := func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }
	if i := strings.IndexFunc(printed, raw); i >= 0 || !utf8.ValidString(printed) {
		r.t.Errorf("%s: a message holds what a terminal might obey: %.200q", what, printed[max(0, i-100):])
	}
}
