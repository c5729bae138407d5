// Package health judges which paths work. It owns the verdict of each path, a
// member in one family: from the probes that were sent and the answers that
// came it works out who is online. It neither probes nor looks at a clock.
package health

import "time"

// Paths are the paths that are probed, and their verdicts. The times that are
// handed in must never go back; those of one process do not, since they carry
// the monotonic clock. Not safe for concurrent use.
type Paths struct {
	paths []*path // ordered by key
	known map[Key]*path
	// removed is how the paths flapped that are not probed at present: one
	// whose link comes and goes must not begin anew each time.
	removed map[Key]damping

	started bool
	start   time.Time     // all durations are counted from here
	latest  time.Duration // that was handed in

	silent  Silence // see Silent
	waiting bool    // the verdict of a path waits for what others answer

	changed   bool // Check has something to do that no time limit tells
	changedAt time.Duration

	asked    time.Duration // what Wake returned last
	hasAsked bool
	grace    time.Duration // no judgement before; 0: none is put off

	due []Key
}

// NewLines returns none.
func NewPaths() *Paths {
	return &Paths{known: make(map[Key]*path), removed: make(map[Key]damping)}
}

// at converts a time into the one that is used inside.
func (ps *Paths) at(now time.Time) time.Duration {
	if !ps.started {
		ps.started, ps.start = true, now
	}
	ps.latest = max(ps.latest, now.Sub(ps.start))
	return now.Sub(ps.start)
}

// Set adds a path with its first verdict, or changes the rules of a known one,
// which keeps its verdict and starts its history anew. Equal rules change
// nothing. The path's first round is due at once.
func (ps *Paths) Set(key Key, rules Rules, online bool, now time.Time) {
	t := ps.at(now)
	p := ps.known[key]
	if p == nil {
		p = &path{key: key, online: online, since: t, damping: ps.removed[key]}
		delete(ps.removed, key)
		p.onlineAt, p.calmSince = t, t
		ps.insert(p)
	} else if p.rules.equal(&rules) {
		return
	}
	p.rules = rules
	p.history = newHistory(&p.rules, p.newest, t)
	p.hurry = false
	p.next = t
	ps.change(t)
}

func (ps *Paths) insert(p *path) {
	ps.known[p.key] = p
	ps.paths = append(ps.paths, p)
	for i := len(ps.paths) - 1; i > 0 && p.key.before(ps.paths[i-1].key); i-- {
		ps.paths[i-1], ps.paths[i] = ps.paths[i], ps.paths[i-1]
	}
}

func (k Key) before(other Key) bool {
	if k.Member != other.Member {
		return k.Member < other.Member
	}
	return k.Family < other.Family
}

// Remove takes a path out that is no longer probed, since its link is down or
// it is no longer configured. Only how often it flapped is remembered.
func (ps *Paths) Remove(key Key) {
	p := ps.known[key]
	if p == nil {
		return
	}
	delete(ps.known, key)
	ps.removed[key] = p.damping
	for i := range ps.paths {
		if ps.paths[i] == p {
			ps.paths = append(ps.paths[:i], ps.paths[i+1:]...)
			break
		}
	}
	ps.change(ps.latest)
}

// Keys returns the paths, by member and family.
func (ps *Paths) Keys() []Key {
	keys := make([]Key, 0, len(ps.paths))
	for _, p := range ps.paths {
		keys = append(keys, p.key)
	}
	return keys
}

// Online returns the verdict of a path, and whether the path is known.
func (ps *Paths) Online(key Key) (online, known bool) {
	p := ps.known[key]
	if p == nil {
		return false, false
	}
	return p.online, true
}

// Silent returns the families in which all paths that are online, of two
// members at least, fell silent together. That is trouble of the targets or
// further upstream: no verdict is passed until one of them answers, and then
// all others are given as many misses as after an answer.
func (ps *Paths) Silent() Silence { return ps.silent }

// Due returns the paths whose next round is to be sent now, and puts down the
// one after it. Sent is to be called for each of them, also where sending
// failed: the round is then missed. Rounds for which nobody asked in time are
// not made up for. The result is valid until the next call.
func (ps *Paths) Due(now time.Time) []Key {
	t := ps.at(now)
	ps.due = ps.due[:0]
	for _, p := range ps.paths {
		if p.targets == 0 || t < p.next {
			continue
		}
		p.next = nextTick(t, p.interval())
		ps.due = append(ps.due, p.key)
	}
	return ps.due
}

// Sent takes note that a round was sent to all targets of a path, and returns
// its number. A path that is not known has round 0.
func (ps *Paths) Sent(key Key, now time.Time) (round uint32) {
	p := ps.known[key]
	if p == nil {
		return 0
	}
	return p.send(ps.at(now))
}

// Answered takes the answer of a target, counted from 0, to a round. Answers to
// rounds that are forgotten, and second ones, are ignored. Check is to be
// called after the answers that lay there are handed in.
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
	if wasSilent {
		p.calmSince = t
	}
	if p.hurry && round > p.hurryAfter {
		p.calmDown()
	}
	if !p.online || ps.waiting {
		ps.change(t)
	}
}

// Hurry has a path that may be dead probed at the fast interval, a fifth of its
// own and at least 50 ms, until a round is answered that was sent after now, or
// its verdict changes. It begins at once, but however often it is called,
// rounds are never closer than that.
func (ps *Paths) Hurry(key Key, now time.Time) {
	p := ps.known[key]
	if p == nil || p.hurry || !p.online || p.silent() {
		return
	}
	p.hurry = true
	p.hurryAfter = p.newest
	soonest := ps.at(now)
	if p.newest >= p.first {
		soonest = max(soonest, p.round(p.newest).sent+p.rules.fastInterval())
	}
	p.next = min(p.next, soonest)
}

// Wake returns when Due or Check will have something to do next, the zero time
// for never. A Check that comes much later takes it that the process was
// stopped meanwhile.
func (ps *Paths) Wake() time.Time {
	var wake time.Duration
	found := false
	sooner := func(t time.Duration) {
		if !found || t < wake {
			wake, found = t, true
		}
	}
	for _, p := range ps.paths {
		if p.targets == 0 {
			continue
		}
		sooner(p.next)
		if deadline, pending := p.deadline(); pending {
			sooner(max(deadline, ps.grace))
		}
	}
	if ps.changed {
		sooner(max(ps.changedAt, ps.grace))
	}
	ps.asked, ps.hasAsked = wake, found
	if !found {
		return time.Time{}
	}
	return ps.start.Add(wake)
}

func (ps *Paths) change(t time.Duration) {
	if !ps.changed {
		ps.changed, ps.changedAt = true, t
	}
}
