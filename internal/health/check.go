package health

import (
	"slices"
	"time"
)

// Transition is a change of a path's verdict.
type Transition struct {
	Key
	Online bool
	Portal bool // not online, since a portal answers in place of the targets
	At     time.Time
	Reason string
}

// Portal is an HTTP response that is not the target's: the network wants a login.
type Portal struct {
	Status int
	URL    string // where it leads; "" if nowhere
}

// graceTime is how long a judgement is put off after the process did not run, so
// that unread answers count. Reading them takes milliseconds.
const graceTime = shortestInterval

// Check ends the rounds whose time limit has passed and returns the verdicts
// that change, those that become online first. It is called when Wake says so.
func (ps *Paths) Check(now time.Time) []Transition {
	t := ps.at(now)
	if ps.stalled(t) {
		return nil
	}
	changed := ps.changedAt != never
	for _, p := range ps.paths {
		if p.end(t) || !p.online && p.run() >= p.rules.Up {
			changed = true
		}
	}
	if !changed {
		return nil
	}
	ps.changedAt = never
	c := check{Paths: ps, now: now, t: t}
	// Loss, latency and flaps keep a path offline only while a peer is online:
	// a bad path is better than none.
	c.bringBack(false)
	c.bringBack(true)
	c.judgeSilence()
	c.judgeQuality()
	return c.transitions
}

// stalled reports whether the judgement is put off because Check was called late:
// once, since a process that is always late must judge as well.
func (ps *Paths) stalled(t time.Duration) bool {
	asked := ps.asked
	ps.asked = never
	if ps.grace != 0 {
		if t < ps.grace {
			return true
		}
		ps.grace = 0
		return false
	}
	if t-asked <= ps.tolerance() {
		return false
	}
	ps.grace = t + graceTime
	return true
}

// tolerance returns by how much Check may be late: half the shortest interval.
func (ps *Paths) tolerance() time.Duration {
	shortest := never
	for _, p := range ps.paths {
		shortest = min(shortest, p.rules.Interval)
	}
	return shortest / 2
}

// check is one call of Check.
type check struct {
	*Paths
	now         time.Time
	t           time.Duration
	transitions []Transition
}

// pass sets the verdict of a path and records the transition. One that wants a
// login does not flap.
func (c *check) pass(p *path, online, portal bool, reason string) {
	switch {
	case online:
		p.onlineAt = c.t
	case p.online && !portal:
		p.flap(c.t, time.Duration(p.rules.Up)*p.rules.Interval)
	}
	p.online, p.portal, p.since, p.reason = online, portal, c.t, reason
	c.change(c.t) // another may wait for it
	c.transitions = append(c.transitions, Transition{Key: p.key, Online: online, Portal: portal, At: c.now, Reason: reason})
}

// bringBack brings back the paths that answer again and are good enough, or,
// with alone, also those that have no peer online.
func (c *check) bringBack(alone bool) {
	for _, p := range c.paths {
		if p.online || p.misses() > 0 || p.run() < p.rules.Up {
			continue
		}
		if alone && c.isAlone(p) || !p.held(c.t) && p.goodEnough() {
			c.pass(p, true, false, p.recoveryReason(c.t))
		}
	}
}

// judgeSilence takes silent paths offline, unless all of the family fell silent
// together. Where all want a login, somebody must hear of it.
func (c *check) judgeSilence() {
	c.forgive(c.silent &^ c.allQuiet())
	c.waiting = false
	for _, p := range c.paths {
		portal := p.silent() && p.meetsPortal()
		if !p.silent() || !p.online && portal == p.portal {
			continue
		}
		// A peer that went on answering shows that it is this path alone.
		outlives := func(other *path) bool { return other.aliveAfter(p) }
		if !p.online || portal && p.knowsPortal() || c.isAlone(p) || c.hasPeer(p, outlives) {
			c.pass(p, false, portal, p.silenceReason(c.t, portal))
			continue
		}
		c.waiting = true
		c.askOthers(p)
	}
	c.silent = c.allQuiet()
}

// allQuiet returns the families in which at least two paths are online, all have
// missed their newest round, and one as many as Down allows.
func (c *check) allQuiet() Silence {
	var one, several, heard, silent Silence
	for _, p := range c.paths {
		if !p.online || p.targets() == 0 {
			continue
		}
		f := silence(p.key.Family)
		several |= one & f
		one |= f
		if p.misses() == 0 {
			heard |= f
		}
		if p.silent() {
			silent |= f
		}
	}
	return several & silent &^ heard
}

// forgive resets the misses of the paths that were silent together, now that
// one of their family answers: the others may take a moment longer.
func (c *check) forgive(families Silence) {
	for _, p := range c.paths {
		if families&silence(p.key.Family) != 0 && p.online && p.misses() > 0 {
			p.history.forgive(c.t)
		}
	}
}

// isAlone reports whether no peer of a path is online.
func (c *check) isAlone(p *path) bool {
	return !c.hasPeer(p, func(other *path) bool { return other.targets() > 0 })
}

// hasPeer reports whether an online peer of a path is as wanted.
func (c *check) hasPeer(p *path, isWanted func(*path) bool) bool {
	return slices.ContainsFunc(c.paths, func(other *path) bool {
		return p.isPeer(other) && other.online && isWanted(other)
	})
}

// askOthers probes the peers that may have fallen silent together with this path as
// often as it is probed: the verdict waits for them.
func (c *check) askOthers(p *path) {
	earliest := max(c.t, p.quietSince+p.patience())
	for _, other := range c.paths {
		if !p.isPeer(other) || !other.online || other.silent() {
			continue
		}
		ask := earliest
		if other.newest >= other.first {
			ask = max(ask, other.round(other.newest).sent+p.rules.Interval)
		}
		other.next = min(other.next, ask)
	}
}

// judgeQuality takes paths offline that lose too much or are too slow, while a peer
// is within its limits: if all are saturated, fewer would make it worse.
func (c *check) judgeQuality() {
	for _, p := range c.paths {
		if !p.online || p.silent() || !p.tooLossy() && !p.tooSlow() {
			continue
		}
		if !c.hasPeer(p, (*path).good) {
			c.waiting = true
			continue
		}
		c.pass(p, false, false, p.qualityReason())
	}
}
