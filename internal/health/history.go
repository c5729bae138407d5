package health

import (
	"slices"
	"time"
)

// history keeps the results of the rounds of one path, numbered as they are sent.
// A round is answered when enough targets have answered; it ends when all have, or
// its time limit has passed. Rounds end in order, and one that ends unanswered is
// missed, until a late answer comes: a path that is slower than the time limit
// carries packets all the same. Whether it is too slow is for the limits of latency.
type history struct {
	rules  Rules
	rounds []round // ring, by number
	first  uint32  // the oldest round under the present rules
	newest uint32  // the newest that was sent
	ended  uint32  // the newest that ended

	// missesAfter is the round after which misses in a row are counted: the
	// newest that had ended when an answer came, or the answered one itself.
	missesAfter uint32
	// runStart to runEnd are the newest answered rounds in a row, none where
	// runEnd is smaller.
	runStart, runEnd uint32
	// quietSince is when the last round was answered, or from when on an answer
	// may be expected.
	quietSince time.Duration
	// answeredAt is when the last round was answered; unheard: none was.
	answeredAt time.Duration

	// judgedFrom is the first round whose loss and latency count. It is moved
	// past a silence, or coming back would take a whole window.
	judgedFrom uint32
	tallies    []tally // of the sample that was taken last
}

// round is one probe to each target of the path.
type round struct {
	sent      time.Duration
	answers   int             // targets that answered
	latencies []time.Duration // of each target; 0: no answer, wrong: not the right one
}

// wrong is the latency of a target in whose place a portal answered.
const wrong = -1

// unheard is the answeredAt of a path that never answered, before any time.
const unheard = -1

// newHistory returns an empty history. Its rounds have numbers above last, so
// that answers to earlier rounds are not taken for answers to these.
func newHistory(r Rules, last uint32, now time.Duration) history {
	// Another path may have this one asked as often as itself.
	inFlight := int(r.Timeout/shortestInterval) + 2
	h := history{
		rules:  r,
		rounds: make([]round, max(r.Window, r.Down, r.Up)+inFlight+r.Up),
		first:  last + 1, newest: last, ended: last, missesAfter: last,
		quietSince: now, answeredAt: unheard,
		tallies: make([]tally, len(r.Targets)),
	}
	for i := range h.rounds {
		h.rounds[i].latencies = make([]time.Duration, len(r.Targets))
	}
	h.judgeFrom(last + 1)
	return h
}

// judgeFrom starts loss, latency and hits in a row anew at a round.
func (h *history) judgeFrom(number uint32) {
	h.judgedFrom = number
	h.runStart, h.runEnd = number, number-1
}

// targets returns how many targets the path has.
func (h *history) targets() int { return len(h.rules.Targets) }

func (h *history) round(number uint32) *round {
	return &h.rounds[number%uint32(len(h.rounds))]
}

// isOpen reports whether an answer to a round still counts. The Up rounds before
// it are in the ring as well: it may close the gap to them.
func (h *history) isOpen(number uint32) bool {
	return h.holds(number) && h.newest-number < uint32(len(h.rounds)-h.rules.Up)
}

// holds reports whether a round is still in the ring.
func (h *history) holds(number uint32) bool {
	return number >= h.first && number <= h.newest && h.newest-number < uint32(len(h.rounds))
}

// answered reports whether enough targets have answered a round.
func (h *history) answered(number uint32) bool { return h.round(number).answers >= h.rules.Needed }

// send begins a round, sent now, and returns its number.
func (h *history) send(now time.Duration) uint32 {
	// The ring must keep a whole window of rounds that ended.
	for int(h.newest-h.ended)+h.rules.Window >= len(h.rounds) && h.ended < h.newest {
		h.ended++
	}
	h.newest++
	round := h.round(h.newest)
	round.sent, round.answers = now, 0
	clear(round.latencies)
	return h.newest
}

// answer records a target's answer, and reports whether it makes the round answered.
func (h *history) answer(number uint32, target int, at time.Duration) bool {
	round := h.round(number)
	if !h.isOpen(number) || target < 0 || target >= len(round.latencies) || round.latencies[target] != 0 {
		return false // forgotten, or a duplicate
	}
	round.latencies[target] = max(at-round.sent, 1)
	round.answers++
	if round.answers != h.rules.Needed {
		return false
	}
	h.hit(number, at)
	return true
}

// meetsPortal reports whether a portal answered one of the last Down rounds.
func (h *history) meetsPortal() bool {
	for number := h.ended; h.ended-number < uint32(h.rules.Down); number-- {
		if slices.Contains(h.round(number).latencies, wrong) {
			return true
		}
	}
	return false
}

// hit records that a round is answered now.
func (h *history) hit(number uint32, at time.Duration) {
	if h.misses() >= h.rules.Down {
		// Rounds that were sent before the path came back and are still under
		// way belong to the silence too.
		h.judgeFrom(max(number, h.ended+1))
	}
	// Whatever was missed so far: the path carries packets now.
	h.missesAfter = max(h.missesAfter, h.ended, number)
	h.quietSince = max(h.quietSince, at)
	h.answeredAt = max(h.answeredAt, at)
	h.extendRun(number)
}

// extendRun adds an answered round to the answered ones in a row.
func (h *history) extendRun(number uint32) {
	if number > h.runEnd+1 {
		h.runStart = number
	}
	h.runEnd = max(h.runEnd, number)
	// A late answer may close the gap before them.
	for before := h.runStart - 1; before >= h.judgedFrom && h.holds(before) && h.answered(before); before-- {
		h.runStart = before
	}
}

// end ends the rounds that are over, and reports whether there was any.
func (h *history) end(now time.Duration) bool {
	before := h.ended
	for h.ended < h.newest && h.over(h.ended+1, now) {
		h.ended++
	}
	return h.ended != before
}

// over reports whether nothing more is expected of a round.
func (h *history) over(number uint32, now time.Duration) bool {
	round := h.round(number)
	return !slices.Contains(round.latencies, 0) || now >= round.sent+h.rules.Timeout
}

// deadline returns when the next round will be missed; never if none is under way.
func (h *history) deadline() time.Duration {
	for number := h.ended + 1; number <= h.newest; number++ {
		if !h.answered(number) {
			return h.round(number).sent + h.rules.Timeout
		}
	}
	return never
}

// misses returns how many rounds in a row were missed, up to now.
func (h *history) misses() int { return max(int(h.ended)-int(h.missesAfter), 0) }

// run returns how many rounds in a row were answered, up to the newest answer.
func (h *history) run() int { return int(h.runEnd + 1 - h.runStart) }

// forgive starts the count of misses anew with the next round.
func (h *history) forgive(now time.Duration) {
	h.missesAfter = h.newest
	h.quietSince = now
	h.judgeFrom(h.newest + 1)
}
