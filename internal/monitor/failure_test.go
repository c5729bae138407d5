package monitor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// TestFailuresAreSpacedOut: whatever made an apply due, as long as it fails it
// is tried less and less often, and the log is not filled with it.
func TestFailuresAreSpacedOut(t *testing.T) {
	tests := []struct {
		name  string
		cause func(*rig)
	}{
		{"the full comparison", func(*rig) {}},
		{"a change of the network", func(g *rig) { g.kernel.Network++ }},
		{"damage", (*rig).damage},
		{"a verdict", func(g *rig) { g.silent["wan2"] = true }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newMonitorRig(t, three)
			g.start()
			g.pass(5 * time.Second)
			g.applies, g.logged = nil, nil
			g.failing = true
			tt.cause(g)
			g.pass(3 * time.Minute)
			// After 0, 1, 3, 7, 15, 31, 63 and 123 s; the comparison comes later.
			if n := len(g.applies); n < 5 || n > 9 {
				t.Errorf("%d attempts in three minutes", n)
			}
			told := slices.DeleteFunc(g.logged, func(line string) bool { return strings.HasPrefix(line, "debug: ") })
			if len(told) != 1 || told[0] != "error: mangle restore (ipv4): refused: trying again, at least once a minute" {
				t.Errorf("log: %q", told)
			}
			g.failing, g.logged = false, nil
			g.pass(time.Minute)
			if !slices.Contains(g.logged, "notice: what failed before works again") {
				t.Errorf("log: %q", g.logged)
			}
		})
	}
}

// TestBusyLockIsTriedAgain: while another program holds the xtables lock, an
// apply is tried every second, so that a verdict is in the kernel as soon as the
// lock is free; the log says so once.
func TestBusyLockIsTriedAgain(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.pass(5 * time.Second)
	g.applies, g.logged = nil, nil
	g.failing, g.failure = true, fmt.Errorf("mangle restore (ipv4): %w", iptables.ErrBusy)
	g.silent["wan2"] = true
	g.pass(30 * time.Second)
	if n := len(g.applies); n < 25 || n > 35 {
		t.Errorf("%d attempts in half a minute", n)
	}
	if n := strings.Count(strings.Join(g.logged, "\n"), "error: "); n != 1 {
		t.Errorf("log: %q", g.logged)
	}
	g.failing = false
	g.pass(1100 * time.Millisecond)
	if g.applied[family.IPv4]["wan2"].Offline == "" {
		t.Error("the verdict does not reach the kernel when the lock is free")
	}
}

// TestChangeIsTriedAtOnce: a change may be what makes an apply work again, so
// it does not wait for the next attempt.
func TestChangeIsTriedAtOnce(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.failing = true
	g.damage()
	g.pass(40 * time.Second) // the attempt after this one is 24 s away
	g.failing, g.applies = false, nil
	g.kernel.Network++
	g.pass(3 * time.Second)
	if len(g.applies) == 0 || g.kernel.Ours%2 == 1 {
		t.Errorf("applies: %q", g.applies)
	}
}

// TestVerdictThatCannotBeSaved reaches the kernel all the same, and other
// processes as soon as there is room.
func TestVerdictThatCannotBeSaved(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.full = true
	g.silent["wan2"] = true
	g.pass(10 * time.Second)
	if g.applied[family.IPv4]["wan2"].Offline == "" || g.store[family.IPv4]["wan2"].Offline != "" {
		t.Fatalf("applied: %v, saved: %v", g.applied, g.store)
	}
	if n := len(g.applies); n > 10 {
		t.Errorf("%d applies in ten seconds", n)
	}
	g.full = false
	g.pass(2 * time.Minute)
	if g.store[family.IPv4]["wan2"].Offline == "" {
		t.Error("the verdict is not saved when there is room")
	}
}

// TestDamagedVerdicts: verdicts that cannot be read would make every apply fail
// until somebody removes them, so the monitor replaces them.
func TestDamagedVerdicts(t *testing.T) {
	g := newMonitorRig(t, three)
	g.damaged = errors.New("verdicts.json is damaged")
	g.start()
	g.expect("applies", &g.applies, "follow monitor started")
	if len(g.logged) != 1 || !strings.HasPrefix(g.logged[0], "warning: run directory: verdicts.json is damaged") {
		t.Errorf("log: %q", g.logged)
	}
}

// TestNoEventsWithoutService: a stop, or option monitor '0', is no news of the
// lines, which may well be in use still.
func TestNoEventsWithoutService(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	for _, stopped := range []bool{true, false} {
		g.stopped = stopped
		g.want(request{at: g.now, reasons: []string{"new configuration"}})
		g.pass(time.Second)
		g.expect("events", &g.events)
		g.expect("log", &g.logged)
	}
}

// TestNewMonitorTrustsLines: initial_state is about lines of which nothing is
// known. One that was online stays so when the monitor is replaced.
func TestNewMonitorTrustsLines(t *testing.T) {
	const careful = three + "config member 'wan4'\n\tlist track_ip 192.0.2.1\n\toption initial_state offline\n"
	g := newMonitorRig(t, careful)
	g.store = plan.Verdicts{}
	g.start()
	g.expect("applies", &g.applies, "follow monitor started")
	g.config = three
	g.want(request{at: g.now, reasons: []string{"new configuration"}})
	g.pass(time.Second)
	g.config = careful
	g.silent["wan4"] = true
	g.want(request{at: g.now, reasons: []string{"new configuration"}})
	g.pass(time.Second)
	if g.applied[family.IPv4]["wan4"].Offline == "" {
		t.Error("a member that is new is used before it has answered")
	}
}

// TestHalfAnApply: what could be applied needs its verdicts, and they are
// announced when the rest is there.
func TestHalfAnApply(t *testing.T) {
	g := newMonitorRig(t, three)
	g.refused = true
	g.start()
	if len(g.sent) != 3 {
		t.Fatalf("probes: %v", g.sent)
	}
	g.silent["wan2"] = true
	g.pass(10 * time.Second)
	if g.applied[family.IPv4]["wan2"].Offline == "" {
		t.Error("no verdict")
	}
	g.expect("events", &g.events)
	g.applies = nil
	g.pass(3 * time.Minute)
	if n := len(g.applies); n < 3 || n > 8 {
		t.Errorf("%d attempts in three minutes", n)
	}
	g.refused = false
	g.pass(2 * time.Minute)
	g.expect("events", &g.events, "inactive wan2 ipv4", "offline wan2 ipv4")
}

// TestRunDirectoryGone: the monitor makes it anew and fills it; that of a stopped
// service is left alone.
func TestRunDirectoryGone(t *testing.T) {
	g := newMonitorRig(t, three)
	g.silent["wan2"] = true
	g.start()
	g.pass(10 * time.Second)
	g.applies, g.store = nil, nil
	known := Presence{Accepted: make(chan struct{})}
	g.Appear = func() (Presence, error) { return known, nil }
	if err := g.appear(g.now); err != nil {
		t.Fatal(err)
	}
	g.pass(time.Second)
	g.expect("applies", &g.applies, "follow the run directory was removed")
	if g.store[family.IPv4]["wan2"].Offline == "" {
		t.Errorf("verdicts: %v", g.store)
	}
	g.stopped = true
	g.want(request{at: g.now, reasons: []string{"new configuration"}})
	g.pass(time.Second)
	g.Appear = func() (Presence, error) { t.Error("it is made anew"); return known, nil }
	if err := g.appear(g.now); err == nil {
		t.Error("the monitor goes on without a service")
	}
}
