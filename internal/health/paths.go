// Package health decides which paths work. A path is a member in one address
// family; its verdict follows from rounds of probes, one to each target: enough
// answers make a hit, too few a miss. The package sends no probe and reads no clock:
// the caller passes in times, and subpackage probe sends.
package health

import (
	"cmp"
	"math"
	"reflect"
	"slices"
	"sort"
	"time"
)

// Paths are the paths that are probed, with their verdicts. Times that are passed in
// must never go back. It is not safe for concurrent use.
type Paths struct {
	paths []*path // ordered by key
	known map[Key]*path
	// removed keeps the flaps of paths that are not probed at present: a path
	// whose link comes and goes must not begin anew each time.
	removed map[Key]damping

	start  time.Time     // all durations are counted from here
	latest time.Duration // the latest time that was passed in

	silent  Silence // see Silent
	waiting bool    // the verdict of a path depends on the answers of others

	changedAt time.Duration // when Check has something to do before the next time limit
	asked     time.Duration // what Wake returned last, until Check comes
	grace     time.Duration // until when judgement is put off; 0: it is not

	due []Key
}

// never is after any time.
const never = time.Duration(math.MaxInt64)

// NewPaths returns an empty set of paths.
func NewPaths() *Paths {
	return &Paths{known: make(map[Key]*path), removed: make(map[Key]damping), changedAt: never, asked: never}
}

// at returns a time as a duration since the first time that was passed in.
func (ps *Paths) at(now time.Time) time.Duration {
	if ps.start.IsZero() {
		ps.start = now
	}
	ps.latest = max(ps.latest, now.Sub(ps.start))
	return now.Sub(ps.start)
}

// Set adds a path with its first verdict, whose first round is due at once, or gives
// a known one other rules and a new history.
func (ps *Paths) Set(key Key, rules Rules, online bool, now time.Time) {
	t := ps.at(now)
	p := ps.known[key]
	if p == nil {
		p = &path{key: key, online: online, since: t, damping: ps.removed[key]}
		delete(ps.removed, key)
		p.onlineAt, p.calmSince = t, t
		ps.insert(p)
	} else if reflect.DeepEqual(p.rules, rules) {
		return
	}
	p.history = newHistory(rules, p.newest, t)
	p.next = t
	ps.change(t)
}

func (ps *Paths) insert(p *path) {
	ps.known[p.key] = p
	ps.paths = append(ps.paths, p)
	sort.Slice(ps.paths, func(i, j int) bool {
		a, b := ps.paths[i].key, ps.paths[j].key
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Family, b.Family)) < 0
	})
}

// Remove removes a path that is no longer probed, because its link is down or
// it is no longer configured. Only its flaps are remembered.
func (ps *Paths) Remove(key Key) {
	p := ps.known[key]
	if p == nil {
		return
	}
	delete(ps.known, key)
	ps.removed[key] = p.damping
	ps.paths = slices.DeleteFunc(ps.paths, func(other *path) bool { return other == p })
	ps.change(ps.latest)
}

// Keys returns the keys of all paths, ordered by member and family.
func (ps *Paths) Keys() []Key {
	keys := make([]Key, 0, len(ps.paths))
	for _, p := range ps.paths {
		keys = append(keys, p.key)
	}
	return keys
}

// Online returns the verdict of a path, if there is one.
func (ps *Paths) Online(key Key) (online, known bool) {
	p, known := ps.known[key]
	return known && p.online, known
}

// Silent returns the families in which all online paths, at least two, fell silent
// together. That is taken for trouble further upstream: no path goes offline for it,
// and when one of them answers, the misses of the others are reset.
func (ps *Paths) Silent() Silence { return ps.silent }

// Due returns the paths whose next round is to be sent now, and schedules the one
// after it. The caller calls Sent for each, also if sending failed: the round is then
// missed. If it is late, rounds are skipped. The result holds until the next call.
func (ps *Paths) Due(now time.Time) []Key {
	t := ps.at(now)
	ps.due = ps.due[:0]
	for _, p := range ps.paths {
		if p.targets() > 0 && t >= p.next {
			p.next = nextTick(t, p.rules.Interval)
			ps.due = append(ps.due, p.key)
		}
	}
	return ps.due
}

// Sent records that a round was sent, and returns its number; 0: no such path.
func (ps *Paths) Sent(key Key, now time.Time) (round uint32) {
	p := ps.known[key]
	if p == nil {
		return 0
	}
	return p.send(ps.at(now))
}

// Answered records the answer of a target, counted from 0, to a round. Check is
// called after all answers that have arrived are recorded.
func (ps *Paths) Answered(key Key, round uint32, target int, at time.Time) {
	p := ps.known[key]
	if p == nil {
		return
	}
	t := ps.at(at)
	wasSilent := p.silent()
	if p.holds(round) && round <= p.ended {
		ps.change(t) // it is late, and changes loss and latency
	}
	if !p.answer(round, target, t) {
		return
	}
	if wasSilent && !p.portal {
		p.calmSince = t
	}
	if !p.online || ps.waiting {
		ps.change(t)
	}
}

// Intercepted records that a wrong answer came to a round, which is a miss then.
func (ps *Paths) Intercepted(key Key, round uint32, target int, by Portal, at time.Time) {
	p := ps.known[key]
	if p == nil || !p.isOpen(round) || target < 0 || target >= p.targets() || p.round(round).latencies[target] != 0 {
		return
	}
	p.round(round).latencies[target], p.met = wrong, by
	ps.change(ps.at(at))
}

// PortalURL returns where the newest answer of a path's portal leads, if anywhere.
func (ps *Paths) PortalURL(key Key) string {
	if p := ps.known[key]; p != nil && p.portal {
		return p.met.URL
	}
	return ""
}

// Wake returns when Due or Check will have something to do next, the zero time for
// never. A Check that comes much later puts off its judgement once.
func (ps *Paths) Wake() time.Time {
	ps.asked = max(ps.changedAt, ps.grace)
	for _, p := range ps.paths {
		if p.targets() > 0 {
			ps.asked = min(ps.asked, p.next, max(p.deadline(), ps.grace))
		}
	}
	if ps.asked == never {
		return time.Time{}
	}
	return ps.start.Add(ps.asked)
}

// change makes Check look at all paths at t.
func (ps *Paths) change(t time.Duration) { ps.changedAt = min(ps.changedAt, t) }
