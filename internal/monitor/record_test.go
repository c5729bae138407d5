package monitor

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/health"
	"loadbalance/internal/kernel"
)

// TestHistory: a question brings it only where that is asked for, and it has what
// the lines did.
func TestHistory(t *testing.T) {
	g := newMonitorRig(t, "config member 'wan1'\n\tlist track_ip 'gateway'\n\nconfig member 'wan2'\n\tlist track_ip 'gateway'\n\nconfig member 'wan3'\n")
	g.start()
	g.carried = []kernel.Traffic{{Name: "wan1", Received: 1000, Sent: 500}}
	g.pass(time.Minute)
	g.silent["wan2"], g.down["wan3"] = true, true
	g.damage() // it is noticed
	g.carried = []kernel.Traffic{{Name: "wan1", Received: 1000 + 600*60, Sent: 500 + 60*60}}
	g.pass(2 * time.Minute)
	ask := func(history bool) *health.DayReport {
		answer := make(chan health.Snapshot, 1)
		g.answer(Question{History: history, Answer: answer}, g.now)
		return (<-answer).History
	}
	if ask(false) != nil {
		t.Error("it is there although nobody asked")
	}
	report := ask(true)
	points := map[string][]string{}
	for _, p := range report.Paths {
		if p.Family == 0 {
			points[p.Member] = strings.Split(p.Points, ";")
		}
	}
	if report.Step != 60 || len(points) != 3 || len(points["wan1"]) < 2 {
		t.Fatalf("%+v", report)
	}
	last := len(points["wan1"]) - 1
	for what, want := range map[string][]string{
		"wan1 in the first minute": {points["wan1"][0], "100,0,"},
		"wan1 in the last one":     {points["wan1"][last], "100,0,"},
		"wan2 in the first minute": {points["wan2"][0], "100,0,"},
		"wan2 in the last one":     {points["wan2"][last], "0,1000,"},
		"wan3 in the first minute": {points["wan3"][0], "100,,,"},
		"wan3 in the last one":     {points["wan3"][last], "0,,,"},
	} {
		if !strings.HasPrefix(want[0], want[1]) {
			t.Errorf("%s: %s, want %s", what, want[0], want[1])
		}
	}
	if got := strings.Join(points["wan1"], ";"); !regexp.MustCompile(`,(599|600|601),60(;|$)`).MatchString(got) {
		t.Errorf("wan1 carried %s", got)
	}
}
