package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"loadbalance/internal/status"
)

// running is a monitor on a laboratory's router.
type running struct {
	cmd *exec.Cmd
	log *textLog
}

// textLog is what a process writes, readable meanwhile.
type textLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *textLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *textLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// count is how many lines contain all of the words.
func (l *textLog) count(words ...string) int {
	n := 0
	for _, line := range strings.Split(l.String(), "\n") {
		found := true
		for _, w := range words {
			found = found && strings.Contains(line, w)
		}
		if found {
			n++
		}
	}
	return n
}

func (r *router) eventsDir() string { return filepath.Join(r.dir, "hotplug.d") }

// startMonitor starts the monitor and waits until it answers. The end of the
// test ends it.
func (r *router) startMonitor() *running {
	r.t.Helper()
	m := &running{log: &textLog{}}
	m.cmd = exec.Command(binary, r.args("monitor", "--events-dir", r.eventsDir())...)
	m.cmd.Env, m.cmd.Stdout, m.cmd.Stderr = r.env, m.log, m.log
	if err := r.lab.Router.Start(m.cmd); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		m.end(syscall.SIGTERM)
		if r.t.Failed() {
			r.t.Logf("monitor:\n%s", m.log)
		}
	})
	eventually(r.t, "the monitor answers", func() bool { return r.status().Monitor.Running })
	return m
}

// end sends a signal and waits for the end of the process.
func (m *running) end(signal syscall.Signal) {
	if m.cmd.ProcessState != nil {
		return
	}
	_ = m.cmd.Process.Signal(signal) // it may be gone already
	_ = m.cmd.Wait()
}

// status is what `status --json` says.
func (r *router) status() status.Status {
	r.t.Helper()
	var s status.Status
	if err := json.Unmarshal([]byte(r.must("status", "--json")), &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// stateOf is a member's IPv4 state in a status.
func stateOf(s status.Status, member string) string {
	for _, m := range s.Members {
		if m.Name == member {
			return m.IPv4.State
		}
	}
	return "missing"
}

// waitState waits until a member is in a state.
func (r *router) waitState(member, state string) {
	r.t.Helper()
	eventually(r.t, member+" is "+state, func() bool { return stateOf(r.status(), member) == state })
}

// probedLines is how many lines the monitor probes.
func (r *router) probedLines() int {
	r.t.Helper()
	lines := 0
	for _, m := range r.status().Members {
		for _, f := range []*status.Family{m.IPv4, m.IPv6} {
			if f != nil && f.Health != nil {
				lines++
			}
		}
	}
	return lines
}
