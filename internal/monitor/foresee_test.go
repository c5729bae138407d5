package monitor

import (
	"fmt"
	"testing"
	"time"

	"loadbalance/internal/family"
)

// waitFor lets time pass until something holds, for ten seconds at most.
func (g *rig) waitFor(what string, condition func() bool) {
	g.t.Helper()
	for end := g.now.Add(10 * time.Second); !condition(); g.pass(step) {
		if g.now.After(end) {
			g.t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// foreseeable are three members of which the settings are given.
func foreseeable(options string) string {
	config := ""
	for _, name := range []string{"wan1", "wan2", "wan3"} {
		config += "config member '" + name + "'\n\tlist track_ip '192.0.2.1'\n" + options
	}
	return config
}

// TestVerdictIsForeseen: what an apply needs is read once, shortly before the
// verdict, with the verdicts that are to be expected.
func TestVerdictIsForeseen(t *testing.T) {
	for options, before := range map[string]time.Duration{
		"": 250 * time.Millisecond,
		"\toption interval '50ms'\n\toption timeout '100ms'\n": 50 * time.Millisecond,
		// The others must have answered long enough afterwards.
		"\toption down '1'\n": 450 * time.Millisecond,
	} {
		g := newMonitorRig(t, foreseeable(options))
		g.start()
		g.expect("readings of lines that answer", &g.readings)
		g.silent["wan2"] = true
		g.waitFor("reading", func() bool { return len(g.readings) > 0 })
		read := g.now
		g.waitFor("verdict", func() bool { return g.applied[family.IPv4]["wan2"] != "" })
		if ahead := g.now.Sub(read); ahead < before-2*step || ahead > before+2*step {
			t.Errorf("%q: read %s before the verdict, want %s", options, ahead, before)
		}
		g.expect("readings", &g.readings, "wan2")
		if got := fmt.Sprint(g.ahead); got != "[false true]" {
			t.Errorf("%q: read ahead for the start and the verdict: %s", options, got)
		}
		g.pass(3 * time.Second)
		g.expect("readings after the verdict", &g.readings)
	}
}

// TestReadingThatDoesNotHold: it is not used where the kernel was changed since,
// for anything but a verdict, or twice.
func TestReadingThatDoesNotHold(t *testing.T) {
	for what, meanwhile := range map[string]func(*rig){
		"somebody changed what is ours":     (*rig).damage,
		"the network changed":               func(g *rig) { g.kernel.World++ },
		"another reason for the same apply": func(g *rig) { g.want(request{at: g.now.Add(time.Hour), reasons: []string{"new configuration"}}) },
	} {
		g := newMonitorRig(t, foreseeable(""))
		g.start()
		g.silent["wan2"] = true
		g.waitFor("reading", func() bool { return len(g.readings) > 0 })
		meanwhile(g)
		g.waitFor("verdict", func() bool { return g.applied[family.IPv4]["wan2"] != "" })
		for i, ahead := range g.ahead {
			if ahead {
				t.Errorf("%s: %q goes by what was read ahead", what, g.applies[i])
			}
		}
	}
}

// TestReadingIsMadeAgain: an apply that comes before the verdict leaves nothing of
// the first one.
func TestReadingIsMadeAgain(t *testing.T) {
	g := newMonitorRig(t, foreseeable(""))
	g.start()
	g.silent["wan2"] = true
	g.waitFor("reading", func() bool { return len(g.readings) > 0 })
	g.want(request{at: g.now, reasons: []string{"new configuration"}})
	g.waitFor("verdict", func() bool { return g.applied[family.IPv4]["wan2"] != "" })
	g.expect("readings", &g.readings, "wan2", "wan2")
	if got := fmt.Sprint(g.ahead); got != "[false false true]" {
		t.Errorf("read ahead for the start, the new configuration and the verdict: %s", got)
	}
}

// TestReadingGetsOld: a verdict on another line, long after one that has nearly
// died, does not go by what was read for that one.
func TestReadingGetsOld(t *testing.T) {
	g := newMonitorRig(t, foreseeable("\toption timeout '1200ms'\n"))
	g.start()
	g.silent["wan1"] = true
	g.pass(6 * time.Second)
	g.silent["wan2"] = true
	g.readings = nil
	g.waitFor("reading", func() bool { return len(g.readings) > 0 })
	g.silent["wan2"] = false
	g.pass(2 * time.Second)
	g.silent["wan1"] = false
	g.ahead = nil
	g.waitFor("wan1 is back", func() bool { return len(g.ahead) > 0 })
	if g.ahead[0] {
		t.Error("the apply for wan1 goes by what was read for wan2")
	}
}

// TestReadingsArePaced: a line that nearly dies again and again.
func TestReadingsArePaced(t *testing.T) {
	g := newMonitorRig(t, foreseeable("\toption interval '50ms'\n\toption timeout '100ms'\n\toption down '2'\n\toption failure_loss '0'\n"))
	g.start()
	for end := g.now.Add(20 * time.Second); g.now.Before(end); {
		g.silent["wan2"] = true
		g.pass(70 * time.Millisecond)
		g.silent["wan2"] = false
		g.pass(80 * time.Millisecond)
	}
	if n := len(g.readings); n < 5 || n > 10 {
		t.Errorf("%d readings in 20 s, want one every two seconds at most", n)
	}
	g.expect("applies", &g.applies, "follow monitor started")
}

// TestReadingsAreRare: none for single losses, one for several lines together,
// and one for each time that a line nearly dies.
func TestReadingsAreRare(t *testing.T) {
	// A round is sent, and answered, after the reading and before the verdict.
	g := newMonitorRig(t, foreseeable("\toption timeout '1200ms'\n"))
	g.start()
	lose := func(rounds int, members ...string) {
		for _, name := range members {
			g.silent[name] = true
		}
		g.pass(time.Duration(rounds) * 500 * time.Millisecond)
		clear(g.silent)
		g.pass(5 * time.Second)
	}
	lose(1, "wan2")
	lose(2, "wan1", "wan2", "wan3")
	g.expect("readings of rounds that were lost", &g.readings)
	for range 2 {
		g.silent["wan2"], g.silent["wan3"] = true, true
		g.waitFor("reading", func() bool { return len(g.readings) > 0 })
		clear(g.silent)
		g.pass(5 * time.Second)
		g.expect("readings of two lines", &g.readings, "wan2 wan3")
	}
	g.expect("applies", &g.applies, "follow monitor started")
}
