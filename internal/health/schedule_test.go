package health

import (
	"reflect"
	"testing"
	"time"

	"loadbalance/internal/family"
)

func TestDue(t *testing.T) {
	ps := NewPaths()
	a, b, slow, none := Key{Member: "a"}, Key{Member: "b"}, Key{Member: "slow"}, Key{Member: "none"}
	long := quick("1.1.1.1")
	long.Interval = 200 * ms
	ps.Set(b, quick("1.1.1.1"), true, epoch)
	ps.Set(slow, long, true, epoch)
	ps.Set(none, quick(), true, epoch)
	for _, c := range []struct {
		at   time.Duration
		want []Key
		wake time.Duration
	}{
		{0, []Key{b, slow}, 100 * ms},
		{30 * ms, []Key{a}, 100 * ms}, // added at 30 ms
		{30 * ms, nil, 100 * ms},
		{99 * ms, nil, 100 * ms},
		{100 * ms, []Key{a, b}, 200 * ms},
		{201 * ms, []Key{a, b, slow}, 300 * ms},
		// Late by 3.4 intervals of a and b, and 1.7 of slow: one round each,
		// and on with the next tick.
		{640 * ms, []Key{a, b, slow}, 700 * ms},
		{700 * ms, []Key{a, b}, 800 * ms},
		{760 * ms, nil, 800 * ms},
		// The tick at 900 ms would be too close.
		{885 * ms, []Key{a, b, slow}, 1000 * ms},
		{1000 * ms, []Key{a, b, slow}, 1100 * ms},
	} {
		now := epoch.Add(c.at)
		if c.at == 30*ms {
			ps.Set(a, quick("1.1.1.1"), true, now)
		}
		if got := ps.Due(now); len(got)+len(c.want) > 0 && !reflect.DeepEqual(got, c.want) {
			t.Errorf("at %s: due %v, want %v", c.at, got, c.want)
		}
		ps.Check(now)
		if got := ps.Wake().Sub(epoch); got != c.wake {
			t.Errorf("at %s: wake at %s, want %s", c.at, got, c.wake)
		}
	}
}

func TestWake(t *testing.T) {
	ps, key := NewPaths(), Key{Member: "wan1"}
	if !ps.Wake().IsZero() {
		t.Error("no paths: not the zero time")
	}
	wake := func(name string, want time.Duration) {
		t.Helper()
		if got := ps.Wake().Sub(epoch); got != want {
			t.Errorf("%s: wake at %s, want %s", name, got, want)
		}
	}
	rules := quick("1.1.1.1", "8.8.8.8")
	rules.Timeout = 90 * ms
	ps.Set(key, rules, false, epoch)
	ps.Check(epoch)
	wake("the first round is due", 0)
	ps.Due(epoch)
	round := ps.Sent(key, epoch)
	wake("the round's time limit", 90*ms)
	ps.Answered(key, round, 0, epoch.Add(20*ms))
	wake("a hit of an offline path", 20*ms)
	ps.Check(epoch.Add(20 * ms))
	wake("the next round, since this one is answered", 100*ms)
	ps.Set(key, quick(), false, epoch.Add(30*ms))
	ps.Check(epoch.Add(30 * ms))
	if !ps.Wake().IsZero() {
		t.Error("no targets: not the zero time")
	}
}

// Sixty paths of one interval and answers in 20 ms: twice a second for the
// rounds, and twice for the answers, which come on their own.
func TestWakesUpRarely(t *testing.T) {
	s := newSim(func(probe) time.Duration { return 20 * ms })
	for i := range 60 {
		s.now = time.Duration(i) * 7 * ms
		s.set(Key{Member: string(rune('A' + i))}, defaults("1.1.1.1", "8.8.8.8"), true)
	}
	s.until(time.Second)
	before := s.wakeups
	s.until(11 * time.Second)
	if got := s.wakeups - before; got > 41 {
		t.Errorf("woke up %d times in 10 s, want 40", got)
	}
}

func TestKeys(t *testing.T) {
	ps := NewPaths()
	want := []Key{{Member: "a"}, {Member: "a", Family: family.IPv6}, {Member: "b"}, {Member: "c"}}
	for _, i := range []int{3, 1, 0, 2} {
		ps.Set(want[i], quick("1.1.1.1"), i != 2, epoch)
	}
	if got := ps.Keys(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if online, known := ps.Online(want[2]); online || !known {
		t.Errorf("b: online %t, known %t", online, known)
	}
	ps.Remove(want[2])
	ps.Remove(want[2])
	if _, known := ps.Online(want[2]); known || len(ps.Keys()) != 3 {
		t.Errorf("b is not removed: %v", ps.Keys())
	}
	if online, known := ps.Online(want[0]); !online || !known {
		t.Errorf("a: online %t, known %t", online, known)
	}
	unknown := Key{Member: "x"}
	if got := ps.Sent(unknown, epoch); got != 0 {
		t.Errorf("round %d of an unknown path", got)
	}
	if got := ps.Report(unknown, epoch); !reflect.DeepEqual(got, Report{Key: unknown}) {
		t.Errorf("report of an unknown path: %+v", got)
	}
}

// The process is stopped after it sent a round that is answered meanwhile, with
// two misses behind it.
func TestStalled(t *testing.T) {
	for _, c := range []struct {
		name   string
		late   time.Duration // after the time limit of the third round
		answer bool
		want   []time.Duration // after the time limit: when Check passes a verdict
	}{
		{"in time", 0, false, []time.Duration{0}},
		{"hardly late", 50 * ms, false, []time.Duration{50 * ms}},
		{"late, nothing there", time.Hour, false, []time.Duration{time.Hour + 50*ms}},
		{"late, answers lay there", time.Hour, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			ps, key := NewPaths(), Key{Member: "wan1"}
			ps.Set(key, quick("1.1.1.1"), true, epoch)
			var round uint32
			for i := range 3 {
				now := epoch.Add(time.Duration(i) * 100 * ms)
				ps.Due(now)
				round = ps.Sent(key, now)
				ps.Check(now)
			}
			now := epoch.Add(300 * ms)
			ps.Check(now)
			limit := epoch.Add(400 * ms)
			for ps.Wake().Before(limit) {
				ps.Due(now) // its rounds are lost before they are sent
			}
			var verdicts []time.Duration
			check := func(late time.Duration) {
				for range ps.Check(limit.Add(late)) {
					verdicts = append(verdicts, late)
				}
				ps.Wake()
			}
			check(c.late)
			if c.answer {
				ps.Answered(key, round, 0, epoch.Add(220*ms))
			}
			check(c.late + 49*ms)
			check(c.late + 50*ms)
			check(c.late + 10*time.Second) // late once more
			if !reflect.DeepEqual(verdicts, c.want) {
				t.Errorf("verdicts %v after the time limit, want %v", verdicts, c.want)
			}
		})
	}
}

// A process that is stopped again, after it judged in time meanwhile, is given
// time again.
func TestStalledTwice(t *testing.T) {
	ps, key := NewPaths(), Key{Member: "wan1"}
	ps.Set(key, quick("1.1.1.1"), true, epoch)
	for _, start := range []time.Duration{0, 2 * time.Hour} {
		var round uint32
		for i := range 4 {
			now := epoch.Add(start + time.Duration(i)*100*ms)
			ps.Due(now)
			if i < 3 {
				round = ps.Sent(key, now)
			}
			ps.Check(now)
			ps.Wake()
		}
		// The third round is over 400 ms after the start; its answer lies there
		// when the process runs again.
		late := start + time.Hour
		passed := ps.Check(epoch.Add(late))
		ps.Answered(key, round, 0, epoch.Add(start+220*ms))
		ps.Wake()
		passed = append(passed, ps.Check(epoch.Add(late+graceTime))...)
		ps.Wake()
		passed = append(passed, ps.Check(epoch.Add(late+graceTime+ms))...)
		if len(passed) > 0 {
			t.Errorf("stopped at %s: %+v", start, passed)
		}
		ps.Wake()
	}
}

// By how much Check may be late goes by the shortest interval at present.
func TestTolerance(t *testing.T) {
	slow := quick("1.1.1.1")
	slow.Interval = time.Minute
	for _, c := range []struct {
		rules []Rules
		want  time.Duration
	}{
		{[]Rules{slow}, 30 * time.Second}, {[]Rules{slow, quick("1.1.1.1")}, 50 * ms}, {[]Rules{quick("1.1.1.1"), slow}, 50 * ms},
	} {
		ps := NewPaths()
		for i, rules := range c.rules {
			ps.Set(Key{Member: string(rune('a' + i))}, rules, true, epoch)
		}
		if got := ps.tolerance(); got != c.want {
			t.Errorf("%d paths: %s, want %s", len(c.rules), got, c.want)
		}
	}
}

// A process that is always late passes its verdicts all the same.
func TestAlwaysLate(t *testing.T) {
	ps, key := NewPaths(), Key{Member: "wan1"}
	ps.Set(key, quick("1.1.1.1"), true, epoch)
	var passed []Transition
	now := epoch
	for range 20 {
		if len(ps.Due(now)) > 0 {
			ps.Sent(key, now)
		}
		passed = append(passed, ps.Check(now)...)
		now = ps.Wake().Add(80 * ms)
	}
	if len(passed) != 1 || passed[0].Online {
		t.Errorf("verdicts: %+v", passed)
	}
}
