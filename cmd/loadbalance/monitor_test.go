package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"loadbalance/internal/netlab"
	"loadbalance/internal/status"
)

func (r *router) eventsDir() string { return filepath.Join(r.dir, "hotplug.d") }

// startMonitor starts the monitor and waits until it answers and its first run
// is over: what is changed from then on is news to it. The end of the test ends
// it.
func (r *router) startMonitor() *netlab.Process {
	r.t.Helper()
	m := r.monitor()
	eventually(r.t, "the monitor's first run is over", func() bool {
		result, err := os.ReadFile(filepath.Join(r.runDir(), "result.json"))
		return err == nil && strings.Contains(string(result), `"request":"monitor"`)
	})
	return m
}

// monitor starts the monitor and waits until it answers.
func (r *router) monitor() *netlab.Process {
	r.t.Helper()
	cmd := exec.Command(binary, r.args("monitor", "--events-dir", r.eventsDir())...)
	cmd.Env = r.env
	m, err := r.lab.Router.Background(cmd)
	check(r.t, err)
	r.t.Cleanup(func() {
		_ = m.End(syscall.SIGTERM) // the test is over
		if r.t.Failed() {
			r.t.Logf("monitor:\n%s", m.Log)
		}
	})
	eventually(r.t, "the monitor answers", func() bool { return r.status().Monitor.Running })
	return m
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

// waitState waits until a member is in a state, and the kernel as that wants
// it: the verdict is there first.
func (r *router) waitState(member, state string) {
	r.t.Helper()
	eventually(r.t, member+" is "+state, func() bool {
		s := r.status()
		return stateOf(s, member) == state && s.InSync
	})
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
