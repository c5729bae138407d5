package iptables

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// The files in testdata are what iptables-save 1.8.9 prints with each back end.
func parseFile(t *testing.T, name string) *Table {
	t.Helper()
	output, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	table, err := Parse(output)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestParseEmpty(t *testing.T) {
	for _, backend := range []string{"nft", "legacy"} {
		table := parseFile(t, backend+"-empty.txt")
		if table.Legacy != (backend == "legacy") || table.Foreign || len(table.Chains)+len(table.Jumps) > 0 {
			t.Errorf("%s: %+v", backend, table)
		}
	}
}

// TestParseForeign: other programs' rules are nothing of ours, whatever they
// say in comments or log prefixes.
func TestParseForeign(t *testing.T) {
	for _, backend := range []string{"nft", "legacy"} {
		table := parseFile(t, backend+"-foreign.txt")
		if table.Legacy != (backend == "legacy") || !table.Foreign {
			t.Errorf("%s: legacy %v, foreign %v", backend, table.Legacy, table.Foreign)
		}
		if len(table.Chains)+len(table.Jumps) > 0 {
			t.Errorf("%s: taken for ours: %v %v", backend, table.Chains, table.Jumps)
		}
	}
}

func TestParseOurs(t *testing.T) {
	for _, backend := range []string{"nft", "legacy"} {
		t.Run(backend, func(t *testing.T) {
			table := parseFile(t, backend+"-ours.txt")
			if !table.Foreign {
				t.Error("the foreign chain was not seen")
			}
			jumps := []Jump{{"PREROUTING", "-j lb_hook"}, {"OUTPUT", "! -o lo -j lb_out"}}
			if !slices.Equal(table.Jumps, jumps) {
				t.Errorf("jumps %q, want %q", table.Jumps, jumps)
			}
			want := map[string]Chain{
				"lb_hook":            {Rules: 2, Comment: "lb:aabbccddeeff0011", Dealt: map[string]uint64{"lb_policy_balanced": 0}},
				"lb_policy_balanced": {Rules: 3, Comment: "lb:0123456789abcdef", Dealt: map[string]uint64{"lb_member_wan1": 4294967299, "lb_member_wan2": 2}},
				"lb_member_wan1":     {Rules: 2, Comment: "lb:aabbccddee001122", Mark: 0x100, Mask: 0x3f00},
				"lb_member_wan2":     {Rules: 2, Mark: 0x200, Mask: 0x3f00}, // one rule has no comment
				"lb_out":             {Rules: 2},                            // two comments
				"lb_empty":           {},
			}
			for name, chain := range want {
				got := table.Chains[name]
				if got == nil {
					t.Errorf("no chain %s", name)
					continue
				}
				if got.Rules != chain.Rules || got.Comment != chain.Comment || got.Mark != chain.Mark || got.Mask != chain.Mask || !maps.Equal(got.Dealt, chain.Dealt) {
					t.Errorf("%s: %+v, want %+v", name, *got, chain)
				}
			}
			if len(table.Chains) != len(want) {
				t.Errorf("chains %v", slices.Sorted(maps.Keys(table.Chains)))
			}
			if got := table.Chains["lb_policy_balanced"].Turns(); got != 4294967301 {
				t.Errorf("%d turns", got)
			}
		})
	}
}

func TestParseLines(t *testing.T) {
	tests := []struct {
		name    string
		line    string
		foreign bool
		jumps   string
		chains  string
	}{
		{"a built-in chain's policy", ":INPUT DROP [1:2]", true, "", ""},
		{"a foreign chain", ":QOS_MARK - [0:0]", true, "", ""},
		{"a chain that only begins like ours", ":lbx - [0:0]", true, "", ""},
		{"a foreign rule", "[1:60] -A POSTROUTING -j ACCEPT", true, "", ""},
		{"a rule without target", "[1:60] -A POSTROUTING", true, "", ""},
		{"a jump of ours", "[1:60] -A FORWARD -i a -g lb_x", false, "[{FORWARD -i a -g lb_x}]", ""},
		{"a foreign chain that leads to ours", "[1:60] -A other -j lb_x", true, "[]", ""},
		{"a rule of ours without a declaration", "[1:60] -A lb_x -j RETURN", false, "[]", "lb_x"},
		{"an old comment without quotes", `[0:0] -A lb_x -m comment --comment lb:12 -j RETURN`, false, "[]", "lb_x"},
		{"other lines", "# a comment", false, "[]", ""},
		{"an empty line", "", false, "[]", ""},
		{"the end", "COMMIT", false, "[]", ""},
		{"a chain without fields", ":", false, "[]", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table, err := Parse([]byte("*mangle\n" + tt.line + "\nCOMMIT\n"))
			if err != nil {
				t.Fatal(err)
			}
			jumps := tt.jumps
			if jumps == "" {
				jumps = "[]"
			}
			chains := strings.Join(slices.Sorted(maps.Keys(table.Chains)), " ")
			if table.Foreign != tt.foreign || fmt.Sprint(table.Jumps) != jumps || chains != tt.chains {
				t.Errorf("foreign %v, jumps %v, chains %q", table.Foreign, table.Jumps, chains)
			}
		})
	}
}

// oddRules are rules with names as iptables-save prints them with either back
// end, without quotes, and after each of them a quoted text.
var oddRules = []string{
	`-m recent --set --name a"b --mask 255.255.255.255 --rsource`,
	`-m recent --set --name "ab --mask 255.255.255.255 --rsource`,
	`-m recent --set --name " --mask 255.255.255.255 --rsource`,
	`-m recent --set --name ab" --mask 255.255.255.255 --rsource`,
	`-m recent --set --name a\ --mask 255.255.255.255 --rsource`,
	`-m recent --set --name \" --mask 255.255.255.255 --rsource`,
	`-m recent --set --name a'b --mask 255.255.255.255 --rsource`,
	`-m recent --set --name a b --mask 255.255.255.255 --rsource`,
	"-m recent --set --name a\nb --mask 255.255.255.255 --rsource",
	"-m recent --set --name a\"b\n[0:0] --mask 255.255.255.255 --rsource",
	`-i e"0`,
	`-m recent --set --name x" --mask 255.255.255.255 --rsource -m comment --comment "say \"hi\" \\ \'x\'"`,
	`-m hashlimit --hashlimit-above 1/sec --hashlimit-burst 5 --hashlimit-name h"l`,
	`-m set --match-set s"t src`,
	`-m string --string "p\"q\\r" --algo bm`,
	`-j LOG --log-prefix "l\"o\\g "`,
	"-m comment --comment \"two\n[0:0] -A PREROUTING -j lb_\" -j ACCEPT",
	"-m comment --comment \"\n\n\" -m comment --comment \"a\nb\" -j ACCEPT",
}

// TestParseOddNames: other programs' names and texts hide nothing of ours,
// wherever they stand.
func TestParseOddNames(t *testing.T) {
	const ours = `[1:2] -A PREROUTING -j lb_hook
[3:4] -A lb_hook -m comment --comment "lb:aabbccddeeff0011" -j RETURN
`
	for _, odd := range append(oddRules, strings.Join(oddRules, "\n[0:0] -A PREROUTING ")) {
		odd = "[5:6] -A PREROUTING " + odd + "\n"
		for _, text := range []string{odd + ours, ours + odd, odd + ours + odd} {
			table, err := Parse([]byte("*mangle\n:lb_hook - [0:0]\n" + text + "COMMIT\n"))
			if err != nil {
				t.Fatalf("%q: %v", odd, err)
			}
			hook := table.Chains["lb_hook"]
			if !table.Foreign || !slices.Equal(table.Jumps, []Jump{{"PREROUTING", "-j lb_hook"}}) || len(table.Chains) != 1 ||
				hook.Rules != 1 || hook.Comment != "lb:aabbccddeeff0011" {
				t.Errorf("%q: %+v, lb_hook %+v", text, table, hook)
			}
		}
	}
}

// TestParseUnreadable: a line that cannot be read is somebody else's.
func TestParseUnreadable(t *testing.T) {
	for _, line := range []string{"[0:0 -A lb_x -j RETURN", "[x:0] -A lb_x -j RETURN", "[0] -A lb_x -j RETURN", "[0:x] -A lb_x",
		"[-1:0] -A lb_x", "[", "[0:\"] -A lb_\n\"0", "[0:0] -A FORWARD -m comment --comment \"" + strings.Repeat("x", 2<<20)} {
		table, err := Parse([]byte(line + "\n[0:0] -A OUTPUT -j lb_out\nCOMMIT\n"))
		if err != nil {
			t.Fatal(err)
		}
		if !table.Foreign || len(table.Chains) > 0 || !slices.Equal(table.Jumps, []Jump{{"OUTPUT", "-j lb_out"}}) {
			t.Errorf("%.30q: foreign %v, chains %v, jumps %v", line, table.Foreign, table.Chains, table.Jumps)
		}
	}
}

// TestParseRefuses what is not whole: taken for all that is there, it would have
// us write what is there already.
func TestParseRefuses(t *testing.T) {
	for _, backend := range []string{"nft", "legacy"} {
		output, err := os.ReadFile("testdata/" + backend + "-ours.txt")
		if err != nil {
			t.Fatal(err)
		}
		for n := range bytes.Index(output, []byte("\nCOMMIT\n")) {
			if table, err := Parse(output[:n]); err == nil {
				t.Fatalf("the first %d bytes: %+v", n, table)
			}
		}
	}
}

func TestSplitWords(t *testing.T) {
	tests := []struct {
		rule string
		want []string
	}{
		{``, nil},
		{`-j  RETURN`, []string{"-j", "RETURN"}},
		{`--comment "" -j X`, []string{"--comment", "", "-j", "X"}},
		{`--comment "a b" -j X`, []string{"--comment", "a b", "-j", "X"}},
		{`--comment "a \"-j lb_x\" \\" -j X`, []string{"--comment", `a "-j lb_x" \`, "-j", "X"}},
		{"--comment \"a\nb\" -j X", []string{"--comment", "a\nb", "-j", "X"}},
		{`"open -j X`, []string{`"open`, "-j", "X"}},
		{`open" "a b" c"`, []string{`open"`, "a b", `c"`}},
		{`"a"b c" d`, []string{`"a"b`, `c"`, "d"}},
		{`"\`, []string{`"\`}},
	}
	for _, tt := range tests {
		if got := splitWords(tt.rule); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.rule, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"nft-ours.txt", "legacy-foreign.txt"} {
		output, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(output)
	}
	f.Add([]byte("[0:0] -A PREROUTING " + strings.Join(oddRules, "\n[0:0] -A PREROUTING ") + "\nCOMMIT\n"))
	f.Add([]byte("[0:\"] -A lb_\n\"0"))
	f.Add([]byte("[0:0] -A lb_\n\"0 --comment \"a\nb\"\nCOMMIT"))
	f.Fuzz(func(t *testing.T, output []byte) {
		table, err := Parse(output)
		if err != nil {
			return
		}
		for name, chain := range table.Chains {
			if !strings.HasPrefix(name, "lb_") || chain.Rules < 0 || strings.ContainsAny(name, " \n") {
				t.Errorf("chain %q: %+v", name, chain)
			}
		}
		for _, jump := range table.Jumps {
			if !slices.Contains(builtins, jump.Chain) {
				t.Errorf("jump %+v", jump)
			}
		}
	})
}
