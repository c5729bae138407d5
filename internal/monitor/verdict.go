package monitor

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/plan"
)

// send sends the rounds that are due.
func (m *Monitor) send(now time.Time) {
	for _, key := range m.paths.Due(now) {
		round := m.paths.Sent(key, now)
		unsent := ""
		for _, p := range m.probes[key] {
			p.Round = round
			if err := m.Prober.Send(p); err != nil {
				// No answer will come, and that is what counts.
				m.Log("debug", err.Error())
				if cause := errors.Unwrap(err); cause != nil {
					err = cause // without what the reason says as well
				}
				unsent = "; probe of " + p.Address.String() + " cannot be sent: " + err.Error()
			}
		}
		m.unsent[key] = unsent
	}
}

// judge passes the verdicts that are due and has them applied.
func (m *Monitor) judge(now time.Time) {
	was := m.paths.Silent()
	transitions := m.paths.Check(now)
	for _, t := range transitions {
		state := "online"
		delete(m.offline, t.Key)
		switch {
		case t.Portal:
			state = "portal"
			m.offline[t.Key] = plan.Verdict{Portal: t.Reason}
		case !t.Online:
			state = "offline"
			m.offline[t.Key] = plan.Verdict{Offline: t.Reason + m.unsent[t.Key]}
		}
		m.want(request{at: now, reasons: []string{
			fmt.Sprintf("member '%s' (%s) is %s", t.Member, t.Family, state)}})
	}
	if len(transitions) > 0 {
		m.save()
	}
	silent := m.paths.Silent()
	switch {
	case silent == was:
	case silent&^was != 0:
		m.Log("warning", "no target of any member answers"+silent.In()+" although the links are there: "+
			"this looks like trouble of the targets or further upstream, and balancing goes on")
	default:
		m.Log("notice", "targets answer again"+(was^silent).In())
	}
}

// recall begins with the verdicts of the last monitor, so that a new one neither
// brings back a dead line nor takes out a good one. What cannot be read is replaced.
func (m *Monitor) recall() {
	m.offline = map[health.Key]plan.Verdict{}
	last, err := m.Store.LastVerdicts()
	if err != nil {
		m.Log("warning", fmt.Sprintf("run directory: %v: starting without it", err))
	}
	m.recalled = last != nil
	m.unsaved = !m.recalled
	for f, members := range last {
		for name, verdict := range members {
			if verdict.Offline == verdict.Spent {
				verdict.Offline = "" // the book knows it
			}
			if v := unconfirmed(verdict); v.Offline != "" {
				m.offline[health.Key{Member: name, Family: f}] = v
			}
		}
	}
	m.saved = last
	if m.book, err = m.Ledger.Usage(); err != nil {
		m.Log("warning", fmt.Sprintf("use of quotas: %v: it is counted anew", err))
	}
	m.usage = append(m.usage, m.book.Members...)
	if m.book.Boot != m.Boot { // all counters have begun with 0
		m.book.Boot, m.book.Devices = m.Boot, nil
	}
}

// unconfirmed is a verdict that is not this monitor's, or of a link that was gone:
// a portal must show again that it is there, and is then announced.
func unconfirmed(v plan.Verdict) plan.Verdict {
	return plan.Verdict{Offline: cmp.Or(v.Offline, v.Portal)}
}

// save keeps the verdicts where every apply finds them, and reports whether they are
// others than before. What could not be saved is tried again before the next apply.
// While the service is stopped none are kept: the next monitor would believe them.
func (m *Monitor) save() bool {
	if m.outcome.Idle {
		m.saved, m.unsaved = nil, true
		return false
	}
	verdicts := m.verdicts()
	changed := !maps.EqualFunc(verdicts, m.saved, maps.Equal[map[string]plan.Verdict, map[string]plan.Verdict])
	if !changed && !m.unsaved {
		return false
	}
	m.saved, m.unsaved = verdicts, false
	err := m.Store.SaveVerdicts(verdicts)
	// Asked afterwards: a stop that comes later still removes them itself.
	if m.Store.Stopped() {
		err = m.Store.ForgetVerdicts()
	}
	text := ""
	if err != nil {
		m.unsaved = true
		text = fmt.Sprintf("run directory: %v: the next monitor will not know the verdicts", err)
	}
	m.logOnce(&m.unsavable, text)
	return changed
}

// verdicts are the verdicts as the planner wants them. A family that has nobody to ask
// goes by the member's other family, unless that has lost its link: both leave by the
// same line.
func (m *Monitor) verdicts() plan.Verdicts {
	verdicts := plan.Verdicts{}
	set := func(f family.Family, member string, verdict plan.Verdict) {
		if verdicts[f] == nil {
			verdicts[f] = map[string]plan.Verdict{}
		}
		verdicts[f][member] = verdict
	}
	for key, verdict := range m.offline {
		set(key.Family, key.Member, verdict)
		if m.outcome.Config == nil {
			continue // nothing is probed yet; those of the last monitor name both families
		}
		other := health.Key{Member: key.Member, Family: family.Pick(key.Family, family.IPv6, family.IPv4)}
		if len(m.probes[other]) == 0 && (verdict != unproven || len(m.probes[key]) > 0) {
			set(other.Family, other.Member, verdict)
		}
	}
	for _, member := range m.outcome.Members {
		if full := m.load.Full(member.Name); full != "" {
			for _, f := range family.All {
				held := verdicts[f][member.Name]
				held.Full = full
				set(f, member.Name, held)
			}
		}
	}
	for _, used := range m.usage {
		for _, f := range family.All {
			if v := used.Verdict(); v.Spent != "" {
				held := verdicts[f][used.Member]
				held.Offline, held.Spent = cmp.Or(held.Offline, v.Offline), v.Spent
				set(f, used.Member, held)
			}
		}
	}
	return verdicts
}

// record keeps how all paths stand for the history.
func (m *Monitor) record(now time.Time) {
	if now.Before(m.recordAt) {
		return
	}
	m.recordAt = now.Add(recordEvery)
	for _, member := range m.outcome.Members {
		for _, f := range family.All {
			key, state := health.Key{Member: member.Name, Family: f}, member.State(f)
			var report *health.Report
			if _, probed := m.paths.Online(key); probed {
				r := m.paths.Report(key, now)
				report = &r
			}
			m.day.Add(key, state.Device, state.Online, report)
		}
	}
	m.day.End(now, m.Traffic)
}

// snapshot tells how it goes.
func (m *Monitor) snapshot(now time.Time) health.Snapshot {
	s := health.Snapshot{PID: os.Getpid(), Started: now.Add(-now.Sub(m.started)), Silent: m.paths.Silent() != 0, Silence: m.paths.Silent(),
		Warnings: m.outcome.Warnings, Verdicts: plan.Verdicts{}, Usage: m.usage}
	if !m.outcome.Idle { // as with the saved ones
		s.Verdicts = m.verdicts()
	}
	for _, key := range m.paths.Keys() {
		s.Paths = append(s.Paths, m.paths.Report(key, now))
	}
	return s
}

// answer answers a question, and wants the apply that an event calls for.
func (m *Monitor) answer(q Question, now time.Time) {
	if q.Event != "" {
		m.want(request{at: now, reasons: []string{q.Event}})
	}
	if q.Used != nil {
		m.correct(*q.Used, now)
	}
	s := m.snapshot(now)
	if q.History {
		s.History = m.day.Report(now)
	}
	q.Answer <- s
}
