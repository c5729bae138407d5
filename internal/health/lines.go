// Package health judges which lines work. It owns the verdict of each line, a
// member in one family: from the probes that were sent and the answers that
// came it works out who is online. It neither probes nor looks at a clock.
package health

import "time"

// Lines are the lines that are probed, and their verdicts. The times that are
// handed in must never go back; those of one process do not, since they carry
// the monotonic clock. Not safe for concurrent use.
type Lines struct {
	lines []*line // ordered by key
	known map[Key]*line
	// removed is how the lines flapped that are not probed at present: one
	// whose link comes and goes must not begin anew each time.
	removed map[Key]damping

	started bool
	start   time.Time     // all durations are counted from here
	latest  time.Duration // that was handed in

	silent  Silence // see Silent
	waiting bool    // the verdict of a line waits for what others answer

	changed   bool // Check has something to do that no time limit tells
	changedAt time.Duration

	asked    time.Duration // what Wake returned last
	hasAsked bool
	grace    time.Duration // no judgement before; 0: none is put off

	due []Key
}

// NewLines returns none.
func NewLines() *Lines {
	return &Lines{known: make(map[Key]*line), removed: make(map[Key]damping)}
}

// at converts a time into the one that is used inside.
func (ls *Lines) at(now time.Time) time.Duration {
	if !ls.started {
		ls.started, ls.start = true, now
	}
	ls.latest = max(ls.latest, now.Sub(ls.start))
	return now.Sub(ls.start)
}

// Set adds a line with its first verdict, or changes the rules of a known one,
// which keeps its verdict and starts its history anew. Equal rules change
// nothing. The line's first round is due at once.
func (ls *Lines) Set(key Key, rules Rules, online bool, now time.Time) {
	t := ls.at(now)
	l := ls.known[key]
	if l == nil {
		l = &line{key: key, online: online, since: t, damping: ls.removed[key]}
		delete(ls.removed, key)
		l.onlineAt, l.calmSince = t, t
		ls.insert(l)
	} else if l.rules.equal(&rules) {
		return
	}
	l.rules = rules
	l.history = newHistory(&l.rules, l.newest, t)
	l.hurry = false
	l.next = t
	ls.change(t)
}

func (ls *Lines) insert(l *line) {
	ls.known[l.key] = l
	ls.lines = append(ls.lines, l)
	for i := len(ls.lines) - 1; i > 0 && l.key.before(ls.lines[i-1].key); i-- {
		ls.lines[i-1], ls.lines[i] = ls.lines[i], ls.lines[i-1]
	}
}

func (k Key) before(other Key) bool {
	if k.Member != other.Member {
		return k.Member < other.Member
	}
	return k.Family < other.Family
}

// Remove takes a line out that is no longer probed, since its link is down or
// it is no longer configured. Only how often it flapped is remembered.
func (ls *Lines) Remove(key Key) {
	l := ls.known[key]
	if l == nil {
		return
	}
	delete(ls.known, key)
	ls.removed[key] = l.damping
	for i := range ls.lines {
		if ls.lines[i] == l {
			ls.lines = append(ls.lines[:i], ls.lines[i+1:]...)
			break
		}
	}
	ls.change(ls.latest)
}

// Keys returns the lines, by member and family.
func (ls *Lines) Keys() []Key {
	keys := make([]Key, 0, len(ls.lines))
	for _, l := range ls.lines {
		keys = append(keys, l.key)
	}
	return keys
}

// Online returns the verdict of a line, and whether the line is known.
func (ls *Lines) Online(key Key) (online, known bool) {
	l := ls.known[key]
	if l == nil {
		return false, false
	}
	return l.online, true
}

// Silent returns the families in which all lines that are online, of two members
// at least, fell silent together. That is trouble of the targets or further
// upstream: no verdict is passed until one of them answers, and then all others
// are given as many misses as after an answer.
func (ls *Lines) Silent() Silence { return ls.silent }

// Due returns the lines whose next round is to be sent now, and puts down the
// one after it. Sent is to be called for each of them, also where sending
// failed: the round is then missed. Rounds for which nobody asked in time are
// not made up for. The result is valid until the next call.
func (ls *Lines) Due(now time.Time) []Key {
	t := ls.at(now)
	ls.due = ls.due[:0]
	for _, l := range ls.lines {
		if l.targets == 0 || t < l.next {
			continue
		}
		l.next = nextTick(t, l.interval())
		ls.due = append(ls.due, l.key)
	}
	return ls.due
}

// Sent takes note that a round was sent to all targets of a line, and returns
// its number. A line that is not known has round 0.
func (ls *Lines) Sent(key Key, now time.Time) (round uint32) {
	l := ls.known[key]
	if l == nil {
		return 0
	}
	return l.send(ls.at(now))
}

// Answered takes the answer of a target, counted from 0, to a round. Answers to
// rounds that are forgotten, and second ones, are ignored. Check is to be
// called after the answers that lay there are handed in.
func (ls *Lines) Answered(key Key, round uint32, target int, at time.Time) {
	l := ls.known[key]
	if l == nil {
		return
	}
	t := ls.at(at)
	wasSilent := l.silent()
	if l.holds(round) && round <= l.ended {
		ls.change(t) // it is late, and changes loss and latency
	}
	if !l.answer(round, target, t) {
		return
	}
	if wasSilent {
		l.calmSince = t
	}
	if l.hurry && round > l.hurryAfter {
		l.calmDown()
	}
	if !l.online || ls.waiting {
		ls.change(t)
	}
}

// Hurry has a line that may be dead probed at the fast interval, a fifth of its
// own and at least 50 ms, until a round is answered that was sent after now, or
// its verdict changes. It begins at once, but however often it is called, rounds
// are never closer than that.
func (ls *Lines) Hurry(key Key, now time.Time) {
	l := ls.known[key]
	if l == nil || l.hurry || !l.online || l.silent() {
		return
	}
	l.hurry = true
	l.hurryAfter = l.newest
	soonest := ls.at(now)
	if l.newest >= l.first {
		soonest = max(soonest, l.round(l.newest).sent+l.rules.fastInterval())
	}
	l.next = min(l.next, soonest)
}

// Wake returns when Due or Check will have something to do next, the zero time
// for never. A Check that comes much later takes it that the process was
// stopped meanwhile.
func (ls *Lines) Wake() time.Time {
	var wake time.Duration
	found := false
	sooner := func(t time.Duration) {
		if !found || t < wake {
			wake, found = t, true
		}
	}
	for _, l := range ls.lines {
		if l.targets == 0 {
			continue
		}
		sooner(l.next)
		if deadline, pending := l.deadline(); pending {
			sooner(max(deadline, ls.grace))
		}
	}
	if ls.changed {
		sooner(max(ls.changedAt, ls.grace))
	}
	ls.asked, ls.hasAsked = wake, found
	if !found {
		return time.Time{}
	}
	return ls.start.Add(wake)
}

func (ls *Lines) change(t time.Duration) {
	if !ls.changed {
		ls.changed, ls.changedAt = true, t
	}
}
