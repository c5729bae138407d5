package monitor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/kernel"
)

// TestFullLine: a line that is full gets nothing new, its scripts are told, and one
// apply follows from each change.
func TestFullLine(t *testing.T) {
	g := newMonitorRig(t, "config member 'wan1'\n\toption download '8mbit'\n\nconfig member 'wan2'\n")
	received := uint64(1e9)
	carry := func(mbit float64, seconds int) {
		for range seconds {
			received += uint64(mbit * 1e6 / 8)
			g.carried = []kernel.Traffic{{Name: "wan1", Index: 7, Received: received}, {Name: "wan2", Index: 8}}
			g.pass(time.Second)
		}
	}
	g.start()
	carry(1, 3)
	g.expect("events", &g.events)
	g.applies, g.logged = nil, nil
	carry(8, 5)
	g.expect("applies", &g.applies, "follow load", "follow repair")
	g.expect("events", &g.events, "full wan1 ipv4")
	if s := g.outcome.Members[0].IPv4; !s.Active || s.Share != 0 || !strings.Contains(s.Reason, "its line is full: 8.0 Mbit/s down") {
		t.Errorf("state: %+v", s)
	}
	if n := len(slices.DeleteFunc(slices.Clone(g.logged), func(line string) bool { return !strings.Contains(line, "its line is full") })); n != 1 {
		t.Errorf("the log says it %d times: %q", n, g.logged)
	}
	g.applies = nil
	carry(1, 5)
	g.expect("applies", &g.applies, "follow load", "follow repair")
	g.expect("events", &g.events, "free wan1 ipv4")
	if s := g.outcome.Members[0].IPv4; s.Share != 0.5 || s.Reason != "" {
		t.Errorf("state: %+v", s)
	}
}

// TestNoRateNoReading: where no rate is stated, counters are not read for it.
func TestNoRateNoReading(t *testing.T) {
	for config, want := range map[string]int{
		"config member 'wan1'\n\toption upload '8mbit'\n\nconfig member 'wan2'\n": 11,
		"config member 'wan1'\n\toption upload '0'\n\nconfig member 'wan2'\n":     0,
	} {
		g := newMonitorRig(t, config)
		reads := 0
		g.Traffic = func() ([]kernel.Traffic, error) {
			reads++
			return nil, errors.New("counters cannot be read")
		}
		g.start()
		for range 10 {
			g.pass(time.Second)
		}
		if reads != want {
			t.Errorf("%d readings with %q, want %d", reads, config, want)
		}
	}
}
