package health

import "time"

// path is one member in one family: how it is probed, its verdict, and the
// results that the verdict rests on. Times are durations since Paths.start.
type path struct {
	key    Key
	online bool
	since  time.Duration
	reason string
	portal bool   // offline because a portal answers
	met    Portal // the newest answer of one

	next time.Duration // when the next round is due

	history
	damping
}

// nextTick returns the next multiple of the interval, so that paths with equal ones
// are probed together. A tick that is less than a fifth of the interval away is
// skipped: two rounds that close would be lost together.
func nextTick(now, interval time.Duration) time.Duration {
	next := (now/interval + 1) * interval
	if 5*(next-now) < interval {
		next += interval
	}
	return next
}

// silent reports whether Down or more rounds in a row were missed.
func (p *path) silent() bool { return p.misses() >= p.rules.Down }

// knowsPortal reports whether the newest wrong answer is one of a portal. With
// 429 or a status of the 5xx, 511 aside, the target itself may be in trouble (RFC
// 6585; RFC 9110, section 15.6), for all paths at once.
func (p *path) knowsPortal() bool {
	return p.met.Status != 429 && p.met.Status/100 != 5 || p.met.Status == 511
}

// patience is by how much a silence can begin later on another path: its round may
// be sent an interval later, and be answered just within the time limit.
func (p *path) patience() time.Duration { return p.rules.Interval + p.rules.Timeout }

// aliveAfter reports whether the path answered so long after another fell
// silent that they cannot have fallen silent together.
func (p *path) aliveAfter(silent *path) bool {
	return p.answeredAt >= silent.quietSince+silent.patience()
}

// isPeer reports whether other is the path of another member in the same
// family: it can carry what this one does, and has targets of the same kind.
func (p *path) isPeer(other *path) bool {
	return other != p && other.key.Family == p.key.Family
}

// good reports whether a path answers and is within its limits.
func (p *path) good() bool {
	return p.misses() == 0 && p.answeredAt != unheard && !p.tooLossy() && !p.tooSlow()
}
