package apply

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/apply/sysctl"
	"loadbalance/internal/family"
	"loadbalance/internal/rundir"
)

func TestStopLeavesNothing(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		s := newService(t)
		s.kernel.mangle.legacy, s.kernel.other.legacy = legacy, !legacy
		before := s.kernel.dump()
		s.must(firstConfig)
		s.must(secondConfig)
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		after := s.kernel.dump()
		if legacy {
			// The empty built-in table stays listed.
			after = strings.ReplaceAll(after, strings.SplitAfter(after, "net/")[0], "net/")
			for _, f := range family.All {
				if text := s.kernel.chains(f); strings.Contains(text, "lb_") {
					t.Errorf("%s: left: %s", f, text)
				}
			}
		}
		if after != before {
			t.Errorf("legacy %v: before:\n%safter:\n%s", legacy, before, after)
		}
		if names, err := os.ReadFile(s.NamesDir + "/" + namesFile); err == nil {
			t.Errorf("names of tables are left: %s", names)
		}
		since := len(s.kernel.log)
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		if writes := s.writes(since); len(writes) > 0 {
			t.Errorf("legacy %v: the second stop did %q", legacy, writes)
		}
	}
}

// TestStopKeepsForeignTable: a table that was there before us, or in which
// somebody else has a rule by now, is not deleted.
func TestStopKeepsForeignTable(t *testing.T) {
	foreign := fakeRule{text: "-j ACCEPT"}
	s := newService(t)
	s.kernel.mangle.tables[family.IPv4] = newFakeTable() // before us, and empty
	s.must(firstConfig)
	ip6 := s.kernel.mangle.tables[family.IPv6]
	ip6.chains["FORWARD"] = append(ip6.chains["FORWARD"], foreign)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if s.kernel.mangle.tables[family.IPv4] == nil {
		t.Error("the table that was there before was deleted")
	}
	if got := s.kernel.mangle.tables[family.IPv6]; got == nil || !slices.Contains(got.chains["FORWARD"], foreign) {
		t.Error("the table with a foreign rule was deleted")
	}
}

// withoutCascades has shorter chains: where the same is run hundreds of times,
// hundreds of rules each would only cost time.
func withoutCascades(text string) string {
	return strings.Replace(text, "config globals 'globals'\n", "config globals 'globals'\n\toption balance 'random'\n", 1)
}

// TestIndicesOutliveStop: connections may still be there at the next start.
func TestIndicesOutliveStop(t *testing.T) {
	s := newService(t)
	s.must("config member 'wan2'\n\nconfig member 'wan1'\n")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.must("config member 'wan1'\n\nconfig member 'wan2'\n")
	state, _, err := s.Run.State()
	if err != nil || state.Indices.Members["wan2"] != 1 {
		t.Errorf("indices %v, %v", state.Indices, err)
	}
}

// TestStopDeletesTableAfterFlush: a table that we created is ours to delete, also
// when somebody has emptied it meanwhile.
func TestStopDeletesTableAfterFlush(t *testing.T) {
	s := newService(t)
	s.must(firstConfig)
	for _, f := range family.All {
		s.kernel.mangle.tables[f] = newFakeTable()
	}
	s.must(firstConfig)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	for _, f := range family.All {
		if s.kernel.mangle.tables[f] != nil {
			t.Errorf("%s: the table that we created is left", f)
		}
	}
}

// recordedSysctls are settings that note what the run directory knows of one when it
// is written.
type recordedSysctls struct {
	sysctl.Files
	run  rundir.Dir
	seen map[string]rundir.Sysctl
}

func (r recordedSysctls) Write(path, value string) error {
	state, _, err := r.run.State()
	r.seen[path+"="+value] = state.Sysctls[path]
	return errors.Join(err, r.Files.Write(path, value))
}

// TestSysctlsAreRecordedFirst: a run that is killed loses no value that was there
// before, neither when it is overwritten nor when it is restored.
func TestSysctlsAreRecordedFirst(t *testing.T) {
	s := newService(t)
	files := recordedSysctls{s.Sysctls, s.Run, map[string]rundir.Sysctl{}}
	s.Sysctls = files
	s.must(firstConfig)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	const path = "net/ipv4/conf/wan1/rp_filter"
	for _, value := range []string{"2", "0"} {
		if got, written := files.seen[path+"="+value]; !written || got != (rundir.Sysctl{Original: "0", Ours: "2"}) {
			t.Errorf("when it became %s, the record was %+v", value, got)
		}
	}
	if state, _, _ := s.Run.State(); state.Sysctls == nil || len(state.Sysctls) != 0 {
		t.Errorf("after the stop there are records: %v", state.Sysctls)
	}
}

// TestLostSysctlRecords: what only a version without records can have left is
// restored to conf.default's value.
func TestLostSysctlRecords(t *testing.T) {
	s := newService(t)
	before := s.kernel.dump()
	s.must(firstConfig)
	state, _, err := s.Run.State()
	state.Sysctls = nil
	if err = errors.Join(err, s.Run.SaveState(state), s.stop()); err != nil {
		t.Fatal(err)
	}
	if after := s.kernel.dump(); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}
