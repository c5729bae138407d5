package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"loadbalance/internal/drift"
	"loadbalance/internal/netlab"
)

// Budgets from the blackout to the new state in the kernel.
const (
	defaultBlackout = 3 * time.Second
	fastestBlackout = 500 * time.Millisecond
)

// blackoutCase is a row of the table, for each back end.
type blackoutCase struct {
	settings
	budget time.Duration
	// busy: LAN hosts open connections all the time.
	busy bool
}

var blackoutCases = []blackoutCase{
	{defaultSettings, defaultBlackout, false},
	{defaultSettings, defaultBlackout, true},
	{fastestSettings, fastestBlackout, false},
	{fastestSettings, fastestBlackout, true},
}

// blackouts are the times of the rounds of a row, since the blackout.
type blackouts struct{ verdict, kernel []time.Duration }

// blackout lets everything vanish on one of five lines, whose link stays up,
// and measures until neither family deals connections to it any more.
func (b *bench) blackout() error {
	results, err := withEachBackend(b.blackoutsOf)
	if err != nil {
		return err
	}
	t := newTable(b.out, "settings", "back end", "LAN", "verdict, median", "worst", "kernel, median", "worst", "")
	for i, c := range blackoutCases {
		lan := "quiet"
		if c.busy {
			lan = fmt.Sprintf("%d connections/s", busyRate)
		}
		for k, backend := range backends {
			measured := results[k][i]
			worst := greatest(measured.kernel)
			t.row(c.name, backend, lan,
				milliseconds(median(measured.verdict)), milliseconds(greatest(measured.verdict)),
				milliseconds(median(measured.kernel)), milliseconds(worst),
				budget(worst <= c.budget, "%.1f s", c.budget.Seconds()))
		}
	}
	return t.Flush()
}

func (b *bench) blackoutsOf(backend string) ([]blackouts, error) {
	r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: 5, IPv6: true, Backend: backend, LANHosts: 50})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var results []blackouts
	for _, c := range blackoutCases {
		result, err := r.blackouts(c)
		if err != nil {
			return nil, fmt.Errorf("%s settings: %w", c.name, err)
		}
		results = append(results, result)
	}
	return results, nil
}

// blackouts lets each line die four times, in turn: one that dies three times
// within 15 s takes longer to come back.
func (r *rig) blackouts(c blackoutCase) (result blackouts, err error) {
	const rounds = 20
	if err := r.track(tracked(2, c.settings)); err != nil {
		return result, err
	}
	m, err := r.startMonitor()
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, m.end()) }()
	if c.busy {
		defer r.keepBusy()()
	}
	for round := range rounds {
		// A monitor compares once more a second after a change, so that the
		// blackout is to meet that, too, or not.
		time.Sleep(rand.N(2 * time.Second))
		if err := m.blackoutRound(1+round%r.Uplinks(), c.settings, &result); err != nil {
			return result, err
		}
	}
	return result, nil
}

// busyRate is how many connections LAN hosts open in a second, a fifth of them
// over each line: what a household of ten does while somebody surfs.
const busyRate = 50

// keepBusy opens connections until stop is called.
func (r *rig) keepBusy() (stop func()) {
	quit := make(chan struct{})
	var wait sync.WaitGroup
	wait.Add(1)
	go func() {
		defer wait.Done()
		for {
			wait.Add(1)
			go func() {
				defer wait.Done()
				// Some of them fail: that is the point.
				r.Connect(netlab.Traffic{Count: busyRate, Rate: busyRate, Timeout: time.Second})
			}()
			select {
			case <-quit:
				return
			case <-time.After(time.Second): // so many more, while some still wait
			}
		}
	}()
	return func() { close(quit); wait.Wait() }
}

// blackoutRound lets a line die and come back.
func (m *running) blackoutRound(i int, s settings, result *blackouts) error {
	d, err := m.letDie(i, s)
	if err != nil {
		return err
	}
	result.verdict = append(result.verdict, d.verdict.Sub(d.blackout))
	result.kernel = append(result.kernel, d.kernel.Sub(d.blackout))
	return m.comeBack(i)
}

// death is when a line died, when the monitor said so, and since when the
// kernel deals no connections to it.
type death struct{ blackout, verdict, kernel time.Time }

// letDie lets everything vanish on a line.
func (m *running) letDie(i int, s settings) (d death, err error) {
	kernel, err := m.rig.watchKernel()
	if err != nil {
		return d, err
	}
	defer kernel.Close()
	if err := m.rig.Blackhole(i); err != nil {
		return d, err
	}
	d.blackout = time.Now()
	// Looking on takes time of the processors, and no verdict comes sooner.
	time.Sleep(s.detection * 2 / 5)
	if d.kernel, err = kernel.awaitUndealt(i); err != nil {
		return d, fmt.Errorf("%w; the monitor says:\n%s", err, m.Log)
	}
	report, err := m.report(i)
	d.verdict = report.Since
	return d, err
}

// comeBack restores a line and waits until it is used again.
func (m *running) comeBack(i int) error {
	before := m.transitions(i)
	if err := m.rig.Restore(i); err != nil {
		return err
	}
	return m.await(fmt.Sprintf("line %d is back", i), func() bool {
		now := m.transitions(i)
		return now > before && now%2 == 0
	})
}

// kernelWatch looks at the router's kernel without starting processes.
type kernelWatch struct {
	*drift.Watcher
	rig   *rig
	scope drift.Scope
	last  drift.Fingerprint
}

// watchKernel takes what is there now as known.
func (r *rig) watchKernel() (*kernelWatch, error) {
	k := &kernelWatch{rig: r, scope: drift.Scope{Legacy: r.backend == "legacy"}}
	err := r.Router.Do(func() (err error) {
		k.Watcher, err = drift.Open()
		return err
	})
	if err != nil {
		return nil, err
	}
	_, err = k.changed()
	return k, err
}

func (k *kernelWatch) changed() (bool, error) {
	now, err := k.Look(k.scope)
	changed := now.Ours != k.last.Ours
	k.last = now
	return changed, err
}

// awaitUndealt waits until connections are dealt to an uplink in no family, and
// returns since when. The programs that list the chains would get in the way of
// those that write them, so they are started when nothing changes any more.
func (k *kernelWatch) awaitUndealt(i int) (time.Time, error) {
	const (
		tooLong = 30 * time.Second       // ten times as long as it takes
		calm    = 200 * time.Millisecond // several times what writing takes
		// A look takes about a millisecond of a processor.
		pause = 5 * time.Millisecond
	)
	var at time.Time
	for end := time.Now().Add(tooLong); time.Now().Before(end); time.Sleep(pause) {
		changed, err := k.changed()
		if err != nil {
			return at, err
		}
		if changed {
			at = time.Now()
		}
		if at.IsZero() || time.Since(at) < calm {
			continue
		}
		if dealt, err := k.rig.isDealt(i); !dealt || err != nil {
			return at, err
		}
		at = time.Time{}
	}
	return at, fmt.Errorf("%s after the blackout connections are still dealt to '%s'", tooLong, k.rig.UplinkDevice(i))
}

func greatest(values []time.Duration) time.Duration {
	worst := values[0]
	for _, v := range values {
		worst = max(worst, v)
	}
	return worst
}
