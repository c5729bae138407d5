package health

import "time"

// line is one line: its rules, its verdict, and what the verdict rests on.
type line struct {
	key   Key
	rules Rules

	online bool
	since  time.Duration
	reason string

	next time.Duration // when the next round is due
	// hurry: the line is probed at the fast interval until a round above
	// hurryAfter is answered.
	hurry      bool
	hurryAfter uint32

	history
	damping
}

// interval lies between two rounds at present.
func (l *line) interval() time.Duration {
	if l.hurry {
		return l.rules.fastInterval()
	}
	return l.rules.Interval
}

// nextTick is the next multiple of the interval, so that lines with equal
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
func (l *line) calmDown() {
	if !l.hurry {
		return
	}
	l.hurry = false
	l.next = nextTick(l.round(l.newest).sent, l.rules.Interval)
}

func (l *line) silent() bool { return l.misses() >= l.rules.Down }

// patience is by how much the silence of lines that fell silent together may
// differ: a round can be up to an interval later on one than on another, and an
// answer just within the time limit.
func (l *line) patience() time.Duration { return l.interval() + l.rules.Timeout }

// aliveAfter reports whether the line was heard so long after another fell
// silent that they did not do so together. One that was never heard was not.
func (l *line) aliveAfter(silent *line) bool {
	return l.answeredAt >= silent.quietSince+silent.patience()
}

// isPeer reports whether the other line can carry what this one does: it is
// another member's, in the same family. What happens to the targets of one
// family tells nothing of the other.
func (l *line) isPeer(other *line) bool {
	return other != l && other.key.Family == l.key.Family
}

// good reports whether the line is fit to carry what another is relieved of.
func (l *line) good() bool {
	return l.online && l.misses() == 0 && l.answeredAt != unheard && !l.tooLossy() && !l.tooSlow()
}
