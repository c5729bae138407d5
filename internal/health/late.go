package health

import "time"

// Waiting returns how long the last round of a path has been waiting for an
// answer, 0 if it is answered or none was sent, and the usual latency of the
// path, 0 if it is not known.
func (ps *Paths) Waiting(key Key, now time.Time) (waited, latency time.Duration) {
	p := ps.known[key]
	if p == nil || p.targets() == 0 {
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
		if p.targets() > 0 && p.newest >= p.first && !p.answered(p.newest) {
			return true
		}
	}
	return false
}
