package monitor

import (
	"time"

	"loadbalance/internal/health"
)

const (
	// An answer is late after lateFactor times the line's usual latency, at
	// least lateLeast: only then is it worth the price of looking at the
	// connections (10 ms on a PC, however few there are).
	lateFactor = 4
	lateLeast  = 50 * time.Millisecond
	// lateUnknown is taken while a line has never answered.
	lateUnknown = 250 * time.Millisecond
	// evidenceEvery bounds what the looks at the connections cost. It is the
	// default interval: each round that is late is worth a look, since the
	// first one mostly comes too early for connections to tell anything.
	evidenceEvery = 500 * time.Millisecond
	// unansweredLeast connections without an answer are evidence. They are not
	// compared with all of the line's, most of which are idle or over. Wrong
	// evidence does no harm: it only has probes sent earlier, so a low bar
	// serves.
	unansweredLeast = 3
)

// suspects remembers when to ask the connections about lines whose probes are
// late.
type suspects struct {
	at     time.Time // zero: never
	looked time.Time
	asking bool
}

// sent notes that probes have left.
func (s *suspects) sent(now time.Time, latency time.Duration) {
	late := max(lateFactor*latency, lateLeast)
	if latency == 0 {
		late = lateUnknown
	}
	if at := now.Add(late); s.at.IsZero() || at.Before(s.at) {
		s.at = at
	}
}

// suspect asks the connections about lines whose probes are late, and has
// those probed faster whose connections get no answers either. A probe may be
// lost without meaning; users' connections cannot all be.
func (m *Monitor) suspect(now time.Time) {
	if m.suspects.at.IsZero() || now.Before(m.suspects.at) {
		return
	}
	m.suspects.at = time.Time{}
	late := m.latePaths(now)
	if len(late) == 0 || m.suspects.asking || now.Sub(m.suspects.looked) < evidenceEvery {
		return
	}
	m.suspects.looked, m.suspects.asking = now, true
	config, members := m.outcome.Config, m.outcome.Members
	go func() {
		found, err := m.Connections.Unanswered(config, members)
		m.evidence <- evidence{late, found, err}
	}()
}

// evidence is what the connections told about late lines.
type evidence struct {
	late  []health.Key
	found map[health.Key]int // connections without an answer
	err   error
}

// latePaths are online paths of members with option passive whose last round
// should have been answered by now.
func (m *Monitor) latePaths(now time.Time) []health.Key {
	var late []health.Key
	for _, key := range m.paths.Keys() {
		member := m.member(key.Member)
		if member == nil || !member.Track.Passive {
			continue
		}
		online, _ := m.paths.Online(key)
		waiting, latency := m.paths.Waiting(key, now)
		if online && waiting > 0 && waiting >= max(lateFactor*latency, lateLeast) {
			late = append(late, key)
		}
	}
	return late
}

// hurry probes the lines faster whose connections are not answered.
func (m *Monitor) hurry(e evidence, now time.Time) {
	m.suspects.asking = false
	if e.err != nil {
		m.Log("debug", "passive evidence: "+e.err.Error())
		return
	}
	for _, key := range e.late {
		if e.found[key] >= unansweredLeast {
			m.paths.Hurry(key, now)
		}
	}
}
