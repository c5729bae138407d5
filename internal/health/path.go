package health

import "time"

// path is one path: its rules, its verdict, and what the verdict rests on.
type path struct {
	key   Key
	rules Rules

	online bool
	since  time.Duration
	reason string

	next time.Duration // when the next round is due
	// hurry: the path is probed at the fast interval until a round above
	// hurryAfter is answered.
	hurry      bool
	hurryAfter uint32

	history
	damping
}

// interval lies between two rounds at present.
func (p *path) interval() time.Duration {
	if p.hurry {
		return p.rules.fastInterval()
	}
	return p.rules.Interval
}

// nextTick is the next multiple of the interval, so that paths with equal
// intervals are probed together. One that is closer than a fifth of it is left
// out, as two rounds at once would be lost together; a gap is then a fifth
// longer.
func nextTick(now, interval time.Duration) time.Duration {
	next := (now/interval + 1) * interval
	if hurryFactor*(next-now) < interval {
		next += interval
	}
	return next
}

// calmDown ends the fast interval.
func (p *path) calmDown() {
	if !p.hurry {
		return
	}
	p.hurry = false
	p.next = nextTick(p.round(p.newest).sent, p.rules.Interval)
}

func (p *path) silent() bool { return p.misses() >= p.rules.Down }

// patience is by how much the silence of paths that fell silent together may
// differ: a round can be up to an interval later on one than on another, and an
// answer just within the time limit.
func (p *path) patience() time.Duration { return p.interval() + p.rules.Timeout }

// aliveAfter reports whether the path was heard so long after another fell
// silent that they did not do so together. One that was never heard was not.
func (p *path) aliveAfter(silent *path) bool {
	return p.answeredAt >= silent.quietSince+silent.patience()
}

// isPeer reports whether the other path can carry what this one does: it is
// another member's, in the same family. What happens to the targets of one
// family tells nothing of the other.
func (p *path) isPeer(other *path) bool {
	return other != p && other.key.Family == p.key.Family
}

// good reports whether the path is fit to carry what another is relieved of.
func (p *path) good() bool {
	return p.online && p.misses() == 0 && p.answeredAt != unheard && !p.tooLossy() && !p.tooSlow()
}
