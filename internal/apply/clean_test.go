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
	"loadbalance/internal/family"
)

// tcp is a connection of a LAN host on the uplink with an index.
func tcp(index int, client, server string) conntrack.Entry {
	c, s := netip.MustParseAddrPort(client), netip.MustParseAddrPort(server)
	return conntrack.Entry{Protocol: protoTCP, Mark: uint32(index) << 24, Original: conntrack.Tuple{
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
		have = append(have, fmt.Sprintf("%d %s", e.Mark>>24, e.Original.Source))
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

// TestConnectionsDealtMeanwhile: what the old chains deal out to a dead line
// while the new ones are written is found, too.
func TestConnectionsDealtMeanwhile(t *testing.T) {
	config := pair("on_dead 'reset'")
	s := newService(t)
	s.must(config)
	s.kernel.entries = []conntrack.Entry{tcp(1, "192.168.1.2:2000", "8.8.8.8:443")}
	s.kernel.dealtMeanwhile = []conntrack.Entry{tcp(1, "192.168.9.1:2000", "8.8.8.8:443")}
	s.judge("wan1")
	since := len(s.kernel.log)
	s.must(config)
	s.expectOrder(since, "mangle restore (ipv4)", "conntrack (ipv4)", "reset 2 connections")
	s.expectConnections("dealt meanwhile", nil, []string{"192.168.1.2:2000 8.8.8.8:443", "192.168.9.1:2000 8.8.8.8:443"})
}

// TestSearchedOnce per family, and not at all where nothing can have changed.
func TestSearchedOnce(t *testing.T) {
	config := pair("on_dead 'reset'")
	s := newService(t)
	s.must(config)
	for offline, want := range map[string]int{"wan1": 2, "wan1 wan2": 0} {
		s := newService(t)
		s.must(config)
		s.judge(strings.Fields(offline)...)
		since := len(s.kernel.log)
		s.must(config)
		searches := slices.DeleteFunc(slices.Clone(s.kernel.log[since:]), func(step string) bool { return !strings.HasPrefix(step, "conntrack") })
		if len(searches) != want {
			t.Errorf("offline %s: %q", offline, searches)
		}
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

func (m refusesIPv6) Write(f family.Family, change iptables.Change) error {
	if f == family.IPv6 {
		return errInjected
	}
	return m.Mangle.Write(f, change)
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

// TestReportCounts what became of the connections.
func TestReportCounts(t *testing.T) {
	s := newService(t)
	config := pair("on_dead 'reset'")
	s.must(config)
	s.kernel.entries = entriesOf(1, "198.51.100.1")
	s.judge("wan1")
	changes, err := s.changes(config)
	if err != nil {
		t.Fatal(err)
	}
	report, err := s.Apply(changes)
	if err != nil {
		t.Fatal(err)
	}
	if cleaned := report.Connections[family.IPv4]; cleaned.Deleted != 4 || cleaned.Challenged != 1 {
		t.Errorf("%+v", cleaned)
	}
	if text := strings.Join(report.Summary(), "\n"); !strings.Contains(text, "4 connections freed, 1 TCP connection reset") {
		t.Errorf("%q", text)
	}
}

// TestRulesWaitForConnections: while connections of a removed member are left, the
// rules for their mark stay; the next run makes up for both.
func TestRulesWaitForConnections(t *testing.T) {
	const both, one = "config member 'wan1'\nconfig member 'wan2'\n", "config member 'wan1'\n"
	s := newService(t)
	s.must(both)
	s.kernel.entries = []conntrack.Entry{tcp(2, "192.168.1.9:9", "8.8.8.8:443")}
	hasRule := func() bool { return strings.Contains(s.kernel.dump(), "9202") }
	changes, err := s.changes(one)
	if err != nil {
		t.Fatal(err)
	}
	connections := s.Connections
	s.Connections = noConnections{}
	if _, err := s.Apply(changes); !errors.Is(err, errInjected) || !hasRule() {
		t.Errorf("connections that cannot be deleted: %v, rules kept %v", err, hasRule())
	}
	s.Connections = connections
	s.must(one)
	if len(s.kernel.entries) > 0 || hasRule() {
		t.Errorf("after the next run: %d connections, rules kept %v", len(s.kernel.entries), hasRule())
	}
}

// noConnections is a table of connections from which nothing can be deleted.
type noConnections struct{ connections }

func (noConnections) Delete(family.Family, func(conntrack.Entry) bool) (int, error) {
	return 0, errInjected
}

// TestOlderConnections: those that live before the chains are written, or come up
// while they are, get their line's mark, and only then.
func TestOlderConnections(t *testing.T) {
	s := newService(t)
	entry := func(mark uint32) conntrack.Entry {
		e := tcp(0, "192.168.1.2:2000", "8.8.8.8:443")
		e.Mark, e.Answered = mark, true
		e.Reply = conntrack.Tuple{Source: e.Original.Destination, Destination: netip.MustParseAddr("198.51.100.1")}
		return e
	}
	opening := entry(0)
	opening.Answered = false
	expect := func(what string, want ...uint32) {
		t.Helper()
		var got []uint32
		for _, e := range s.kernel.entries {
			got = append(got, e.Mark)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: marks %#x, want %#x", what, got, want)
		}
	}
	s.kernel.entries = []conntrack.Entry{entry(0x10000), opening}
	s.must(firstConfig)
	expect("first start", 0x1010000, 0)
	s.expectOrder(0, "conntrack marks (ipv4)", "mangle restore (ipv4)", "conntrack marks (ipv4)")
	s.kernel.entries = []conntrack.Entry{entry(0)}
	s.must(secondConfig)
	expect("a change", 0)
	s.must(strings.Replace(secondConfig, "config globals 'globals'", "config globals 'globals'\n\toption mark_mask '0xff00'", 1))
	expect("another mask", 0x100)
	s.kernel.entries = []conntrack.Entry{entry(0x10100)}
	s.must(secondConfig)
	expect("back", 0x1010000)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	expect("stopped", 0x1010000)
}
