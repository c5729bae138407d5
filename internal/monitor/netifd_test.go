package monitor

import (
	"testing"
	"time"
)

// TestNetifdIsAskedAgain: an interface that comes up in steps is followed closely,
// one that never comes up costs next to nothing.
func TestNetifdIsAskedAgain(t *testing.T) {
	g := newMonitorRig(t, three)
	g.rising = true
	g.start()
	g.pass(time.Second) // after 0, 0.25, 0.75 and 1.75 s
	if n := len(g.applies); n != 4 {
		t.Errorf("%d applies in the first two seconds: %q", n, g.applies)
	}
	g.applies = nil
	g.pass(10 * time.Minute) // after 4, 8, 16, 32 and 64 s, then once a minute
	if n := len(g.applies); n < 10 || n > 16 {
		t.Errorf("%d applies in ten minutes", n)
	}
	// What the kernel announces is the first step.
	g.applies = nil
	g.kernel.Network++
	g.pass(5 * time.Second)
	if n := len(g.applies); n < 4 || n > 7 {
		t.Errorf("%d applies in five seconds after a change: %q", n, g.applies)
	}
	g.rising = false
	g.pass(time.Minute)
	g.applies = nil
	g.pass(5 * time.Minute)
	if n := len(g.applies); n > 6 {
		t.Errorf("%d applies in five minutes in which all is well", n)
	}
}

// TestSilentNetifdIsAskedAgain every two seconds, until it answers.
func TestSilentNetifdIsAskedAgain(t *testing.T) {
	g := newMonitorRig(t, three)
	g.start()
	g.mute = "netifd does not answer"
	g.kernel.Network++
	g.pass(3 * time.Second)
	g.applies = nil
	g.pass(time.Minute)
	if n := len(g.applies); n < 25 || n > 35 {
		t.Errorf("%d applies in a minute", n)
	}
	g.mute = ""
	g.pass(3 * time.Second)
	g.applies = nil
	g.pass(30 * time.Second)
	if n := len(g.applies); n > 1 {
		t.Errorf("%d applies in half a minute after it has answered", n)
	}
}
