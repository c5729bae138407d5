package health

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// One path with an interval of 100 ms, so that round n is sent at n * 100 ms
// and missed 200 ms later.
func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Rules)
		trace   string
		offline bool
		want    []string
	}{
		{name: "all well", trace: "+"},
		{name: "silence", trace: "+++-", want: []string{"wan1 down 700ms"}},
		{name: "silence from the start", trace: "-", want: []string{"wan1 down 400ms"}},
		{name: "one miss less than down", trace: "++--+--+--+--+"},
		{name: "down 1", change: func(r *Rules) { r.Down = 1 }, trace: "+--+", want: []string{"wan1 down 300ms", "wan1 up 520ms"}},
		{name: "back after up hits", trace: "+----+", want: []string{"wan1 down 500ms", "wan1 up 720ms"}},
		{name: "hits must be in a row", trace: "+----++-++-+++", want: []string{"wan1 down 500ms", "wan1 up 1.32s"}},
		{name: "first verdict offline", offline: true, trace: "+", want: []string{"wan1 up 220ms"}},
		{name: "first verdict offline and no answer", offline: true, trace: "-"},

		{name: "all late", trace: "L"},
		{name: "late after an outage", trace: "+---L", want: []string{"wan1 down 500ms", "wan1 up 950ms"}},
		{name: "late answers end a streak", trace: "+-L-L-L-L-L"},
		{name: "first verdict offline and all late", offline: true, trace: "L", want: []string{"wan1 up 450ms"}},
		{name: "a late answer closes a gap", offline: true, trace: "+L-++L+++-", want: []string{"wan1 up 750ms", "wan1 down 1.3s"}},
		{name: "a late answer before a gap closes none", offline: true, trace: "L-+-"},
		{name: "an older round under way does no harm", trace: "+---+---+---+"},

		{name: "loss", change: func(r *Rules) { r.FailureLoss = 30 }, trace: "++++++++++-++-++-+", want: nil},
		{name: "a second target makes up for the first", trace: "+ -"},
		{name: "both targets alternate", trace: "+-+-+-+-+-+ -+-+-+-+-+-"},
		{name: "two of two needed", change: func(r *Rules) { r.Needed = 2 }, trace: "++++- +", want: []string{"wan1 down 800ms"}},
		{name: "two of three needed", change: func(r *Rules) { r.Needed = 2 }, trace: "+ - +"},
		{name: "two of three needed, one answers", change: func(r *Rules) { r.Needed = 2 }, trace: "+ ++- ++-", want: []string{"wan1 down 600ms"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(trace(map[string]string{"wan1": c.trace}))
			rules := quick([]string{"1.1.1.1", "8.8.8.8", "9.9.9.9"}[:len(strings.Fields(c.trace))]...)
			if c.change != nil {
				c.change(&rules)
			}
			s.set(Key{Member: "wan1"}, rules, !c.offline)
			s.until(3 * time.Second)
			s.want(t, c.want...)
		})
	}
}

// Two paths, since a path is not taken out for its quality unless another one
// is good. The other one always answers after 20 ms.
func TestQuality(t *testing.T) {
	after := func(d time.Duration) func(int) time.Duration {
		return func(int) time.Duration { return d }
	}
	// every loses one round in n until the round end.
	every := func(n, end int) func(int) time.Duration {
		return func(round int) time.Duration {
			if round%n == n-1 && round < end {
				return lost
			}
			return 20 * ms
		}
	}
	slowUntil := func(end int, slow time.Duration) func(int) time.Duration {
		return func(round int) time.Duration {
			if round < end {
				return slow
			}
			return 20 * ms
		}
	}
	for _, c := range []struct {
		name    string
		change  func(*Rules)
		network func(round int) time.Duration
		want    []string
	}{
		{"off", func(*Rules) {}, every(2, 1000), nil},
		// Rounds 1, 3, 5 and 7 are lost; the last is missed 200 ms after 700
		// ms.
		{"loss of 40 %", func(r *Rules) { r.FailureLoss = 40 }, every(2, 1000), []string{"wan1 down 900ms"}},
		{"loss under the limit", func(r *Rules) { r.FailureLoss = 40 }, every(3, 1000), nil},
		// Three rounds are not enough: of a window of 10 they are 30 %.
		{"not judged by two rounds", func(r *Rules) { r.FailureLoss = 40; r.Down = 10 }, every(1, 3), nil},
		// The last loss is round 19, which is in the window until round 29
		// ended.
		{"back under recovery_loss", func(r *Rules) { r.FailureLoss, r.RecoveryLoss = 40, 10 }, every(2, 20),
			[]string{"wan1 down 900ms", "wan1 up 2.92s"}},
		// The failure limit holds in its place: rounds 13, 15, 17, 19 are 40 %.
		{"without recovery_loss", func(r *Rules) { r.FailureLoss, r.RecoveryLoss = 40, 0 }, every(2, 20),
			[]string{"wan1 down 900ms", "wan1 up 2.32s"}},
		{"late answers are not lost", func(r *Rules) { r.FailureLoss = 40 }, after(250 * ms), nil},
		// Half the window of 10 is seen with the fifth answer.
		{"latency", func(r *Rules) { r.FailureLatency = 100 * ms }, after(150 * ms), []string{"wan1 down 550ms"}},
		{"latency under the limit", func(r *Rules) { r.FailureLatency = 151 * ms }, after(150 * ms), nil},
		{"latency of late answers", func(r *Rules) { r.FailureLatency = 240 * ms }, after(250 * ms), []string{"wan1 down 600ms"}},
		// With n of 10 rounds at 150 ms and the rest at 20 ms the mean is under
		// 60 ms from n = 3 on: rounds 7, 8, 9 and 7 quick ones.
		{"back under recovery_latency", func(r *Rules) { r.FailureLatency, r.RecoveryLatency = 100*ms, 60*ms }, slowUntil(10, 150*ms),
			[]string{"wan1 down 550ms", "wan1 up 1.62s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(func(p probe) time.Duration {
				if p.key.Member == "wan1" {
					return c.network(p.round)
				}
				return 20 * ms
			})
			rules := quick("1.1.1.1")
			c.change(&rules)
			s.set(Key{Member: "wan1"}, rules, true)
			s.set(Key{Member: "wan2"}, quick("1.1.1.1"), true)
			s.until(5 * time.Second)
			s.want(t, c.want...)
		})
	}
}

// Loss and latency are those of the worst target that is still needed.
func TestQualityOfManyTargets(t *testing.T) {
	latency := [3]time.Duration{20 * ms, 150 * ms, lost}
	for _, c := range []struct {
		name   string
		needed int
		want   []string
	}{
		{"one", 1, nil},
		// Round 4 is over, with its lost probe, at 600 ms.
		{"two", 2, []string{"wan1 down 600ms"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(func(p probe) time.Duration {
				if p.key.Member == "wan1" {
					return latency[p.target]
				}
				return 20 * ms
			})
			rules := quick("1.1.1.1", "8.8.8.8", "9.9.9.9")
			rules.Needed, rules.FailureLoss, rules.FailureLatency = c.needed, 50, 100*ms
			s.set(Key{Member: "wan1"}, rules, true)
			s.set(Key{Member: "wan2"}, quick("1.1.1.1"), true)
			s.until(3 * time.Second)
			s.want(t, c.want...)
		})
	}
}

// A target that answered quickly until it died does not hide that the other,
// which now has to do, is slow; and the path does not come back for it.
func TestLatencyOfDyingTarget(t *testing.T) {
	s := newSim(func(p probe) time.Duration {
		switch {
		case p.key.Member != "wan1":
			return 20 * ms
		case p.target == 1:
			return 150 * ms
		case p.round < 4:
			return 20 * ms
		}
		return lost
	})
	rules := quick("1.1.1.1", "8.8.8.8")
	rules.FailureLatency = 100 * ms
	s.set(Key{Member: "wan1"}, rules, true)
	s.set(Key{Member: "wan2"}, quick("1.1.1.1"), true)
	s.until(5 * time.Second)
	// Rounds 0 to 8 are over: the first target answered 4 of 9.
	s.want(t, "wan1 down 1s")
}

// All paths are saturated at once: taking some out would make it worse.
func TestQualityKeepsLastGoodLine(t *testing.T) {
	rules := quick("1.1.1.1")
	rules.FailureLatency = 100 * ms
	run := func(other time.Duration, keys ...Key) *sim {
		s := newSim(func(p probe) time.Duration {
			if p.key == keys[0] {
				return 150 * ms
			}
			return other
		})
		for _, key := range keys {
			s.set(key, rules, true)
		}
		s.until(3 * time.Second)
		return s
	}
	wan1, wan1v6, wan2 := Key{Member: "wan1"}, Key{Member: "wan1", Family: family.IPv6}, Key{Member: "wan2"}
	run(150*ms, wan1, wan2).want(t)
	run(lost, wan1, wan2).want(t, "wan2 down 400ms")
	run(20*ms, wan1, wan1v6).want(t)
	run(20*ms, wan1, wan2).want(t, "wan1 down 550ms")
	run(20*ms, wan1).want(t)
	wan2v6 := Key{Member: "wan2", Family: family.IPv6}
	run(20*ms, wan1, wan2v6).want(t)
	run(20*ms, wan1v6, wan2, wan2v6).want(t, "wan1 ipv6 down 550ms")
}

// Two paths lose too much in IPv4, and none in IPv6: neither IPv4 path goes.
func TestQualityIsJudgedPerFamily(t *testing.T) {
	s := newSim(func(p probe) time.Duration {
		if p.key.Family == family.IPv4 && p.round%2 == 1 {
			return lost
		}
		return 20 * ms
	})
	rules := quick("1.1.1.1")
	rules.FailureLoss, rules.RecoveryLoss = 40, 10
	for _, member := range []string{"wan1", "wan2"} {
		s.set(Key{Member: member}, rules, true)
		s.set(Key{Member: member, Family: family.IPv6}, rules, true)
	}
	s.until(5 * time.Second)
	s.want(t)
	s = newSim(s.network)
	for _, member := range []string{"wan1", "wan2"} {
		s.set(Key{Member: member}, rules, false)
		s.set(Key{Member: member, Family: family.IPv6}, rules, true)
	}
	s.until(5 * time.Second)
	s.want(t) // no three answers in a row in IPv4
}

// A path that is neither bad enough to be taken out nor good enough to come
// back is better than none, and gives way to none.
func TestOnlyLineComesBackAsItIs(t *testing.T) {
	rules := quick("1.1.1.1")
	rules.FailureLatency, rules.RecoveryLatency = 200*ms, 100*ms
	run := func(others ...string) *sim {
		s := newSim(func(p probe) time.Duration {
			switch {
			case p.key.Member == "wan1" && p.round >= 10 && p.round < 15, p.key.Member == "dead":
				return lost
			case p.key.Member == "wan1":
				return 150 * ms
			}
			return 20 * ms
		})
		for _, member := range append(others, "wan1") {
			s.set(Key{Member: member}, rules, true)
		}
		s.until(5 * time.Second)
		return s
	}
	// The last of the rounds 15, 16 and 17 is answered 150 ms after 1.7 s.
	run().want(t, "wan1 down 1.4s", "wan1 up 1.85s")
	run("dead").want(t, "dead down 400ms", "wan1 down 1.4s", "wan1 up 1.85s")
	run("good").want(t, "wan1 down 1.42s")
}

func TestChangedRules(t *testing.T) {
	s := newSim(trace(map[string]string{"wan1": "+++-"}))
	key := Key{Member: "wan1"}
	s.set(key, quick("1.1.1.1"), true)
	s.until(610 * ms)
	s.set(key, quick("1.1.1.1"), false) // equal: two misses stay, and online
	s.until(640 * ms)
	if r := s.paths.Report(key, epoch.Add(s.now)); r.Misses != 2 || !r.Online {
		t.Fatalf("equal rules: %+v", r)
	}
	changed := quick("1.1.1.1", "8.8.8.8")
	s.set(key, changed, false)
	if r := s.paths.Report(key, epoch.Add(s.now)); r.Misses != 0 || !r.Online || len(r.Targets) != 2 {
		t.Fatalf("changed rules: %+v", r)
	}
	s.until(2 * time.Second)
	// Rounds at 640, 700 and 800 ms.
	s.want(t, "wan1 down 1s")
	online := quick("1.1.1.1")
	s.set(key, online, true)
	s.until(3 * time.Second)
	s.want(t, "wan1 down 1s") // it keeps its verdict
}

// When rounds were sent and nobody checked for long, the oldest are counted
// before they are forgotten.
func TestManyRoundsWithoutCheck(t *testing.T) {
	ps, key := NewPaths(), Key{Member: "wan1"}
	ps.Set(key, quick("1.1.1.1"), true, epoch)
	const rounds = 50
	for i := range rounds {
		ps.Sent(key, epoch.Add(time.Duration(i)*100*ms))
	}
	ps.Check(epoch.Add(10 * time.Second))
	p := ps.known[key]
	if got := p.misses(); got != rounds {
		t.Errorf("%d misses, want %d", got, rounds)
	}
	if got := p.judged(); got.lost() != p.rules.Window || got.targets[0] != (tally{}) {
		t.Errorf("in the window: %+v, want %d lost", got, p.rules.Window)
	}
}

// An answer to a round of before the change is none to a round of after it.
func TestAnswersToForgottenRounds(t *testing.T) {
	ps, key := NewPaths(), Key{Member: "wan1"}
	ps.Set(key, quick("1.1.1.1"), true, epoch)
	old := ps.Sent(key, epoch)
	changed := quick("8.8.8.8")
	ps.Set(key, changed, true, epoch)
	number := ps.Sent(key, epoch)
	ps.Answered(key, old, 0, epoch.Add(10*ms))
	ps.Answered(key, number+1, 0, epoch.Add(10*ms))
	ps.Answered(key, number, 1, epoch.Add(10*ms))
	ps.Answered(key, number, -1, epoch.Add(10*ms))
	ps.Answered(Key{Member: "wan2"}, number, 0, epoch.Add(10*ms))
	ps.Check(epoch.Add(250 * ms))
	if r := ps.Report(key, epoch.Add(250*ms)); r.Misses != 1 || r.Hits != 0 || r.Loss != 1 {
		t.Errorf("strange answers counted: %+v", r)
	}
	ps.Answered(key, number, 0, epoch.Add(260*ms))
	ps.Answered(key, number, 0, epoch.Add(270*ms))
	want := Report{
		Key: key, Online: true, Since: epoch, Hits: 1, Latency: 260 * ms,
		Targets: []TargetReport{{Address: "8.8.8.8", Latency: 260 * ms}},
	}
	if r := ps.Report(key, epoch.Add(270*ms)); !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
}

func TestReasons(t *testing.T) {
	lossy := func(r *Rules) { r.FailureLoss = 40 }
	slow := func(r *Rules) { r.FailureLatency = 15 * ms }
	for _, c := range []struct {
		name, trace string
		change      func(*Rules)
		want        []string
	}{
		{"silence", "+----+ +----+", nil, []string{"no answer from 1.1.1.1, 8.8.8.8 for 0.5 s", "3 answers in a row"}},
		{"too few", "+ +-", func(r *Rules) { r.Needed = 2 }, []string{"fewer than 2 of 2 targets answered for 0.5 s; no answer from 8.8.8.8"}},
		{"silence later", "++++++++++----", nil, []string{"no answer from 1.1.1.1 for 0.5 s"}},
		{"too few, of whom one answered the first round", "+-+ ++-", func(r *Rules) { r.Needed = 2 },
			[]string{"fewer than 2 of 2 targets answered for 0.5 s"}},
		{"too few by turns", "++-+-+- +-+-+-+", func(r *Rules) { r.Needed = 2 }, []string{"fewer than 2 of 2 targets answered for 0.5 s"}},
		{"loss", "+-+-+-+-+-+-+-+-", lossy, []string{"lost 40 % of the last 10 probes (limit 40 %)"}},
		{"latency", "+", slow, []string{"mean latency 20 ms (limit 15 ms)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(trace(map[string]string{"wan1": c.trace, "wan2": "+"}))
			rules := quick([]string{"1.1.1.1", "8.8.8.8"}[:len(strings.Fields(c.trace))]...)
			if c.change != nil {
				c.change(&rules)
			}
			s.set(Key{Member: "wan1"}, rules, true)
			s.set(Key{Member: "wan2"}, quick("1.1.1.1"), true)
			s.until(1500 * ms)
			var got []string
			for _, p := range s.passed {
				got = append(got, p.Reason)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRulesOf(t *testing.T) {
	track := config.Track{
		Reliability: 3, Interval: 1, Timeout: 2, Down: 3, Up: 4, Window: 5,
		FailureLoss: 6, RecoveryLoss: 7, FailureLatency: 8, RecoveryLatency: 9,
	}
	targets := []string{"1.1.1.1", "8.8.8.8"}
	want := Rules{Targets: targets, Needed: 2, Track: track}
	if got := RulesOf(track, targets); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	same := track
	same.OnDead, same.Failback, same.InitialState = "clear", "all", "offline"
	if got := RulesOf(same, targets); !reflect.DeepEqual(got, want) {
		t.Errorf("what concerns no probe changes the rules: %+v", got)
	}
	track.Reliability = 1
	if got := RulesOf(track, targets).Needed; got != 1 {
		t.Errorf("needed %d, want 1", got)
	}
}
