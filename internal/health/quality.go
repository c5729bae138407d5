package health

import (
	"slices"
	"time"
)

// fewTargets can be sorted without allocating.
const fewTargets = 8

// sample is what the targets of a path answered in some of its rounds.
type sample struct {
	needed  int
	rounds  int
	targets []tally
}

// tally counts what one target answered.
type tally struct {
	answered int
	latency  time.Duration // the sum
}

// sample takes the newest rounds for which isOver holds, at most a window of
// them, not before the first. It is valid until the next one is taken.
func (h *history) sample(first uint32, isOver func(number uint32) bool) sample {
	clear(h.tallies)
	s := sample{needed: h.rules.Needed, targets: h.tallies}
	for number := h.newest; s.rounds < h.rules.Window && number >= first && h.holds(number); number-- {
		if !isOver(number) {
			continue
		}
		s.rounds++
		for i, latency := range h.round(number).latencies {
			if latency > 0 { // neither missing nor wrong
				s.targets[i].answered++
				s.targets[i].latency += latency
			}
		}
	}
	return s
}

// judged is what loss and latency are judged by.
func (h *history) judged() sample {
	return h.sample(h.judgedFrom, func(number uint32) bool { return number <= h.ended })
}

// lost returns how many probes went unanswered to the worst target that is needed:
// with reliability 2 of 3, that is the second best.
func (s sample) lost() int {
	if s.needed == 0 {
		return 0
	}
	sorted := make([]int, 0, fewTargets)
	for _, t := range s.targets {
		sorted = append(sorted, s.rounds-t.answered)
	}
	slices.Sort(sorted)
	return sorted[s.needed-1]
}

// latency returns the mean time to an answer of the slowest target that is needed,
// among those with at least that many answers, if these are enough.
func (s sample) latency(least int) (mean time.Duration, known bool) {
	sorted := make([]time.Duration, 0, fewTargets)
	for _, t := range s.targets {
		if t.answered > 0 && t.answered >= least {
			sorted = append(sorted, t.mean().Truncate(time.Microsecond))
		}
	}
	slices.Sort(sorted)
	if s.needed == 0 || len(sorted) < s.needed {
		return 0, false
	}
	return sorted[s.needed-1], true
}

func (t *tally) mean() time.Duration { return t.latency / time.Duration(max(t.answered, 1)) }

// judgedLatency returns the latency that is compared with the limits: the few answers
// of a dying target, less than half, say nothing about the path.
func (s sample) judgedLatency() (time.Duration, bool) { return s.latency((s.rounds + 1) / 2) }

// tooLossy reports whether the loss is at the limit that takes a path offline. Rounds
// that are missing in the window count as answered: the first three are no measure.
func (p *path) tooLossy() bool {
	limit := p.rules.FailureLoss
	return limit > 0 && p.judged().lost()*100 >= limit*p.rules.Window
}

// tooSlow reports whether the latency is at its limit, once half the window is full.
func (p *path) tooSlow() bool {
	limit := p.rules.FailureLatency
	if limit == 0 {
		return false
	}
	s := p.judged()
	latency, known := s.judgedLatency()
	return known && 2*s.rounds >= p.rules.Window && latency >= limit
}

// goodEnough reports whether loss and latency since the last silence are known, as
// far as there are limits, and below those under which a path may come back.
func (p *path) goodEnough() bool {
	s := p.judged()
	if lost, limit := s.lost(), p.rules.recoveryLoss(); limit > 0 && lost > 0 && lost*100 >= limit*s.rounds {
		return false
	}
	limit := p.rules.recoveryLatency()
	if limit == 0 {
		return true
	}
	latency, known := s.judgedLatency()
	return known && latency < limit
}
