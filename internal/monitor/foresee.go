package monitor

import (
	"time"

	"loadbalance/internal/health"
	"loadbalance/internal/watch"
)

// foreseen is what was read since a verdict is near. The programs that read the
// chains, and the search for the line's connections, take half of the time from
// a verdict to the new state, and meanwhile packets go into the dead line.
type foreseen struct {
	at time.Time // when to look for doubtful lines again; zero: unknown
	// doubtful is for how many lines the last reading was made, of those that are
	// doubtful still.
	doubtful int
	// read says that there is a reading that no apply has used, and looked what
	// the kernel looked like before.
	read   bool
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
	m.applying = true
	m.foreseen.doubtful = len(doubtful)
	scope, expected := m.outcome.Scope, m.verdicts(doubtful...)
	go func() {
		r := result{readAhead: true}
		if r.before, r.looked = m.Watcher.Look(scope); r.looked == nil {
			m.Applier.ReadAhead(expected)
		}
		m.results <- r
	}()
}
