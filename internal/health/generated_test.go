package health

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// A thousand hours in which every tenth probe is lost on its way or back, with
// two targets: ten times a hundred, for both processors. A path that is alone
// is judged the strictest. With a trace of its own instead of sim, to be quick.
func TestThousandLossyHours(t *testing.T) {
	const hours = 100
	for seed := range uint64(10) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 10))
			ps, key := NewPaths(), Key{Member: "wan1"}
			rules := defaults("1.1.1.1", "8.8.8.8")
			ps.Set(key, rules, true, epoch)
			missed := 0
			for now := time.Duration(0); now < hours*time.Hour; now += rules.Interval {
				at := epoch.Add(now)
				if len(ps.Due(at)) != 1 {
					t.Fatalf("no round at %s", now)
				}
				round := ps.Sent(key, at)
				answers := random.Uint64()
				lost := 0
				for target := range 2 {
					if answers>>(32*target)&(1<<32-1) < 1<<32/10 {
						lost++
						continue
					}
					ps.Answered(key, round, target, at.Add(20*ms))
				}
				if lost == 2 {
					missed++
				}
				// Once after the answers, and once at the time limit of the
				// round before.
				for _, later := range []time.Duration{20 * ms, 300 * ms} {
					if passed := ps.Check(at.Add(later)); len(passed) > 0 {
						t.Fatalf("after %s: %+v", now, passed)
					}
				}
			}
			if rounds := int(hours * time.Hour / rules.Interval); missed < rounds/125 || missed > rounds/80 {
				t.Errorf("%d of %d rounds missed: the trace is not what it should be", missed, rounds)
			}
		})
	}
}

// A silence is found within 2.8 s, whenever in the rhythm of the rounds it
// begins. With steps of 1 ms, the soonest is found after 3 intervals and the
// time limit, where a round is sent that moment, and the latest after 4
// intervals less 1 ms.
func TestDetectionTime(t *testing.T) {
	for _, c := range []struct {
		name              string
		rules             Rules
		shortest, longest time.Duration
	}{
		{"defaults", defaults("1.1.1.1", "8.8.8.8"), 2300 * ms, 2799 * ms},
		{"fastest", func() Rules {
			r := defaults("1.1.1.1", "8.8.8.8")
			r.Interval, r.Timeout, r.Down = 50*ms, 200*ms, 3
			return r
		}(), 300 * ms, 349 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			shortest, longest := time.Hour, time.Duration(0)
			for phase := time.Duration(0); phase < c.rules.Interval; phase += ms {
				start := 10*time.Second + phase
				s := newSim(outages(outage{"wan1", start, never}))
				s.set(Key{Member: "wan1"}, c.rules, true)
				s.set(Key{Member: "wan2"}, c.rules, true)
				s.until(start + 5*time.Second)
				if len(s.passed) != 1 || s.passed[0].Member != "wan1" {
					t.Fatalf("phase %s: %v", phase, s.verdicts())
				}
				took := s.passed[0].At.Sub(epoch) - start
				shortest, longest = min(shortest, took), max(longest, took)
			}
			if shortest != c.shortest || longest != c.longest {
				t.Errorf("found after %s to %s, want %s to %s", shortest, longest, c.shortest, c.longest)
			}
		})
	}
}

// A stall of less than four intervals is never fatal: the fifth round is
// answered before the fourth counts as missed.
func TestStalls(t *testing.T) {
	for stall := 500 * ms; stall < 2000*ms; stall += 50 * ms {
		for phase := time.Duration(0); phase < 500*ms; phase += 5 * ms {
			start := 10*time.Second + phase
			s := newSim(outages(outage{"wan1", start, start + stall}))
			s.set(Key{Member: "wan1"}, defaults("1.1.1.1", "8.8.8.8"), true)
			s.set(Key{Member: "wan2"}, defaults("1.1.1.1", "8.8.8.8"), true)
			s.until(start + 5*time.Second)
			if len(s.passed) > 0 {
				t.Fatalf("a stall of %s, phase %s: %v", stall, phase, s.verdicts())
			}
		}
	}
}

// Checked as often as a monitor would, sixty paths must not keep a router busy:
// no allocation.
func BenchmarkRounds(b *testing.B) {
	ps := NewPaths()
	for i := range 60 {
		ps.Set(Key{Member: "wan" + strconv.Itoa(i)}, defaults("1.1.1.1", "8.8.8.8"), true, epoch)
	}
	b.ReportAllocs()
	now := epoch
	for range b.N {
		for _, key := range ps.Due(now) {
			round := ps.Sent(key, now)
			ps.Answered(key, round, 0, now.Add(20*ms))
			ps.Answered(key, round, 1, now.Add(30*ms))
		}
		ps.Check(now.Add(30 * ms))
		now = ps.Wake()
	}
}

func BenchmarkIdleCheck(b *testing.B) {
	ps := NewPaths()
	for i := range 60 {
		ps.Set(Key{Member: "wan" + strconv.Itoa(i)}, defaults("1.1.1.1", "8.8.8.8"), true, epoch)
	}
	ps.Due(epoch)
	ps.Check(epoch)
	b.ReportAllocs()
	for range b.N {
		ps.Due(epoch.Add(ms))
		ps.Check(epoch.Add(ms))
		ps.Wake()
	}
}

// The benchmarks print allocations; this holds them.
func TestNoAllocations(t *testing.T) {
	ps := NewPaths()
	for i := range 60 {
		ps.Set(Key{Member: "wan" + strconv.Itoa(i)}, defaults("1.1.1.1", "8.8.8.8"), i != 0, epoch)
	}
	now := epoch
	lost := 0
	round := func() {
		for i, key := range ps.Due(now) {
			number := ps.Sent(key, now)
			if i < 3 { // these are silent, and judged all the time
				lost++
				continue
			}
			ps.Answered(key, number, 0, now.Add(20*ms))
		}
		ps.Check(now.Add(20 * ms))
		ps.Check(now.Add(300 * ms))
		now = now.Add(500 * ms)
	}
	for range 100 {
		round()
	}
	if got := testing.AllocsPerRun(100, round); got != 0 {
		t.Errorf("%v allocations for a round of sixty paths", got)
	}
	if lost == 0 {
		t.Error("nothing was sent")
	}
}
