// Package monitor is the long-running process: it probes the members' paths, notices
// what changes in the kernel, and decides when to apply, and why, by the same steps
// as every other run. It owns nothing in the kernel and keeps nothing that another
// process needs, except the verdicts in the run directory.
//
// One goroutine has all the state. Applies run beside it, one at a time, so that
// probes go on leaving while programs run.
package monitor

import (
	"errors"
	"os"
	"slices"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/domains"
	"loadbalance/internal/drift"
	"loadbalance/internal/health"
	"loadbalance/internal/health/probe"
	"loadbalance/internal/hooks"
	"loadbalance/internal/kernel"
	"loadbalance/internal/plan"
	"loadbalance/internal/quota"
	"loadbalance/internal/uplink"
)

const (
	// debounce is how long changes in the kernel are collected before one look at
	// them: an interface that comes up causes ten messages within a few milliseconds,
	// and the apply is to follow within 100 ms.
	debounce = 50 * time.Millisecond
	// lookEvery is the time between two looks at what the kernel does not report:
	// chains and sets that are gone are to be back within 5 s, apply included.
	lookEvery = 2 * time.Second
	// fullEvery is the time between two complete comparisons. They find what
	// the cheap look cannot see, such as a rule that was exchanged for another.
	fullEvery = time.Minute
	// verifyAfter is when an apply that changed something is compared once
	// more: what somebody else changed while it ran went unseen.
	verifyAfter = time.Second
	// A routing daemon that changes routes all the time, and a program that undoes our
	// work, must not keep the processor busy. They are followed at once burst times,
	// more than twice what an interface causes that goes and comes back, and then
	// every slowestFollow, still within the 5 s, until there is a calm of calmAfter.
	burst         = 10
	slowestFollow = 2 * time.Second
	calmAfter     = 10 * time.Second
	// An apply that failed is tried again after firstRetry, then twice as
	// late each time, up to lastRetry.
	firstRetry = time.Second
	lastRetry  = time.Minute
	// An interface that netifd has not brought up is looked at again after firstAsk,
	// then twice as late each time, up to fullEvery: one that comes up in steps does so
	// within seconds, and the kernel need not announce the last one.
	firstAsk = 250 * time.Millisecond
	// recordEvery is the time between two looks at the paths for the history:
	// half the time over which loss and latency are averages by default.
	recordEvery = 15 * time.Second
)

// Outcome is what an apply found and did.
type Outcome struct {
	// Idle says that the service is stopped or wants no monitor: there is
	// nothing to do until a new configuration is accepted.
	Idle    bool
	Config  *config.Config
	Uplinks uplink.State
	Members []plan.Member
	// Scope is what the watcher must know to look at the result.
	Scope drift.Scope
	// Domains are the sets that learn from DNS answers.
	Domains []domains.Set
	// Changed says that the kernel did not hold the plan before, Summary what was
	// changed, in a line per family.
	Changed bool
	Summary []string
	// News is what the user should know and was not told by the run before.
	// LeftOut has what of it tells of a member, with its name.
	News    []string
	LeftOut map[string]string
	// Warnings are what failed beside the kernel.
	Warnings []string
}

// applier runs the four steps from the configuration to the kernel.
type applier interface {
	// Follow applies the accepted configuration under the verdicts. With an error the
	// outcome is what was to be, without a Config if it did not get that far.
	Follow(verdicts plan.Verdicts) (Outcome, error)
	// Reload reads the configuration file first. If it has errors, it is
	// reported and the accepted one is followed.
	Reload(verdicts plan.Verdicts) (Outcome, error)
	// Overdue reports whether a reload is to be made up for, now or later. It
	// is cheap.
	Overdue(now time.Time) (due, later bool)
}

type prober interface {
	Send(probe.Probe) error
	Forget(health.Key)
}

type watcher interface {
	Events() <-chan struct{}
	Look(drift.Scope) (drift.Fingerprint, error)
}

type scripts interface {
	Post(hooks.Event)
}

// store keeps verdicts for other processes and for the next monitor.
type store interface {
	SaveVerdicts(plan.Verdicts) error
	LastVerdicts() (plan.Verdicts, error)
	ForgetVerdicts() error
	// Stopped reports whether somebody has stopped the service.
	Stopped() bool
}

// learner enters the addresses of domains into sets.
type learner interface {
	// Learn learns for these sets from now on, and for no others.
	Learn([]domains.Set)
}

// Monitor has everything that a monitor works with.
type Monitor struct {
	Applier applier
	Prober  prober
	Watcher watcher
	Scripts scripts
	Store   store
	Learner learner
	Ledger  ledger
	// Traffic returns what devices have carried in Boot, a boot of the kernel.
	Traffic func() ([]kernel.Traffic, error)
	Boot    string
	// Log writes a message; level is error, warning, notice or debug.
	Log func(level, text string)
	// What the monitor hears of: answers to its probes and SIGHUP.
	Answers <-chan probe.Answer
	Reload  <-chan os.Signal
	Presence
	// Appear makes other processes know of this one again. The error says that
	// another monitor has taken its place.
	Appear func() (Presence, error)

	started time.Time
	paths   *health.Paths
	probes  map[health.Key][]probe.Probe
	// unsent tells which probe of a line's last round could not be sent, and why,
	// in words that end a reason; empty if all were.
	unsent  map[health.Key]string
	refused []string                    // targets that are not probed, with the reason
	offline map[health.Key]plan.Verdict // also of lines that are down now
	saved   plan.Verdicts
	unsaved bool // they could not be written
	// unsavable is why not, if that was the last time.
	unsavable string
	// usage is what members have used of their quotas, to be counted again at
	// countAt (zero: after the next apply). It is from the book, which was kept at
	// keptAt; unkept: there is news, unkeepable: why it could not be kept.
	usage           []quota.Usage
	book            quota.Book
	countAt, keptAt time.Time
	unkept          bool
	unkeepable      string
	// load tells which lines are full, to be looked at again at weighAt (zero: after
	// the next apply).
	load    health.Load
	weighAt time.Time
	// recalled says that a monitor ran before. What it did not leave as offline
	// has proved that it works, whatever initial_state says.
	recalled bool

	day      *health.Day
	recordAt time.Time

	outcome Outcome
	// applied says that outcome is that of an apply that was made, or at least
	// tried.
	applied bool
	// announced is the outcome that was announced last.
	announced Outcome
	baseline  drift.Fingerprint
	// blindness is why the last look at the kernel failed; empty if it did not.
	blindness string
	wanted    request
	applying  bool
	results   chan result
	lookAt    time.Time
	fullAt    time.Time
	follows   bursts
	asked     time.Duration // the last pause before netifd was asked again
	retry     time.Duration
	failure   string // why the last apply failed; empty if it did not
	// reminders are when scripts hear of a portal again, by member.
	reminders map[string]time.Time
}

// Presence is by what other processes know of a monitor, and reach it.
type Presence struct {
	// Accepted tells of a change of the accepted configuration by another process;
	// nil while nobody can change it.
	Accepted <-chan struct{}
	// Questions are events that hooks tell of, and of those who want to know how
	// it goes.
	Questions <-chan Question
	// Gone is closed when the run directory is removed, or may be there again.
	Gone <-chan struct{}
}

// request is an apply that is to be made.
type request struct {
	at      time.Time // zero: none
	reasons []string
	reload  bool
	repair  bool // only because the kernel does not look as it should
	noticed bool // only because of a look at the kernel
}

// result is what an apply returned, and what the kernel looked like around it.
type result struct {
	request
	Outcome
	before, after drift.Fingerprint
	looked, err   error
}

// Run works until quit is closed. A running apply is waited for.
func (m *Monitor) Run(quit <-chan struct{}) error {
	m.begin(time.Now())
	defer func() {
		if m.applying {
			<-m.results
		}
		m.count(time.Now())
		m.keep(time.Now())
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		m.hear()
		m.work(now)
		timer.Reset(time.Until(m.next()))
		select {
		case <-quit:
			return nil
		case <-m.Gone:
			if err := m.appear(time.Now()); err != nil {
				return err
			}
		case a := <-m.Answers:
			m.take(a)
		case r := <-m.results:
			m.finish(r, time.Now())
		case <-m.Watcher.Events():
			m.lookBy(time.Now().Add(debounce))
		case <-m.Reload:
			m.want(request{at: time.Now(), reload: true})
		case <-m.Accepted:
			m.unsaved = true // a stop before, or a time without monitor, has removed them
			m.want(request{at: time.Now(), reasons: []string{"new configuration"}})
		case q := <-m.Questions:
			m.answer(q, time.Now())
		case <-timer.C:
		}
	}
}

// appear is known to others anew. Where the service is stopped, it is probably
// being uninstalled, and nothing is to be left.
func (m *Monitor) appear(now time.Time) (err error) {
	if m.outcome.Idle && m.Accepted != nil {
		return errors.New("the run directory was removed")
	}
	if m.Presence, err = m.Appear(); err != nil || m.Accepted == nil {
		return err
	}
	m.unsaved = true
	m.want(request{at: now, reasons: []string{"the run directory was removed"}})
	return nil
}

func (m *Monitor) begin(now time.Time) {
	m.started = now
	m.paths, m.day = health.NewPaths(), health.NewDay(now)
	m.probes = map[health.Key][]probe.Probe{}
	m.unsent = map[health.Key]string{}
	m.results = make(chan result, 1)
	m.recall()
	m.keptAt = now
	m.fullAt = now.Add(fullEvery)
	m.want(request{at: now, reasons: []string{"monitor started"}})
}

// hear takes in all answers that are there, so that none is counted as missing.
func (m *Monitor) hear() {
	for {
		select {
		case a := <-m.Answers:
			m.take(a)
		default:
			return
		}
	}
}

func (m *Monitor) take(a probe.Answer) {
	if a.Portal.Status != 0 {
		m.paths.Intercepted(a.Key, a.Round, a.Target, a.Portal, a.At)
		return
	}
	m.paths.Answered(a.Key, a.Round, a.Target, a.At)
}

// work does what is due.
func (m *Monitor) work(now time.Time) {
	m.judge(now)
	m.send(now)
	m.record(now)
	if !m.countAt.IsZero() && !now.Before(m.countAt) {
		m.count(now)
	}
	if !m.weighAt.IsZero() && !now.Before(m.weighAt) {
		m.weigh(now)
	}
	m.remind(now)
	if !m.applying {
		m.look(now)
	}
	if !m.applying && !m.wanted.at.IsZero() && !now.Before(m.wanted.at) {
		m.apply()
	}
}

// next is when work has something to do again.
func (m *Monitor) next() time.Time {
	next := m.paths.Wake()
	dues := []time.Time{m.lookDue(), m.applyDue(), m.recordAt, m.countAt, m.weighAt}
	for _, t := range m.reminders {
		dues = append(dues, t)
	}
	for _, t := range dues {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if next.IsZero() {
		return time.Now().Add(time.Hour) // nothing is due; something will be heard
	}
	return next
}

func (m *Monitor) applyDue() time.Time {
	if m.applying {
		return time.Time{}
	}
	return m.wanted.at
}

// want asks for an apply. Several requests become one.
func (m *Monitor) want(r request) {
	if m.wanted.at.IsZero() {
		m.wanted = r
		return
	}
	if r.at.Before(m.wanted.at) {
		m.wanted.at = r.at
	}
	for _, reason := range r.reasons {
		if !slices.Contains(m.wanted.reasons, reason) {
			m.wanted.reasons = append(m.wanted.reasons, reason)
		}
	}
	m.wanted.reload = m.wanted.reload || r.reload
	m.wanted.repair = m.wanted.repair && r.repair
	m.wanted.noticed = m.wanted.noticed && r.noticed
}
