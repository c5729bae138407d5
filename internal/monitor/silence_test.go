package monitor

import (
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/health"
)

// What is logged and told when lines fall silent in one family or in both.
func TestSilenceOfFamilies(t *testing.T) {
	g := newMonitorRig(t, "")
	g.begin(g.now)
	const (
		all   = "warning: no target of any member answers although the links are there"
		in4   = "warning: no target of any member answers in ipv4 although the links are there"
		in6   = "warning: no target of any member answers in ipv6 although the links are there"
		again = "notice: targets answer again"
	)
	rules := health.RulesOf(config.Track{
		Reliability: 1, Interval: 100 * time.Millisecond, Timeout: 100 * time.Millisecond,
		Down: 2, Up: 2, Window: 10,
	}, []string{"gateway"})
	for _, member := range []string{"wan1", "wan2"} {
		for _, f := range family.All {
			g.paths.Set(health.Key{Member: member, Family: f}, rules, true, g.now)
		}
	}
	for _, c := range []struct {
		name   string
		silent [2]bool
		log    string
		in     string
	}{
		{"none", [2]bool{}, "", ""},
		{"IPv4", [2]bool{true, false}, in4, " in ipv4"},
		{"both", [2]bool{true, true}, all, ""},
		{"IPv6 is left", [2]bool{false, true}, again + " in ipv4", " in ipv6"},
		{"none is left", [2]bool{}, again + " in ipv6", ""},
		{"both at once", [2]bool{true, true}, all, ""},
		{"none again", [2]bool{}, again, ""},
		{"IPv6", [2]bool{false, true}, in6, " in ipv6"},
		{"IPv4 instead", [2]bool{true, false}, again + " in ipv6|" + in4, " in ipv4"},
	} {
		g.logged = nil
		for range 100 { // 1 s
			for _, key := range g.paths.Due(g.now) {
				if round := g.paths.Sent(key, g.now); !c.silent[key.Family] {
					g.paths.Answered(key, round, 0, g.now)
				}
			}
			g.judge(g.now)
			g.paths.Wake()
			g.now = g.now.Add(step)
		}
		var logged []string
		for _, line := range g.logged {
			logged = append(logged, strings.Split(line, ":")[0]+":"+strings.Split(line, ":")[1])
		}
		if got := strings.Join(logged, "|"); got != c.log {
			t.Errorf("%s: logged %q, want %q", c.name, got, c.log)
		}
		s := g.snapshot(g.now)
		if want := c.silent != [2]bool{}; s.Silent != want || s.Silence.In() != c.in {
			t.Errorf("%s: silent %t%s, want %t%s", c.name, s.Silent, s.Silence.In(), want, c.in)
		}
	}
}

// When the clock is set after the start, as NTP does on most routers, the start
// is told by the new clock.
func TestStartedAfterClockWasSet(t *testing.T) {
	const year = 365 * 24 * time.Hour
	g := newMonitorRig(t, "")
	g.now = time.Now()
	g.begin(g.now)
	// Nothing public makes a time whose clock was put forward and whose monotonic
	// reading was not: 33 bits of its first word are the seconds of the clock.
	later := g.now.Add(10 * time.Second)
	now := later
	*(*uint64)(unsafe.Pointer(&now)) += uint64(year/time.Second) << 30
	if now.Sub(later) != 0 || now.Round(0).Sub(later.Round(0)) != year {
		t.Fatalf("%s was set to %s", later, now)
	}
	s := g.snapshot(now)
	if got := now.Round(0).Sub(s.Started.Round(0)); got != 10*time.Second || s.PID != os.Getpid() {
		t.Errorf("started %s ago, want 10s; process %d", got, s.PID)
	}
}
