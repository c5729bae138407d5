package apply

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/apply/reset"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
)

// tcp is a connection of a LAN host on the uplink with an index.
func tcp(index int, client, server string) conntrack.Entry {
	c, s := netip.MustParseAddrPort(client), netip.MustParseAddrPort(server)
	return conntrack.Entry{Protocol: protoTCP, Mark: uint32(index) << 8, Original: conntrack.Tuple{
		Source: c.Addr(), SourcePort: c.Port(), Destination: s.Addr(), DestinationPort: s.Port()}}
}

// entriesOf are connections of every kind on one uplink; came is its own
// address.
func entriesOf(index int, came string) []conntrack.Entry {
	udp := tcp(index, "192.168.1.3:3000", "8.8.8.8:53")
	udp.Protocol = 17
	ended := tcp(index, "192.168.1.4:4000", "8.8.8.8:443")
	ended.Ended = true
	opening := tcp(index, "192.168.1.5:5000", "8.8.8.8:443")
	opening.Opening = true
	return []conntrack.Entry{tcp(index, "192.168.1.2:2000", "8.8.8.8:443"), udp, ended, opening,
		tcp(index, "203.0.113.9:9000", came+":8080")}
}

func (s *service) expectConnections(what string, left, told []string) {
	s.t.Helper()
	var have, resets []string
	for _, e := range s.kernel.entries {
		have = append(have, fmt.Sprintf("%d %s", e.Mark>>8, e.Original.Source))
	}
	for _, flow := range s.kernel.resets {
		resets = append(resets, flow.Client.String()+" "+flow.Server.String())
	}
	if !slices.Equal(have, left) {
		s.t.Errorf("%s: left: %q, want %q", what, have, left)
	}
	if !slices.Equal(resets, told) {
		s.t.Errorf("%s: clients told: %q, want %q", what, resets, told)
	}
}

// TestDeadMemberConnections: what becomes of the connections of a member that
// dies.
func TestDeadMemberConnections(t *testing.T) {
	all := []string{"1 192.168.1.2", "1 192.168.1.3", "1 192.168.1.4", "1 192.168.1.5", "1 203.0.113.9", "2 192.168.1.9"}
	moved := []string{"1 203.0.113.9", "2 192.168.1.9"}
	tests := []struct {
		name, onDead, offline string
		left, told            []string
	}{
		{"reset", "reset", "wan1", moved, []string{"192.168.1.2:2000 8.8.8.8:443"}},
		{"clear", "clear", "wan1", moved, nil},
		{"none", "none", "wan1", all, nil},
		{"nobody to go to", "reset", "wan1 wan2", all, nil},
		{"nothing happened", "reset", "", all, nil},
	}
	for _, tt := range tests {
		s := newService(t)
		config := pair("on_dead '" + tt.onDead + "'")
		s.must(config)
		s.kernel.entries = append(entriesOf(1, "198.51.100.1"), tcp(2, "192.168.1.9:9", "8.8.8.8:443"))
		s.judge(strings.Fields(tt.offline)...)
		s.must(config)
		s.expectConnections(tt.name, tt.left, tt.told)
	}
}

// TestConnectionsAreFreedAtOnce: those that can be known before are gone as
// soon as the family's chains are written, the others, also a great many, at
// the end.
func TestConnectionsAreFreedAtOnce(t *testing.T) {
	config := pair("on_dead 'reset'")
	s := newService(t)
	s.must(config)
	for i := range maxAhead + 10 {
		s.kernel.entries = append(s.kernel.entries, tcp(1, fmt.Sprintf("192.168.%d.%d:1000", i/250, i%250), "8.8.8.8:443"))
	}
	s.kernel.dealtMeanwhile = []conntrack.Entry{tcp(1, "192.168.9.1:2000", "8.8.8.8:443")}
	s.judge("wan1")
	since := len(s.kernel.log)
	s.must(config)
	s.expectOrder(since, "mangle restore (ipv4)", fmt.Sprintf("conntrack remove %d (ipv4)", maxAhead),
		fmt.Sprintf("reset %d connections", maxAhead), "mangle restore (ipv6)", "conntrack (ipv4)", "reset 11 connections")
	if n := len(s.kernel.entries); n > 0 {
		t.Errorf("%d connections are left", n)
	}
	told := map[reset.Flow]bool{}
	for _, flow := range s.kernel.resets {
		told[flow] = true
	}
	if len(told) != maxAhead+11 || len(s.kernel.resets) != len(told) {
		t.Errorf("%d clients are told, %d times", len(told), len(s.kernel.resets))
	}
}

// TestLongTableIsSearchedOnce: searching it ahead would keep iptables-restore
// waiting.
func TestLongTableIsSearchedOnce(t *testing.T) {
	config := pair("on_dead 'clear'")
	s := newService(t)
	s.must(config)
	for i := range longTable + 1 {
		s.kernel.entries = append(s.kernel.entries, tcp(1, fmt.Sprintf("192.168.%d.%d:1000", i/250, i%250), "8.8.8.8:443"))
	}
	s.judge("wan1")
	since := len(s.kernel.log)
	s.must(config)
	for _, step := range s.kernel.log[since:] {
		if strings.HasPrefix(step, "conntrack list") {
			t.Errorf("%q", step)
		}
	}
	s.expectConnections("a long table", nil, nil)
}

// TestForeseenDeath: the connections of a member that was about to be judged
// offline are known when it is, those that came up later are found at the end,
// and a member that was not judged keeps all of its.
func TestForeseenDeath(t *testing.T) {
	config := pair("on_dead 'reset'")
	old, late := tcp(1, "192.168.1.2:2000", "8.8.8.8:443"), tcp(1, "192.168.1.3:3000", "8.8.8.8:443")
	other, came := tcp(2, "192.168.1.9:9000", "8.8.8.8:443"), tcp(1, "203.0.113.9:9000", "198.51.100.1:8080")
	toldOld, toldLate := "192.168.1.2:2000 8.8.8.8:443", "192.168.1.3:3000 8.8.8.8:443"
	for _, tt := range []struct {
		name, judged string
		steps        []string
		left, told   []string
	}{
		{"as foreseen", "wan1",
			[]string{"mangle restore (ipv4)", "conntrack remove 1 (ipv4)", "reset 1 connections", "mangle restore (ipv6)", "conntrack (ipv4)", "reset 1 connections"},
			[]string{"2 192.168.1.9", "1 203.0.113.9"}, []string{toldOld, toldLate}},
		{"another one", "wan2",
			[]string{"mangle restore (ipv4)", "mangle restore (ipv6)", "conntrack (ipv4)", "reset 1 connections"},
			[]string{"1 192.168.1.2", "1 203.0.113.9", "1 192.168.1.3"}, []string{"192.168.1.9:9000 8.8.8.8:443"}},
		{"none", "", nil, []string{"1 192.168.1.2", "2 192.168.1.9", "1 203.0.113.9", "1 192.168.1.3"}, nil},
	} {
		s := newService(t)
		s.must(config)
		opening := late
		opening.Opening = true // when it was read, and no more when it is deleted
		s.kernel.entries = []conntrack.Entry{old, other, came, opening}
		s.judge("wan1")
		actual, err := s.ReadAhead(uint32(fwmark.Fallback), s.offline)
		if err != nil {
			t.Fatal(err)
		}
		s.kernel.entries[3] = late
		s.judge(strings.Fields(tt.judged)...)
		since := len(s.kernel.log)
		if err := s.applyTo(config, actual); err != nil {
			t.Fatal(err)
		}
		s.expectOrder(since, tt.steps...)
		for _, step := range s.kernel.log[since:] {
			if strings.HasPrefix(step, "mangle save") || strings.HasPrefix(step, "conntrack list") {
				t.Errorf("%s: %q, although it was read ahead", tt.name, step)
			}
		}
		s.expectConnections(tt.name, tt.left, tt.told)
	}
}

// TestReadAheadFindsTheDying: of members that are live, and not in a long table.
func TestReadAheadFindsTheDying(t *testing.T) {
	s := newService(t)
	s.must(pair("on_dead 'reset'"))
	s.judge("wan1")
	s.must(pair("on_dead 'reset'"))
	for i := range longTable {
		s.kernel.entries = append(s.kernel.entries, tcp(1+i%2, fmt.Sprintf("192.168.%d.%d:1000", i/250, i%250), "8.8.8.8:443"))
	}
	s.judge("wan1", "wan2", "unknown")
	for _, want := range []int{maxAhead, 0} { // of wan2; wan1 is dead already
		actual, err := s.ReadAhead(uint32(fwmark.Fallback), s.offline)
		if err != nil {
			t.Fatal(err)
		}
		if found := actual.dying[family.IPv4]; len(found) != want || want > 0 && found[0].Mark != 2<<8 {
			t.Errorf("%d connections found, want %d of wan2", len(found), want)
		}
		s.kernel.entries = append(s.kernel.entries, s.kernel.entries[0])
	}
}

// TestMovedConnectionsAreMovedOnce: the client of a connection that is to
// return to another uplink answers by the same one, as a policy has it.
func TestMovedConnectionsAreMovedOnce(t *testing.T) {
	config := pair("failback 'all'")
	s := newService(t)
	s.must(config)
	s.judge("wan1")
	s.must(config)
	s.kernel.entries = []conntrack.Entry{tcp(2, "192.168.1.2:2000", "8.8.8.8:443")}
	s.judge()
	s.kernel.answersOn = 2
	s.must(config)
	s.expectConnections("its answer", []string{"2 192.168.1.2"}, []string{"192.168.1.2:2000 8.8.8.8:443"})
}

// TestRefusedFamilyKeepsItsConnections until its chains can be written. The
// other family's are freed at once.
func TestRefusedFamilyKeepsItsConnections(t *testing.T) {
	config := pair("on_dead 'reset'")
	s := newService(t)
	s.must(config)
	v6 := tcp(1, "[2001:db8:9::2]:2000", "[2001:db8:ffff::1]:443")
	v6.Family = family.IPv6
	s.kernel.entries = []conntrack.Entry{tcp(1, "192.168.1.2:2000", "8.8.8.8:443"), v6}
	s.judge("wan1")
	good := s.Mangle
	s.Mangle = refusesIPv6{good}
	if err := s.apply(config); !errors.Is(err, errInjected) {
		t.Fatalf("error %v", err)
	}
	s.expectConnections("IPv6 refused", []string{"1 2001:db8:9::2"}, []string{"192.168.1.2:2000 8.8.8.8:443"})
	s.Mangle = good
	s.must(config)
	s.expectConnections("then", nil, []string{"192.168.1.2:2000 8.8.8.8:443", "[2001:db8:9::2]:2000 [2001:db8:ffff::1]:443"})
}

// refusesIPv6 refuses every transaction of IPv6.
type refusesIPv6 struct{ Mangle }

func (m refusesIPv6) BeginWrite(f family.Family, change iptables.Change) (func() bool, func() error) {
	if f == family.IPv6 {
		return failingRestore{}.BeginWrite(f, change)
	}
	return m.Mangle.BeginWrite(f, change)
}

// TestRefusedChainsKeepConnections: what the old chains have dealt out stays
// while they do.
func TestRefusedChainsKeepConnections(t *testing.T) {
	config := pair("on_dead 'reset'")
	s := newService(t)
	s.must(config)
	s.kernel.entries = []conntrack.Entry{tcp(1, "192.168.1.2:2000", "8.8.8.8:443")}
	s.judge("wan1")
	s.Mangle = failingRestore{s.Mangle}
	if err := s.apply(config); !errors.Is(err, errInjected) {
		t.Fatalf("error %v", err)
	}
	s.expectConnections("refused", []string{"1 192.168.1.2"}, nil)
}

// expectOrder compares the beginnings of some operations with the order that
// they are wanted in.
func (s *service) expectOrder(since int, want ...string) {
	s.t.Helper()
	rest := s.kernel.log[since:]
	for _, operation := range want {
		i := slices.IndexFunc(rest, func(step string) bool { return strings.HasPrefix(step, operation) })
		if i < 0 {
			s.t.Fatalf("no %q in its place in %q", operation, s.kernel.log[since:])
		}
		rest = rest[i+1:]
	}
}

// lastStep is the number of the last operation of a kind.
func lastStep(s *service, kind string) int {
	for i := len(s.kernel.log); i > 0; i-- {
		if strings.HasPrefix(s.kernel.log[i-1], kind) {
			return i
		}
	}
	s.t.Fatalf("no operation %q", kind)
	return 0
}

// TestResetFailureIsTold and no failure of the apply: the connections are dealt
// anew in any case.
func TestResetFailureIsTold(t *testing.T) {
	config := pair("on_dead 'reset'")
	s := newService(t)
	s.must(config)
	s.kernel.entries = entriesOf(1, "198.51.100.1")
	s.judge("wan1")
	good := newService(t)
	good.must(config)
	good.kernel.entries = entriesOf(1, "198.51.100.1")
	good.judge("wan1")
	good.must(config)
	s.kernel.failAt = lastStep(good, "reset ")
	s.must(config)
	lastStep(s, "notice: connections (ipv4): reset ")
	s.expectConnections("after a failure", []string{"1 203.0.113.9"}, nil)
	since := len(s.kernel.log)
	s.must(config)
	if writes := s.writes(since); len(writes) > 0 {
		t.Errorf("the next run does %q", writes)
	}
}

// TestRemind: only clients whose connection has not ended are told again.
func TestRemind(t *testing.T) {
	s := newService(t)
	config := pair("on_dead 'reset'")
	s.must(config)
	for i := range 4 {
		s.kernel.entries = append(s.kernel.entries, tcp(1, fmt.Sprintf("192.168.1.%d:1000", i), "8.8.8.8:443"))
	}
	s.judge("wan1")
	actual, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	cfg := readConfig(t, config)
	changes, err := s.Plan(cfg, worldOf(cfg), s.offline, actual)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(changes, actual); err != nil {
		t.Fatal(err)
	}
	if cleaned := changes.Cleaned[family.IPv4]; cleaned.Deleted != 4 || cleaned.Reset != 4 {
		t.Errorf("%+v", cleaned)
	}
	expect := func(what string, want ...string) {
		t.Helper()
		s.kernel.resets = nil
		told, err := s.Remind(changes)
		if err != nil || told != len(want) {
			t.Errorf("%s: %d told, %v", what, told, err)
		}
		var got []string
		for _, flow := range s.kernel.resets {
			got = append(got, flow.Client.Addr().String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
	}
	s.kernel.pickedUp = true
	// 0 is done, 1 and 2 are not, 3 has opened another connection.
	ended := tcp(2, "192.168.1.0:1000", "8.8.8.8:443")
	ended.Ended = true
	s.kernel.entries = []conntrack.Entry{ended, tcp(2, "192.168.1.1:1000", "8.8.8.8:443"),
		tcp(2, "192.168.1.2:1000", "8.8.8.8:443"), tcp(2, "192.168.1.3:1001", "8.8.8.8:443")}
	expect("at first", "192.168.1.1", "192.168.1.2")
	s.kernel.entries[1].Ended = true
	expect("then", "192.168.1.2")
	s.kernel.failAt = len(s.kernel.log) + 1
	if _, err := s.Remind(changes); !errors.Is(err, errInjected) {
		t.Errorf("error %v", err)
	}
	if told, err := s.Remind(&Changes{}); told != 0 || err != nil {
		t.Errorf("nothing was told, but: %d, %v", told, err)
	}
}
