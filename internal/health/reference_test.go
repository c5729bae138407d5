package health

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// reference says the same as Paths in the plainest way: it keeps all rounds for
// ever and counts everything anew whenever it is asked.
type reference struct {
	t      *testing.T
	paths  []*refPath
	silent map[family.Family]bool
}

type refPath struct {
	key    Key
	rules  Rules
	online bool
	portal bool
	status int        // of the newest wrong answer
	rounds []refRound // round n is rounds[n-1]
	ended  int
	hits   []refHit
	// excused are rounds that are neither missed nor judged any more: up to
	// these the path was given its misses anew.
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
	r.paths = append(r.paths, &refPath{key: key, rules: rules, online: online, cut: 1, quiet: now, heard: -1, backAt: now, calmAt: now})
	slices.SortFunc(r.paths, func(a, b *refPath) int {
		return strings.Compare(a.key.Member+a.key.Family.String(), b.key.Member+b.key.Family.String())
	})
}

func (r *reference) path(key Key) *refPath {
	for _, p := range r.paths {
		if p.key == key {
			return p
		}
	}
	panic("unknown path")
}

func (r *reference) send(key Key, now time.Duration) {
	p := r.path(key)
	p.rounds = append(p.rounds, refRound{sent: now, latency: slices.Repeat([]time.Duration{lost}, len(p.rules.Targets))})
}

func (p *refPath) answers(number int) int {
	n := 0
	for _, latency := range p.rounds[number-1].latency {
		if latency >= 0 {
			n++
		}
	}
	return n
}

func (p *refPath) answered(number int) bool { return p.answers(number) >= p.rules.Needed }

func (p *refPath) misses() int {
	after := p.excused
	for _, h := range p.hits {
		after = max(after, h.round, h.ended)
	}
	return max(0, p.ended-after)
}

func (r *reference) answer(key Key, number, target int, at time.Duration) {
	p := r.path(key)
	if len(p.rounds)-number >= len(newHistory(p.rules, 0, 0).rounds)-p.rules.Up {
		return // so late that it is forgotten
	}
	was := p.answered(number)
	p.rounds[number-1].latency[target] = at - p.rounds[number-1].sent
	if was || !p.answered(number) {
		return
	}
	if p.misses() >= p.rules.Down {
		p.cut = max(number, p.ended+1)
		if !p.portal {
			p.calmAt = at
		}
	}
	p.hits = append(p.hits, refHit{number, p.ended})
	p.quiet, p.heard = at, at
}

// refWrong is the latency of a wrong answer.
const refWrong = time.Duration(-2)

func (r *reference) intercept(key Key, number, target, status int) {
	p := r.path(key)
	if len(p.rounds)-number < len(newHistory(p.rules, 0, 0).rounds)-p.rules.Up {
		p.rounds[number-1].latency[target], p.status = refWrong, status
	}
}

// saw reports whether one of the last rounds, as many as Down says, had a wrong
// answer.
func (p *refPath) saw() bool {
	for _, round := range p.rounds[p.ended-p.rules.Down : p.ended] {
		if slices.Contains(round.latency, refWrong) {
			return true
		}
	}
	return false
}

// run counts the answered rounds in a row up to the newest one.
func (p *refPath) run() int {
	n := 0
	for number := len(p.rounds); number >= p.cut; number-- {
		if p.answered(number) {
			n++
		} else if n > 0 {
			break
		}
	}
	return n
}

// judged returns the rounds that loss and latency are taken from.
func (p *refPath) judged() []refRound {
	from := max(p.cut, p.ended-p.rules.Window+1)
	if from > p.ended {
		return nil
	}
	return p.rounds[from-1 : p.ended]
}

// quality returns loss and latency of the worst target that is needed; no
// latency is -1.
func (p *refPath) quality() (lostProbes int, latency time.Duration) {
	rounds := p.judged()
	var losses []int
	var means []time.Duration
	for target := range p.rules.Targets {
		n, sum := 0, time.Duration(0)
		for _, round := range rounds {
			if round.latency[target] >= 0 {
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
	if len(means) >= p.rules.Needed {
		latency = means[p.rules.Needed-1]
	}
	return losses[p.rules.Needed-1], latency
}

func (p *refPath) bad() bool {
	losses, latency := p.quality()
	if limit := p.rules.FailureLoss; limit > 0 && float64(losses)/float64(p.rules.Window) >= float64(limit)/100 {
		return true
	}
	limit := p.rules.FailureLatency
	return limit > 0 && 2*len(p.judged()) >= p.rules.Window && latency >= limit
}

// good reports whether loss and latency allow a path to come back.
func (p *refPath) good() bool {
	losses, latency := p.quality()
	lossLimit, latencyLimit := p.rules.RecoveryLoss, p.rules.RecoveryLatency
	if lossLimit == 0 {
		lossLimit = p.rules.FailureLoss
	}
	if latencyLimit == 0 {
		latencyLimit = p.rules.FailureLatency
	}
	if lossLimit > 0 && losses > 0 && 100*losses >= lossLimit*len(p.judged()) {
		return false
	}
	return latencyLimit == 0 || latency >= 0 && latency < latencyLimit
}

func (p *refPath) isBack() bool {
	return p.misses() == 0 && p.run() >= p.rules.Up
}

func (p *refPath) goOffline(now time.Duration) {
	if now-p.backAt >= 5*time.Minute {
		p.flaps, p.penalty = nil, 0
	}
	p.flaps = append(p.flaps, now)
	n := len(p.flaps)
	if p.penalty > 0 {
		p.penalty = min(2*p.penalty, 5*time.Minute)
	} else if n >= 3 && now-p.flaps[n-3] <= 15*time.Second {
		p.penalty = min(2*time.Duration(p.rules.Up)*p.rules.Interval, 5*time.Minute)
	}
	p.online, p.calmAt = false, now
}

// others reports whether such a path is online among those of other members in
// the family of this one.
func (r *reference) others(p *refPath, is func(*refPath) bool) bool {
	return slices.ContainsFunc(r.paths, func(other *refPath) bool {
		return other.key.Family == p.key.Family && other.key.Member != p.key.Member && other.online && is(other)
	})
}

// quiet reports whether all paths of a family that are online are.
func (r *reference) quiet(f family.Family) bool {
	members := make(map[string]bool)
	down := false
	for _, p := range r.paths {
		if p.key.Family != f || !p.online {
			continue
		}
		if p.misses() == 0 {
			return false
		}
		members[p.key.Member] = true
		down = down || p.misses() >= p.rules.Down
	}
	return down && len(members) > 1
}

func anyLine(*refPath) bool { return true }

func (r *reference) check(now time.Duration, got []Transition) {
	r.t.Helper()
	for _, p := range r.paths {
		for p.ended < len(p.rounds) && (now >= p.rounds[p.ended].sent+p.rules.Timeout || !slices.Contains(p.rounds[p.ended].latency, lost)) {
			p.ended++
		}
	}
	var want []string
	for _, alone := range []bool{false, true} {
		for _, p := range r.paths {
			deserved := p.good() && now-p.calmAt >= p.penalty
			if !p.online && p.isBack() && (deserved || alone && !r.others(p, anyLine)) {
				p.online, p.portal, p.backAt = true, false, now
				want = append(want, fmt.Sprint(p.key, true, false))
			}
		}
	}
	for _, p := range r.paths {
		if f := p.key.Family; p.online && p.misses() > 0 && r.silent[f] && !r.quiet(f) {
			p.excused, p.cut, p.quiet = len(p.rounds), len(p.rounds)+1, now
		}
	}
	waiting := make(map[family.Family]bool)
	for _, p := range r.paths {
		if p.misses() < p.rules.Down {
			continue
		}
		saw := p.saw()
		if !p.online {
			if saw != p.portal {
				p.portal = saw
				want = append(want, fmt.Sprint(p.key, false, saw))
			}
			continue
		}
		outlived := r.others(p, func(other *refPath) bool {
			return other.heard >= 0 && other.heard-p.quiet >= p.rules.Interval+p.rules.Timeout
		})
		if r.others(p, anyLine) && !outlived && !(saw && p.status == 302) {
			waiting[p.key.Family] = true
			continue
		}
		if p.portal = saw; saw {
			p.online = false
		} else {
			p.goOffline(now)
		}
		want = append(want, fmt.Sprint(p.key, false, saw))
	}
	for _, f := range family.All {
		r.silent[f] = waiting[f] && r.quiet(f)
	}
	for _, p := range r.paths {
		good := func(other *refPath) bool {
			return other.misses() == 0 && other.heard >= 0 && !other.bad()
		}
		if p.online && p.misses() < p.rules.Down && p.bad() && r.others(p, good) {
			p.goOffline(now)
			want = append(want, fmt.Sprint(p.key, false, false))
		}
	}
	r.compare(now, want, got)
}

func (r *reference) compare(now time.Duration, want []string, got []Transition) {
	r.t.Helper()
	var names []string
	for _, p := range got {
		names = append(names, fmt.Sprint(p.Key, p.Online, p.Portal))
	}
	if !slices.Equal(names, want) {
		r.t.Fatalf("at %s: got %v, want %v", now, names, want)
	}
}

// compareLines compares what is not a transition.
func (r *reference) compareLines(s *sim) {
	r.t.Helper()
	for _, f := range family.All {
		if silent := isSilent(s.paths, f); silent != r.silent[f] {
			r.t.Fatalf("at %s: %s silent %t, want %t", s.now, f, silent, r.silent[f])
		}
	}
	for _, p := range r.paths {
		inner := s.paths.known[p.key]
		losses, latency := p.quality()
		judged := inner.judged()
		gotLatency, known := judged.judgedLatency()
		if !known {
			gotLatency = -1
		}
		if inner.misses() != p.misses() || judged.lost() != losses || gotLatency != latency ||
			judged.rounds != len(p.judged()) || inner.hold != p.penalty {
			r.t.Fatalf("at %s: %v: misses %d, lost %d of %d, latency %s, hold %s; want %d, %d of %d, %s, %s",
				s.now, p.key, inner.misses(), judged.lost(), judged.rounds, gotLatency, inner.hold,
				p.misses(), losses, len(p.judged()), latency, p.penalty)
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
		Track: config.Track{
			Interval: time.Duration(1+c.below(4)) * 50 * ms, Timeout: time.Duration(1+c.below(8)) * 37 * ms,
			Down: 1 + c.below(5), Up: 1 + c.below(6), Window: 4 + c.below(12),
			FailureLoss: 10 * c.below(7), FailureLatency: time.Duration(c.below(5)) * 40 * ms,
		},
	}
	r.RecoveryLoss = r.FailureLoss * c.below(3) / 2
	r.RecoveryLatency = r.FailureLatency * time.Duration(c.below(3)) / 2
	return r
}

// compare runs the paths of two members, one of them perhaps without IPv6, over
// what the bytes say.
func compare(t *testing.T, data []byte) int {
	c := &choice{data}
	s := newSim(nil)
	s.reference = &reference{t: t, silent: make(map[family.Family]bool)}
	// The state of each member and family, and of what is behind all of them.
	states := map[string]int{}
	s.network = func(p probe) time.Duration {
		for _, name := range []string{"", p.key.Member, p.key.Family.String()} {
			switch states[name] {
			case 1:
				return lost
			case 2:
				return time.Duration(1+c.below(2))*portal + 20*ms
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
		states[[]string{"", "wan1", "wan2", "ipv4", "ipv6"}[c.below(5)]] = c.below(3)
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
