package iptables

import (
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

// TestParseRefuses what is no rule: better no apply than one that overlooks
// half of what is there.
func TestParseRefuses(t *testing.T) {
	for _, line := range []string{"[0:0 -A lb_x -j RETURN", "[x:0] -A lb_x -j RETURN", "[0] -A lb_x -j RETURN", "[-1:0] -A lb_x", "["} {
		if table, err := Parse([]byte(line + "\n")); err == nil {
			t.Errorf("%q: %+v", line, table)
		}
	}
	if _, err := Parse([]byte("[0:0] -A FORWARD -m comment --comment \"" + strings.Repeat("x", 2<<20))); err == nil {
		t.Error("a line of 2 MB was read")
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
		{`"open`, []string{"open"}},
		{`"\`, []string{`\`}},
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
			if !isBuiltin(jump.Chain) {
				t.Errorf("jump %+v", jump)
			}
		}
	})
}
