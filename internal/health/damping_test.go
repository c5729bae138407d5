package health

import (
	"testing"
	"time"

	"loadbalance/internal/family"
)

// flapping is a network in which wan1 works for up and then not for down.
func flapping(up, down, end time.Duration) func(probe) time.Duration {
	return func(p probe) time.Duration {
		if p.key.Member == "wan1" && p.sent < end && p.sent%(up+down) >= up {
			return lost
		}
		return 20 * ms
	}
}

func TestFlappingLine(t *testing.T) {
	for _, c := range []struct {
		name     string
		up, down time.Duration
		rules    Rules
		most     int
	}{
		{"1 s up, 1 s down, quick", time.Second, time.Second, quick("1.1.1.1"), 8},
		{"5 s up, 5 s down, quick", 5 * time.Second, 5 * time.Second, quick("1.1.1.1"), 60},
		{"1 s up, 1 s down, defaults", time.Second, time.Second, defaults("1.1.1.1"), 2},
		{"4 s up, 3 s down, defaults", 4 * time.Second, 3 * time.Second, defaults("1.1.1.1"), 6},
		{"7 s up, 7 s down, quick", 7 * time.Second, 7 * time.Second, quick("1.1.1.1"), 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			const end = 5 * time.Minute
			s := newSim(flapping(c.up, c.down, end))
			s.set(Key{Member: "wan1"}, c.rules, true)
			s.set(Key{Member: "wan2"}, c.rules, true)
			s.until(end)
			t.Logf("%d transitions: %v", len(s.passed), s.verdicts())
			if len(s.passed) > c.most || len(s.passed) == 0 {
				t.Errorf("%d transitions, want 1 to %d", len(s.passed), c.most)
			}
			s.until(end + 10*time.Minute)
			if online, _ := s.paths.Online(Key{Member: "wan1"}); !online {
				t.Error("did not come back")
			}
		})
	}
}

func TestDamping(t *testing.T) {
	const base = 3 * time.Second
	at := func(seconds ...int) []time.Duration {
		var out []time.Duration
		for _, s := range seconds {
			out = append(out, time.Duration(s)*time.Second)
		}
		return out
	}
	for _, c := range []struct {
		name  string
		flaps []time.Duration
		want  []time.Duration // hold after each
	}{
		{"seldom", at(0, 10, 20, 30, 40), at(0, 0, 0, 0, 0)},
		{"three in 15 s", at(0, 7, 15), at(0, 0, 6)},
		{"three in 16 s", at(0, 7, 16), at(0, 0, 0)},
		{"the last three count", at(0, 20, 21, 22), at(0, 0, 0, 6)},
		{"each further one doubles, up to 5 minutes", at(0, 1, 2, 60, 120, 180, 240, 300, 360, 420, 480), at(0, 0, 6, 12, 24, 48, 96, 192, 300, 300, 300)},
		{"forgotten", at(0, 1, 2, 302), at(0, 0, 6, 0)},
		{"not forgotten", at(0, 1, 2, 301), at(0, 0, 6, 12)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d damping
			for i, now := range c.flaps {
				d.flap(now, base)
				if d.hold != c.want[i] {
					t.Errorf("flap %d: hold %s, want %s", i, d.hold, c.want[i])
				}
				d.onlineAt = now // as soon as it can
			}
			if d.flaps != len(c.flaps) {
				t.Errorf("%d flaps, want %d", d.flaps, len(c.flaps))
			}
		})
	}
}

// The third outage within 15 s makes the path wait for 0.6 s instead of 0.3 s.
// A single miss meanwhile does not start that anew, a silence does.
func TestHold(t *testing.T) {
	const threeFlaps = "+---++++---++++---"
	for _, c := range []struct {
		name, trace string
		want        string
	}{
		{"steady", threeFlaps + "-+", "wan1 up 2.52s"},
		{"a miss", threeFlaps + "-+-+", "wan1 up 2.52s"},
		{"a silence", threeFlaps + "-+++----+", "wan1 up 3.22s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(trace(map[string]string{"wan1": c.trace, "wan2": "+"}))
			rules := quick("1.1.1.1")
			rules.Timeout = 100 * ms // so that a gap of three is one
			s.set(Key{Member: "wan1"}, rules, true)
			s.set(Key{Member: "wan2"}, rules, true)
			s.until(2400 * ms)
			if r := s.paths.Report(Key{Member: "wan1"}, epoch.Add(s.now)); r.Hold != 600*ms || r.Flaps != 3 {
				t.Errorf("held for %s after %d flaps, want 600ms after 3", r.Hold, r.Flaps)
			}
			s.until(5 * time.Second)
			verdicts := s.verdicts()
			if got := verdicts[len(verdicts)-1]; got != c.want || len(verdicts) != 6 {
				t.Errorf("got %v, want %s last", verdicts, c.want)
			}
		})
	}
}

// A path that is held back, but answers, is better than none. The rounds of 1.9
// to 2.1 s bring it back; what it did does not count as forgiven.
func TestHeldLineIsBetterThanNone(t *testing.T) {
	const threeFlaps = "+---++++---++++---"
	wan2, wan1v6 := Key{Member: "wan2"}, Key{Member: "wan1", Family: family.IPv6}
	wan2v6 := Key{Member: "wan2", Family: family.IPv6}
	for _, c := range []struct {
		name    string
		others  []Key
		wan2    string // its trace
		want    string
		because string
	}{
		{"another works", []Key{wan2}, "+", "wan1 up 2.52s", "7 answers in a row, no outage for 0.6 s after flapping"},
		{"none", nil, "", "wan1 up 2.12s", "3 answers in a row"},
		{"another is dead", []Key{wan2}, "-", "wan1 up 2.12s", "3 answers in a row"},
		// Its rounds of 2 to 2.2 s are lost.
		{"another dies meanwhile", []Key{wan2}, "++++++++++++++++++++-", "wan1 up 2.3s", "4 answers in a row"},
		{"another works in the other family only", []Key{wan2v6}, "+", "wan1 up 2.12s", "3 answers in a row"},
		{"its other family is alone too", []Key{wan1v6}, "", "wan1 up 2.12s", "3 answers in a row"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(trace(map[string]string{"wan1": threeFlaps + "-+", "wan2": c.wan2}))
			rules := quick("1.1.1.1")
			rules.Timeout = 100 * ms
			wan1 := Key{Member: "wan1"}
			for _, key := range append(c.others, wan1) {
				s.set(key, rules, key != wan2 || c.wan2 != "-")
			}
			s.until(5 * time.Second)
			var last, because string
			for i, p := range s.passed {
				if p.Key == wan1 {
					last, because = s.verdicts()[i], p.Reason
				}
			}
			if last != c.want || because != c.because {
				t.Errorf("got %s (%s), want %s (%s)", last, because, c.want, c.because)
			}
			if hold := s.paths.known[wan1].hold; hold != 600*ms {
				t.Errorf("hold %s, want 600ms", hold)
			}
		})
	}
}

// Of two paths that are held back and answer at the same moment, one is enough.
func TestOneHeldLineIsEnough(t *testing.T) {
	s := newSim(trace(map[string]string{"wan1": "+", "wan2": "+"}))
	for _, member := range []string{"wan1", "wan2"} {
		key := Key{Member: member}
		s.set(key, quick("1.1.1.1"), false)
		s.paths.known[key].hold = 600 * ms
	}
	s.until(5 * time.Second)
	s.want(t, "wan1 up 220ms", "wan2 up 600ms")
}

// A path that was calm for long is damped like any other once it flaps: it is
// the time since it last came back that counts.
func TestFlappingAfterCalm(t *testing.T) {
	const calm = 10 * time.Minute
	s := newSim(func(p probe) time.Duration {
		if p.key.Member == "wan1" && p.sent >= calm && p.sent%(4*time.Second) >= 2*time.Second {
			return lost
		}
		return 20 * ms
	})
	s.set(Key{Member: "wan1"}, quick("1.1.1.1"), true)
	s.set(Key{Member: "wan2"}, quick("1.1.1.1"), true)
	s.until(calm + time.Minute)
	if r := s.paths.Report(Key{Member: "wan1"}, epoch.Add(s.now)); r.Flaps < 3 || r.Flaps > 6 {
		t.Errorf("%d flaps in a minute, want 3 to 6", r.Flaps)
	}
}

// No hold is longer than 5 minutes, the first one neither.
func TestLongestHold(t *testing.T) {
	var d damping
	for i := range flapsToDamp {
		d.flap(time.Duration(i)*time.Second, 4*time.Minute)
	}
	if d.hold != maxHold {
		t.Errorf("hold %s, want %s", d.hold, maxHold)
	}
}

// A path whose link goes is not probed meanwhile. That does not make it calm.
func TestRemovedLineKeepsItsFlaps(t *testing.T) {
	s := newSim(flapping(time.Second, time.Second, time.Minute))
	wan1 := Key{Member: "wan1"}
	s.set(wan1, quick("1.1.1.1"), true)
	s.set(Key{Member: "wan2"}, quick("1.1.1.1"), true)
	s.until(10 * time.Second)
	before := s.paths.Report(wan1, epoch.Add(s.now))
	if before.Flaps < 3 || before.Hold == 0 {
		t.Fatalf("%d flaps, hold %s", before.Flaps, before.Hold)
	}
	s.paths.Remove(wan1)
	s.set(wan1, quick("1.1.1.1"), false)
	if after := s.paths.Report(wan1, epoch.Add(s.now)); after.Flaps != before.Flaps || after.Hold != before.Hold {
		t.Errorf("%d flaps and hold %s became %d and %s", before.Flaps, before.Hold, after.Flaps, after.Hold)
	}
	// Nor does the time without a link: it must answer for the whole hold.
	s.paths.Remove(wan1)
	s.now = time.Hour
	s.set(wan1, quick("1.1.1.1"), false)
	s.until(s.now + before.Hold - ms)
	if online, _ := s.paths.Online(wan1); online {
		t.Error("online before it answered for the hold")
	}
	s.until(s.now + 200*ms)
	if online, _ := s.paths.Online(wan1); !online {
		t.Error("offline after it answered for the hold")
	}
}
