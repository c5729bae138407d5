package health

import "time"

// Waiting returns for how long the last round of a line has been without an
// answer, 0 if it is answered or none was sent, and the latency that is usual
// on the line, 0 where none is known.
func (ls *Lines) Waiting(key Key, now time.Time) (waited, latency time.Duration) {
	l := ls.known[key]
	if l == nil || l.targets == 0 {
		return 0, 0
	}
	latency, _ = l.latency(l.tallies, 1)
	if l.newest < l.first || l.answered(l.newest) {
		return 0, latency
	}
	return ls.at(now) - l.round(l.newest).sent, latency
}

// AnyWaiting reports whether the last round of some line has no answer yet.
func (ls *Lines) AnyWaiting() bool {
	for _, l := range ls.lines {
		if l.targets > 0 && l.newest >= l.first && !l.answered(l.newest) {
			return true
		}
	}
	return false
}

// doubtBefore is how long before it would fall silent a line is doubtful. It is
// what a slow router takes to read the tables.
const doubtBefore = 250 * time.Millisecond

// Doubtful returns the lines that are online and will soon be silent unless
// they answer: within doubtBefore, or half their time limit if that is less.
// next is when another one will be, the zero time if that cannot be told.
func (ls *Lines) Doubtful(now time.Time) (doubtful []Key, next time.Time) {
	t := ls.at(now)
	for _, l := range ls.lines {
		from, known := l.doubtfulFrom()
		switch at := ls.start.Add(from); {
		case !known:
		case from <= t:
			doubtful = append(doubtful, l.key)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return doubtful, next
}

// doubtfulFrom returns from when on the line is doubtful, which is known once
// the round was sent that is the last one it may miss.
func (l *line) doubtfulFrom() (time.Duration, bool) {
	last := l.missesAfter + uint32(l.down)
	if !l.online || l.targets == 0 || l.silent() || !l.holds(last) {
		return 0, false
	}
	return l.round(last).sent + l.timeout - min(doubtBefore, l.timeout/2), true
}
