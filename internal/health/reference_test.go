package health

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
)

// reference says the same as Lines in the plainest way: it keeps all rounds for
// ever and counts everything anew whenever it is asked.
type reference struct {
	t      *testing.T
	lines  []*refLine
	silent map[family.Family]bool
}

type refLine struct {
	key    Key
	rules  Rules
	online bool
	rounds []refRound // round n is rounds[n-1]
	ended  int
	hits   []refHit
	// excused are rounds that are neither missed nor judged any more: up to
	// these the line was given its misses anew.
	excused int
	cut     int // rounds before it are not judged
	quiet   time.Duration
	heard   time.Duration // -1: never

	flaps   []time.Duration
	backAt  time.Duration
	calmAt  time.Duration
	penalty time.Duration
}

type refRound struct {
	sent    time.Duration
	latency []time.Duration // lost: none yet
}

// refHit is an answered round, and how many rounds had ended when it was.
type refHit struct{ round, ended int }

func (r *reference) add(key Key, rules Rules, online bool, now time.Duration) {
	r.lines = append(r.lines, &refLine{key: key, rules: rules, online: online, cut: 1, quiet: now, heard: -1, backAt: now, calmAt: now})
	slices.SortFunc(r.lines, func(a, b *refLine) int {
		return strings.Compare(a.key.Member+a.key.Family.String(), b.key.Member+b.key.Family.String())
	})
}

func (r *reference) line(key Key) *refLine {
	for _, l := range r.lines {
		if l.key == key {
			return l
		}
	}
	panic("unknown line")
}

func (r *reference) send(key Key, now time.Duration) {
	l := r.line(key)
	l.rounds = append(l.rounds, refRound{sent: now, latency: slices.Repeat([]time.Duration{lost}, len(l.rules.Targets))})
}

func (l *refLine) answers(number int) int {
	n := 0
	for _, latency := range l.rounds[number-1].latency {
		if latency != lost {
			n++
		}
	}
	return n
}

func (l *refLine) answered(number int) bool { return l.answers(number) >= l.rules.Needed }

func (l *refLine) misses() int {
	after := l.excused
	for _, h := range l.hits {
		after = max(after, h.round, h.ended)
	}
	return max(0, l.ended-after)
}

func (r *reference) answer(key Key, number, target int, at time.Duration) {
	l := r.line(key)
	if len(l.rounds)-number >= len(newHistory(&l.rules, 0, 0).rounds) {
		return // so late that it is forgotten
	}
	was := l.answered(number)
	l.rounds[number-1].latency[target] = at - l.rounds[number-1].sent
	if was || !l.answered(number) {
		return
	}
	if l.misses() >= l.rules.Down {
		l.cut, l.calmAt = max(number, l.ended+1), at
	}
	l.hits = append(l.hits, refHit{number, l.ended})
	l.quiet, l.heard = at, at
}

// run counts the answered rounds in a row up to the newest one.
func (l *refLine) run() int {
	n := 0
	for number := len(l.rounds); number >= l.cut; number-- {
		if l.answered(number) {
			n++
		} else if n > 0 {
			break
		}
	}
	return n
}

// judged returns the rounds that loss and latency are taken from.
func (l *refLine) judged() []refRound {
	from := max(l.cut, l.ended-l.rules.Window+1)
	if from > l.ended {
		return nil
	}
	return l.rounds[from-1 : l.ended]
}

// quality returns loss and latency of the worst target that is needed; no
// latency is -1.
func (l *refLine) quality() (lostProbes int, latency time.Duration) {
	rounds := l.judged()
	var losses []int
	var means []time.Duration
	for target := range l.rules.Targets {
		n, sum := 0, time.Duration(0)
		for _, round := range rounds {
			if round.latency[target] != lost {
				n++
				sum += round.latency[target]
			}
		}
		losses = append(losses, len(rounds)-n)
		if n > 0 && 2*n >= len(rounds) {
			means = append(means, (sum / time.Duration(n)).Truncate(time.Microsecond))
		}
	}
	slices.Sort(losses)
	slices.Sort(means)
	latency = -1
	if len(means) >= l.rules.Needed {
		latency = means[l.rules.Needed-1]
	}
	return losses[l.rules.Needed-1], latency
}

func (l *refLine) bad() bool {
	losses, latency := l.quality()
	if limit := l.rules.FailureLoss; limit > 0 && float64(losses)/float64(l.rules.Window) >= float64(limit)/100 {
		return true
	}
	limit := l.rules.FailureLatency
	return limit > 0 && 2*len(l.judged()) >= l.rules.Window && latency >= limit
}

// good reports whether loss and latency allow a line to come back.
func (l *refLine) good() bool {
	losses, latency := l.quality()
	lossLimit, latencyLimit := l.rules.RecoveryLoss, l.rules.RecoveryLatency
	if lossLimit == 0 {
		lossLimit = l.rules.FailureLoss
	}
	if latencyLimit == 0 {
		latencyLimit = l.rules.FailureLatency
	}
	if lossLimit > 0 && losses > 0 && 100*losses >= lossLimit*len(l.judged()) {
		return false
	}
	return latencyLimit == 0 || latency >= 0 && latency < latencyLimit
}

func (l *refLine) isBack() bool {
	return l.misses() == 0 && l.run() >= l.rules.Up
}

func (l *refLine) goOffline(now time.Duration) {
	if now-l.backAt >= 5*time.Minute {
		l.flaps, l.penalty = nil, 0
	}
	l.flaps = append(l.flaps, now)
	n := len(l.flaps)
	if l.penalty > 0 {
		l.penalty = min(2*l.penalty, 5*time.Minute)
	} else if n >= 3 && now-l.flaps[n-3] <= 15*time.Second {
		l.penalty = min(2*time.Duration(l.rules.Up)*l.rules.Interval, 5*time.Minute)
	}
	l.online, l.calmAt = false, now
}

// others reports whether such a line is online among those of other members in
// the family of this one.
func (r *reference) others(l *refLine, is func(*refLine) bool) bool {
	return slices.ContainsFunc(r.lines, func(other *refLine) bool {
		return other.key.Family == l.key.Family && other.key.Member != l.key.Member && other.online && is(other)
	})
}

// quiet reports whether all lines of a family that are online are.
func (r *reference) quiet(f family.Family) bool {
	members := make(map[string]bool)
	down := false
	for _, l := range r.lines {
		if l.key.Family != f || !l.online {
			continue
		}
		if l.misses() == 0 {
			return false
		}
		members[l.key.Member] = true
		down = down || l.misses() >= l.rules.Down
	}
	return down && len(members) > 1
}

func anyLine(*refLine) bool { return true }

func (r *reference) check(now time.Duration, got []Transition) {
	r.t.Helper()
	for _, l := range r.lines {
		for l.ended < len(l.rounds) && (now >= l.rounds[l.ended].sent+l.rules.Timeout || l.answers(l.ended+1) == len(l.rules.Targets)) {
			l.ended++
		}
	}
	var want []string
	for _, alone := range []bool{false, true} {
		for _, l := range r.lines {
			deserved := l.good() && now-l.calmAt >= l.penalty
			if !l.online && l.isBack() && (deserved || alone && !r.others(l, anyLine)) {
				l.online, l.backAt = true, now
				want = append(want, fmt.Sprint(l.key, true))
			}
		}
	}
	for _, l := range r.lines {
		if f := l.key.Family; l.online && l.misses() > 0 && r.silent[f] && !r.quiet(f) {
			l.excused, l.cut, l.quiet = len(l.rounds), len(l.rounds)+1, now
		}
	}
	waiting := make(map[family.Family]bool)
	for _, l := range r.lines {
		if !l.online || l.misses() < l.rules.Down {
			continue
		}
		outlived := r.others(l, func(other *refLine) bool {
			return other.heard >= 0 && other.heard-l.quiet >= l.rules.Interval+l.rules.Timeout
		})
		if r.others(l, anyLine) && !outlived {
			waiting[l.key.Family] = true
			continue
		}
		l.goOffline(now)
		want = append(want, fmt.Sprint(l.key, false))
	}
	for _, f := range family.All {
		r.silent[f] = waiting[f] && r.quiet(f)
	}
	for _, l := range r.lines {
		good := func(other *refLine) bool {
			return other.misses() == 0 && other.heard >= 0 && !other.bad()
		}
		if l.online && l.misses() < l.rules.Down && l.bad() && r.others(l, good) {
			l.goOffline(now)
			want = append(want, fmt.Sprint(l.key, false))
		}
	}
	r.compare(now, want, got)
}

func (r *reference) compare(now time.Duration, want []string, got []Transition) {
	r.t.Helper()
	var names []string
	for _, p := range got {
		names = append(names, fmt.Sprint(p.Key, p.Online))
	}
	if !slices.Equal(names, want) {
		r.t.Fatalf("at %s: got %v, want %v", now, names, want)
	}
}

// compareLines compares what is not a transition.
func (r *reference) compareLines(s *sim) {
	r.t.Helper()
	for _, f := range family.All {
		if silent := isSilent(s.lines, f); silent != r.silent[f] {
			r.t.Fatalf("at %s: %s silent %t, want %t", s.now, f, silent, r.silent[f])
		}
	}
	for _, l := range r.lines {
		inner := s.lines.known[l.key]
		losses, latency := l.quality()
		gotLatency, known := inner.judgedLatency()
		if !known {
			gotLatency = -1
		}
		if inner.misses() != l.misses() || inner.lost(inner.tallies) != losses || gotLatency != latency ||
			inner.seen() != len(l.judged()) || inner.hold != l.penalty {
			r.t.Fatalf("at %s: %v: misses %d, lost %d of %d, latency %s, hold %s; want %d, %d of %d, %s, %s",
				s.now, l.key, inner.misses(), inner.lost(inner.tallies), inner.seen(), gotLatency, inner.hold,
				l.misses(), losses, len(l.judged()), latency, l.penalty)
		}
	}
}

// choice deals out decisions from bytes, and 0 when they are used up.
type choice struct{ bytes []byte }

func (c *choice) below(n int) int {
	if len(c.bytes) == 0 {
		return 0
	}
	value := int(c.bytes[0]) % n
	c.bytes = c.bytes[1:]
	return value
}

func (c *choice) rules() Rules {
	targets := []string{"1.1.1.1", "8.8.8.8", "9.9.9.9"}[:1+c.below(3)]
	r := Rules{
		Targets: targets, Needed: 1 + c.below(len(targets)),
		Interval: time.Duration(1+c.below(4)) * 50 * ms, Timeout: time.Duration(1+c.below(8)) * 37 * ms,
		Down: 1 + c.below(5), Up: 1 + c.below(6), Window: 4 + c.below(12),
		FailureLoss: 10 * c.below(7), FailureLatency: time.Duration(c.below(5)) * 40 * ms,
	}
	r.RecoveryLoss = r.FailureLoss * c.below(3) / 2
	r.RecoveryLatency = r.FailureLatency * time.Duration(c.below(3)) / 2
	return r
}

// compare runs the lines of two members, one of them perhaps without IPv6, over
// what the bytes say.
func compare(t *testing.T, data []byte) int {
	c := &choice{data}
	s := newSim(nil)
	s.reference = &reference{t: t, silent: make(map[family.Family]bool)}
	// The state of each member and family, and of what is behind all of them.
	states := map[string]int{}
	s.network = func(p probe) time.Duration {
		for _, name := range []string{"", p.key.Member, p.key.Family.String()} {
			if states[name] == 1 {
				return lost
			}
		}
		switch c.below(8) {
		case 0:
			return lost
		case 1:
			return time.Duration(c.below(20)) * 20 * ms
		}
		return 20 * ms
	}
	keys := []Key{{Member: "wan1"}, {Member: "wan1", Family: family.IPv6}, {Member: "wan2"}, {Member: "wan2", Family: family.IPv6}}
	for _, key := range keys[:3+c.below(2)] {
		s.set(key, c.rules(), c.below(4) != 0)
	}
	for len(c.bytes) > 0 {
		states[[]string{"", "wan1", "wan2", "ipv4", "ipv6"}[c.below(5)]] = c.below(2)
		s.until(s.now + time.Duration(1+c.below(60))*25*ms)
		s.reference.compareLines(s)
	}
	return len(s.passed)
}

func TestAgainstReference(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	transitions := 0
	for range 400 {
		data := make([]byte, 600)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		transitions += compare(t, data)
	}
	t.Logf("%d transitions compared", transitions)
	if transitions < 1000 {
		t.Errorf("only %d transitions compared", transitions)
	}
}

func FuzzAgainstReference(f *testing.F) {
	f.Add([]byte("a trace of no meaning whatsoever, but of some length"))
	f.Fuzz(func(t *testing.T, data []byte) {
		const enough = 300 // the reference slows down with the square
		compare(t, data[:min(len(data), enough)])
	})
}
