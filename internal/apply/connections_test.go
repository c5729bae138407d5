package apply

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
	"loadbalance/internal/plan"
)

func prefixList(text string) []netip.Prefix {
	var all []netip.Prefix
	for _, word := range strings.Fields(text) {
		all = append(all, netip.MustParsePrefix(word))
	}
	return all
}

func TestFreedDestinations(t *testing.T) {
	wanted := &plan.Plan{
		IPv4: plan.Family{Sets: []plan.Set{{Name: "lb_local", Entries: prefixList("10.0.0.0/8 192.168.1.0/24")}}},
		IPv6: plan.Family{Sets: []plan.Set{{Name: "lb_local6", Entries: prefixList("fd00::/64")}}},
	}
	tests := []struct {
		name       string
		have       []ipset.Set
		ipv4, ipv6 string
	}{
		{"nothing there", nil, "", ""},
		{"all the same", []ipset.Set{{Name: "lb_local", Entries: prefixList("10.0.0.0/8 192.168.1.0/24")}}, "", ""},
		{"one more wanted", []ipset.Set{{Name: "lb_local", Entries: prefixList("10.0.0.0/8")}}, "", ""},
		{"some less", []ipset.Set{
			{Name: "lb_local", Entries: prefixList("10.0.0.0/8 10.99.0.0/24 192.168.1.0/24")},
			{Name: "lb_local6", Entries: prefixList("fd99::/64")}}, "10.99.0.0/24", "fd99::/64"},
		{"another set", []ipset.Set{{Name: "lb_streaming", Entries: prefixList("203.0.113.0/24")}}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i, want := range []string{tt.ipv4, tt.ipv6} {
				if freed := freedDestinations(family.All[i], wanted, tt.have); !slices.Equal(freed, prefixList(want)) {
					t.Errorf("%s: freed %v", family.All[i], freed)
				}
			}
		})
	}
	if freed := freedDestinations(family.IPv4, &plan.Plan{}, tests[3].have); len(freed) > 0 {
		t.Errorf("with nothing wanted: %v", freed)
	}
}

// TestOtherHolds asks a real kernel: the programs would make a table by
// looking for one.
func TestOtherHolds(t *testing.T) {
	netlab.FreshNamespace(t)
	kernel := newFakeKernel(t)
	e := kernel.engine(t.TempDir())
	check := func(when string, nft, legacy bool) {
		t.Helper()
		if got := e.otherHolds(family.IPv4, true); got != nft {
			t.Errorf("%s: nftables has a table: %v", when, got)
		}
		if got := e.otherHolds(family.IPv4, false); got != legacy {
			t.Errorf("%s: legacy has a table: %v", when, got)
		}
	}
	check("nothing there", false, false)
	if out, err := exec.Command("iptables-legacy", "-t", "mangle", "-S").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	check("legacy used", false, true)
	if e.otherHolds(family.IPv6, false) {
		t.Error("IPv6 counts as used")
	}
	kernel.mangle.legacy, kernel.other.legacy = true, false
	kernel.other.tables[family.IPv4] = newFakeTable()
	check("both used", true, true)
}

func TestTableNames(t *testing.T) {
	dir := t.TempDir() + "/rt_tables.d"
	e := &Engine{NamesDir: dir}
	file := dir + "/" + namesFile
	names := []plan.Member{{Table: 301, Name: "wan1"}, {Table: 252, Name: "lte"}}
	write := func(names []plan.Member) {
		t.Helper()
		if err := e.writeNames(names); err != nil {
			t.Fatal(err)
		}
	}
	write(nil) // nothing there, nothing to do
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made for nothing")
	}
	write(names)
	want := "# written by loadbalance\n301\twan1\n252\tlte\n"
	text, err := os.ReadFile(file)
	if err != nil || string(text) != want {
		t.Errorf("%q, %v", text, err)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	write(names)
	after, err := os.Stat(file)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("written again without a change (%v)", err)
	}
	write(nil)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestSummary(t *testing.T) {
	cfg := readConfig(t, firstConfig)
	wanted := plan.Build(plan.Input{Config: cfg, Uplinks: worldOf(cfg)})
	changes := Diff(wanted, EmptyKernel(), nil)
	want := []string{
		"ipv4: 11 chains written, 2 jumps set, 13 ip rules added, 6 routes set",
		"ipv6: 11 chains written, 2 jumps set, 16 ip rules added, 4 routes set",
		"sets: 4 changes",
		"sysctls: 6 changes",
	}
	if got := changes.Summary(); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if changes.Empty() {
		t.Error("empty")
	}
	s := newService(t)
	s.must(firstConfig)
	same, err := s.changes(firstConfig)
	if err != nil {
		t.Fatal(err)
	}
	if !same.Empty() || same.Commands() != "" || len(same.Summary()) > 0 {
		t.Errorf("nothing changed, but: %v\n%s", same.Summary(), same.Commands())
	}
}
