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

// stalled reports whether the judgement is to be put off because Check was
// called late. That is done once: a process that is always late must judge as
// well.
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
	l.online, l.since, l.reason = online, c.t, reason
	l.calmDown()
	if online {
		l.onlineAt = c.t
	} else {
		l.flap(c.t, time.Duration(l.rules.Up)*l.rules.Interval)
	}
	c.change(c.t) // another may wait for it
	c.transitions = append(c.transitions, Transition{Key: l.key, Online: online, At: c.now, Reason: reason})
}

// recover brings back the lines that answer again. Loss, latency and what it
// did before only keep a line out while a peer is online: a bad one is better
// than none.
func (c *check) recover() {
	c.bringBack(false)
	c.bringBack(true)
}

// bringBack brings back the lines that deserve it, or those that are alone.
func (c *check) bringBack(alone bool) {
	for _, l := range c.lines {
		if l.online || l.misses() > 0 || l.run() < l.rules.Up {
			continue
		}
		if alone && c.isAlone(l) || !l.held(c.t) && l.goodEnough() {
			c.pass(l, true, l.recoveryReason(c.t))
		}
	}
}

// judgeSilence takes out the lines that fell silent, unless all of their family
// did together.
func (c *check) judgeSilence() {
	c.forgive(c.silent &^ c.allQuiet())
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
	c.silent = c.allQuiet()
}

// allQuiet returns the families in which no line that is online answers: each
// missed its newest rounds, one of them all that it may, and they are two at
// least.
func (c *check) allQuiet() Silence {
	var one, several, heard, silent Silence
	for _, l := range c.lines {
		if !l.online || l.targets == 0 {
			continue
		}
		f := silence(l.key.Family)
		several |= one & f
		one |= f
		if l.misses() == 0 {
			heard |= f
		}
		if l.silent() {
			silent |= f
		}
	}
	return several & silent &^ heard
}

// forgive gives the lines that were silent together their misses anew, now
// that one of their family answers: they may take a moment longer.
func (c *check) forgive(families Silence) {
	for _, l := range c.lines {
		if families&silence(l.key.Family) != 0 && l.online && l.misses() > 0 {
			l.history.forgive(c.t)
		}
	}
}

// isAlone reports whether no peer is online.
func (c *check) isAlone(l *line) bool {
	for _, other := range c.lines {
		if other.online && other.targets > 0 && l.isPeer(other) {
			return false
		}
	}
	return true
}

// isOutlived reports whether a peer that is online went on answering when this
// line fell silent.
func (c *check) isOutlived(l *line) bool {
	for _, other := range c.lines {
		if l.isPeer(other) && other.online && other.aliveAfter(l) {
			return true
		}
	}
	return false
}

// askOthers has the peers that may have fallen silent together with this line
// probed as often as it is, so that a line with a long interval does not keep
// the verdict waiting.
func (c *check) askOthers(l *line) {
	earliest := max(c.t, l.quietSince+l.patience())
	for _, other := range c.lines {
		if !l.isPeer(other) || !other.online || other.targets == 0 || other.silent() {
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
// as a peer is within its limits: where all are saturated, less of them would
// make it worse.
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
		if l.isPeer(other) && other.good() {
			return true
		}
	}
	return false
}
