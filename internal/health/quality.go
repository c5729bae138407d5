package health

import (
	"slices"
	"time"
)

// count adds the answer to a round, with times 1, or takes it away, with -1. A
// latency of 0 is no answer.
func (t *tally) count(latency time.Duration, times int) {
	if latency == 0 {
		t.lost += times
		return
	}
	t.answered += times
	t.latency += time.Duration(times) * latency
}

// seen returns how many rounds of the judged window have ended.
func (h *history) seen() int {
	if h.ended < h.judgedFrom {
		return 0
	}
	return min(int(h.ended-h.judgedFrom)+1, h.rules.Window)
}

// lost returns how many probes went unanswered to the worst target that is
// needed: with reliability 2 of 3, that is the second best. Targets that are
// not needed do no harm, however bad they are.
func (h *history) lost(tallies []tally) int {
	if h.rules.Needed == 0 {
		return 0
	}
	sorted := h.scratch[:0]
	for _, t := range tallies {
		sorted = append(sorted, t.lost)
	}
	slices.Sort(sorted)
	return sorted[h.rules.Needed-1]
}

// latency returns the mean time to an answer of the slowest target that is
// needed, among those with at least that many answers. known is false if these
// targets are too few.
func (h *history) latency(tallies []tally, least int) (mean time.Duration, known bool) {
	sorted := h.scratch[:0]
	for _, t := range tallies {
		if t.answered > 0 && t.answered >= least {
			sorted = append(sorted, int(t.mean().Microseconds()))
		}
	}
	slices.Sort(sorted)
	if h.rules.Needed == 0 || len(sorted) < h.rules.Needed {
		return 0, false
	}
	return time.Duration(sorted[h.rules.Needed-1]) * time.Microsecond, true
}

func (t *tally) mean() time.Duration {
	if t.answered == 0 {
		return 0
	}
	return t.latency / time.Duration(t.answered)
}

// judgedLatency returns the latency that is compared with the limits. Only
// targets that answered at least half the rounds have one: the few answers of a
// dying target say nothing about the path.
func (h *history) judgedLatency() (time.Duration, bool) {
	return h.latency(h.tallies, (h.seen()+1)/2)
}

// tooLossy reports whether the loss is at the limit that takes a path offline.
// Rounds that are still missing in the window count as answered, so that a path
// is not judged by its first three rounds.
func (p *path) tooLossy() bool {
	limit := p.rules.FailureLoss
	return limit > 0 && p.lost(p.tallies)*100 >= limit*p.rules.Window
}

// tooSlow reports whether the latency is at the limit that takes a path
// offline. It is not judged before half the window is full, for the same
// reason.
func (p *path) tooSlow() bool {
	limit := p.rules.FailureLatency
	if limit == 0 || 2*p.seen() < p.rules.Window {
		return false
	}
	latency, known := p.judgedLatency()
	return known && latency >= limit
}

// goodEnough reports whether loss and latency since the last silence are below
// the limits under which a path may come back. With a limit of latency, a
// latency must be known.
func (p *path) goodEnough() bool {
	lost, lossLimit := p.lost(p.tallies), p.rules.recoveryLoss()
	if lossLimit > 0 && lost > 0 && lost*100 >= lossLimit*p.seen() {
		return false
	}
	limit := p.rules.recoveryLatency()
	if limit == 0 {
		return true
	}
	latency, known := p.judgedLatency()
	return known && latency < limit
}
