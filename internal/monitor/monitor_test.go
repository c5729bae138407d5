package monitor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/plan"
)

// three members, of which each asks two servers.
const three = `
config member 'wan1'
	list track_ip '192.0.2.1'
	list track_ip '192.0.2.2'
config member 'wan2'
	list track_ip '192.0.2.1'
	list track_ip '192.0.2.2'
config member 'wan3'
	list track_ip '192.0.2.1'
	list track_ip '192.0.2.2'
`

func TestVerdictIsAppliedAndAnnounced(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.expect("applies at the start", &g.applies, "follow monitor started")
	g.expect("events at the start", &g.events)
	g.silent["wan2"] = true
	g.pass(4 * time.Second)
	g.expect("applies", &g.applies, "follow member 'wan2' (ipv4) is offline", "follow repair")
	g.expect("events", &g.events, "inactive wan2 ipv4", "offline wan2 ipv4")
	if reason := g.applied[family.IPv4]["wan2"].Offline; !strings.Contains(reason, "no answer from 192.0.2.1, 192.0.2.2") {
		t.Errorf("reason: %q", reason)
	}
	if g.applied[family.IPv6]["wan2"].Offline == "" {
		t.Error("the other family does not go by the one with targets")
	}
	g.silent["wan2"] = false
	g.pass(5 * time.Second)
	g.expect("applies", &g.applies, "follow member 'wan2' (ipv4) is online", "follow repair")
	g.expect("events", &g.events, "online wan2 ipv4", "active wan2 ipv4")
	if len(g.applied[family.IPv4])+len(g.applied[family.IPv6]) != 0 {
		t.Errorf("verdicts: %v", g.applied)
	}
}

// Two families of one member are two lines; each has its own verdict.
func TestFamiliesAreJudgedApart(t *testing.T) {
	g := newMonitorRig(t, "config member 'wan6'\n\tlist track_ip '192.0.2.1'\n\tlist track_ip '2001:db8::1'\n"+
		"config member 'wan'\n\tlist track_ip gateway\n")
	g.start()
	if len(g.paths.Keys()) != 3 {
		t.Fatalf("lines: %v", g.paths.Keys())
	}
	g.silent["wan6"] = true
	g.pass(4 * time.Second)
	g.expect("events", &g.events, "inactive wan6 ipv4 ipv6", "offline wan6 ipv4 ipv6")
}

func TestLinkThatGoesIsNotProbed(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.down["wan2"] = true
	g.kernel.Network++
	g.pass(3 * time.Second)
	key := health.Key{Member: "wan2"}
	if _, probed := g.paths.Online(key); probed {
		t.Error("wan2 is probed without a link")
	}
	g.expect("events", &g.events, "inactive wan2 ipv4", "offline wan2 ipv4")
	g.down["wan2"] = false
	g.kernel.Network++
	g.pass(3 * time.Second)
	if online, probed := g.paths.Online(key); !online || !probed {
		t.Errorf("wan2 with its link again: online %v, probed %v", online, probed)
	}
	g.expect("events", &g.events, "online wan2 ipv4", "active wan2 ipv4")
}

// A line that was offline when its link went must prove that it works.
func TestVerdictOutlivesTheLink(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.silent["wan2"] = true
	g.pass(4 * time.Second)
	for _, down := range []bool{true, false} {
		g.down["wan2"] = down
		g.kernel.Network++
		g.pass(3 * time.Second)
		if g.applied[family.IPv4]["wan2"].Offline == "" {
			t.Fatalf("link down %v: the verdict is gone", down)
		}
	}
	g.silent["wan2"] = false
	g.pass(5 * time.Second)
	if g.applied[family.IPv4]["wan2"].Offline != "" {
		t.Error("wan2 does not come back")
	}
}

// A script finds what it needs to know of a member that is configured no more.
func TestMemberThatIsRemoved(t *testing.T) {
	g := newMonitorRig(t, three+"config member 'wan4'\n\toption interface 'lte'\n")
	g.start()
	g.config = three
	g.want(request{at: g.now, reasons: []string{"new configuration"}})
	g.pass(time.Second)
	g.expect("events", &g.events, "inactive wan4 ipv4", "offline wan4 ipv4")
	if g.event.Interface != "lte" || g.event.Device != "wan4" || g.event.Reason != "is not configured any more" {
		t.Errorf("the last event: %+v", g.event)
	}
}

func TestInitialStateOffline(t *testing.T) {
	g := newMonitorRig(t, three+"config member 'wan4'\n\tlist track_ip 192.0.2.1\n\toption initial_state offline\n")
	g.silent["wan4"] = true
	g.start()
	if g.applied[family.IPv4]["wan4"].Offline == "" {
		t.Error("wan4 is used before it has answered")
	}
	g.silent["wan4"] = false
	g.pass(12 * time.Second) // the rounds missed before must be a tenth at most
	if g.applied[family.IPv4]["wan4"].Offline != "" {
		t.Error("wan4 answers and is not used")
	}
}

// A line that must prove itself is not used either at the moment in which its
// link is back.
func TestInitialStateOfflineAfterLinkLoss(t *testing.T) {
	g := newMonitorRig(t, three+"config member 'wan4'\n\tlist track_ip 192.0.2.1\n\toption initial_state offline\n")
	g.start()
	g.pass(5 * time.Second)
	g.events = nil
	for _, down := range []bool{true, false} {
		g.down["wan4"] = down
		g.kernel.Network++
		g.pass(2 * time.Second)
	}
	g.expect("events", &g.events, "inactive wan4 ipv4", "offline wan4 ipv4")
	g.pass(5 * time.Second)
	g.expect("events", &g.events, "online wan4 ipv4", "active wan4 ipv4")
}

// Without a gateway there is nobody to ask in IPv6: it goes by IPv4.
func TestFamilyWithNobodyToAsk(t *testing.T) {
	g := newMonitorRig(t, "config member 'ppp6'\n\tlist track_ip gateway\nconfig member 'wan'\n\tlist track_ip gateway\n")
	g.noGateway6 = true
	g.start()
	g.silent["ppp6"] = true
	g.pass(4 * time.Second)
	g.expect("events", &g.events, "inactive ppp6 ipv4 ipv6", "offline ppp6 ipv4 ipv6")
	g.silent["ppp6"] = false
	g.pass(5 * time.Second)
	g.expect("events", &g.events, "online ppp6 ipv4 ipv6", "active ppp6 ipv4 ipv6")
	if len(g.store) != 0 {
		t.Errorf("verdicts: %v", g.store)
	}
}

func TestNewMonitorBeginsWithOldVerdicts(t *testing.T) {
	g := newMonitorRig(t, three)
	g.store = plan.Verdicts{
		family.IPv4: {"wan2": {Offline: "no answer"}, "gone": {Offline: "no answer"}},
		family.IPv6: {"wan2": {Offline: "no answer"}},
	}
	g.applied = g.store
	g.start()
	if g.store[family.IPv4]["wan2"].Offline != "no answer" || g.store[family.IPv4]["gone"].Offline != "" {
		t.Errorf("verdicts: %v", g.store)
	}
	g.expect("events", &g.events)
	g.pass(5 * time.Second)
	if len(g.store) != 0 {
		t.Errorf("wan2 answers, but verdicts are %v", g.store)
	}
}

// What worked before goes on, and the apply is tried again, later each time.
func TestFailedApplyIsTriedAgain(t *testing.T) {
	g := newMonitorRig(t, three)
	g.failing = true
	g.start()
	g.pass(20 * time.Second)
	if n := len(g.applies); n != 5 { // after 0, 1, 3, 7 and 15 s
		t.Errorf("%d attempts in 21 s", n)
	}
	g.failing = false
	g.pass(20 * time.Second)
	g.applies = nil
	g.failing = true
	g.silent["wan2"] = true
	g.pass(4 * time.Second)
	g.failing = false
	g.pass(2 * time.Second)
	g.expect("events", &g.events, "inactive wan2 ipv4", "offline wan2 ipv4")
	if last := g.applies[len(g.applies)-1]; !strings.Contains(strings.Join(g.applies, "\n"), "wan2") {
		t.Errorf("the reason was lost: %s", last)
	}
}

func TestStoppedServiceIsLeftAlone(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.stopped = true
	g.want(request{at: g.now, reasons: []string{"new configuration"}})
	g.pass(time.Second)
	g.applies, g.events = nil, nil
	clear(g.sent)
	g.damage()
	g.pass(2 * time.Minute)
	g.expect("applies while stopped", &g.applies)
	if len(g.sent) > 0 {
		t.Errorf("probes while stopped: %v", g.sent)
	}
	g.stopped = false
	g.want(request{at: g.now, reasons: []string{"new configuration"}})
	g.pass(time.Second)
	if len(g.sent) != 3 {
		t.Errorf("probes after the start: %v", g.sent)
	}
}

func TestDamageIsRepairedOnce(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.applies = nil
	g.damage()
	g.pass(10 * time.Second)
	// The second one makes sure that nobody interfered with the first.
	g.expect("applies", &g.applies, "follow repair", "follow repair")
	g.pass(time.Minute)
	if n := len(g.applies); n > 1 {
		t.Errorf("%d applies in a quiet minute", n)
	}
}

// A program that undoes each repair must not keep the processor busy.
func TestRepairsAreSpacedOut(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.applies = nil
	g.undo = true
	g.damage()
	for range 600 {
		g.lookBy(g.now) // a message for each change
		g.pass(100 * time.Millisecond)
	}
	if n := len(g.applies); n > 45 || n < 20 {
		t.Errorf("%d applies in a minute", n)
	}
	g.undo = false
	g.pass(5 * time.Second)
	if g.kernel.Ours%2 == 1 {
		t.Error("not repaired in the end")
	}
}

// A network that does not come to rest must not keep the processor busy either,
// but the first changes are followed at once.
func TestRestlessNetwork(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.pass(5 * time.Second)
	g.applies = nil
	change := func() {
		g.kernel.Network++
		g.lookBy(g.now.Add(debounce)) // as a message does
		g.pass(100 * time.Millisecond)
	}
	for i := range burst {
		if change(); len(g.applies) != i+1 {
			t.Fatalf("%d applies after %d changes", len(g.applies), i+1)
		}
	}
	for range 600 {
		change()
	}
	if n := len(g.applies); n > burst+31 {
		t.Errorf("%d applies in a minute", n)
	}
	g.silent["wan2"] = true
	for range 40 {
		change()
	}
	if g.applied[family.IPv4]["wan2"].Offline == "" {
		t.Error("a verdict waits")
	}
	g.pass(calmAfter + time.Second)
	g.applies = nil
	if change(); len(g.applies) != 1 {
		t.Error("it is not followed at once after a calm")
	}
}

func TestAllSilentIsNoVerdict(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.applies, g.logged = nil, nil
	for _, name := range []string{"wan1", "wan2", "wan3"} {
		g.silent[name] = true
	}
	g.pass(30 * time.Second)
	g.expect("applies", &g.applies)
	if !g.snapshot(g.now).Silent || len(g.logged) != 1 || !strings.Contains(g.logged[0], "balancing goes on") {
		t.Errorf("silent %v, log: %v", g.snapshot(g.now).Silent, g.logged)
	}
	g.silent["wan1"] = false
	g.pass(10 * time.Second)
	if g.applied[family.IPv4]["wan1"].Offline != "" || g.applied[family.IPv4]["wan2"].Offline == "" || g.applied[family.IPv4]["wan3"].Offline == "" {
		t.Errorf("verdicts when one answers again: %v", g.applied)
	}
}

// TestOverdueReload: a reload that came before the commit is made up for with
// the next look, once, also where the first try fails.
func TestOverdueReload(t *testing.T) {
	for _, failing := range []bool{false, true} {
		g := newMonitorRig(t, "config member 'wan1'\n")
		g.start()
		g.overdue, g.applies, g.failing = true, nil, failing
		g.pass(lookEvery + time.Second)
		g.failing = false
		g.pass(5 * time.Second)
		reloads := len(slices.DeleteFunc(g.applies, func(what string) bool { return what != "reload" }))
		if !failing && reloads != 1 || failing && reloads < 2 {
			t.Errorf("failing %v: %d reloads", failing, reloads)
		}
	}
}

// TestLearning: sets learn as soon as they are there, also where an apply got
// only half-way, and until the service is stopped.
func TestLearning(t *testing.T) {
	const sets = "config member wan1\nconfig ipset films\n\tlist domain films.example\n"
	g := newMonitorRig(t, sets)
	g.start()
	if len(g.learning) != 1 || g.learning[0].Name != "lb_films" {
		t.Errorf("learning for %v", g.learning)
	}
	g.stopped = true
	g.want(request{at: g.now, reload: true})
	g.pass(time.Second)
	if len(g.learning) != 0 {
		t.Errorf("after a stop: learning for %v", g.learning)
	}
	g = newMonitorRig(t, sets)
	g.refused = true
	g.start()
	if len(g.learning) != 1 {
		t.Errorf("half-way: learning for %v", g.learning)
	}
}
