package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// TestLogOfNetworkRestart: five interfaces go and come back one after the other.
// Each line says what is new, in few words, and nothing of the others.
func TestLogOfNetworkRestart(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		const uplinks = 5
		r := newRouter(t, backend, netlab.Options{Uplinks: uplinks}, "config member 'a1'\nconfig member 'a2'\nconfig member 'a3'\nconfig member 'a4'\nconfig member 'a5'\n")
		n := r.startNetifd()
		var state [uplinks]string
		// hook tells of an event and returns what is said to it.
		hook := func(event, name string) string {
			_, messages, code := r.call("hotplug", event, name)
			if code != 0 {
				t.Errorf("hotplug %s %s: exit code %d, %s", event, name, code, messages)
			}
			return messages
		}
		// set has netifd bring an interface up or down.
		set := func(i int, up bool) string {
			name, event := fmt.Sprintf("a%d", i), "ifdown"
			if state[i-1] = isDown(name); up {
				state[i-1], event = onUplink(name, r.lab.Uplink(i)), "ifup"
			}
			n.answer(state[:]...)
			if up {
				check(t, r.lab.IfUp(i))
			} else {
				check(t, r.lab.IfDown(i))
			}
			return hook(event, name)
		}
		for i := range state {
			state[i] = onUplink(fmt.Sprintf("a%d", i+1), r.lab.Uplink(i+1))
		}
		n.answer(state[:]...)
		r.must("apply")

		for i := 1; i <= uplinks; i++ {
			messages := set(i, false)
			want := fmt.Sprintf("ifdown a%d: member 'a%d' is left out: interface 'a%d' is still coming up; ipv4: ", i, i, i)
			if !strings.HasPrefix(messages, want) || strings.Count(messages, "\n") != 1 || strings.Count(messages, "left out") != 1 {
				t.Errorf("without a monitor, a%d down:\n%s", i, messages)
			}
		}
		for i := 1; i <= uplinks; i++ {
			if messages := set(i, true); !strings.HasPrefix(messages, fmt.Sprintf("ifup a%d: ipv4: ", i)) || strings.Count(messages, "\n") != 1 {
				t.Errorf("without a monitor, a%d up:\n%s", i, messages)
			}
		}

		// An event that has waited since the boot finds another one gone.
		state[2] = isDown("a3")
		n.answer(state[:]...)
		lines := strings.Split(hook("ifup", "a1"), "\n")
		if !strings.HasPrefix(lines[0], "member 'a3' is left out: ") || !strings.HasPrefix(lines[1], "ifup a1: ipv4: ") || len(lines) != 3 {
			t.Errorf("an old event:\n%s", strings.Join(lines, "\n"))
		}
		set(3, true)

		m := r.startMonitor()
		for _, up := range []bool{false, true} {
			for i := 1; i <= uplinks; i++ {
				set(i, up)
				word := map[bool]string{false: "offline", true: "online"}[up]
				eventually(t, "the monitor announces it", func() bool { return m.Log.Count(fmt.Sprintf("member 'a%d' (ipv4): %s", i, word)) == 1 })
			}
		}
		time.Sleep(2 * time.Second) // for lines that nobody needs
		log := strings.TrimSpace(m.Log.String())
		lines = strings.Split(log, "\n")
		t.Logf("%d lines, %d characters", len(lines), len(log))
		// Addresses, routes and netifd's word may come apart: a run more for some.
		if len(lines) > 6*uplinks {
			t.Errorf("%d lines", len(lines))
		}
		for _, line := range lines {
			named := 0
			for i := 1; i <= uplinks; i++ {
				if strings.Contains(line, fmt.Sprintf("a%d", i)) {
					named++
				}
			}
			if len(line) > 200 || named > 1 || strings.Contains(line, "repair") {
				t.Errorf("line: %s", line)
			}
		}
		if t.Failed() {
			t.Logf("all:\n%s", log)
		}
	})
}
