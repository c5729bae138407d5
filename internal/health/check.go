package health

import "time"

// Transition is a verdict that changed.
type Transition struct {
	Key
	Online bool
	At     time.Time
	Reason string
}

// graceTime is for how long a judgement is put off after the process was
// stopped (suspended, starved, swapped out): answers then lie unread in the
// sockets. It is the shortest interval, and reading takes a few milliseconds.
const graceTime = minFast

// Check ends the rounds whose time limit has passed and returns the verdicts
// that change by it, lines that come back first.
func (ls *Lines) Check(now time.Time) []Transition {
	t := ls.at(now)
	if ls.stalled(t) {
		return nil
	}
	changed := ls.changed
	for _, l := range ls.lines {
		if l.end(t) || !l.online && l.run() >= l.rules.Up {
			changed = true
		}
	}
	if !changed {
		return nil
	}
	ls.changed = false
	c := check{Lines: ls, now: now, t: t}
	c.recover()
	c.judgeSilence()
	c.judgeQuality()
	return c.transitions
}

// stalled says whether the judgement is to be put off because Check was called
// late. That is done once: a process that is always late must judge as well.
func (ls *Lines) stalled(t time.Duration) bool {
	asked := ls.hasAsked
	ls.hasAsked = false
	if ls.grace != 0 {
		if t < ls.grace {
			return true
		}
		ls.grace = 0
		return false
	}
	if !asked || t <= ls.asked || t-ls.asked <= ls.tolerance() {
		return false
	}
	ls.grace = t + graceTime
	return true
}

// tolerance is by how much Check may be late: half the shortest interval.
func (ls *Lines) tolerance() time.Duration {
	var shortest time.Duration
	for _, l := range ls.lines {
		if interval := l.interval(); shortest == 0 || interval < shortest {
			shortest = interval
		}
	}
	return shortest / 2
}

// check is one call of Check.
type check struct {
	*Lines
	now         time.Time
	t           time.Duration
	transitions []Transition
}

func (c *check) pass(l *line, online bool, reason string) {
	l.online, l.since, l.reason = online, c.now, reason
	l.calmDown()
	if online {
		l.onlineAt = c.t
	} else {
		l.flap(c.t, time.Duration(l.rules.Up)*l.rules.Interval)
	}
	c.change(c.t) // another may wait for it
	c.transitions = append(c.transitions, Transition{Key: l.key, Online: online, At: c.now, Reason: reason})
}

// recover brings back the lines that answer again. Loss and latency only keep
// a line out while a line of another member is online: a bad one is better than
// none.
func (c *check) recover() {
	c.bringBack((*line).goodEnough)
	c.bringBack(c.isAlone)
}

func (c *check) bringBack(isFit func(*line) bool) {
	for _, l := range c.lines {
		if !l.online && l.misses() == 0 && l.ready(c.t) && isFit(l) {
			c.pass(l, true, l.recoveryReason())
		}
	}
}

// judgeSilence takes out the lines that fell silent, unless all did together.
func (c *check) judgeSilence() {
	if c.silent && !c.allQuiet() {
		c.silent = false
		c.forgive()
	}
	c.waiting = false
	for _, l := range c.lines {
		if !l.online || !l.silent() {
			continue
		}
		if c.isAlone(l) || c.isOutlived(l) {
			c.pass(l, false, l.silenceReason(c.t))
			continue
		}
		l.calmDown()
		c.waiting = true
		c.askOthers(l)
	}
	c.silent = c.waiting && c.allQuiet()
}

// allQuiet says whether no line that is online answers: each missed its newest
// rounds, one of them all that it may, and they belong to two members at least.
func (c *check) allQuiet() bool {
	var last *line
	several, silent := false, false
	for _, l := range c.lines {
		if !l.online || l.targets == 0 {
			continue
		}
		if l.misses() == 0 {
			return false
		}
		several = several || last != nil && last.key.Member != l.key.Member
		silent = silent || l.silent()
		last = l
	}
	return several && silent
}

// forgive gives the lines that were silent together their misses anew, now
// that one of them answers: they may take a moment longer.
func (c *check) forgive() {
	for _, l := range c.lines {
		if l.online && l.misses() > 0 {
			l.history.forgive(c.t)
		}
	}
}

// isAlone says whether no line of another member is online.
func (c *check) isAlone(l *line) bool {
	for _, other := range c.lines {
		if other.online && other.targets > 0 && other.key.Member != l.key.Member {
			return false
		}
	}
	return true
}

// isOutlived says whether another line that is online went on answering when
// this one fell silent.
func (c *check) isOutlived(l *line) bool {
	for _, other := range c.lines {
		if other != l && other.online && other.aliveAfter(l) {
			return true
		}
	}
	return false
}

// askOthers has the lines that may have fallen silent together with this one
// probed as often as it is, so that a line with a long interval does not keep
// the verdict waiting.
func (c *check) askOthers(l *line) {
	earliest := max(c.t, l.quietSince+l.patience())
	for _, other := range c.lines {
		if other == l || !other.online || other.targets == 0 || other.silent() {
			continue
		}
		ask := earliest
		if other.newest >= other.first {
			ask = max(ask, other.round(other.newest).sent+l.rules.Interval)
		}
		other.next = min(other.next, ask)
	}
}

// judgeQuality takes out the lines that lose too much or are too slow, as long
// as a line of another member is within its limits: where all are saturated,
// less of them would make it worse.
func (c *check) judgeQuality() {
	for _, l := range c.lines {
		if !l.online || l.silent() || !l.tooLossy() && !l.tooSlow() {
			continue
		}
		if !c.hasSubstitute(l) {
			c.waiting = true
			continue
		}
		c.pass(l, false, l.qualityReason())
	}
}

func (c *check) hasSubstitute(l *line) bool {
	for _, other := range c.lines {
		if other.key.Member != l.key.Member && other.good() {
			return true
		}
	}
	return false
}
