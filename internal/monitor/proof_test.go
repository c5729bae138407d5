package monitor

import (
	"reflect"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/plan"
)

// careful has a member that must answer before it is used.
const careful = three + "config member 'wan4'\n\tlist track_ip 192.0.2.1\n\toption initial_state offline\n"

// TestLinkThatComesAfterTheStart: a line that must prove itself is not used
// either at the moment in which its link comes up for the first time, whether
// a monitor ran before or not.
func TestLinkThatComesAfterTheStart(t *testing.T) {
	for name, last := range map[string]plan.Verdicts{"first monitor": nil, "next monitor": {}} {
		t.Run(name, func(t *testing.T) {
			g := newMonitorRig(t, careful)
			g.store = last
			g.down["wan1"], g.down["wan4"], g.silent["wan4"] = true, true, true
			g.start()
			g.down["wan1"], g.down["wan4"] = false, false
			g.kernel.Network++
			g.pass(2 * time.Second)
			g.expect("events", &g.events, "online wan1 ipv4", "active wan1 ipv4")
			g.silent["wan4"] = false
			g.pass(30 * time.Second) // the rounds missed before must be a tenth at most
			g.expect("events", &g.events, "online wan4 ipv4", "active wan4 ipv4")
		})
	}
}

// TestRestartKeepsLine: initial_state is about lines of which nothing is known.
// One that was in use stays so when the monitor is replaced.
func TestRestartKeepsLine(t *testing.T) {
	g := newMonitorRig(t, careful)
	g.store = plan.Verdicts{}
	g.start()
	g.expect("applies", &g.applies, "follow monitor started")
	if len(g.store)+len(g.applied) != 0 {
		t.Errorf("verdicts: %v", g.store)
	}
}

// TestVerdictsOfStoppedService: a stop removes the verdicts, and the monitor
// does not bring them back: the next one would take it that lines are known.
func TestVerdictsOfStoppedService(t *testing.T) {
	g := newMonitorRig(t, careful)
	g.start()
	g.silent["wan2"] = true
	g.pass(4 * time.Second)
	g.stop()
	g.accept()
	g.pass(5 * time.Second)
	if g.store != nil {
		t.Errorf("verdicts are kept: %v", g.store)
	}
	g.silent["wan4"], g.stopped = true, false
	g.accept()
	g.pass(time.Second)
	if g.applied[family.IPv4]["wan4"].Offline == "" {
		t.Error("wan4 is used before it has answered")
	}
}

// TestVerdictWhileStopping: the monitor may pass a verdict before it hears of
// a stop. If the service is started again by then, all its verdicts hold.
func TestVerdictWhileStopping(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.silent["wan2"] = true
	g.pass(4 * time.Second)
	g.stop()
	g.offline[health.Key{Member: "wan3"}] = plan.Verdict{Offline: "no answer"}
	if g.save(); g.store != nil {
		t.Errorf("verdicts are kept: %v", g.store)
	}
	g.silent["wan3"], g.stopped = true, false
	g.accept()
	g.pass(time.Second)
	if offline := g.applied[family.IPv4]; offline["wan2"].Offline == "" || offline["wan3"].Offline == "" {
		t.Errorf("verdicts: %v", offline)
	}
}

// TestVerdictsWithoutMonitor: likewise where the configuration has come to want
// no monitor.
func TestVerdictsWithoutMonitor(t *testing.T) {
	g := newMonitorRig(t, careful)
	g.start()
	g.idle = true
	g.accept()
	g.pass(time.Second)
	if g.store != nil {
		t.Errorf("verdicts are kept: %v", g.store)
	}
	g.idle = false
	g.applies = nil
	g.accept()
	g.pass(500 * time.Millisecond)
	g.expect("applies", &g.applies, "follow new configuration", "follow verdicts of members that are new or gone")
	if g.store[family.IPv4]["wan4"].Offline == "" {
		t.Errorf("verdicts: %v", g.store)
	}
}

// TestRecalledVerdictsAreAsTheyWere: the first run of a monitor goes by what the
// last one left, of each family, before it knows who has targets.
func TestRecalledVerdictsAreAsTheyWere(t *testing.T) {
	g := newMonitorRig(t, three)
	g.store = plan.Verdicts{family.IPv4: {"wan1": {Offline: "no answer"}}}
	g.begin(g.now)
	if got := g.verdicts(); !reflect.DeepEqual(got, g.store) {
		t.Errorf("the first run goes by %v, want %v", got, g.store)
	}
}
