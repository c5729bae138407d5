package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// pause stops the monitor's process at a moment at which it is not applying, so
// that others can.
func (r *router) pause(m *netlab.Process) {
	r.t.Helper()
	eventually(r.t, "the monitor is paused while it does not apply", func() bool {
		check(r.t, m.Process.Signal(syscall.SIGSTOP))
		eventually(r.t, "the monitor's process is stopped", func() bool {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.Process.Pid))
			check(r.t, err)
			return strings.Contains(string(text), ") T ")
		})
		lock, err := os.Open(filepath.Join(r.runDir(), "lock"))
		check(r.t, err)
		defer lock.Close()
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return true
		}
		check(r.t, m.Process.Signal(syscall.SIGCONT))
		return false
	})
}

// TestReloadAfterStop: a stopped service stays stopped, whatever the monitor is
// asked to do, until somebody applies.
func TestReloadAfterStop(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2, tracked...))
	r.must("apply")
	m := r.startMonitor()
	eventually(t, "the monitor probes", func() bool { return r.probedLines() == 2 })
	// The monitor finds both at once.
	r.pause(m)
	r.must("stop")
	check(t, m.Process.Signal(syscall.SIGHUP), m.Process.Signal(syscall.SIGCONT))
	eventually(t, "the monitor is idle", func() bool { return r.probedLines() == 0 })
	check(t, m.Process.Signal(syscall.SIGHUP))
	// Asked after the signal, it has taken it when it answers.
	for range 5 {
		if r.probedLines() != 0 || !r.status().Stopped {
			t.Fatalf("the monitor has started the service again:\n%s", m.Log)
		}
	}
	if m.Log.Count("not configured any more") > 0 {
		t.Errorf("a stop is announced as something else:\n%s", m.Log)
	}
}

// TestVerdictsWithoutMonitor: where the configuration wants no monitor, nobody
// will notice that a line is back, so none stays offline, also while the monitor
// has not noticed yet.
func TestVerdictsWithoutMonitor(t *testing.T) {
	config := members(netlab.Separate, 2, tracked...)
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, config)
	r.must("apply")
	m := r.startMonitor()
	check(t, r.lab.Blackhole(2))
	r.waitState("wan2", "offline")
	r.pause(m)
	r.configure("config globals 'globals'\n\toption monitor '0'\n" + config)
	r.must("apply")
	if rules := r.sh("iptables-nft -t mangle -S lb_policy_balanced"); !strings.Contains(rules, "lb_member_wan2") {
		t.Errorf("wan2 stays out of use:\n%s", rules)
	}
	if text, err := os.ReadFile(filepath.Join(r.runDir(), "verdicts.json")); !os.IsNotExist(err) {
		t.Errorf("the next monitor would begin with %s, %v", text, err)
	}
	check(t, m.Process.Signal(syscall.SIGCONT))
	eventually(t, "the monitor is idle", func() bool { return r.probedLines() == 0 })
	if m.Log.Count("'wan1'") > 0 {
		t.Errorf("the members are announced as gone:\n%s", m.Log)
	}
}

// TestVerdictAcrossStop: a stop and a start that follow each other faster than
// the monitor looks do not bring a dead line back.
func TestVerdictAcrossStop(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2, tracked...))
	r.must("apply")
	m := r.startMonitor()
	check(t, r.lab.Blackhole(2))
	r.waitState("wan2", "offline")
	r.pause(m)
	r.must("stop")
	r.must("apply")
	check(t, m.Process.Signal(syscall.SIGCONT))
	eventually(t, "wan2 is out of use", func() bool {
		rules := r.sh("iptables-nft -t mangle -S lb_policy_balanced")
		return strings.Contains(rules, "lb_member_wan1") && !strings.Contains(rules, "lb_member_wan2")
	})
	if n := m.Log.Count("offline: no answer"); n != 1 {
		t.Errorf("%d verdicts, want the one from before the stop:\n%s", n, m.Log)
	}
}

// TestVerdictWhileOthersApply: while another run has the lock, verdicts are
// passed all the same, and whoever comes next follows them.
func TestVerdictWhileOthersApply(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2, tracked...))
		r.must("apply")
		r.startMonitor()
		eventually(t, "the monitor probes", func() bool { return r.probedLines() == 2 })
		unlock := r.slowApply()
		check(t, r.lab.Blackhole(2))
		eventually(t, "a verdict is passed", func() bool {
			text, err := os.ReadFile(filepath.Join(r.runDir(), "verdicts.json"))
			return err == nil && strings.Contains(string(text), "wan2")
		})
		time.Sleep(2 * time.Second) // longer than a lock is left to another program
		if !r.dealtTo("iptables-"+backend, "wan2") {
			t.Error("the monitor has applied without the lock")
		}
		unlock()
		eventually(t, "wan2 is out of use", func() bool { return !r.dealtTo("iptables-"+backend, "wan2") })
	})
}

// TestRunDirectoryRemoved: the monitor makes it anew, and others find it there.
// The kernel's state stays.
func TestRunDirectoryRemoved(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2, tracked...))
		r.must("apply")
		m := r.startMonitor()
		eventually(t, "the monitor probes", func() bool { return r.probedLines() == 2 })
		before := r.dump()
		for range 3 {
			// The monitor hears of the first files that go, and may create new ones.
			eventually(t, "the run directory is gone", func() bool { return os.RemoveAll(r.runDir()) == nil })
			eventually(t, "all is there again", func() bool {
				_, err := os.Stat(filepath.Join(r.runDir(), "accepted"))
				return err == nil && r.status().Monitor.Running
			})
		}
		t.Logf("out of use after %s", r.expectFailover())
		check(t, r.lab.Restore(2))
		r.waitState("wan2", "active")
		r.expectSame("after the loss of the run directory", before.sorted(), r.dump().sorted())
		if code := m.ProcessState; code != nil {
			t.Errorf("the monitor has ended: %v", code)
		}
	})
}
