package health

import (
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
)

// outage is a time in which probes are lost.
type outage struct {
	where    string // a member, a family, a path as pathName has it, "" for all
	from, to time.Duration
}

func (o outage) hits(key Key) bool {
	return o.where == "" || o.where == key.Member || o.where == key.Family.String() || o.where == pathName(key)
}

// outages is a network with these, and 20 ms otherwise.
func outages(list ...outage) func(probe) time.Duration {
	return func(p probe) time.Duration {
		for _, o := range list {
			if o.hits(p.key) && p.sent >= o.from && p.sent < o.to {
				return lost
			}
		}
		return 20 * ms
	}
}

// Rules of 500 ms, 800 ms, 4 down, 6 up. Rounds are sent at multiples of 500
// ms, so that an outage from 10 s on is found at 10 + 3 * 0.5 + 0.8 = 12.3 s.
func TestAllAtOnce(t *testing.T) {
	wan1, wan2, wan3 := Key{Member: "wan1"}, Key{Member: "wan2"}, Key{Member: "wan3"}
	wan1v6, wan2v6 := Key{Member: "wan1", Family: family.IPv6}, Key{Member: "wan2", Family: family.IPv6}
	const in4, in6, both = "ipv4", "ipv6", "ipv4 ipv6"
	for _, c := range []struct {
		name    string
		paths   []Key
		offline []Key // from the start
		outages []outage
		silent  string // families, at 20 s
		want    []string
	}{
		{"one of two", []Key{wan1, wan2}, nil, []outage{{"wan1", 10 * time.Second, never}},
			"", []string{"wan1 down 12.3s"}},
		{"the only one", []Key{wan1}, nil, []outage{{"", 10 * time.Second, never}},
			"", []string{"wan1 down 12.3s"}},
		{"both families of the only one", []Key{wan1, wan1v6}, nil, []outage{{"", 10 * time.Second, never}},
			"", []string{"wan1 down 12.3s", "wan1 ipv6 down 12.3s"}},
		{"the only one that is online", []Key{wan1, wan2}, []Key{wan2}, []outage{{"wan2", 0, never}, {"wan1", 10 * time.Second, never}},
			"", []string{"wan1 down 12.3s"}},
		{"all", []Key{wan1, wan2, wan3}, nil, []outage{{"", 10 * time.Second, never}},
			in4, nil},
		{"all in both families", []Key{wan1, wan1v6, wan2, wan2v6}, nil, []outage{{"", 10 * time.Second, never}},
			both, nil},
		{"all, one of them alone in its family", []Key{wan1, wan1v6, wan2}, nil, []outage{{"", 10 * time.Second, never}},
			in4, []string{"wan1 ipv6 down 12.3s"}},
		{"all of one family", []Key{wan1, wan1v6, wan2, wan2v6}, nil, []outage{{"ipv4", 10 * time.Second, never}},
			in4, nil},
		{"all of the other family", []Key{wan1, wan1v6, wan2, wan2v6}, nil, []outage{{"ipv6", 10 * time.Second, never}},
			in6, nil},
		{"all of one family, and one alone in the other answers", []Key{wan1, wan1v6, wan2}, nil, []outage{{"ipv4", 10 * time.Second, never}},
			in4, nil},
		{"one, in one of two families", []Key{wan1, wan1v6, wan2, wan2v6}, nil, []outage{{"wan1 ipv6", 10 * time.Second, never}},
			"", []string{"wan1 ipv6 down 12.3s"}},
		{"one, in a family in which it is alone", []Key{wan1, wan1v6, wan2}, nil, []outage{{"wan1 ipv6", 10 * time.Second, never}},
			"", []string{"wan1 ipv6 down 12.3s"}},
		{"one of the families of the only one", []Key{wan1, wan1v6}, nil, []outage{{"ipv4", 10 * time.Second, never}},
			"", []string{"wan1 down 12.3s"}},
		{"each alone in its family", []Key{wan1, wan2v6}, nil, []outage{{"", 10 * time.Second, never}},
			"", []string{"wan1 down 12.3s", "wan2 ipv6 down 12.3s"}},
		{"all of one family, and one of the other", []Key{wan1, wan1v6, wan2, wan2v6}, nil,
			[]outage{{"ipv4", 10 * time.Second, never}, {"wan2", 10 * time.Second, never}},
			in4, []string{"wan2 ipv6 down 12.3s"}},
		// One family answers again from 16 s on; the other has its misses for
		// itself.
		{"all in both families, one of these for a while", []Key{wan1, wan1v6, wan2, wan2v6}, nil,
			[]outage{{"ipv4", 10 * time.Second, 16 * time.Second}, {"ipv6", 10 * time.Second, never}},
			in6, nil},
		{"all in both families, and one path stays away", []Key{wan1, wan1v6, wan2, wan2v6}, nil,
			[]outage{{"ipv4", 10 * time.Second, 16 * time.Second}, {"ipv6", 10 * time.Second, never}, {"wan1", 16 * time.Second, never}},
			in6, []string{"wan1 down 18.8s"}},
		{"all since the start", []Key{wan1, wan2}, nil, []outage{{"", 0, never}},
			in4, nil},
		{"all that are online", []Key{wan1, wan2, wan3}, []Key{wan3}, []outage{{"wan3", 0, never}, {"", 10 * time.Second, never}},
			in4, nil},
		{"all, within a moment", []Key{wan1, wan2, wan3}, nil,
			[]outage{{"wan1", 10 * time.Second, never}, {"wan2", 10500 * ms, never}, {"wan3", 11 * time.Second, never}},
			in4, nil},
		// wan2 was heard 1.5 s after wan1, and is alone from then on.
		{"one after the other", []Key{wan1, wan2}, nil,
			[]outage{{"wan1", 10 * time.Second, never}, {"wan2", 11500 * ms, never}},
			"", []string{"wan1 down 12.3s", "wan2 down 13.8s"}},
		{"one in one family only", []Key{wan1, wan1v6, wan2}, nil, []outage{{"wan2", 10 * time.Second, never}},
			"", []string{"wan2 down 12.3s"}},
		{"all for a while", []Key{wan1, wan2, wan3}, nil, []outage{{"", 10 * time.Second, 18 * time.Second}},
			"", nil},
		// wan2 answers at 16.02 s. The next four rounds of wan1 are those of
		// 16.5 to 18 s.
		{"all, and one stays away", []Key{wan1, wan2}, nil, []outage{{"", 10 * time.Second, 16 * time.Second}, {"wan1", 16 * time.Second, never}},
			"", []string{"wan1 down 18.8s"}},
		{"all, and one is a moment late", []Key{wan1, wan2}, nil, []outage{{"", 10 * time.Second, 16 * time.Second}, {"wan1", 16 * time.Second, 17 * time.Second}},
			"", nil},
		{"all, one flickers, all again", []Key{wan1, wan2}, nil, []outage{{"", 10 * time.Second, 13 * time.Second}, {"wan1", 13 * time.Second, never}, {"wan2", 13500 * ms, never}},
			in4, nil},
		// wan3 comes back at 16 + 5 * 0.5 + 0.02 s and is alive, so that the
		// others get four misses more.
		{"one that was offline comes back alone", []Key{wan1, wan2, wan3}, []Key{wan3}, []outage{{"wan3", 0, 16 * time.Second}, {"wan1", 10 * time.Second, never}, {"wan2", 10 * time.Second, never}},
			"", []string{"wan3 up 18.52s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(outages(c.outages...))
			for _, key := range c.paths {
				s.set(key, defaults("1.1.1.1", "8.8.8.8"), true)
			}
			for _, key := range c.offline {
				s.paths.Remove(key)
				s.set(key, defaults("1.1.1.1", "8.8.8.8"), false)
			}
			s.until(20 * time.Second)
			s.want(t, c.want...)
			if got := silentIn(s.paths); got != c.silent {
				t.Errorf("silent in %q, want %q", got, c.silent)
			}
		})
	}
}

// A path without targets tells nothing: it neither answers for those that fell
// silent together, nor is it one of two that did.
func TestPathsWithoutTargets(t *testing.T) {
	wan1, wan2, none := Key{Member: "wan1"}, Key{Member: "wan2"}, Key{Member: "none"}
	for _, c := range []struct {
		probed []Key
		silent string
		want   []string
	}{
		{[]Key{wan1}, "", []string{"wan1 down 12.3s"}},
		{[]Key{wan1, wan2}, "ipv4", nil},
	} {
		s := newSim(outages(outage{"", 10 * time.Second, never}))
		s.set(none, defaults(), true)
		for _, key := range c.probed {
			s.set(key, defaults("1.1.1.1"), true)
		}
		s.until(20 * time.Second)
		s.want(t, c.want...)
		if got := silentIn(s.paths); got != c.silent {
			t.Errorf("silent in %q, want %q", got, c.silent)
		}
	}
}

func isSilent(ps *Paths, f family.Family) bool { return ps.Silent()>>f&1 == 1 }

// silentIn are the families that are silent.
func silentIn(ps *Paths) string {
	var names []string
	for _, f := range family.All {
		if isSilent(ps, f) {
			names = append(names, f.String())
		}
	}
	return strings.Join(names, " ")
}

// After wan3 came back, the silent ones are given four misses, then they go.
func TestSilentLinesAreJudgedByRecovered(t *testing.T) {
	s := newSim(outages(outage{"wan3", 0, 16 * time.Second}, outage{"wan1", 10 * time.Second, never}, outage{"wan2", 10 * time.Second, never}))
	s.set(Key{Member: "wan1"}, defaults("1.1.1.1"), true)
	s.set(Key{Member: "wan2"}, defaults("1.1.1.1"), true)
	s.set(Key{Member: "wan3"}, defaults("1.1.1.1"), false)
	s.until(30 * time.Second)
	s.want(t, "wan3 up 18.52s", "wan1 down 21.3s", "wan2 down 21.3s")
}

// A member that joins a silent upstream shows nothing: it was never heard.
func TestSilenceOutlastsNewLine(t *testing.T) {
	s := newSim(outages(outage{"", 10 * time.Second, never}))
	s.set(Key{Member: "wan1"}, defaults("1.1.1.1"), true)
	s.set(Key{Member: "wan2"}, defaults("1.1.1.1"), true)
	s.until(15 * time.Second)
	s.set(Key{Member: "wan3"}, defaults("1.1.1.1"), true)
	s.until(30 * time.Second)
	s.want(t)
	if !isSilent(s.paths, family.IPv4) {
		t.Error("not silent")
	}
}

// When the others are taken away, the last one is judged for itself.
func TestSilenceEndsWithSecondMember(t *testing.T) {
	s := newSim(outages(outage{"", 10 * time.Second, never}))
	s.set(Key{Member: "wan1"}, defaults("1.1.1.1"), true)
	s.set(Key{Member: "wan2"}, defaults("1.1.1.1"), true)
	s.until(15 * time.Second)
	s.paths.Remove(Key{Member: "wan2"})
	s.until(30 * time.Second)
	s.want(t, "wan1 down 17.8s") // rounds of 15.5 to 17 s
	if isSilent(s.paths, family.IPv4) {
		t.Error("still silent")
	}
}

// Without paths nobody is silent.
func TestSilenceEndsWithLines(t *testing.T) {
	s := newSim(outages(outage{"", 0, never}))
	s.set(Key{Member: "wan1"}, defaults("1.1.1.1"), true)
	s.set(Key{Member: "wan2"}, defaults("1.1.1.1"), true)
	s.until(10 * time.Second)
	if !isSilent(s.paths, family.IPv4) {
		t.Fatal("not silent")
	}
	for _, key := range s.paths.Keys() {
		s.paths.Remove(key)
	}
	s.until(11 * time.Second)
	if silent := isSilent(s.paths, family.IPv4); silent || !s.paths.Wake().IsZero() {
		t.Errorf("silent: %t, wake at %s", silent, s.paths.Wake())
	}
}

// The other path is probed once a minute. It is asked as soon as the first one
// is silent, so that the verdict does not wait for a minute.
func TestSlowLinesAreAsked(t *testing.T) {
	slow := defaults("1.1.1.1")
	slow.Interval = time.Minute
	for _, c := range []struct {
		name   string
		outage outage
		silent bool
		want   []string
	}{
		{"it answers", outage{"wan1", 10 * time.Second, never}, false, []string{"wan1 down 12.32s"}},
		{"it does not", outage{"", 10 * time.Second, never}, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(outages(c.outage))
			s.set(Key{Member: "wan1"}, defaults("1.1.1.1"), true)
			s.set(Key{Member: "wan2"}, slow, true)
			s.until(50 * time.Second)
			s.want(t, c.want...)
			if silent := isSilent(s.paths, family.IPv4); silent != c.silent {
				t.Errorf("silent: %t, want %t", silent, c.silent)
			}
		})
	}
}

// A slow path of the other family has nothing to say, and is left alone.
func TestSlowLinesOfOtherFamilyAreNotAsked(t *testing.T) {
	slow := defaults("1.1.1.1")
	slow.Interval = time.Minute
	s := newSim(outages(outage{"ipv4", 10 * time.Second, never}))
	s.keepSent = true
	s.set(Key{Member: "wan1"}, defaults("1.1.1.1"), true)
	s.set(Key{Member: "wan2"}, defaults("1.1.1.1"), true)
	wan2v6 := Key{Member: "wan2", Family: family.IPv6}
	s.set(wan2v6, slow, true)
	s.until(50 * time.Second)
	s.want(t)
	for _, p := range s.sent {
		if p.key == wan2v6 && p.sent > 0 {
			t.Errorf("asked at %s", p.sent)
		}
	}
}

// A path that fills up its queue until answers take 3 s is alive all the same:
// it stays online, and shows that the fault of the other is its own.
func TestSlowAnswersAreAlive(t *testing.T) {
	s := newSim(func(p probe) time.Duration {
		if p.key.Member == "wan2" {
			return min(3*time.Second, 20*ms+p.sent/3)
		}
		if p.sent >= 20*time.Second {
			return lost
		}
		return 20 * ms
	})
	s.set(Key{Member: "wan1"}, defaults("1.1.1.1"), true)
	s.set(Key{Member: "wan2"}, defaults("1.1.1.1"), true)
	s.until(time.Minute)
	s.want(t, "wan1 down 22.3s")
}

// Such a path also comes back. The four rounds that are missed at any time
// count as lost until their answers come: less than 10 % of 41.
func TestSlowLineComesBack(t *testing.T) {
	s := newSim(func(p probe) time.Duration {
		if p.key.Member == "wan2" {
			return 20 * ms
		}
		return 3 * time.Second
	})
	s.set(Key{Member: "wan1"}, defaults("1.1.1.1"), false)
	s.set(Key{Member: "wan2"}, defaults("1.1.1.1"), true)
	s.until(time.Minute)
	s.want(t, "wan1 up 23.5s")
}
