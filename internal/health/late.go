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

// AnyWaiting says whether the last round of some line has no answer yet.
func (ls *Lines) AnyWaiting() bool {
	for _, l := range ls.lines {
		if l.targets > 0 && l.newest >= l.first && !l.answered(l.newest) {
			return true
		}
	}
	return false
}
