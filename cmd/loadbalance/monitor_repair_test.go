package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// watched are the damages of TestRepairs that a monitor is to mend by itself:
// one for each way in which it can hear of them.
var watched = []string{
	"one chain flushed", "all chains flushed", "mangle flushed", "all chains deleted", "jump deleted", "rule of the cascade deleted",
	"ip rule deleted", "ip rules flushed", "table emptied", "all tables emptied", "default route to another device",
	"set flushed", "set entry deleted", "sets and chains destroyed", "set left by a killed run",
}

// TestMonitorRepairs damages what we own while a monitor runs. It must come
// back by itself, and the log must say so once.
func TestMonitorRepairs(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Campus, 3)
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 3}, config)
		want := r.fresh(config)
		m := r.startMonitor()
		// Duplicate address detection ends within two seconds. A run that follows
		// it would repair a damage under another reason.
		time.Sleep(3 * time.Second)
		commands := map[string]string{}
		for _, damage := range damages {
			commands[damage.name] = damage.command
		}
		var worst time.Duration
		for i, name := range watched {
			command := strings.NewReplacer("IPT", "iptables-"+backend+" -t mangle",
				"CHAINS", strings.Join(ownChains(r), " "), "GATEWAY", r.lab.Uplink(1).Gateway.String()).Replace(commands[name])
			// Some damages are several commands; the monitor is to see the
			// whole.
			check(t, m.Process.Signal(syscall.SIGSTOP))
			r.sh("set -e; " + command)
			check(t, m.Process.Signal(syscall.SIGCONT))
			start := time.Now()
			eventually(t, "the monitor has logged the repair of: "+name, func() bool { return m.Log.Count("repair") > i })
			worst = max(worst, time.Since(start))
			r.expectApplied(name, want)
			if t.Failed() {
				return // the next damage would show the same
			}
		}
		t.Logf("the slowest repair took %s", worst)
		time.Sleep(3 * time.Second) // for repairs that nobody needs
		if n := m.Log.Count("repair"); n != len(watched) {
			t.Errorf("%d repairs were logged for %d damages:\n%s", n, len(watched), m.Log)
		}
		expectAll(t, r.lab.Connect(netlab.Traffic{Count: 9}))
	})
}

// TestMonitorFollows changes what the main table and the members' devices
// have; no hook tells of it.
func TestMonitorFollows(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 3}, members(netlab.Separate, 3))
	r.must("apply")
	r.startMonitor()
	follow := func(what, command string, holds func() bool) {
		t.Helper()
		start := time.Now()
		r.sh(command)
		eventually(t, "the monitor follows: "+what, holds)
		t.Logf("%s: %s", what, time.Since(start))
	}
	follow("a new LAN", "ip addr add 10.77.0.1/24 dev lan", func() bool {
		return strings.Contains(r.sh("ipset list lb_local"), "10.77.0.0/24")
	})
	follow("a LAN that went", "ip addr del 10.77.0.1/24 dev lan", func() bool {
		return !strings.Contains(r.sh("ipset list lb_local"), "10.77.0.0/24")
	})
	follow("a link that went", "ip link set wan2 down", func() bool {
		return !strings.Contains(r.sh("iptables-nft -t mangle -S lb_policy_balanced"), "lb_member_wan2")
	})
	check(t, r.lab.IfDown(2), r.lab.IfUp(2))
	r.waitState("wan2", "active")
}

// TestMonitorReloads changes the configuration while a monitor runs: by apply,
// by SIGHUP, with a mistake in it, and by stop.
func TestMonitorReloads(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 3}, members(netlab.Separate, 3))
	r.must("apply")
	m := r.startMonitor()
	lines := r.probedLines
	if n := lines(); n != 0 {
		t.Fatalf("%d lines are probed without track_ip", n)
	}
	r.configure(members(netlab.Separate, 3, tracked...))
	r.must("apply")
	eventually(t, "the monitor probes after an apply", func() bool { return lines() == 3 })
	r.configure(members(netlab.Separate, 2, tracked...))
	check(t, m.Process.Signal(syscall.SIGHUP))
	eventually(t, "the monitor probes after SIGHUP", func() bool { return lines() == 2 })
	if n := len(r.status().Members); n != 2 {
		t.Errorf("%d members after SIGHUP", n)
	}
	r.configure(members(netlab.Separate, 2, tracked...) + "config member 'wan3'\n\toption weight 'x'\n")
	check(t, m.Process.Signal(syscall.SIGHUP))
	eventually(t, "the monitor reports the mistake", func() bool { return m.Log.Count("the configuration that ran before goes on") > 0 })
	if m.Log.Count("member 'wan3'", "weight") == 0 {
		t.Errorf("the log does not name the mistake:\n%s", m.Log)
	}
	if n := lines(); n != 2 {
		t.Errorf("%d lines are probed after a faulty reload", n)
	}
	r.configure(members(netlab.Separate, 2, tracked...))
	before := r.dump()
	r.must("stop")
	eventually(t, "the monitor is idle after stop", func() bool { return lines() == 0 })
	r.sh("ip addr add 10.77.0.1/24 dev lan; ip addr del 10.77.0.1/24 dev lan; sleep 1")
	if out := r.sh("iptables-nft -t mangle -S"); strings.Contains(out, "lb_") {
		t.Errorf("the monitor works after stop:\n%s", out)
	}
	r.must("apply")
	eventually(t, "the monitor probes again", func() bool { return lines() == 2 })
	after := r.dump().sorted()
	r.expectSame("after stop and apply", before.sorted().withoutFormer(after), after)
}

// TestMonitorEndsAndBegins kills a monitor with a member offline; the next one
// starts with its verdicts, and no line that works is suspected.
func TestMonitorEndsAndBegins(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, members(netlab.Separate, 3, tracked...))
		r.must("apply")
		m := r.startMonitor()
		check(t, r.lab.Blackhole(2))
		r.waitState("wan2", "offline")
		flows, tally := r.lab.Open(netlab.Traffic{Count: 20})
		defer flows.Close()
		expectAll(t, tally)
		_ = m.End(syscall.SIGKILL) // which it tells as an error
		next := r.startMonitor()
		if state := stateOf(r.status(), "wan2"); state != "offline" {
			t.Errorf("wan2 is %s after the monitor was killed and started again", state)
		}
		check(t, next.End(syscall.SIGTERM))
		if out := r.sh("iptables-" + backend + " -t mangle -S lb_policy_balanced"); strings.Contains(out, "lb_member_wan2") {
			t.Errorf("the state did not stay when the monitor ended:\n%s", out)
		}
		last := r.startMonitor()
		check(t, r.lab.Restore(2))
		r.waitState("wan2", "active")
		if failed, err := flows.Check(5 * time.Second); failed > 0 {
			t.Errorf("%d of 20 connections were disturbed: %v", failed, err)
		}
		for _, log := range []*netlab.Log{next.Log, last.Log} {
			if log.Count("offline: no answer") > 0 {
				t.Errorf("a working line was suspected:\n%s", log)
			}
		}
		if files, err := os.ReadDir(r.runDir()); err != nil || len(files) > 12 {
			t.Errorf("the run directory holds %d files: %v", len(files), err)
		}
	})
}
