package health

import "time"

// Waiting returns how long the last round of a path has been waiting for an
// answer, 0 if it is answered or none was sent, and the usual latency of the
// path, 0 if it is not known.
func (ps *Paths) Waiting(key Key, now time.Time) (waited, latency time.Duration) {
	p := ps.known[key]
	if p == nil || p.targets == 0 {
		return 0, 0
	}
	latency, _ = p.latency(p.tallies, 1)
	if p.newest < p.first || p.answered(p.newest) {
		return 0, latency
	}
	return ps.at(now) - p.round(p.newest).sent, latency
}

// AnyWaiting reports whether the last round of any path is still unanswered.
func (ps *Paths) AnyWaiting() bool {
	for _, p := range ps.paths {
		if p.targets > 0 && p.newest >= p.first && !p.answered(p.newest) {
			return true
		}
	}
	return false
}

// doubtBefore is how long before it would fall silent a path is doubtful. It is
// what a slow router takes to read the tables.
const doubtBefore = 250 * time.Millisecond

// Doubtful returns the paths that are online and will soon be silent unless
// they answer: within doubtBefore, or half their time limit if that is less.
// next is when another one will be, the zero time if that cannot be told.
func (ps *Paths) Doubtful(now time.Time) (doubtful []Key, next time.Time) {
	t := ps.at(now)
	for _, p := range ps.paths {
		from, known := p.doubtfulFrom()
		switch at := ps.start.Add(from); {
		case !known:
		case from <= t:
			doubtful = append(doubtful, p.key)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return doubtful, next
}

// doubtfulFrom returns from when on the path is doubtful, which is known once
// the round was sent that is the last one it may miss.
func (p *path) doubtfulFrom() (time.Duration, bool) {
	last := p.missesAfter + uint32(p.down)
	if !p.online || p.targets == 0 || p.silent() || !p.holds(last) {
		return 0, false
	}
	return p.round(last).sent + p.timeout - min(doubtBefore, p.timeout/2), true
}
