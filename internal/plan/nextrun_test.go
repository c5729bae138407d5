package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// runs plans one run after the other, each with the state that the last one
// left, for members a, b and c of which some are offline.
func runs(t *testing.T, cfg *config.Config, offline ...string) *Plan {
	t.Helper()
	var p *Plan
	in := Input{Config: cfg, Uplinks: world("a", "b", "c"), State: &State{}, Kernel: Kernel{Ours: true}}
	for _, names := range offline {
		in.Verdicts = Verdicts{}
		for _, f := range family.All {
			in.Verdicts[f] = map[string]Verdict{}
			for name := range words(names) {
				in.Verdicts[f][name] = Verdict{Offline: "no answer"}
			}
		}
		p = Build(in)
		state := p.State
		in.State = &state
	}
	return p
}

// TestConnectionsOfTheNextRun: what becomes of connections when members die and
// come back. Members a, b and c have the indices 1, 2 and 3.
func TestConnectionsOfTheNextRun(t *testing.T) {
	const all, none = failbackAll, ""
	for _, tt := range []struct {
		name     string
		policies []config.Policy
		failback string
		onDead   string
		offline  []string // in each run
		search   bool
		fates    [3]Fate
		live     string // what the last run leaves
		active   string
	}{
		{"nothing changed", policies("balanced: a1 b1 c2"), none, "", []string{"", ""}, false, [3]Fate{}, "[1 2 3]", "[1 2]"},
		{"one died", policies("balanced: a1 b1 c2"), none, "", []string{"", "a"}, true, [3]Fate{ForgetAndReset, Keep, Keep}, "[2 3]", "[2]"},
		{"one died, and nothing is to be done", policies("balanced: a1 b1 c2"), none, "none", []string{"", "a"}, true, [3]Fate{}, "[2 3]", "[2]"},
		{"one died, and clients are to find out", policies("balanced: a1 b1 c2"), none, "clear", []string{"", "a"}, true, [3]Fate{Forget, Keep, Keep}, "[2 3]", "[2]"},
		{"one died before", policies("balanced: a1 b1 c2"), none, "", []string{"", "a", "a"}, false, [3]Fate{}, "[2 3]", "[2]"},
		{"one is back", policies("balanced: a1 b2 c2"), none, "", []string{"a", ""}, false, [3]Fate{}, "[1 2 3]", "[1]"},
		{"one is back, and takes all", policies("balanced: a1 b2 c2"), all, "", []string{"a", ""}, true, [3]Fate{Keep, ForgetAndReset, ForgetAndReset}, "[1 2 3]", "[1]"},
		{"one was there all the time", policies("balanced: a1 b2 c2"), all, "", []string{"", ""}, false, [3]Fate{}, "[1 2 3]", "[1]"},
		{"one is back in a tier that others share", policies("balanced: a1 b1 c2"), all, "", []string{"a", ""}, false, [3]Fate{}, "[1 2 3]", "[1 2]"},
		{"one is back in a tier that is not in use", policies("balanced: a2 b1 c1"), all, "", []string{"a", ""}, false, [3]Fate{}, "[1 2 3]", "[2 3]"},
		{"one is back when another dies", policies("balanced: a1 b2"), all, "none", []string{"a", "b"}, true, [3]Fate{}, "[1 3]", "[1]"},
		{"one is back, the other has a policy alone", policies("balanced: a1 b2", "only: b1"), all, "", []string{"a", ""}, true, [3]Fate{Keep, ForgetAndReset, Keep}, "[1 2 3]", "[1]"},
		{"all died", policies("balanced: a1 b1 c1"), none, "", []string{"", "a b c"}, false, [3]Fate{}, "[1 2 3]", "[1 2 3]"},
		{"all died, and one stays away", policies("balanced: a1 b1 c1"), none, "", []string{"", "a b c", "a"}, true, [3]Fate{ForgetAndReset, Keep, Keep}, "[2 3]", "[2 3]"},
		{"all died, and all are back", policies("balanced: a1 b1 c1"), none, "", []string{"", "a b c", ""}, false, [3]Fate{}, "[1 2 3]", "[1 2 3]"},
	} {
		cfg := balanced("a", "b", "c")
		cfg.Policies = tt.policies
		for i := range cfg.Members {
			cfg.Members[i].Track.Failback, cfg.Members[i].Track.OnDead = tt.failback, tt.onDead
		}
		p := runs(t, cfg, tt.offline...)
		for _, f := range family.All {
			c := p.Connections[f]
			if c.Search != tt.search {
				t.Errorf("%s, %s: search %v, want %v", tt.name, f, c.Search, tt.search)
			}
			for i, want := range tt.fates {
				if got := c.Fate(uint32(i+1)<<24, address("203.0.113.9")); got != want {
					t.Errorf("%s, %s: fate of connections of %c is %d, want %d", tt.name, f, 'a'+i, got, want)
				}
			}
			if live, active := fmt.Sprint(p.State.Live[f]), fmt.Sprint(p.State.Active[f]); live != tt.live || active != tt.active {
				t.Errorf("%s, %s: leaves live %s, active %s; want %s, %s", tt.name, f, live, active, tt.live, tt.active)
			}
		}
	}
}

// TestChangedTiers: connections return to a member that is back and takes over
// only; a member that is dealt nothing any more because the file was changed
// keeps them.
func TestChangedTiers(t *testing.T) {
	for _, tt := range []struct {
		name         string
		live, active []int // before
		policies     []config.Policy
		search       bool
	}{
		{"who takes over was live before", []int{1, 2, 3}, []int{1, 2}, policies("balanced: a1 b2 c2"), false},
		{"who is back takes over nothing", []int{2, 3}, []int{2, 3}, policies("balanced: a2 b1 c2"), false},
		{"who is back takes over", []int{2, 3}, []int{2, 3}, policies("balanced: a1 b1 c2"), true},
	} {
		cfg := balanced("a", "b", "c")
		cfg.Policies = tt.policies
		for i := range cfg.Members {
			cfg.Members[i].Track.Failback = failbackAll
		}
		f := family.IPv4
		p := Build(Input{Config: cfg, Uplinks: world("a", "b", "c"), State: &State{Indices: indices("a:1 b:2 c:3"),
			Live: map[family.Family][]int{f: tt.live}, Active: map[family.Family][]int{f: tt.active}}})
		if got := p.Connections[f].Search; got != tt.search {
			t.Errorf("%s: search %v", tt.name, got)
		}
	}
}

// TestUnfinished: what a run had begun is to be finished, also where no index
// has another meaning, and what is to be done is handed on whole.
func TestUnfinished(t *testing.T) {
	before := &State{Indices: indices("a:1")}
	before.Unfinish(family.IPv4, Unfinished{})
	p := Build(Input{Config: balanced("a"), Uplinks: world("a"), State: before})
	if !p.Connections[family.IPv4].Search || p.Connections[family.IPv6].Search {
		t.Error("not the family that is unfinished is searched")
	}
	freed := []netip.Prefix{prefix("10.99.0.0/24")}
	want := Unfinished{Reused: []int{1}, Vacated: []int{2}, Freed: freed}
	before.Unfinish(family.IPv6, Connections{reused: []int{1}, vacated: []int{2}}.Unfinished(freed))
	if !reflect.DeepEqual(before.Unfinished, map[family.Family]Unfinished{family.IPv4: {}, family.IPv6: want}) {
		t.Errorf("unfinished %+v", before.Unfinished)
	}
}

// TestIncomingConnectionsStay: what came in by the address of a member that died
// stays with it.
func TestIncomingConnectionsStay(t *testing.T) {
	p := runs(t, balanced("a", "b", "c"), "", "a")
	for f, own := range map[family.Family]string{family.IPv4: "198.51.100.2", family.IPv6: "2001:db8::9"} {
		if got := p.Connections[f].Fate(0x1000000, address(own)); got != Keep {
			t.Errorf("%s: fate %d", f, got)
		}
	}
}

// TestForgottenState: where the state was lost, members may have died unnoticed,
// unless nothing of ours is there.
func TestForgottenState(t *testing.T) {
	for _, tt := range []struct {
		state *State
		ours  bool
		want  bool
	}{{nil, true, true}, {nil, false, false}, {&State{}, true, false}} {
		p := Build(Input{Config: balanced("a"), Uplinks: world("a"), State: tt.state, Kernel: Kernel{Ours: tt.ours}})
		if got := p.Connections[family.IPv4].Search; got != tt.want {
			t.Errorf("state %v, ours %v: search %v", tt.state, tt.ours, got)
		}
	}
}

// TestRecoveredIndices: without a state the members' chains tell their indices,
// with one they do not.
func TestRecoveredIndices(t *testing.T) {
	in := Input{Config: balanced("a", "b"), Uplinks: world("a", "b"), Kernel: Kernel{Ours: true, MemberChains: []MemberChainMark{
		{"lb_member_a", 0x7000000, 0x3f000000}, {"lb_member_b", 0x1000000, 0x3f000000}, {"lb_member_gone", 0x2000000, 0x3f000000}}}}
	for _, tt := range []struct {
		state *State
		want  string
	}{
		{nil, "a:7 b:1 | gone:2"},
		{&State{Indices: indices("a:3 b:4")}, "a:3 b:4"},
		{&State{}, "a:1 b:2"},
	} {
		in.State = tt.state
		p := Build(in)
		if got, want := fmt.Sprint(p.State.Indices), fmt.Sprint(indices(tt.want)); got != want {
			t.Errorf("%+v: %s, want %s", tt.state, got, want)
		}
		if p.Members[0].Index != p.State.Indices.Members["a"] {
			t.Errorf("%+v: a has %d", tt.state, p.Members[0].Index)
		}
	}
}

// TestWhoHasToWait: with failback 'never' a member that was lost waits when it is
// back; one that was never there does not, nor does one without that option.
func TestWhoHasToWait(t *testing.T) {
	for _, tt := range []struct {
		name     string
		failback string
		offline  []string
		held     string
		dealt    string
	}{
		{"lost", failbackNever, []string{"", "a"}, "a", "b"},
		{"lost and back", failbackNever, []string{"", "a", ""}, "a", "b"},
		{"lost and back, and again", failbackNever, []string{"", "a", "", "a", ""}, "a", "b"},
		{"lost and back, the backup is gone", failbackNever, []string{"", "a", "", "b", ""}, "", "a"},
		{"never there", failbackNever, []string{"a", ""}, "", "a"},
		{"lost and back, with failback 'new'", "new", []string{"", "a", ""}, "", "a"},
		{"lost and back, with failback 'all'", failbackAll, []string{"", "a", ""}, "", "a"},
	} {
		cfg := balanced("a", "b")
		cfg.Policies = policies("balanced: a1 b2")
		cfg.Members[0].Track.Failback = tt.failback
		p := runs(t, cfg, tt.offline...)
		for _, f := range family.All {
			if !maps.Equal(p.State.Held[f], words(tt.held)) || activeText(p, f) != tt.dealt {
				t.Errorf("%s, %s: held %v, dealt to %s; want %q, %s", tt.name, f, p.State.Held[f], activeText(p, f), tt.held, tt.dealt)
			}
		}
	}
}

// TestFailbackOfAPolicy: a policy's own comes before that of its members, and other
// policies keep theirs. What a member has handed over to one that is back returns
// if one of the policies wants it.
func TestFailbackOfAPolicy(t *testing.T) {
	for _, tt := range []struct {
		name            string
		members, policy string
		held, dealt     string
		fate            Fate // of what the backup has
	}{
		{"as its members", failbackNever, "", "a", "b;b", Keep},
		{"never, alone", "new", failbackNever, "a", "a;b", Keep},
		{"new, alone", failbackNever, "new", "a", "b;a", Keep},
		{"all, alone", "new", failbackAll, "", "a;a", ForgetAndReset},
		{"all beside never", failbackNever, failbackAll, "a", "b;a", Keep}, // the backup is in use
		{"new beside all", failbackAll, "new", "", "a;a", ForgetAndReset},
	} {
		cfg := balanced("a", "b")
		cfg.Policies = policies("balanced: a1 b2", "work: a1 b2")
		cfg.Policies[1].Failback = tt.policy
		for i := range cfg.Members {
			cfg.Members[i].Track.Failback = tt.members
		}
		p := runs(t, cfg, "", "a", "")
		for _, f := range family.All {
			if !maps.Equal(p.State.Held[f], words(tt.held)) || activeText(p, f) != tt.dealt {
				t.Errorf("%s, %s: held %v, dealt to %s; want %q, %s", tt.name, f, p.State.Held[f], activeText(p, f), tt.held, tt.dealt)
			}
			if got := p.Connections[f].Fate(2<<24, address("203.0.113.9")); got != tt.fate {
				t.Errorf("%s, %s: fate %d of the backup's connections, want %d", tt.name, f, got, tt.fate)
			}
		}
	}
}

// TestPrefixesAreRemembered: a member whose IPv6 is down keeps the prefix that it
// had last, so that no other provider is given packets from there.
func TestPrefixesAreRemembered(t *testing.T) {
	cfg := balanced("a", "b")
	in := Input{Config: cfg, Uplinks: world("a", "b"), State: &State{}}
	first := Build(in)
	want := map[string][]netip.Prefix{"a": {prefix("2001:db8::/56")}, "b": {prefix("2001:db8:100::/56")}}
	if !reflect.DeepEqual(first.State.Prefixes, want) {
		t.Errorf("left %v, want %v", first.State.Prefixes, want)
	}
	down := *in.Uplinks.Members[0].IPv6
	down.Up, down.Reason, down.Prefixes = false, "device 'a' has no link", nil
	in.Uplinks.Members[0].IPv6 = &down
	in.State = &first.State
	second := Build(in)
	if !reflect.DeepEqual(second.State.Prefixes, want) {
		t.Errorf("left %v, want %v", second.State.Prefixes, want)
	}
	path := second.Uplinks.Path("a", family.IPv6)
	if path.Device != "a" || path.Reason != down.Reason || !reflect.DeepEqual(path.Prefixes, want["a"]) {
		t.Errorf("path %+v", path)
	}
	refused := "-s 2001:db8::/56 -g lb_member_unreachable"
	var hook []string
	for _, r := range chain(t, &second.IPv6, hookChain).Rules {
		hook = append(hook, r.Args(""))
	}
	if !strings.Contains(strings.Join(hook, "\n"), refused) {
		t.Errorf("no %q in\n%s", refused, strings.Join(hook, "\n"))
	}
}

// TestStopped: a service that is stopped plans nothing, keeps the indices for
// its next start, and forgets who waits and who had which prefix.
func TestStopped(t *testing.T) {
	before := State{Indices: indices("a:3 | b:4"), Live: map[family.Family][]int{family.IPv4: {3}},
		Held: map[family.Family]map[string]bool{family.IPv4: {"a": true}}, Prefixes: map[string][]netip.Prefix{"a": {prefix("2001:db8::/56")}}}
	want := before
	want.Held, want.Prefixes = nil, nil
	if got := Stopped(before); !reflect.DeepEqual(got, &Plan{State: want}) {
		t.Errorf("got %+v", got)
	}
}

// TestRemovedMember: the connections of a member that is taken out of the
// configuration go, whatever it was judged and whoever is left.
func TestRemovedMember(t *testing.T) {
	for _, offline := range [][]string{nil, {"a", "c"}} {
		for _, live := range [][]int{{1, 2, 3}, {1, 3}} {
			before := &State{Indices: indices("a:1 b:2 c:3"), Live: map[family.Family][]int{family.IPv4: live, family.IPv6: live}}
			in := Input{Config: balanced("a", "c"), Uplinks: world("a", "c"), State: before, Verdicts: Verdicts{}}
			for _, f := range family.All {
				in.Verdicts[f] = map[string]Verdict{}
				for _, name := range offline {
					in.Verdicts[f][name] = Verdict{Offline: "no answer"}
				}
			}
			p := Build(in)
			for f, c := range p.Connections {
				if got := c.Fate(0x2000000, address("203.0.113.9")); got != ForgetAndReset {
					t.Errorf("%s, offline %q, live before %v: fate %d", f, offline, live, got)
				}
			}
		}
	}
}

// TestFormerSources: an address of a member that was removed keeps its way out as
// long as the router has it and nobody else's table is meant.
func TestFormerSources(t *testing.T) {
	b := address("198.51.101.2")
	rule := uplink.Rule{Action: uplink.LookUp, Priority: prioSource + 2, From: family.Host(b), Table: 302, Suppress: uplink.AnyLength}
	route := Route{Table: 302, Type: uplink.Unicast, Destination: family.IPv4.Default(), Gateway: address("198.51.101.1"), Device: "b", OnLink: true}
	network := Route{Table: 302, Type: uplink.Unicast, Destination: netip.MustParsePrefix("198.51.101.0/24"), Device: "b", Source: b}
	for _, tt := range []struct {
		name    string
		members string
		device  string // that has the address
		rule    uplink.Rule
		kept    bool
	}{
		{"removed", "a c", "b", rule, true},
		{"not removed", "a b c", "b", rule, true},
		{"the address is gone", "a c", "", rule, false},
		{"the address moved", "a c", "lan", rule, false},
		{"its mark", "a c", "b", uplink.Rule{Action: uplink.LookUp, Priority: prioMark + 2, Mark: 0x200, Mask: 0x3f00, Table: 302, Suppress: uplink.AnyLength}, false},
		{"the table is another member's", "a c", "b", uplink.Rule{Action: uplink.LookUp, Priority: prioSource + 2, From: family.Host(b), Table: 301, Suppress: uplink.AnyLength}, false},
	} {
		names := strings.Fields(tt.members)
		uplinks := world("a", "b", "c")
		if len(names) == 2 {
			uplinks.Members = slices.Delete(uplinks.Members, 1, 2)
		}
		if tt.device != "" {
			uplinks.IPv4.Addresses = []uplink.Address{{Device: tt.device, Prefix: netip.PrefixFrom(b, 24)}}
		}
		in := Input{Config: balanced(names...), Uplinks: uplinks, State: &State{Indices: indices("a:1 b:2 c:3")},
			Kernel: Kernel{Ours: true, Rules: map[family.Family][]uplink.Rule{family.IPv4: {tt.rule}},
				Routes: map[family.Family][]Route{family.IPv4: {route, network}}}}
		p := Build(in)
		if got := slices.Contains(p.IPv4.Rules, tt.rule); got != tt.kept {
			t.Errorf("%s: rule kept %v", tt.name, got)
		}
		if got := slices.ContainsFunc(p.IPv4.Routes, func(r Route) bool { return r.Table == 302 && r.Destination.Bits() == 0 }); got != tt.kept {
			t.Errorf("%s: route kept %v", tt.name, got)
		}
		seen := map[Route]bool{}
		for _, r := range p.IPv4.Routes {
			if seen[r] {
				t.Errorf("%s: %+v stands twice", tt.name, r)
			}
			seen[r] = true
		}
	}
}
