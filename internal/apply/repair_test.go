package apply

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/rundir"
)

// TestEveryFailureIsRepaired lets each single operation fail once. The error
// names the operation, chains are the old or the new ones, and the next run
// brings about what the failed one should have.
func TestEveryFailureIsRepaired(t *testing.T) {
	for _, situation := range situations {
		t.Run(situation.name, func(t *testing.T) {
			good := newService(t)
			situation.before(good)
			begin := len(good.kernel.log)
			old := map[family.Family]string{}
			for _, f := range family.All {
				old[f] = good.kernel.chains(f)
			}
			if err := situation.run(good); err != nil {
				t.Fatal(err)
			}
			operations := len(good.kernel.log)
			if operations-begin < 10 {
				t.Fatalf("only %d operations", operations-begin)
			}
			for n := begin + 1; n <= operations; n++ {
				s := newService(t)
				situation.before(s)
				s.kernel.failAt = n
				err := situation.run(s)
				failed := s.kernel.log[n-1]
				if strings.HasPrefix(failed, "notice") {
					t.Fatalf("step %d: %s", n, failed)
				}
				// Connections that are not adopted keep main's route, and clients
				// that are not told find out by themselves.
				isHarmless := slices.ContainsFunc([]string{"conntrack marks", "reset "},
					func(kind string) bool { return strings.HasPrefix(failed, kind) })
				// Settings and sets that nothing leads to decide over no packet's way.
				isNoticed := strings.HasPrefix(failed, "sysctl ") || strings.HasPrefix(failed, "ipset destroy")
				if isNoticed && !slices.ContainsFunc(s.kernel.log, func(op string) bool {
					return strings.HasPrefix(op, "notice") && strings.Contains(op, failed) && strings.Contains(op, errInjected.Error())
				}) {
					t.Errorf("%q failed, and nothing is said", failed)
				}
				if (isHarmless || isNoticed) && err != nil {
					t.Errorf("%q failed, and the error is %v", failed, err)
				}
				if !isHarmless && !isNoticed && (err == nil || !errors.Is(err, errInjected) || !strings.Contains(err.Error(), failed)) {
					t.Errorf("%q failed, but the error is %v", failed, err)
				}
				for _, f := range family.All {
					if text := s.kernel.chains(f); text != old[f] && text != good.kernel.chains(f) {
						t.Errorf("%q failed: half-written chains (%s):\n%s", failed, f, text)
					}
				}
				if strings.HasPrefix(failed, "mangle restore (ipv4)") && s.kernel.chains(family.IPv4) != old[family.IPv4] {
					t.Errorf("%q failed, but the chains changed", failed)
				}
				s.kernel.failAt = 0
				if err := situation.run(s); err != nil {
					t.Errorf("after %q had failed, the next run: %v", failed, err)
				}
				if want, got := good.kernel.dump(), s.kernel.dump(); got != want {
					t.Errorf("after %q had failed, the next run left\n%s\nwant\n%s", failed, got, want)
				}
			}
		})
	}
}

// TestOneFamilyDoesNotStopTheOther: when IPv6 cannot be written, IPv4 still is.
func TestOneFamilyDoesNotStopTheOther(t *testing.T) {
	for i, f := range family.All {
		s := newService(t)
		s.must(firstConfig)
		good := newService(t)
		good.must(firstConfig)
		good.must(secondConfig)
		since := len(s.kernel.log)
		s.kernel.failAt = since + 1 + slices.IndexFunc(good.kernel.log[since:], func(op string) bool {
			return strings.HasPrefix(op, "rule add ("+f.String())
		})
		if err := s.apply(secondConfig); !errors.Is(err, errInjected) {
			t.Fatalf("error %v", err)
		}
		other := family.All[1-i]
		if s.kernel.chains(other) != good.kernel.chains(other) {
			t.Errorf("a rule of %s failed, and %s is not as planned", f, other)
		}
		if s.kernel.chains(f) == good.kernel.chains(f) {
			t.Errorf("%s was written although its rules could not be added", f)
		}
	}
}

// TestUnreadFamily: where one family's table cannot be read, nothing of that
// family changes, the other one is as planned, and nobody says that all is well.
func TestUnreadFamily(t *testing.T) {
	for i, f := range family.All {
		other := family.All[1-i]
		s, good := newService(t), newService(t)
		s.must(firstConfig)
		good.must(firstConfig)
		good.must(secondConfig)
		chains, routes, rules := s.kernel.chains(f), slices.Clone(s.kernel.routes[f]), slices.Clone(s.kernel.rules[f])
		s.kernel.mangle.broken = map[family.Family]bool{f: true}
		for range 2 {
			if err := s.apply(secondConfig); !errors.Is(err, errInjected) || !strings.Contains(err.Error(), "mangle save ("+f.String()+")") {
				t.Errorf("%s: error %v", f, err)
			}
			if s.kernel.chains(other) != good.kernel.chains(other) {
				t.Errorf("%s cannot be read, and %s is not as planned", f, other)
			}
			if s.kernel.chains(f) != chains || !slices.Equal(s.kernel.routes[f], routes) || !slices.Equal(s.kernel.rules[f], rules) {
				t.Errorf("%s cannot be read, and was changed", f)
			}
		}
		kernel, state := s.read()
		c := DiffStop(kernel, state)
		if c.Empty() || !strings.Contains(strings.Join(c.Summary(), "\n"), f.String()+": mangle save") {
			t.Errorf("%s: %q", f, c.Summary())
		}
		s.kernel.mangle.broken = nil
		s.must(secondConfig)
		if got, want := s.kernel.dump(), good.kernel.dump(); got != want {
			t.Errorf("%s: the next run left\n%s\nwant\n%s", f, got, want)
		}
	}
	s := newService(t)
	s.kernel.mangle.broken = map[family.Family]bool{family.IPv4: true, family.IPv6: true}
	if _, err := s.Read(); !errors.Is(err, errInjected) {
		t.Errorf("neither can be read: error %v", err)
	}
}

// TestLockIsHeld by another program: the other family is written at once, with
// its routes and connections, and the one that waits as soon as it can be.
func TestLockIsHeld(t *testing.T) {
	for i, f := range family.All {
		other := family.All[1-i]
		for _, locked := range []int{1, lockAttempts - 1, lockAttempts, 1000} {
			s := newService(t)
			s.must(firstConfig)
			good := newService(t)
			good.must(firstConfig)
			good.must(secondConfig)
			old, before := s.kernel.chains(f), len(s.kernel.log)
			s.kernel.mangle.locked[f] = locked
			err := s.apply(secondConfig)
			var restores []string
			for _, step := range s.kernel.log[before:] {
				if strings.HasPrefix(step, "mangle restore") {
					restores = append(restores, step)
				}
			}
			if n := min(locked+1, lockAttempts) + 1; len(restores) != n || !slices.Contains(restores[:2], "mangle restore ("+other.String()+")") {
				t.Errorf("%s, %d times: %q", f, locked, restores)
			}
			if s.kernel.chains(other) != good.kernel.chains(other) {
				t.Errorf("%s, %d times: the other family waits", f, locked)
			}
			if locked < lockAttempts {
				if err != nil || s.kernel.dump() != good.kernel.dump() {
					t.Errorf("%s, %d times: error %v", f, locked, err)
				}
				continue
			}
			if !errors.Is(err, iptables.ErrBusy) || s.kernel.chains(f) != old {
				t.Errorf("%s, %d times: error %v", f, locked, err)
			}
			s.kernel.mangle.locked[f] = 0
			s.must(secondConfig)
			if got, want := s.kernel.dump(), good.kernel.dump(); got != want {
				t.Errorf("%s, %d times: the next run left\n%s\nwant\n%s", f, locked, got, want)
			}
		}
	}
}

// TestRepairs: whatever somebody did to our objects, the next apply finds it.
func TestRepairs(t *testing.T) {
	tests := []struct {
		name   string
		damage func(*service)
	}{
		{"chains flushed", func(s *service) {
			for name := range s.kernel.mangle.tables[family.IPv4].chains {
				s.kernel.mangle.tables[family.IPv4].chains[name] = nil
			}
		}},
		{"table deleted", func(s *service) { delete(s.kernel.mangle.tables, family.IPv6) }},
		{"a jump deleted", func(s *service) { s.kernel.mangle.tables[family.IPv4].chains["OUTPUT"] = nil }},
		{"a jump twice", func(s *service) {
			table := s.kernel.mangle.tables[family.IPv4]
			table.chains["PREROUTING"] = append(table.chains["PREROUTING"], table.chains["PREROUTING"][0])
		}},
		{"a rule of a chain deleted", func(s *service) {
			table := s.kernel.mangle.tables[family.IPv4]
			table.chains["lb_hook"] = table.chains["lb_hook"][1:]
		}},
		{"ip rules deleted", func(s *service) { s.kernel.rules[family.IPv4] = s.kernel.rules[family.IPv4][:3] }},
		{"a table emptied", func(s *service) { s.kernel.routes[family.IPv6] = nil }},
		{"a route changed", func(s *service) { s.kernel.routes[family.IPv4][0].Gateway = netip.MustParseAddr("198.51.100.99") }},
		{"an unwanted rule of ours", func(s *service) {
			rule := s.kernel.rules[family.IPv4][0]
			rule.Priority = 6099
			s.kernel.rules[family.IPv4] = append(s.kernel.rules[family.IPv4], rule)
		}},
		{"a set emptied", func(s *service) {
			set := s.kernel.sets["lb_local"]
			set.Entries = nil
			s.kernel.sets["lb_local"] = set
		}},
		{"a sysctl put back", func(s *service) { s.kernel.sysctls["net/ipv4/conf/wan1/rp_filter"] = "0" }},
		{"the run directory lost", func(s *service) { os.RemoveAll(string(s.Run)); os.MkdirAll(string(s.Run), 0o755) }},
		{"the state damaged", func(s *service) { os.WriteFile(string(s.Run)+"/state.json", []byte("{\"ind"), 0o644) }},
		{"the file of names damaged", func(s *service) { os.WriteFile(s.NamesDir+"/"+namesFile, []byte("x"), 0o644) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newService(t)
			s.must(firstConfig)
			want := s.kernel.dump()
			names, err := os.ReadFile(s.NamesDir + "/" + namesFile)
			if err != nil {
				t.Fatal(err)
			}
			tt.damage(s)
			s.must(firstConfig)
			if got := s.kernel.dump(); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if got, err := os.ReadFile(s.NamesDir + "/" + namesFile); err != nil || string(got) != string(names) {
				t.Errorf("names: %v %q", err, got)
			}
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			for path, value := range s.kernel.sysctls {
				if value != "0" {
					t.Errorf("after the stop %s is %s", path, value)
				}
			}
		})
	}
}

// TestIndicesAreRecovered: with the run directory lost, members keep the
// indices that live connections carry, whatever the order in the file.
func TestIndicesAreRecovered(t *testing.T) {
	s := newService(t)
	s.must("config member 'wan2'\n\nconfig member 'wan1'\n")
	os.RemoveAll(string(s.Run))
	os.MkdirAll(string(s.Run), 0o755)
	s.must("config member 'wan3'\n\nconfig member 'wan1'\n\nconfig member 'wan2'\n")
	state, _, err := s.Run.State()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"wan2": 1, "wan1": 2, "wan3": 3}
	if fmt.Sprint(state.Indices.Members) != fmt.Sprint(want) {
		t.Errorf("indices %v, want %v", state.Indices.Members, want)
	}
}

// TestWithoutRunDirectory: the kernel comes first. What cannot be kept is said,
// and another run finds nothing to do.
func TestWithoutRunDirectory(t *testing.T) {
	good, s := newService(t), newService(t)
	good.must(firstConfig)
	s.Run = rundir.Dir(t.TempDir() + "/missing")
	s.must(firstConfig)
	if want, got := good.kernel.dump(), s.kernel.dump(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !slices.ContainsFunc(s.kernel.log, func(op string) bool { return strings.HasPrefix(op, "notice: run directory: ") }) {
		t.Errorf("nothing is said: %q", s.kernel.log)
	}
	if report, err := s.report(firstConfig); err != nil || !report.Changes.Empty() {
		t.Errorf("the next run: %v, %q", err, report.Summary())
	}
}

// TestForeignSet: a set with our prefix that a rule of somebody else names stays,
// which is said, and keeps nothing else from being done.
func TestForeignSet(t *testing.T) {
	s := newService(t)
	s.kernel.sets["lb_x"] = ipset.Set{Name: "lb_x", Type: "hash:ip"}
	s.kernel.sets["lb_y"] = ipset.Set{Name: "lb_y", Type: "hash:ip"}
	s.kernel.inUse = "lb_x"
	report, err := s.report(firstConfig)
	if err != nil || !report.Complete || len(report.Changes.Sets.Destroy) != 1 {
		t.Fatalf("%v, %+v", err, report)
	}
	if _, there := s.kernel.sets["lb_y"]; there {
		t.Error("another set stays as well")
	}
	if report, err = s.report(firstConfig); err != nil || !report.Changes.Empty() || len(report.Summary()) > 0 {
		t.Errorf("another run: %v, %q", err, report.Summary())
	}
}
