package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"loadbalance/internal/health"
	"loadbalance/internal/monitor"
	"loadbalance/internal/netlab"
)

// settings are options of health checking.
type settings struct {
	name    string
	options []string
	// detection is how long a silent blackout goes unnoticed at most: all but
	// one of the intervals until the last miss was sent, its time limit, and
	// the one interval that the blackout may have just missed.
	detection time.Duration
	// interval lies between two probes.
	interval time.Duration
}

var (
	defaultSettings = settings{name: "default", detection: 2800 * time.Millisecond, interval: 500 * time.Millisecond}
	// fastestSettings have the shortest interval that can be configured. Less
	// than three misses would be a matter of single lost packets, and a time
	// limit of less than two intervals would be too short for DSL.
	fastestSettings = settings{
		name:      "fastest",
		options:   []string{"option interval '50ms'", "option timeout '100ms'", "option down '3'", "option up '3'"},
		detection: 250 * time.Millisecond,
		interval:  50 * time.Millisecond,
	}
	fastSettings = settings{
		name:    "fast",
		options: []string{"option interval '100ms'", "option timeout '200ms'", "option down '3'", "option up '3'"},
	}
)

// tracked are the options of a member that asks so many servers.
func tracked(targets int, s settings) []string {
	var options []string
	for n := 1; n <= targets; n++ {
		options = append(options, fmt.Sprintf("list track_ip '%v'", netlab.Server(n)))
	}
	return append(options, s.options...)
}

// member is a section of the configuration.
func (r *rig) member(i int, options []string) string {
	return fmt.Sprintf("config member '%s'\n\t%s\n", r.UplinkDevice(i), strings.Join(options, "\n\t"))
}

// track configures all uplinks with the same options and applies that.
func (r *rig) track(options []string) error {
	var config strings.Builder
	for i := 1; i <= r.Uplinks(); i++ {
		config.WriteString(r.member(i, options))
	}
	return r.reconfigure(config.String())
}

func (r *rig) reconfigure(config string) error {
	if err := r.program.Configure(config); err != nil {
		return err
	}
	_, err := r.program.Run("apply")
	return err
}

// running is a monitor on a rig's router.
type running struct {
	*netlab.Process
	rig *rig
}

// startMonitor starts the monitor and waits until all lines answer.
func (r *rig) startMonitor() (*running, error) {
	process, err := r.program.Start("monitor")
	if err != nil {
		return nil, err
	}
	m := &running{process, r}
	err = m.await("all lines answer", func() bool {
		snapshot, err := m.ask()
		answering := 0
		for _, report := range snapshot.Paths {
			if report.Online && report.Hits > 0 {
				answering++
			}
		}
		return err == nil && answering == r.Uplinks()
	})
	if err != nil {
		return nil, errors.Join(err, m.end())
	}
	return m, nil
}

// ask asks the monitor how it goes, without starting a process.
func (m *running) ask() (health.Snapshot, error) {
	return monitor.Ask(filepath.Join(m.rig.dir, "run"), monitor.Question{})
}

// report is the health of an uplink's IPv4 line.
func (m *running) report(i int) (health.Report, error) {
	snapshot, err := m.ask()
	if err != nil {
		return health.Report{}, err
	}
	for _, report := range snapshot.Paths {
		if report.Member == m.rig.UplinkDevice(i) {
			return report, nil
		}
	}
	return health.Report{}, fmt.Errorf("uplink %d is not probed", i)
}

// await polls a condition, seldom, so that it takes no time away from what is
// measured.
func (m *running) await(what string, holds func() bool) error {
	const tooLong = time.Minute // twenty times as long as anything takes
	for end := time.Now().Add(tooLong); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return nil
		}
	}
	return fmt.Errorf("not after %s: %s; the monitor says:\n%s", tooLong, what, m.Log)
}

// transitions is how often the monitor has announced that an uplink is offline
// or online; 0 stands for all uplinks.
func (m *running) transitions(i int) int {
	name := "member '"
	if i > 0 {
		name += m.rig.UplinkDevice(i) + "'"
	}
	return m.Log.Count(name, "): offline") + m.Log.Count(name, "): online")
}

// end ends the monitor as procd does.
func (m *running) end() error { return m.End(syscall.SIGTERM) }

// withEachBackend measures under both back ends at the same time: it waits more
// than it works.
func withEachBackend[T any](measure func(backend string) (T, error)) ([]T, error) {
	results, errs := make([]T, len(backends)), make([]error, len(backends))
	var wait sync.WaitGroup
	for i, backend := range backends {
		wait.Add(1)
		go func() {
			defer wait.Done()
			results[i], errs[i] = withBackend(backend, measure)
		}()
	}
	wait.Wait()
	return results, errors.Join(errs...)
}

// withOneBackendAtATime measures what takes milliseconds and both processors.
func withOneBackendAtATime[T any](measure func(backend string) (T, error)) ([]T, error) {
	results := make([]T, len(backends))
	for i, backend := range backends {
		var err error
		if results[i], err = withBackend(backend, measure); err != nil {
			return nil, err
		}
	}
	return results, nil
}

func withBackend[T any](backend string, measure func(backend string) (T, error)) (T, error) {
	result, err := measure(backend)
	if err != nil {
		err = fmt.Errorf("%s: %w", backend, err)
	}
	return result, err
}
