package apply

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// pair is wan1 with some options and wan2, which is its backup in another
// tier, and a policy for wan2 alone.
func pair(options ...string) string {
	return "config member 'wan1'\n\toption " + strings.Join(options, "\n\toption ") + "\n" +
		"config member 'wan2'\n\toption metric '2'\n" +
		"config policy 'second'\n\tlist use_member 'wan2'\n"
}

// judge sets which members are offline in both families.
func (s *service) judge(offline ...string) {
	s.offline = plan.Verdicts{family.IPv4: {}, family.IPv6: {}}
	for _, f := range family.All {
		for _, name := range offline {
			s.offline[f][name] = plan.Verdict{Offline: "no answer"}
		}
	}
}

// dealsTo are the members to which policy 'balanced' deals connections.
func (s *service) dealsTo(f family.Family) string {
	var all []string
	for _, rule := range s.kernel.mangle.tables[f].chains["lb_policy_balanced"] {
		for _, name := range []string{"wan1", "wan2", "wan3"} {
			if strings.Contains(rule.text, "-g lb_member_"+name) && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// run is one step of a history: what is offline, and who is dealt connections
// then.
type run struct {
	offline, want string
}

// TestFailback follows members through histories. Each run is repeated: it must
// find nothing to do.
func TestFailback(t *testing.T) {
	three := func(failback string) string {
		text := ""
		for i := 1; i <= 3; i++ {
			text += fmt.Sprintf("config member 'wan%d'\n\toption failback '%s'\n\toption metric '%d'\n", i, failback, 1+i/3)
		}
		return text
	}
	tests := []struct {
		name, config string
		history      []run
	}{
		{"new", pair("failback 'new'"), []run{{"", "wan1"}, {"wan1", "wan2"}, {"", "wan1"}}},
		{"all", pair("failback 'all'"), []run{{"", "wan1"}, {"wan1", "wan2"}, {"", "wan1"}}},
		{"never", pair("failback 'never'"), []run{{"", "wan1"}, {"wan1", "wan2"}, {"", "wan2"},
			{"wan2", "wan1"}, {"", "wan1"}}},
		{"never, by the policy", pair("failback 'all'") + "config policy 'balanced'\n\toption failback 'never'\n",
			[]run{{"", "wan1"}, {"wan1", "wan2"}, {"", "wan2"}, {"wan2", "wan1"}, {"", "wan1"}}},
		{"new, by the policy", pair("failback 'never'") + "config policy 'balanced'\n\toption failback 'new'\n",
			[]run{{"", "wan1"}, {"wan1", "wan2"}, {"", "wan1"}}},
		{"never, and again", pair("failback 'never'"), []run{{"", "wan1"}, {"wan1", "wan2"}, {"", "wan2"},
			{"wan1", "wan2"}, {"", "wan2"}, {"wan1 wan2", ""}, {"wan2", "wan1"}, {"", "wan1"}}},
		{"never, but it was never live", pair("failback 'never'"), []run{{"wan1", "wan2"}, {"", "wan1"}}},
		{"never, and all were gone: who is back first takes over", pair("failback 'never'"),
			[]run{{"", "wan1"}, {"wan1 wan2", ""}, {"wan1", "wan2"}, {"", "wan2"}, {"wan1 wan2", ""}, {"wan2", "wan1"}, {"", "wan1"}}},
		{"never, in one tier", three("never"), []run{{"", "wan1 wan2"}, {"wan1", "wan2"}, {"", "wan2"},
			{"wan2", "wan3"}, {"", "wan3"}, {"wan3", "wan1 wan2"}, {"", "wan1 wan2"}}},
		{"new, in one tier", three("new"), []run{{"", "wan1 wan2"}, {"wan1", "wan2"}, {"wan1 wan2", "wan3"}, {"wan2", "wan1"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newService(t)
			for i, run := range tt.history {
				s.judge(strings.Fields(run.offline)...)
				s.must(tt.config)
				for _, f := range family.All {
					if got := s.dealsTo(f); got != run.want {
						t.Fatalf("run %d (offline: %q): %s is dealt to %q, want %q", i+1, run.offline, f, got, run.want)
					}
				}
				since := len(s.kernel.log)
				s.must(tt.config)
				if writes := s.writes(since); len(writes) > 0 {
					t.Errorf("run %d again: %q", i+1, writes)
				}
			}
		})
	}
}

// TestFailbackIsPerFamily: a verdict in one family holds nobody in the other.
func TestFailbackIsPerFamily(t *testing.T) {
	s := newService(t)
	config := pair("failback 'never'")
	s.must(config)
	s.offline = plan.Verdicts{family.IPv6: {"wan1": {Offline: "no answer"}}}
	s.must(config)
	s.judge()
	s.must(config)
	if four, six := s.dealsTo(family.IPv4), s.dealsTo(family.IPv6); four != "wan1" || six != "wan2" {
		t.Errorf("IPv4 is dealt to %q, IPv6 to %q", four, six)
	}
}

// TestHeldIsForgotten by a stop, and with the option.
func TestHeldIsForgotten(t *testing.T) {
	for name, forget := range map[string]func(*service){
		"stop": func(s *service) {
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
		},
		"option": func(s *service) { s.must(pair("failback 'new'")) },
	} {
		s := newService(t)
		never := pair("failback 'never'")
		s.must(never)
		s.judge("wan1")
		s.must(never)
		s.judge()
		s.must(never)
		if got := s.dealsTo(family.IPv4); got != "wan2" {
			t.Fatalf("%s: before, connections are dealt to %q", name, got)
		}
		forget(s)
		s.must(never)
		if got := s.dealsTo(family.IPv4); got != "wan1" {
			t.Errorf("%s: connections are dealt to %q", name, got)
		}
	}
}

// TestReturningConnections: with failback 'all', the connections of a backup
// that is dealt nothing any more return too.
func TestReturningConnections(t *testing.T) {
	all := []string{"2 192.168.1.2", "2 192.168.1.3", "2 192.168.1.4", "2 192.168.1.5", "2 203.0.113.9", "1 192.168.1.9"}
	oneTier := strings.ReplaceAll(pair("failback 'all'"), "\toption metric '2'\n", "")
	tests := []struct {
		name, config, offline string
		left, told            []string
	}{
		{"all", pair("failback 'all'"), "", []string{"2 203.0.113.9", "1 192.168.1.9"}, []string{"192.168.1.2:2000 8.8.8.8:443"}},
		{"all, also where the backup says none", strings.Replace(pair("failback 'all'"), "'wan2'\n", "'wan2'\n\toption on_dead 'none'\n", 1), "",
			[]string{"2 203.0.113.9", "1 192.168.1.9"}, []string{"192.168.1.2:2000 8.8.8.8:443"}},
		{"all, but not back", pair("failback 'all'"), "wan1", all, nil},
		{"all, but the backup shares the tier", oneTier, "", all, nil},
		{"all, but another policy uses the backup", pair("failback 'all'") +
			"config policy 'work'\n\tlist use_member 'wan2 metric=1'\n\tlist use_member 'wan1 metric=2'\n", "", all, nil},
		{"new", pair("failback 'new'"), "", all, nil},
		{"never", pair("failback 'never'"), "", all, nil},
	}
	for _, tt := range tests {
		s := newService(t)
		s.must(tt.config)
		s.judge("wan1")
		s.must(tt.config)
		// The last is one that came in by wan1 while it was offline.
		s.kernel.entries = append(entriesOf(2, "198.51.100.2"), tcp(1, "192.168.1.9:9", "198.51.100.1:80"))
		s.judge(strings.Fields(tt.offline)...)
		s.must(tt.config)
		s.expectConnections(tt.name, tt.left, tt.told)
	}
}

// TestDemotedBackupKeepsConnections: nobody has come back when a change of the
// configuration takes a member's share away.
func TestDemotedBackupKeepsConnections(t *testing.T) {
	s := newService(t)
	s.must(strings.ReplaceAll(pair("failback 'all'"), "\toption metric '2'\n", ""))
	s.kernel.entries = []conntrack.Entry{tcp(2, "192.168.1.2:2000", "8.8.8.8:443")}
	s.must(pair("failback 'all'"))
	if got := s.dealsTo(family.IPv4); got != "wan1" {
		t.Fatalf("connections are dealt to %q", got)
	}
	s.expectConnections("demoted", []string{"2 192.168.1.2"}, nil)
}

// TestReturnIsMadeUpFor: a run that could not look for the connections that are
// to return leaves that to the next.
func TestReturnIsMadeUpFor(t *testing.T) {
	config := pair("failback 'all'")
	begin := func() *service {
		s := newService(t)
		s.must(config)
		s.judge("wan1")
		s.must(config)
		s.kernel.entries = entriesOf(2, "198.51.100.2")
		s.judge()
		return s
	}
	good := begin()
	good.must(config)
	s := begin()
	s.kernel.failAt = lastStep(good, "conntrack (ipv4)")
	if err := s.apply(config); !errors.Is(err, errInjected) {
		t.Fatalf("error %v", err)
	}
	s.must(config)
	s.expectConnections("after a failure", []string{"2 203.0.113.9"}, []string{"192.168.1.2:2000 8.8.8.8:443"})
}
