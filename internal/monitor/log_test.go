package monitor

import (
	"loadbalance/internal/health"
	"strings"
	"testing"
	"time"
)

const five = three + `
config member 'wan4'
config member 'wan5'
`

// change has a link go or come, as the kernel tells it at once and netifd a
// moment later.
func (g *rig) change(down bool, member string) {
	g.down[member] = down
	g.kernel.Network++
	g.damage() // what leads over a link goes with it
	g.lookBy(g.now.Add(debounce))
	g.pass(100 * time.Millisecond)
	action := "ifup "
	if down {
		action = "ifdown "
	}
	g.netifd(action + member)
	g.pass(100 * time.Millisecond)
}

// netifd has the hook tell of an event.
func (g *rig) netifd(event string) {
	g.answer(Question{Event: event, Answer: make(chan health.Snapshot, 1)}, g.now)
}

// lines counts the lines that contain a text.
func (g *rig) lines(text string) int {
	n := 0
	for _, line := range g.logged {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// TestLogOfNetworkRestart: each line says what is new with this run, once: no
// more than two short lines for each link that goes or comes.
func TestLogOfNetworkRestart(t *testing.T) {
	g := newMonitorRig(t, five)
	g.summaries = true
	g.start()
	g.logged = nil
	members := []string{"wan1", "wan2", "wan3", "wan4", "wan5"}
	for _, down := range []bool{true, false} {
		for _, member := range members {
			g.change(down, member)
		}
		g.pass(2 * time.Second)
	}
	if len(g.logged) > 4*len(members) {
		t.Errorf("%d lines", len(g.logged))
	}
	for i, line := range g.logged {
		if len(line) > 150 || strings.Count(line, "'wan") > 1 || strings.Contains(line, repair) {
			t.Errorf("line %d: %s", i+1, line)
		}
	}
	for _, member := range members {
		for _, state := range []string{"offline", "online"} {
			if n := g.lines("member '" + member + "' (ipv4): " + state); n != 1 {
				t.Errorf("%s: %s in %d lines", member, state, n)
			}
		}
	}
	if t.Failed() {
		t.Log(strings.Join(g.logged, "\n"))
	}
}

// TestLogNamesTheCause: an event that only made the monitor look is not named
// for what it found.
func TestLogNamesTheCause(t *testing.T) {
	const changed = ": ipv4: 3 chains written, 2 routes deleted, 12 connections freed; ipv6: 3 chains written"
	for _, c := range []struct {
		name   string
		happen func(*rig)
		cause  string
	}{
		{"a link goes", func(g *rig) {
			g.down["wan2"] = true
			g.kernel.Network++
			g.damage()
		}, "member 'wan2' (ipv4) went down"},
		{"and netifd is as quick", func(g *rig) {
			g.down["wan2"] = true
			g.kernel.Network++
			g.look(g.now.Add(lookEvery))
			g.netifd("ifdown wan2")
		}, "ifdown wan2"},
		{"an old event of another one", func(g *rig) {
			g.down["wan2"] = true
			g.netifd("ifup wan1")
		}, "member 'wan2' (ipv4) went down"},
		{"an old event of its own", func(g *rig) {
			g.down["wan2"] = true
			g.netifd("ifup wan2")
		}, "member 'wan2' (ipv4) went down"},
		{"an event of what a protocol made", func(g *rig) {
			g.down["wan2"] = true
			g.netifd("ifdown wan2_4")
		}, "ifdown wan2_4"},
		{"somebody deletes", func(g *rig) { g.damage() }, repair},
		{"a verdict", func(g *rig) { g.silent["wan2"] = true }, "member 'wan2' (ipv4) is offline"},
		{"a reload", func(g *rig) {
			g.down["wan2"] = true
			g.want(request{at: g.now, reload: true})
		}, "reload, member 'wan2' (ipv4) went down"},
	} {
		g := newMonitorRig(t, three)
		g.summaries = true
		g.start()
		g.pass(5 * time.Second)
		g.logged = nil
		c.happen(g)
		g.pass(5 * time.Second)
		if len(g.logged) == 0 || g.logged[0] != "notice: "+c.cause+changed || g.lines(changed) != 1 {
			t.Errorf("%s:\n%s", c.name, strings.Join(g.logged, "\n"))
		}
	}
}

// TestLogSaysNewsOnce: what is left out is said by the run that finds it.
func TestLogSaysNewsOnce(t *testing.T) {
	g := newMonitorRig(t, "config member 'wan1'\nconfig member 'wan2'\n\toption weight 991\nconfig member 'wan3'\n\toption weight 997\n")
	g.down["wan1"] = true
	g.start()
	for range 3 {
		g.kernel.Network++
		g.pass(3 * time.Second)
	}
	for _, text := range []string{"the weights need more than", "member 'wan1' is left out"} {
		if n := g.lines(text); n != 1 {
			t.Errorf("%q in %d lines:\n%s", text, n, strings.Join(g.logged, "\n"))
		}
	}
	if len(g.applies) < 4 {
		t.Errorf("only %d applies", len(g.applies))
	}
}
