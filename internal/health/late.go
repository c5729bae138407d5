package health

import (
	"slices"
	"time"
)

// Waiting returns how long the last round of a path has been waiting for an
// answer, 0 if it is answered or none was sent, and the usual latency of the
// path, 0 if it is not known.
func (ps *Paths) Waiting(key Key, now time.Time) (waited, latency time.Duration) {
	p := ps.known[key]
	if p == nil {
		return 0, 0
	}
	latency, _ = p.judged().latency(1)
	if p.waits() {
		waited = ps.at(now) - p.round(p.newest).sent
	}
	return waited, latency
}

// AnyWaiting reports whether the last round of any path is still unanswered.
func (ps *Paths) AnyWaiting() bool { return slices.ContainsFunc(ps.paths, (*path).waits) }

func (p *path) waits() bool { return p.newest >= p.first && !p.answered(p.newest) }
