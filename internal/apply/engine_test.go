package apply

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

// firstConfig and secondConfig differ in every kind of object: a member goes,
// one comes, a weight changes, a policy goes, the local destinations change.
const (
	firstConfig = `
config globals 'globals'
	list bypass '192.0.2.0/24'

config member 'wan1'

config member 'wan2'

config policy 'old'
	list use_member 'wan1'
`
	secondConfig = `
config globals 'globals'
	list bypass '203.0.113.0/24'

config member 'wan1'
	option weight '3'

config member 'wan3'
`
)

func readConfig(t *testing.T, text string) *config.Config {
	t.Helper()
	file, err := uci.Parse("loadbalance", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Read(file)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return cfg
}

// worldOf has wan1 and wan2 in one network and wan3 in another, all with IPv6.
func worldOf(cfg *config.Config) uplink.State {
	world := uplink.State{IPv4: uplink.Main{Enabled: true}, IPv6: uplink.Main{Enabled: true}}
	places := map[string]string{"wan1": "198.51.100.1/24", "wan2": "198.51.100.2/24", "wan3": "203.0.114.3/24"}
	for i, m := range cfg.Members {
		prefix := netip.MustParsePrefix(places[m.Name])
		v6 := netip.MustParseAddr(fmt.Sprintf("2001:db8:%s::1", m.Name[3:]))
		world.Members = append(world.Members, uplink.Member{
			Name: m.Name,
			IPv4: &uplink.Path{Device: m.Name, Up: true, Gateway: prefix.Masked().Addr().Next(),
				Addresses: []netip.Addr{prefix.Addr()}, Networks: []uplink.Network{{Prefix: prefix.Masked(), Source: prefix.Addr()}}},
			IPv6: &uplink.Path{Device: m.Name, Up: true, Gateway: netip.MustParseAddr("fe80::1"),
				Addresses: []netip.Addr{v6}, Prefixes: []netip.Prefix{netip.PrefixFrom(v6, 48).Masked()}},
		})
		world.IPv4.Addresses = append(world.IPv4.Addresses, uplink.Address{Device: m.Name, Prefix: prefix})
		world.IPv4.Routes = append(world.IPv4.Routes, uplink.Route{Destination: netip.MustParsePrefix("0.0.0.0/0"),
			Type: uplink.Unicast, Device: m.Name, Gateway: prefix.Masked().Addr().Next(), Metric: i + 1})
	}
	return world
}

// service is an engine over a fake kernel with a run directory.
type service struct {
	*Engine
	t      *testing.T
	kernel *fakeKernel
	// offline are the verdicts that every run is given.
	offline plan.Verdicts
}

func newService(t *testing.T) *service {
	kernel := newFakeKernel(t)
	return &service{Engine: kernel.engine(t.TempDir()), t: t, kernel: kernel}
}

// read is what a run finds in the kernel and in the run directory.
func (s *service) read() (*Kernel, *rundir.State) {
	s.t.Helper()
	k, err := s.Read()
	if err != nil {
		s.t.Fatal(err)
	}
	return k, s.state()
}

// state is what the last run left; nil for nothing.
func (s *service) state() *rundir.State {
	s.t.Helper()
	state, found, err := s.Run.State()
	if err != nil {
		s.Notice(err.Error())
	}
	if !found {
		return nil
	}
	return &state
}

// changes plans for a configuration.
func (s *service) changes(text string) (*Changes, error) {
	s.t.Helper()
	k, err := s.Read()
	if err != nil {
		return nil, err
	}
	cfg, state := readConfig(s.t, text), s.state()
	in := plan.Input{Config: cfg, Uplinks: worldOf(cfg), Kernel: k.ForPlan(), Verdicts: s.offline}
	if state != nil {
		in.State = &state.State
	}
	return Diff(plan.Build(in), k, state), nil
}

// apply is one run of the command.
func (s *service) apply(text string) error {
	s.t.Helper()
	_, err := s.report(text)
	return err
}

// report is what such a run reports.
func (s *service) report(text string) (*Report, error) {
	s.t.Helper()
	changes, err := s.changes(text)
	if err != nil {
		return nil, err
	}
	return s.Apply(changes)
}

// stop is one run of the command.
func (s *service) stop() error {
	k, err := s.Read()
	if err != nil {
		return err
	}
	return s.Stop(k, s.state())
}

func (s *service) must(text string) {
	s.t.Helper()
	if err := s.apply(text); err != nil {
		s.t.Fatal(err)
	}
}

// writes are the operations since a mark that were not only reading.
func (s *service) writes(since int) []string {
	return slices.DeleteFunc(slices.Clone(s.kernel.log[since:]), func(op string) bool {
		return strings.HasPrefix(op, "mangle save") || strings.HasPrefix(op, "ip rules and routes") ||
			strings.HasPrefix(op, "nftables table (") || op == "ipset list"
	})
}

func TestApplyTwiceWritesNothing(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		s := newService(t)
		s.kernel.mangle.legacy, s.kernel.other.legacy = legacy, !legacy
		s.must(firstConfig)
		for _, text := range []string{firstConfig, secondConfig} {
			s.must(text)
			state, since := s.kernel.dump(), len(s.kernel.log)
			s.must(text)
			if writes := s.writes(since); len(writes) > 0 || s.kernel.dump() != state {
				t.Errorf("legacy %v: the second apply did %q", legacy, writes)
			}
		}
	}
}

// TestPathDoesNotMatter: however the kernel came to a configuration, it holds
// the same, but for indices and the turn at which cascades stand.
func TestPathDoesNotMatter(t *testing.T) {
	direct := newService(t)
	direct.must(firstConfig)
	detour := newService(t)
	for _, text := range []string{firstConfig, secondConfig, firstConfig} {
		detour.must(text)
	}
	if want, got := direct.kernel.dump(), detour.kernel.dump(); got != want {
		t.Errorf("directly:\n%s\nafter a detour:\n%s", want, got)
	}
}

// TestOrder: what a chain sends packets to is there before the chain, and goes
// after it.
func TestOrder(t *testing.T) {
	steps := [][]string{{"route add"}, {"rule add"}, {"ipset create", "ipset add"}, {"mangle restore"},
		{"conntrack ("}, {"ipset destroy"}, {"rule del"}, {"route del"}}
	place := func(op string) int {
		return slices.IndexFunc(steps, func(step []string) bool {
			return slices.ContainsFunc(step, func(prefix string) bool { return strings.HasPrefix(op, prefix) })
		})
	}
	s := newService(t)
	check := func(what string, since int, f, other family.Family) {
		last, seen := 0, map[int]bool{}
		for _, op := range s.writes(since) {
			i := place(op)
			if i < 0 || strings.Contains(op, "("+other.String()+")") {
				continue
			}
			if i < last {
				t.Errorf("%s (%s): %q comes after a %q", what, f, op, steps[last])
			}
			last = i
			seen[i] = true
		}
		if len(seen) < 4 {
			t.Errorf("%s (%s): only %d kinds of operation in %q", what, f, len(seen), s.writes(since))
		}
	}
	for _, situation := range []struct {
		name string
		run  func() error
	}{
		{"from nothing", func() error { return s.apply(firstConfig) }},
		{"to another configuration", func() error { return s.apply(secondConfig) }},
		{"stop", s.stop},
	} {
		since := len(s.kernel.log)
		if err := situation.run(); err != nil {
			t.Fatal(err)
		}
		check(situation.name, since, family.IPv4, family.IPv6)
		check(situation.name, since, family.IPv6, family.IPv4)
	}
	// Within a family a table is filled before a rule leads to it.
	for _, f := range family.All {
		filled := map[string]bool{}
		for _, op := range s.kernel.log {
			words := strings.Fields(op)
			if strings.HasPrefix(op, "route add ("+f.String()) {
				filled[words[len(words)-1]] = true
			}
			if strings.HasPrefix(op, "rule add ("+f.String()) && words[len(words)-1] != "254" && !filled[words[len(words)-1]] {
				t.Errorf("%q: the table is empty", op)
			}
		}
	}
}

// situations are what failures are injected into.
var situations = []struct {
	name   string
	before func(*service)
	run    func(*service) error
}{
	{"from nothing",
		func(*service) {},
		func(s *service) error { return s.apply(withoutCascades(firstConfig)) }},
	{"to another configuration",
		func(s *service) { s.must(withoutCascades(firstConfig)) },
		func(s *service) error { return s.apply(withoutCascades(secondConfig)) }},
	{"a member dies",
		func(s *service) {
			s.must(withoutCascades(firstConfig))
			v6 := tcp(1, "[2001:db8:9::2]:2000", "[2001:db8:ffff::1]:443")
			v6.Family = family.IPv6
			s.kernel.entries = append(entriesOf(1, "198.51.100.1"), v6)
		},
		func(s *service) error {
			s.judge("wan1")
			return s.apply(withoutCascades(firstConfig))
		}},
	{"stop",
		func(s *service) { s.must(withoutCascades(firstConfig)) },
		func(s *service) error { return s.stop() }},
}

// TestCascadeGoesOn: a rewritten cascade begins where the old one stood, also
// when the first attempt to write it failed.
func TestCascadeGoesOn(t *testing.T) {
	weighted := strings.Replace(firstConfig, "config member 'wan1'", "config member 'wan1'\n\toption weight '2'", 1)
	start := func(s *service) uint64 {
		state, _, err := s.Run.State()
		if err != nil {
			t.Fatal(err)
		}
		return state.Families[family.IPv4].Starts["lb_policy_balanced"]
	}
	for _, failures := range []int{0, 3} {
		s := newService(t)
		s.must(firstConfig)
		s.kernel.deal(family.IPv4, "lb_policy_balanced", 11)
		for range failures {
			probe := newService(t)
			probe.must(firstConfig)
			since := len(probe.kernel.log)
			probe.must(weighted)
			n := slices.IndexFunc(probe.kernel.log[since:], func(op string) bool { return op == "mangle restore (ipv4)" })
			s.kernel.failAt = len(s.kernel.log) + 1 + n
			if err := s.apply(weighted); !errors.Is(err, errInjected) {
				t.Fatalf("error %v", err)
			}
			if got := start(s); got != 0 {
				t.Errorf("the old cascade began at 0, it is remembered as %d", got)
			}
		}
		s.must(weighted)
		if got := start(s); got != 11 {
			t.Errorf("after %d failures the cascade begins at %d, want 11", failures, got)
		}
		s.kernel.deal(family.IPv4, "lb_policy_balanced", 4)
		s.must(firstConfig)
		if got := start(s); got != 15 {
			t.Errorf("the next one begins at %d, want 15", got)
		}
	}
}

// TestWithoutIP6Tables: a router without ip6tables is balanced in IPv4 and
// told so.
func TestWithoutIP6Tables(t *testing.T) {
	s := newService(t)
	s.kernel.mangle.missing[family.IPv6] = true
	changes, err := s.changes(firstConfig)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(changes); err != nil {
		t.Fatal(err)
	}
	if s.kernel.chains(family.IPv4) == "" || len(s.kernel.rules[family.IPv6]) > 0 {
		t.Errorf("IPv4 chains %q, IPv6 rules %v", s.kernel.chains(family.IPv4), s.kernel.rules[family.IPv6])
	}
	if !slices.ContainsFunc(changes.Plan.Notices, func(n string) bool { return strings.Contains(n, "ip6tables") }) {
		t.Errorf("notices %q", changes.Plan.Notices)
	}
	s.kernel.mangle.missing[family.IPv4] = true
	if err := s.apply(firstConfig); err == nil {
		t.Error("an apply without iptables succeeded")
	}
}

// TestOtherBackend: what a run with the other back end left is removed, once.
func TestOtherBackend(t *testing.T) {
	s := newService(t)
	s.must(firstConfig)
	// The next run uses the legacy programs.
	s.kernel.mangle, s.kernel.other = s.kernel.other, s.kernel.mangle
	s.Engine = s.kernel.engine(string(s.Run))
	s.must(firstConfig)
	for _, f := range family.All {
		if table := s.kernel.other.tables[f]; table != nil {
			for name, rules := range table.chains {
				if strings.HasPrefix(name, "lb_") || len(rules) > 0 {
					t.Errorf("%s: the old back end still has %s %v", f, name, rules)
				}
			}
		}
		if s.kernel.chains(f) == "" {
			t.Errorf("%s: the new back end has nothing", f)
		}
	}
	since := len(s.kernel.log)
	s.must(firstConfig)
	if got := len(s.kernel.log) - since; got > 5 { // two saves, two reads of routing, the sets
		t.Errorf("the other back end is looked at again: %q", s.kernel.log[since:])
	}
}

// TestFreedDestinationsAreDealtOut: connections that were left to main because
// of their destination are forgotten when it is no longer local, and no other.
func TestFreedDestinationsAreDealtOut(t *testing.T) {
	entry := func(mark uint32, destination string) conntrack.Entry {
		return conntrack.Entry{Mark: mark, Original: conntrack.Tuple{Destination: netip.MustParseAddr(destination)}}
	}
	s := newService(t)
	s.must(firstConfig) // bypasses 192.0.2.0/24
	s.kernel.entries = []conntrack.Entry{
		entry(0x3f000000, "192.0.2.9"),         // freed
		entry(0x3f080000, "192.0.2.9"),         // freed, with somebody else's bit
		entry(0x3f000000, "224.0.0.9"),         // still local
		entry(0x3f000000, "8.8.8.8"),           // by a rule
		entry(0x1000000, "192.0.2.9"),          // on an uplink
		entry(0, "192.0.2.9"),                  // not ours
		entry(0x2000000, "8.8.8.8"),            // of wan2, which goes
		entry(0x2080000, "8.8.8.8"),            // likewise
		entry(0x3d000000, "8.8.8.8"),           // no member's
		entry(0x2000000, "198.51.100.2"),       // came in over wan2, which is gone for good
		{Family: family.IPv6, Mark: 0x2000000}, // the other family
	}
	s.must(secondConfig)
	var left []string
	for _, e := range s.kernel.entries {
		left = append(left, fmt.Sprintf("%#x %s", e.Mark, e.Original.Destination))
	}
	want := []string{"0x3f000000 224.0.0.9", "0x3f000000 8.8.8.8", "0x1000000 192.0.2.9", "0x0 192.0.2.9", "0x3d000000 8.8.8.8"}
	if !slices.Equal(left, want) {
		t.Errorf("left: %q\nwant: %q", left, want)
	}
}

func TestOurs(t *testing.T) {
	s := newService(t)
	ours := func() bool {
		k, _ := s.read()
		return k.Ours()
	}
	if ours() {
		t.Error("an empty kernel holds something of ours")
	}
	s.must(firstConfig)
	if !ours() {
		t.Error("nothing of ours after an apply")
	}
	if err := s.stop(); err != nil || ours() {
		t.Errorf("something of ours after a stop (%v)", err)
	}
}
