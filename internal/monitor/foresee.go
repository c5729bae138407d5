package monitor

import (
	"time"

	"loadbalance/internal/health"
	"loadbalance/internal/watch"
)

const (
	// readingHolds is for how long a reading may be used: the verdict follows
	// within half a second, mostly. What is dealt in between is not counted.
	readingHolds = time.Second
	// readingPause lies between a reading that served no verdict and the next
	// one, so that a line that nearly dies all the time costs no more than the
	// looks at the kernel do.
	readingPause = 2 * time.Second
)

// foreseen is what was read because a verdict is near. The programs that read
// the chains, and the search for the line's connections, take half of the time
// from a verdict to the new state, and meanwhile packets go into the dead line.
type foreseen struct {
	at time.Time // when to look for doubtful lines again; zero: unknown
	// doubtful is how many lines were when the last reading was made, less those
	// that are not any more.
	doubtful int
	// read says that there is a reading that no apply has used, readAt since
	// when, and looked what the kernel looked like before.
	read   bool
	readAt time.Time
	looked watch.Fingerprint
}

// foresee reads ahead if lines have become doubtful.
func (m *Monitor) foresee(now time.Time) {
	var doubtful []health.Key
	doubtful, m.foreseen.at = m.lines.Doubtful(now)
	m.foreseen.doubtful = min(m.foreseen.doubtful, len(doubtful))
	if len(doubtful) == m.foreseen.doubtful || m.applying || !m.applied || !m.wanted.at.IsZero() {
		return
	}
	if m.foreseen.read && now.Sub(m.foreseen.readAt) < readingPause {
		return
	}
	m.applying = true
	m.foreseen.doubtful = len(doubtful)
	scope, mask, expected := m.outcome.Scope, m.outcome.Config.Globals.MarkMask, m.verdicts(doubtful...)
	go func() {
		r := result{readAhead: true}
		if r.before, r.looked = m.Watcher.Look(scope); r.looked == nil {
			m.Applier.ReadAhead(mask, expected)
		}
		m.results <- r
	}()
}

// holds says whether an apply may go by the reading, given what the kernel looks
// like now.
func (f foreseen) holds(now time.Time, looks watch.Fingerprint) bool {
	return f.read && now.Sub(f.readAt) <= readingHolds && looks == f.looked
}
