package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/health"
	"loadbalance/internal/netlab"
	"loadbalance/internal/status"
)

// silentTarget is an address of the World that no server has.
const silentTarget = "192.0.2.222"

// TestHealthIsShown: what the monitor finds is in the status and the metrics,
// and that nobody looks is there too.
func TestHealthIsShown(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2},
			members(netlab.Separate, 2, "list track_ip '203.0.113.1'", "list track_ip '"+silentTarget+"'"))
		r.must("apply")
		r.expectShown("status", "  the monitor is not running: nobody probes track_ip\n")
		r.expectShown("metrics", "loadbalance_monitor_up 0\n", "loadbalance_monitor_wanted 1\n")
		m := r.startMonitor()
		expectGood(t, r)
		check(t, r.lab.Blackhole(2))
		r.waitState("wan2", "offline")
		expectDead(t, r)
		_ = m.End(syscall.SIGKILL) // which it tells as an error
		r.expectShown("status", "  the monitor is not running: nobody probes track_ip\n")
		if s := r.status(); s.Monitor.Running || healthOf(s, "wan1") != nil {
			t.Errorf("the monitor is gone, yet the status has %+v and %+v", s.Monitor, healthOf(s, "wan1"))
		}
	})
}

// expectShown checks what a command prints.
func (r *router) expectShown(command string, parts ...string) {
	r.t.Helper()
	text := r.must(command)
	for _, part := range parts {
		if !strings.Contains(text, part) {
			r.t.Errorf("no %q in\n%s", part, text)
		}
	}
}

func healthOf(s status.Status, member string) *health.Report {
	for _, m := range s.Members {
		if m.Name == member {
			return m.IPv4.Health
		}
	}
	return nil
}

// expectGood waits for the first answers, and until the silent target
// has missed one.
func expectGood(t *testing.T, r *router) {
	t.Helper()
	eventually(t, "wan1's health is known", func() bool {
		h := healthOf(r.status(), "wan1")
		return h != nil && h.Hits >= 2 && h.Latency > 0 && len(h.Targets) == 2 && h.Targets[1].Loss == 1
	})
	h := healthOf(r.status(), "wan1")
	if !h.Online || h.Misses != 0 || h.Flaps != 0 || h.Since.IsZero() || h.Targets[1].Address != silentTarget {
		t.Errorf("the health of a good line is %+v", *h)
	}
	r.expectShown("status", "\nHEALTH ", "target "+silentTarget+" does not answer\n")
	r.expectShown("metrics", "loadbalance_monitor_up 1\n",
		`loadbalance_health_flaps_total{member="wan1",family="ipv4"} 0`+"\n")
}

func expectDead(t *testing.T, r *router) {
	t.Helper()
	s := r.status()
	h := healthOf(s, "wan2")
	if h.Online || h.Misses == 0 || h.Hits != 0 || h.Flaps != 1 || h.Loss == 0 || h.Reason == "" {
		t.Errorf("the health of a dead line is %+v", *h)
	}
	// A minute is far more than this test takes.
	if passed := s.Time.Sub(h.Since); passed < 0 || passed > time.Minute {
		t.Errorf("the verdict was passed at %v, asked at %v", h.Since, s.Time)
	}
	r.expectShown("status", h.Reason)
	r.expectShown("metrics",
		`loadbalance_member_up{member="wan2",family="ipv4"} 1`+"\n",
		`loadbalance_member_online{member="wan2",family="ipv4"} 0`+"\n",
		`loadbalance_member_active{member="wan2",family="ipv4"} 0`+"\n",
		`loadbalance_health_flaps_total{member="wan2",family="ipv4"} 1`+"\n")
}
