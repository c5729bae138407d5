package iptables

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
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

func exists(t *testing.T, k *kernel.Handle, f family.Family) bool {
	t.Helper()
	found, err := NFTables{k}.Exists(f)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestNFTables: a table exists from the first write to its deletion, in its
// own family only; deleting it twice is no error.
func TestNFTables(t *testing.T) {
	netlab.FreshNamespace(t)
	k, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	tool := Tool{NFT}
	for _, f := range family.All {
		if exists(t, k, f) {
			t.Fatalf("%s: a new namespace has a table", f)
		}
		if table := read(t, tool, f); len(table.Chains) > 0 || table.Foreign {
			t.Errorf("%s: %+v", f, table)
		}
		if exists(t, k, f) {
			t.Errorf("%s: reading has made a table", f)
		}
	}
	for i, f := range family.All {
		if err := tool.Write(f, Diff(kernelPlan(), read(t, tool, f), nil)); err != nil {
			t.Fatal(err)
		}
		if !exists(t, k, f) {
			t.Errorf("%s: no table after the write", f)
		}
		if i == 0 && exists(t, k, family.IPv6) {
			t.Error("ipv4's write has made ipv6's table")
		}
	}
	for _, f := range family.All {
		for range 2 {
			if err := (NFTables{k}).Delete(f); err != nil {
				t.Fatal(err)
			}
		}
		if exists(t, k, f) {
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

// TestOddNamesInTheKernel: names and texts of other programs, as the real
// programs print them, hide neither our chains nor our jumps, and stay.
func TestOddNamesInTheKernel(t *testing.T) {
	eachBackend(t, func(t *testing.T, tool Tool) {
		name := tool.name(family.IPv4, "") + " -t mangle "
		odd := func() {
			for _, list := range []string{`a"b`, `"ab`, `"`, `ab"`, `a\`, `\"`, `a'b`, "a b", "a\nb\"", `--comment "`} {
				run(t, name+"-A PREROUTING -m recent --set --name", list)
				run(t, name+"-A OUTPUT -m comment -m recent --set --comment", `say "hi" \`, "--name", list)
			}
			run(t, name+"-A OUTPUT -j LOG --log-prefix", `l"o\g `)
			run(t, name+"-A OUTPUT -m string --algo bm --string", `p"q\r`)
			run(t, name+`-A PREROUTING -i e"0`)
			run(t, name+"-A PREROUTING -m comment --comment", "two\n[0:0] -A PREROUTING -j lb_hook")
		}
		odd()
		if err := tool.Write(family.IPv4, Diff(kernelPlan(), read(t, tool, family.IPv4), nil)); err != nil {
			t.Fatal(err)
		}
		odd()
		table := read(t, tool, family.IPv4)
		if again := Diff(kernelPlan(), table, nil); !again.Empty() || !table.Foreign {
			t.Errorf("to be written again:\n%s", again.Input())
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
			if refusal.Input != change.Input() || !strings.HasPrefix(err.Error(), "mangle restore (ipv4): ") {
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
