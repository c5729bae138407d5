package monitor

import (
	"errors"
	"fmt"
	"time"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/drift"
)

// apply starts the wanted apply.
func (m *Monitor) apply() {
	m.save()
	r := result{request: m.wanted}
	m.wanted = request{}
	m.applying = true
	scope, verdicts := m.outcome.Scope, m.verdicts()
	run := m.Applier.Follow
	if r.reload {
		run = m.Applier.Reload
	}
	go func() {
		// What changes from here on is seen by the apply or by the next look.
		r.before, r.looked = m.Watcher.Look(scope)
		r.Outcome, r.err = run(verdicts)
		r.after = r.before
		switch {
		case r.err != nil && r.Config == nil:
			r.after, r.looked = m.Watcher.Look(scope)
		case r.err != nil || r.Changed || r.Scope.Legacy != scope.Legacy:
			r.after, r.looked = m.Watcher.Look(r.Scope)
		}
		m.results <- r
	}()
}

// finish takes over what an apply found. A failed one is tried again, later
// each time: what worked before goes on working.
func (m *Monitor) finish(r result, now time.Time) {
	m.applying = false
	if r.noticed || r.repair && r.Changed {
		m.follows.note(now)
	}
	m.blind(r.looked)
	// Also after a failure: only what changes from now on is worth an attempt
	// before the next one is due.
	hasMoved := r.before.Network != m.baseline.Network
	m.baseline = drift.Fingerprint{Network: r.before.Network, Ours: r.after.Ours}
	m.fullAt = now.Add(fullEvery)
	if r.err != nil {
		m.fail(r, now)
		return
	}
	if m.failure != "" && !r.Idle {
		m.Log("notice", "what failed before works again")
	}
	m.retry, m.failure = 0, ""
	m.tell(r)
	if r.Changed {
		m.fullAt = now.Add(verifyAfter)
	}
	m.outcome = r.Outcome
	m.askAgain(r, !r.repair || r.Changed || hasMoved, now)
	m.adopt(now)
	m.Learner.Learn(r.Domains)
	// A start and a stop are no news of the lines.
	if m.applied && !r.Idle {
		m.announce(m.announced.Members, r.Members)
	}
	m.announced, m.applied = r.Outcome, !r.Idle
	m.lookBy(now.Add(lookEvery))
}

// fail has a failed apply tried again. The log has the reason once: the same
// one each minute would leave no room for anything else.
func (m *Monitor) fail(r result, now time.Time) {
	m.retry = min(max(2*m.retry, firstRetry), lastRetry)
	if errors.Is(r.err, iptables.ErrBusy) {
		m.retry = firstRetry // the lock may be free at any time
	}
	level, text := "error", r.err.Error()
	if text == m.failure {
		level = "debug"
	}
	m.failure = text
	m.Log(level, text+": trying again, at least once a minute")
	r.request.at = now.Add(m.retry)
	m.want(r.request)
	if r.Config == nil {
		return
	}
	r.Summary = nil
	m.tell(r)
	// Some of it may be in the kernel, such as one family of both, and that
	// part needs the verdicts. They are announced when all of it is there.
	m.outcome = r.Outcome
	m.adopt(now)
	m.Learner.Learn(r.Domains)
	if !m.applied {
		m.announced, m.applied = r.Outcome, true
	}
	m.lookBy(now.Add(lookEvery))
}

// askAgain has a further apply ask netifd where this one could not rely on what it
// said, soon if there was news, but not faster than we look: a hang takes a second.
func (m *Monitor) askAgain(r result, isNews bool, now time.Time) {
	switch {
	case !r.Uplinks.Unsettled:
		return
	case r.Uplinks.NetifdSilent != "":
		m.asked = lookEvery
	case isNews:
		m.asked = firstAsk
	default:
		m.asked = min(2*m.asked, fullEvery)
	}
	m.want(request{at: now.Add(m.asked), reasons: []string{"netifd asked again"}, repair: true})
}

// lookBy has the next look at the kernel no later than at a time.
func (m *Monitor) lookBy(at time.Time) {
	if m.lookAt.IsZero() || at.Before(m.lookAt) {
		m.lookAt = at
	}
}

// lookDue is when the next look is due; zero while there is nothing to look after.
func (m *Monitor) lookDue() time.Time {
	if m.applying || !m.applied {
		return time.Time{}
	}
	due := m.lookAt
	if m.fullAt.Before(due) {
		due = m.fullAt
	}
	if earliest := m.follows.next(); due.Before(earliest) {
		return earliest
	}
	return due
}

// look finds out cheaply whether the kernel may differ from the plan.
func (m *Monitor) look(now time.Time) {
	due := m.lookDue()
	if due.IsZero() || now.Before(due) {
		return
	}
	m.lookAt = now.Add(lookEvery)
	reload, later := m.Applier.Overdue(now)
	if reload {
		m.want(request{at: now, reload: true})
		return
	}
	if later {
		m.lookAt = now.Add(lookEvery / 2) // whoever commits waits for it
	}
	if !now.Before(m.fullAt) {
		m.want(request{at: now, reasons: []string{repair}, repair: true})
		return
	}
	found, err := m.Watcher.Look(m.outcome.Scope)
	m.blind(err)
	if err != nil {
		return // the full comparisons go on
	}
	if found.Network != m.baseline.Network {
		m.want(request{at: now, reasons: []string{networkChanged}, noticed: true})
	}
	if found.Ours != m.baseline.Ours {
		m.want(request{at: now, reasons: []string{repair}, repair: true, noticed: true})
	}
}

// blind notes that the kernel could not be looked at, or can be again, once.
func (m *Monitor) blind(err error) {
	text := ""
	if err != nil {
		text = fmt.Sprintf("look at the kernel: %v: what others change is found once a minute only", err)
	}
	m.logOnce(&m.blindness, text)
}

// logOnce logs an error that is not the one from before; empty: there is none.
func (m *Monitor) logOnce(before *string, text string) {
	if text != "" && text != *before {
		m.Log("error", text)
	}
	*before = text
}

// bursts lets applies that nobody asked for come at once, but not without end.
type bursts struct {
	last  time.Time
	count int // since the last calm
}

// note remembers such an apply.
func (b *bursts) note(now time.Time) {
	if now.Sub(b.last) > calmAfter {
		b.count = 0
	}
	b.count++
	b.last = now
}

// next is when the next one may be made.
func (b *bursts) next() time.Time {
	if b.count < burst {
		return b.last
	}
	return b.last.Add(slowestFollow)
}
