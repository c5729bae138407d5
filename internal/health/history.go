package health

import "time"

// history keeps the results of the rounds of one path. Rounds are numbered in
// the order of sending. A round is answered when enough targets have answered;
// it ends when all targets have answered or its time limit has passed. Rounds
// end in order, and one that ends unanswered is missed, until a late answer
// comes.
//
// Late answers count like others. A path that is slower than the time limit
// carries packets all the same: it stays online, and comes back after an
// outage. If it is too slow to be of use, that is for the limits of latency to
// decide.
type history struct {
	targets, needed int
	window, down    int
	timeout         time.Duration

	rounds    []round  // ring, by number
	latencies []uint32 // for each round of the ring and each target, see compact
	first     uint32   // the oldest round under the present rules
	newest    uint32   // the newest that was sent
	ended     uint32   // the newest that ended

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
	tallies    []tally // of each target, over the judged rounds that ended
	scratch    []int   // for sorting the targets
}

// round is one probe to each target of the path.
type round struct {
	sent    time.Duration
	answers int // targets that answered
}

// tally counts what one target answered.
type tally struct {
	lost, answered int
	latency        time.Duration // the sum
}

// unheard is the answeredAt of a path that never answered. It is before any
// time.
const unheard = -1

// newHistory returns an empty history. Its rounds have numbers above last, so
// that answers to earlier rounds are not taken for answers to these.
func newHistory(r *Rules, last uint32, now time.Duration) history {
	inFlight := int(r.Timeout/r.fastInterval()) + 2
	length := max(r.Window, r.Down, r.Up) + inFlight
	h := history{
		targets: len(r.Targets), needed: r.Needed, window: r.Window, down: r.Down, timeout: r.Timeout,
		rounds:    make([]round, length),
		latencies: make([]uint32, length*len(r.Targets)),
		first:     last + 1, newest: last, ended: last, missesAfter: last,
		quietSince: now, answeredAt: unheard,
		tallies: make([]tally, len(r.Targets)),
		scratch: make([]int, 0, len(r.Targets)),
	}
	h.judgeFrom(last + 1)
	return h
}

// judgeFrom starts loss, latency and hits in a row anew at a round.
func (h *history) judgeFrom(number uint32) {
	h.judgedFrom = number
	h.runStart, h.runEnd = number, number-1
	clear(h.tallies)
}

func (h *history) round(number uint32) *round {
	return &h.rounds[int(number)%len(h.rounds)]
}

// cells returns the latencies of a round, one for each target; see compact.
func (h *history) cells(number uint32) []uint32 {
	at := int(number) % len(h.rounds) * h.targets
	return h.latencies[at : at+h.targets]
}

// holds reports whether a round is still in the ring.
func (h *history) holds(number uint32) bool {
	return number >= h.first && number <= h.newest && h.newest-number < uint32(len(h.rounds))
}

// answered reports whether enough targets have answered a round.
func (h *history) answered(number uint32) bool { return h.round(number).answers >= h.needed }

// compact returns a latency in microseconds plus 1, since 0 is no answer. 32
// bits last for 71 minutes, longer than any target takes.
func compact(d time.Duration) uint32 {
	const longest = 1<<32 - 2
	return uint32(min(max(d.Microseconds(), 0), longest)) + 1
}

// expand is the reverse of compact, for an answer.
func expand(cell uint32) time.Duration { return time.Duration(cell-1) * time.Microsecond }

// send begins a round, sent now, and returns its number.
func (h *history) send(now time.Duration) uint32 {
	// The ring must keep the oldest rounds of the window: it needs them when
	// the window moves on.
	for int(h.newest-h.ended)+h.window >= len(h.rounds) && h.ended < h.newest {
		h.endNext()
	}
	h.newest++
	*h.round(h.newest) = round{sent: now}
	clear(h.cells(h.newest))
	return h.newest
}

// answer records the answer of a target, and reports whether it is the one that
// makes the round answered.
func (h *history) answer(number uint32, target int, at time.Duration) bool {
	if !h.holds(number) || target < 0 || target >= h.targets {
		return false
	}
	cell := &h.cells(number)[target]
	if *cell != 0 {
		return false // a duplicate
	}
	round := h.round(number)
	*cell = compact(at - round.sent)
	round.answers++
	if number <= h.ended && h.judged(number) {
		h.tallies[target].lost--
		h.tallies[target].add(*cell)
	}
	if round.answers != h.needed {
		return false
	}
	h.hit(number, at)
	return true
}

// hit records that a round is answered now.
func (h *history) hit(number uint32, at time.Duration) {
	if h.misses() >= h.down {
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
	switch {
	case number < h.judgedFrom:
		return
	case number > h.runEnd+1 || h.runEnd < h.runStart:
		h.runStart, h.runEnd = number, number
	case number == h.runEnd+1:
		h.runEnd = number
	}
	// A late answer closes the gap before the run, or part of it.
	for before := h.runStart - 1; before >= h.judgedFrom && h.holds(before) && h.answered(before); before-- {
		h.runStart = before
	}
}

// end ends the rounds that are over, and reports whether there was any.
func (h *history) end(now time.Duration) bool {
	before := h.ended
	for h.ended < h.newest && h.over(h.ended+1, now) {
		h.endNext()
	}
	return h.ended != before
}

// over reports whether nothing more is expected of a round.
func (h *history) over(number uint32, now time.Duration) bool {
	round := h.round(number)
	return round.answers == h.targets || now >= round.sent+h.timeout
}

// endNext ends the oldest round under way and moves the window on by one.
func (h *history) endNext() {
	h.ended++
	if h.ended < h.judgedFrom {
		return
	}
	for i, cell := range h.cells(h.ended) {
		h.tallies[i].add(cell)
	}
	if h.ended-h.judgedFrom < uint32(h.window) {
		return
	}
	for i, cell := range h.cells(h.ended - uint32(h.window)) {
		h.tallies[i].remove(cell)
	}
}

// judged reports whether a round that ended lies in the judged window.
func (h *history) judged(number uint32) bool {
	return number >= h.judgedFrom && h.ended-number < uint32(h.window)
}

// deadline returns when the next round will be missed; pending is false if no
// unanswered round is under way.
func (h *history) deadline() (at time.Duration, pending bool) {
	for number := h.ended + 1; number <= h.newest; number++ {
		if !h.answered(number) {
			return h.round(number).sent + h.timeout, true
		}
	}
	return 0, false
}

// misses returns how many rounds in a row were missed, up to now.
func (h *history) misses() int {
	if h.ended <= h.missesAfter {
		return 0
	}
	return int(h.ended - h.missesAfter)
}

// run returns how many rounds in a row were answered, up to the newest answer.
func (h *history) run() int { return int(h.runEnd + 1 - h.runStart) }

// forgive starts the count of misses anew with the next round.
func (h *history) forgive(now time.Duration) {
	h.missesAfter = h.newest
	h.quietSince = now
	h.judgeFrom(h.newest + 1)
}
