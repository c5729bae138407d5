package monitor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/kernel"
	"loadbalance/internal/plan"
	"loadbalance/internal/quota"
)

// newMetered is a monitor in December with a member that has 5 MB, of a lower
// tier than the other one.
func newMetered(t *testing.T, options string) *rig {
	g := newMonitorRig(t, "config member 'lte'\n\toption quota '5MB'\n"+options+"config member 'dsl'\n\toption metric 2\n")
	g.now = time.Date(2026, 12, 10, 12, 0, 0, 0, time.Local)
	g.Boot = "first"
	g.carry(1e6)
	return g
}

// carry has the device of the member with a quota carry bytes until its counter
// has a value.
func (g *rig) carry(bytes uint64) {
	g.carried = []kernel.Traffic{{Name: "lte", Index: 7, Received: bytes}, {Name: "dsl", Index: 8, Sent: 3 * bytes}}
}

// restart is the next monitor, with what this one leaves behind.
func (g *rig) restart() *rig {
	next := newMonitorRig(g.t, g.config)
	next.now, next.kept, next.store, next.carried, next.Boot = g.now, g.kept, g.store, g.carried, g.Boot
	return next
}

// end is the end of Run.
func (g *rig) end() {
	g.count(g.now)
	g.keep(g.now)
}

func TestQuotaThatIsUsedUp(t *testing.T) {
	for _, c := range []struct {
		action         string
		used, returned []string
		online         bool
	}{
		{"last", []string{"quota lte ipv4", "inactive lte ipv4", "active dsl ipv4"}, []string{"active lte ipv4", "inactive dsl ipv4"}, true},
		{"off", []string{"quota lte ipv4", "inactive lte ipv4", "offline lte ipv4", "active dsl ipv4"},
			[]string{"online lte ipv4", "active lte ipv4", "inactive dsl ipv4"}, false},
	} {
		t.Run(c.action, func(t *testing.T) {
			g := newMetered(t, "\toption quota_action '"+c.action+"'\n")
			g.start()
			g.carry(5.9e6)
			g.pass(countEvery)
			g.expect("events", &g.events)
			g.applies, g.logged = nil, nil
			g.carry(6.1e6)
			g.pass(countEvery)
			g.expect("applies", &g.applies, "follow quota")
			g.expect("events", &g.events, c.used...)
			if state := g.outcome.Members[0].IPv4; state.Active || state.Online != c.online || !strings.Contains(state.Reason, "its quota of 0.005 GB is used up") {
				t.Errorf("state: %+v", state)
			}
			if n := strings.Count(strings.Join(g.logged, "\n"), "is used up"); n != 1 || !strings.Contains(g.logged[0], "member 'lte' (ipv4): quota: its quota of 0.005 GB") {
				t.Errorf("the log says it %d times:\n%s", n, strings.Join(g.logged, "\n"))
			}
			for i := range 30 {
				g.carry(7e6 + uint64(i))
				g.pass(countEvery)
			}
			for _, apply := range g.applies {
				if apply != "follow repair" { // once a minute, as always
					t.Errorf("as the member goes on: %s", apply)
				}
			}
			g.now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.Local)
			g.pass(time.Second)
			g.expect("events of the next period", &g.events, c.returned...)
		})
	}
}

// Flash wears out.
func TestUsageIsKeptRarely(t *testing.T) {
	g := newMetered(t, "")
	g.start()
	for i := range 4 * 360 { // hours of looks
		if i < 2*360 {
			g.carry(1e6 + uint64(i))
		}
		g.now = g.now.Add(countEvery)
		g.work(g.now)
		if g.applying {
			g.finish(<-g.results, g.now)
		}
	}
	if len(g.keeps) != 8 {
		t.Errorf("kept %d times in two hours with traffic and two without: %v", len(g.keeps), g.keeps)
	}
	g.keeps = nil
	g.end()
	g.expect("kept at the end without news", &g.keeps)
	g.carry(9e6)
	g.end()
	if len(g.keeps) != 1 || g.kept.Of("lte").Bytes != 8e6 {
		t.Errorf("kept at the end: %v, %+v", g.keeps, g.kept.Members)
	}
}

func TestNothingIsReadOrKeptWithoutQuota(t *testing.T) {
	g := newMonitorRig(t, three)
	g.unread = errors.New("is read")
	g.start()
	g.pass(time.Minute)
	g.end()
	g.expect("log", &g.logged)
	g.expect("kept", &g.keeps)
}

// A new monitor does not even begin with a member that has nothing left, and
// tells nobody again.
func TestUsageOutlivesTheMonitor(t *testing.T) {
	g := newMetered(t, "")
	g.start()
	g.carry(7e6)
	g.pass(countEvery)
	g.end()
	for _, boot := range []string{"first", "second"} {
		next := g.restart()
		next.Boot = boot
		if boot == "second" {
			next.store = nil // the run directory is in memory
			next.carry(9e6)  // more than before
		}
		next.start()
		next.pass(countEvery)
		next.expect("applies", &next.applies, "follow monitor started", "follow repair")
		next.expect("events", &next.events)
		if used := next.book.Of("lte").Bytes; boot == "first" && used != 6e6 || boot == "second" && used != 6e6+9e6 {
			t.Errorf("%s boot: %d bytes", boot, used)
		}
	}
}

func TestCorrectionReachesTheMonitor(t *testing.T) {
	g := newMetered(t, "\toption quota_action 'off'\n")
	g.start()
	g.carry(7e6)
	g.pass(countEvery)
	g.carry(8e6)
	g.events, g.logged = nil, nil
	answer := make(chan health.Snapshot, 1)
	g.answer(Question{Used: &quota.Usage{Member: "lte", Bytes: 2e6}, Answer: answer}, g.now)
	if usage := (<-answer).Usage[0]; usage.Bytes != 2e6 || usage.Quota != 5e6 || usage.Since.Day() != 1 {
		t.Errorf("answer: %+v", usage)
	}
	g.pass(time.Second)
	g.expect("events", &g.events, "online lte ipv4", "active lte ipv4", "inactive dsl ipv4")
	g.answer(Question{Used: &quota.Usage{Member: "lte", Bytes: 5e6}, Answer: answer}, g.now)
	<-answer
	g.pass(time.Second)
	g.expect("events", &g.events, "quota lte ipv4", "inactive lte ipv4", "offline lte ipv4", "active dsl ipv4")
}

// A member that does not answer is offline for that, whatever it has left; with
// its quota it is neither forgotten nor brought back.
func TestQuotaBesideProbes(t *testing.T) {
	g := newMetered(t, "\toption quota_action 'off'\n\tlist track_ip 192.0.2.1\n")
	g.start()
	g.silent["lte"] = true
	g.pass(4 * time.Second)
	g.carry(7e6)
	g.pass(countEvery)
	if state := g.outcome.Members[0].IPv4; !strings.Contains(state.Reason, "no answer") {
		t.Errorf("state: %+v", state)
	}
	g.silent["lte"] = false
	g.pass(10 * time.Second)
	if state := g.outcome.Members[0].IPv4; state.Online || !strings.Contains(state.Reason, "quota") {
		t.Errorf("it answers again: %+v", state)
	}
	next := g.restart()
	next.start()
	if online, probed := next.paths.Online(health.Key{Member: "lte"}); !online || !probed {
		t.Errorf("for the next monitor: online %v, probed %v", online, probed)
	}
}

func TestUsageThatCannotBeKept(t *testing.T) {
	g := newMetered(t, "")
	g.unlucky = errors.New("no space left on device")
	g.start()
	g.expect("log", &g.logged, "warning: use of quotas: no space left on device: it is counted anew")
	g.pass(31 * time.Minute)
	g.expect("log", &g.logged, "error: use of quotas: no space left on device: a restart will not know it")
	g.unlucky, g.unread = nil, errors.New("devices: interrupted")
	g.end()
	g.expect("log", &g.logged, "debug: devices: interrupted")
	if g.kept.Of("lte").Quota != 5e6 {
		t.Errorf("kept: %+v", g.kept)
	}
}

// TestSpentPortal: the next monitor still knows that a line that is off by its
// quota wants a login as well.
func TestSpentPortal(t *testing.T) {
	g := newMetered(t, "\toption quota_action 'off'\n\tlist track_ip '192.0.2.1'\n\toption track_method 'http'\n"+
		"\toption track_url 'http://example.org/'\n")
	const spent, portal = "its quota of 0.005 GB is used up", "status 302 instead of 204"
	g.store = plan.Verdicts{family.IPv4: {"lte": {Offline: spent, Portal: portal, Spent: spent}}}
	g.start()
	if got := g.offline[health.Key{Member: "lte", Family: family.IPv4}].Offline; got != portal {
		t.Errorf("offline because %q, want %q", got, portal)
	}
}
