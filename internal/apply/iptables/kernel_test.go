package iptables

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
	"loadbalance/internal/plan"
)

// run runs a command, whose arguments are split at blanks, with further
// arguments as they are.
func run(t *testing.T, command string, further ...string) string {
	t.Helper()
	words := append(strings.Fields(command), further...)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", words, err, out)
	}
	return string(out)
}

func read(t *testing.T, tool Tool, f family.Family) *Table {
	t.Helper()
	table, err := tool.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func exists(t *testing.T, f family.Family) bool {
	t.Helper()
	found, err := (NFTables{}).Exists(f)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestNFTables: a table exists from the first write to its deletion, in its
// own family only; deleting it twice is no error.
func TestNFTables(t *testing.T) {
	netlab.FreshNamespace(t)
	tool := Tool{NFT}
	for _, f := range family.All {
		if exists(t, f) {
			t.Fatalf("%s: a new namespace has a table", f)
		}
		if table := read(t, tool, f); len(table.Chains) > 0 || table.Foreign {
			t.Errorf("%s: %+v", f, table)
		}
		if exists(t, f) {
			t.Errorf("%s: reading has made a table", f)
		}
	}
	for i, f := range family.All {
		if err := tool.Write(f, Diff(kernelPlan(), read(t, tool, f), nil)); err != nil {
			t.Fatal(err)
		}
		if !exists(t, f) {
			t.Errorf("%s: no table after the write", f)
		}
		if i == 0 && exists(t, family.IPv6) {
			t.Error("ipv4's write has made ipv6's table")
		}
	}
	for _, f := range family.All {
		for range 2 {
			if err := (NFTables{}).Delete(f); err != nil {
				t.Fatal(err)
			}
		}
		if exists(t, f) {
			t.Errorf("%s: the table is still there", f)
		}
	}
	if dump := run(t, "iptables-nft-save"); strings.Contains(dump, "mangle") {
		t.Errorf("left:\n%s", dump)
	}
}

// kernelPlan is what wanted is, with all chains that it leads to.
func kernelPlan() plan.Family {
	want := wanted()
	for _, name := range []string{"lb_member_1", "lb_member_2", "lb_member_3", "lb_out"} {
		want.Chains = append(want.Chains, plan.Chain{Name: name, Rules: []plan.Rule{{Target: plan.Return{}}}})
	}
	return want
}

func eachBackend(t *testing.T, test func(*testing.T, Tool)) {
	for _, backend := range []Backend{NFT, Legacy} {
		t.Run(string(backend), func(t *testing.T) {
			netlab.FreshNamespace(t)
			test(t, Tool{backend})
		})
	}
}

// TestWriteAndReadBack: what was written counts as written, and is removed
// without a trace, among foreign rules that stay as they are.
func TestWriteAndReadBack(t *testing.T) {
	eachBackend(t, func(t *testing.T, tool Tool) {
		name := tool.name(family.IPv4, "")
		run(t, name+" -t mangle -N foreign")
		run(t, name+" -t mangle -A PREROUTING -j foreign -m comment --comment", "a\n[b] \" -j lb_hook")
		run(t, name+" -t mangle -A foreign -j MARK --set-xmark 0x80000/0x80000")
		before := dump(t, tool)
		table := read(t, tool, family.IPv4)
		if table.Legacy != (tool.Backend == Legacy) || !table.Foreign {
			t.Errorf("legacy %v, foreign %v", table.Legacy, table.Foreign)
		}
		if err := tool.Write(family.IPv4, Diff(kernelPlan(), table, nil)); err != nil {
			t.Fatal(err)
		}
		table = read(t, tool, family.IPv4)
		if again := Diff(kernelPlan(), table, nil); !again.Empty() {
			t.Errorf("to be written again:\n%s", again.Input())
		}
		if err := tool.Write(family.IPv4, Diff(plan.Family{}, table, nil)); err != nil {
			t.Fatal(err)
		}
		if after := dump(t, tool); after != before {
			t.Errorf("before:\n%safter:\n%s", before, after)
		}
	})
}

// TestRefusedTransaction: when the kernel or the program takes exception at
// one line, nothing of the transaction happens.
func TestRefusedTransaction(t *testing.T) {
	eachBackend(t, func(t *testing.T, tool Tool) {
		if err := tool.Write(family.IPv4, Diff(kernelPlan(), read(t, tool, family.IPv4), nil)); err != nil {
			t.Fatal(err)
		}
		before := dump(t, tool)
		refused := map[string]plan.Rule{
			"a chain that is not there": gotoChain("lb_nowhere"),
			"a set that is not there":   {Target: plan.Return{}, Matches: []plan.Match{plan.InSet{Name: "lb_nowhere"}}},
		}
		for name, rule := range refused {
			change := Change{
				Write:  []plan.Chain{{Name: "lb_hook", Rules: []plan.Rule{rule}}, {Name: "lb_new", Rules: []plan.Rule{{Target: plan.Return{}}}}},
				Delete: []string{"lb_policy_c"},
			}
			err := tool.Write(family.IPv4, change)
			var refusal *InputError
			if !errors.As(err, &refusal) {
				t.Fatalf("%s: error %v", name, err)
			}
			if refusal.Input != change.Input() || refusal.Family != family.IPv4 || !strings.HasPrefix(err.Error(), "mangle restore (ipv4): ") {
				t.Errorf("%s: %v", name, err)
			}
			if numbered := refusal.Numbered(); !strings.HasPrefix(numbered, "   1  *mangle\n   2  :lb_hook") {
				t.Errorf("%s: numbered\n%s", name, numbered)
			}
			if after := dump(t, tool); after != before {
				t.Errorf("%s: before:\n%safter:\n%s", name, before, after)
			}
		}
	})
}

// TestInEffect: with nftables the new chains are in effect before the program
// has ended, and with both back ends when it says so, but never where they were
// refused.
func TestInEffect(t *testing.T) {
	eachBackend(t, func(t *testing.T, tool Tool) {
		change := Diff(kernelPlan(), read(t, tool, family.IPv4), nil)
		inEffect, wait := tool.BeginWrite(family.IPv4, change)
		if !inEffect() {
			t.Error("not in effect")
		}
		if again := Diff(kernelPlan(), read(t, tool, family.IPv4), nil); !again.Empty() {
			t.Errorf("in effect, but not there:\n%s", again.Input())
		}
		if err := wait(); err != nil {
			t.Error(err)
		}
		change.Write = []plan.Chain{{Name: "lb_hook", Rules: []plan.Rule{gotoChain("lb_nowhere")}}}
		inEffect, wait = tool.BeginWrite(family.IPv4, change)
		if inEffect() {
			t.Error("refused, but in effect")
		}
		var refusal *InputError
		if err := wait(); !errors.As(err, &refusal) {
			t.Errorf("error %v", err)
		}
	})
}

// TestInEffectBeforeTheEnd: a program that has changed nftables and does not end
// yet. Of iptables-legacy, only the end says that it is done: meanwhile somebody
// else may have changed nftables.
func TestInEffectBeforeTheEnd(t *testing.T) {
	netlab.FreshNamespace(t)
	for _, legacy := range []bool{false, true} {
		dir := t.TempDir()
		changed, end := filepath.Join(dir, "changed"), filepath.Join(dir, "end")
		script := "#!/bin/sh\niptables-nft -t mangle -N lb_$$\n: > " + changed + "\nwhile ! [ -e " + end + " ]; do sleep 0.1; done\n"
		if err := os.WriteFile(filepath.Join(dir, "iptables-restore"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
		mayEnd := func() {
			if err := os.WriteFile(end, nil, 0o644); err != nil {
				t.Error(err)
			}
		}
		inEffect, wait := Tool{Auto}.BeginWrite(family.IPv4, Change{Legacy: legacy})
		if legacy {
			for ; !isThere(changed); time.Sleep(time.Millisecond) {
			}
			time.AfterFunc(300*time.Millisecond, mayEnd)
		}
		if !inEffect() {
			t.Errorf("legacy %v: not in effect", legacy)
		}
		if isThere(end) != legacy {
			t.Errorf("legacy %v: at its end: %v", legacy, isThere(end))
		}
		mayEnd()
		if err := wait(); err != nil {
			t.Error(err)
		}
	}
}

func isThere(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// dump is the mangle table without comments and counters.
func dump(t *testing.T, tool Tool) string {
	t.Helper()
	var text strings.Builder
	for _, line := range strings.Split(run(t, tool.name(family.IPv4, "-save")+" -t mangle"), "\n") {
		if !strings.HasPrefix(line, "#") {
			text.WriteString(strings.TrimSuffix(line, " [0:0]") + "\n")
		}
	}
	return text.String()
}

func TestMissingProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, f := range family.All {
		if _, err := (Tool{Auto}).Read(f); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "tables-save") {
			t.Errorf("read: %v", err)
		}
		if err := (Tool{Auto}).Write(f, Change{}); !errors.Is(err, ErrMissing) {
			t.Errorf("write: %v", err)
		}
		if _, err := (Tool{NFT}).Version(f); !errors.Is(err, ErrMissing) {
			t.Errorf("version: %v", err)
		}
	}
}

func TestProgramNames(t *testing.T) {
	tests := []struct {
		backend Backend
		f       family.Family
		want    string
	}{
		{Auto, family.IPv4, "iptables-restore"},
		{Auto, family.IPv6, "ip6tables-restore"},
		{NFT, family.IPv4, "iptables-nft-restore"},
		{Legacy, family.IPv6, "ip6tables-legacy-restore"},
	}
	for _, tt := range tests {
		if got := (Tool{tt.backend}).name(tt.f, "-restore"); got != tt.want {
			t.Errorf("%s %s: %s", tt.backend, tt.f, got)
		}
	}
	version, err := (Tool{NFT}).Version(family.IPv4)
	if err != nil || strings.Count(version, ".") != 2 {
		t.Errorf("version %q, %v", version, err)
	}
}

func TestParseVersion(t *testing.T) {
	for _, tt := range []struct {
		output, want string
		ok           bool
	}{
		{"iptables v1.8.9 (nf_tables)\n", "1.8.9", true},
		{"ip6tables v1.8.10 (legacy)\n", "1.8.10", true},
		{"iptables v1.4.21\n", "1.4.21", true},
		{"", "", false},
		{"iptables\n", "", false},
		{"iptables: not found\n", "", false},
	} {
		got, err := parseVersion(tt.output)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: got %q, %v, want %q", tt.output, got, err, tt.want)
		}
	}
}
