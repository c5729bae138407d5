package status

import (
	"testing"
	"time"

	"loadbalance/internal/health"
)

func TestAgo(t *testing.T) {
	tests := []struct {
		passed time.Duration
		want   string
	}{
		{0, "0s ago"},
		{999 * time.Millisecond, "0s ago"},
		{192 * time.Second, "3m12s ago"},
		{24*time.Hour - time.Second, "23h59m59s ago"},
		{24 * time.Hour, "2026-02-28 12:00"},
		{-time.Hour, "2026-03-01 13:00"}, // the clock was set back
	}
	for _, tt := range tests {
		if got := ago(now, now.Add(-tt.passed)); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.passed, got, tt.want)
		}
	}
}

func TestStreak(t *testing.T) {
	tests := map[string]health.Report{
		"-":        {},
		"1 hit":    {Hits: 1},
		"12 hits":  {Hits: 12},
		"1 miss":   {Misses: 1},
		"4 misses": {Misses: 4},
	}
	for want, r := range tests {
		if got := streak(&r); got != want {
			t.Errorf("%+v: %s, want %s", r, got, want)
		}
	}
}

func TestStandsOut(t *testing.T) {
	const ms = time.Millisecond
	target := func(loss float64, latency time.Duration) health.TargetReport {
		return health.TargetReport{Loss: loss, Latency: latency}
	}
	tests := []struct {
		name    string
		targets []health.TargetReport
		want    string // of the first
	}{
		{"alone", []health.TargetReport{target(0.5, 300*ms)}, ""},
		{"alone and silent", []health.TargetReport{target(1, 0)}, "does not answer"},
		{"alike", []health.TargetReport{target(0.09, 19*ms), target(0, 10*ms)}, ""},
		{"loss", []health.TargetReport{target(0.25, 10*ms), target(0, 10*ms)}, "loses more"},
		{"loss at the limit", []health.TargetReport{target(0.1, 10*ms), target(0, 10*ms)}, "loses more"},
		{"the best is not the last one", []health.TargetReport{target(0.25, 30*ms), target(0, 10*ms), target(0.25, 30*ms)}, "loses more and is slower"},
		{"twice as far, by less than the limit", []health.TargetReport{target(0, 15*ms), target(0, 7*ms)}, ""},
		{"latency", []health.TargetReport{target(0, 20*ms), target(0, 10*ms)}, "is slower"},
		{"both", []health.TargetReport{target(0.5, 90*ms), target(0, 10*ms)}, "loses more and is slower"},
		{"the best", []health.TargetReport{target(0, 10*ms), target(0.5, 90*ms)}, ""},
		{"a little slower where all are far", []health.TargetReport{target(0, 250*ms), target(0, 200*ms)}, ""},
		{"near, but twice as far", []health.TargetReport{target(0, 2*ms), target(0, ms)}, ""},
		{"beside a silent one", []health.TargetReport{target(0, 40*ms), target(1, 0)}, ""},
	}
	for _, tt := range tests {
		if got := standsOut(tt.targets[0], tt.targets); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestWhy(t *testing.T) {
	for _, tt := range []struct {
		report health.Report
		want   string
	}{
		{health.Report{}, "-"},
		{health.Report{Reason: "no answer"}, "no answer"},
		{health.Report{Reason: "no answer", Hold: 90 * time.Second}, "no answer, must answer for 1m30s first because it flapped"},
		{health.Report{Online: true, Reason: "6 answers in a row", Hold: time.Minute}, "6 answers in a row"},
	} {
		if got := why(&tt.report); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.report, got, tt.want)
		}
	}
}
