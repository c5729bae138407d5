package health

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// dayRig is a day with a clock and devices that the test moves.
type dayRig struct {
	*Day
	now     time.Time
	traffic map[string]kernel.Traffic
}

func newDayRig() *dayRig {
	now := time.Unix(1e9, 0)
	return &dayRig{NewDay(now), now, map[string]kernel.Traffic{}}
}

// pass lets time pass up to the next sample, and ends the step if it is time.
func (r *dayRig) pass(d time.Duration) {
	r.now = r.now.Add(d)
	r.End(r.now, func() ([]kernel.Traffic, error) {
		var all []kernel.Traffic
		for name, t := range r.traffic {
			t.Name = name
			all = append(all, t)
		}
		return all, nil
	})
}

var wan1 = Key{Member: "wan1"}

func (r *dayRig) points(t *testing.T, key Key) []string {
	t.Helper()
	for _, p := range r.Report(r.now).Paths {
		if p.Key == key {
			return strings.Split(p.Points, ";")
		}
	}
	return nil
}

func TestDay(t *testing.T) {
	r := newDayRig()
	minute := func(device string, online int, loss float64, latency time.Duration) {
		t.Helper()
		for i := range 4 {
			r.Add(wan1, device, i < online, &Report{Loss: loss, Latency: latency})
			r.pass(15 * time.Second)
		}
	}
	r.traffic["eth1"] = kernel.Traffic{Received: 1000, Sent: 1000}
	minute("eth1", 4, 0.25, 12*time.Millisecond)
	r.traffic["eth1"] = kernel.Traffic{Received: 7000, Sent: 1000}
	minute("eth1", 3, 0, 500*time.Microsecond)
	r.traffic["eth1"] = kernel.Traffic{Received: 600, Sent: 60} // made anew
	minute("eth1", 0, 1, 0)
	r.traffic["eth1"] = kernel.Traffic{Received: 600 + 60e6, Sent: 60 + 600}
	minute("", 0, 1, 0) // netifd tells no device of an interface that is down
	r.traffic["ppp1"] = kernel.Traffic{Received: 1e9, Sent: 1e9}
	minute("ppp1", 4, 0, time.Second)
	delete(r.traffic, "ppp1")
	minute("ppp1", 4, 0, time.Minute)
	r.pass(time.Minute) // nobody looked at it
	want := []string{"100,250,12000,,", "75,0,500,100,0", "0,1000,,,", "0,1000,,1000000,10", "100,0,1000000,,", "100,0,60000000,,", ",,,,"}
	got := r.points(t, wan1)
	if len(got) != len(want) {
		t.Fatalf("%d points: %q", len(got), got)
	}
	for i := range want {
		if !alike(got[i], want[i]) {
			t.Errorf("point %d: %s, want %s", i, got[i], want[i])
		}
	}
	report := r.Report(r.now.Add(20 * time.Second))
	if report.Step != 60 || !report.End.Equal(r.now) || report.Paths[0].Device != "ppp1" {
		t.Errorf("%+v", report)
	}
	text, err := json.Marshal(report)
	if want := `{"step_s":60,"end":"`; err != nil || !strings.HasPrefix(string(text), want) || !strings.Contains(string(text), `"paths":[{"member":"wan1","family":"ipv4","device":"ppp1","points":"100,`) {
		t.Errorf("%s %v", text, err)
	}
}

// alike compares points whose values may differ by 0.1 %.
func alike(got, want string) bool {
	a, b := strings.Split(got, ","), strings.Split(want, ",")
	if len(a) != dayValues || len(b) != dayValues {
		return false
	}
	for i := range a {
		x, errX := strconv.ParseFloat(a[i], 64)
		y, errY := strconv.ParseFloat(b[i], 64)
		if (a[i] == "") != (b[i] == "") || a[i] != "" && (errX != nil || errY != nil || math.Abs(x-y) > 0.001*(y+1)) {
			return false
		}
	}
	return true
}

func TestDayIsUnprobed(t *testing.T) {
	r := newDayRig()
	r.Add(Key{"wan1", family.IPv6}, "", false, nil) // has none
	r.Add(wan1, "eth1", true, nil)
	r.pass(time.Minute)
	if got := r.Report(r.now).Paths; len(got) != 1 || got[0].Points != "100,,,," {
		t.Errorf("%+v", got)
	}
}

func TestDayBeforeItsFirstStep(t *testing.T) {
	r := newDayRig()
	r.Add(wan1, "eth1", true, nil)
	text, err := json.Marshal(r.Report(r.now))
	if err != nil || !strings.HasSuffix(string(text), `"paths":[]}`) {
		t.Errorf("%s %v", text, err)
	}
}

// TestDayIsADay: older points go, and so does a path that is gone.
func TestDayIsADay(t *testing.T) {
	r := newDayRig()
	wan2 := Key{Member: "wan2"}
	for i := range 1500 {
		r.Add(wan1, "eth1", true, &Report{Latency: time.Duration(i) * time.Millisecond})
		if i < 30 {
			r.Add(wan2, "eth2", true, nil)
		}
		r.pass(time.Minute)
		if gone := r.points(t, wan2) == nil; gone != (i >= 30+1440-1) {
			t.Fatalf("minute %d: gone %v", i, gone)
		}
	}
	got := r.points(t, wan1)
	if len(got) != 1440 || !alike(got[0], "100,0,60000,,") || !alike(got[1439], "100,0,1499000,,") {
		t.Errorf("%d points, %s to %s", len(got), got[0], got[len(got)-1])
	}
}

// TestDayIsBounded: whatever the number of paths, its memory and its text have
// bounds, and all numbers are some.
func TestDayIsBounded(t *testing.T) {
	for paths, step := range map[int]int{1: 60, 11: 60, 12: 120, 22: 120, 23: 240, 60: 480, 120: 960} {
		r := newDayRig()
		random := rand.New(rand.NewPCG(1, uint64(paths)))
		for range 1600 {
			for i := range paths {
				device := fmt.Sprint("eth", i)
				r.Add(Key{fmt.Sprint("wan", i), family.IPv4}, device, true, &Report{Loss: random.Float64(), Latency: time.Duration(random.Int64N(1e9))})
				was := r.traffic[device]
				r.traffic[device] = kernel.Traffic{Received: was.Received + random.Uint64N(1e10), Sent: was.Sent + random.Uint64N(1e10)}
			}
			r.pass(time.Minute)
		}
		report := r.Report(r.now)
		bytes, text := 0, 0
		for _, p := range r.paths {
			bytes += len(p.points) * 2 * dayValues
		}
		for _, p := range report.Paths {
			text += len(p.Points)
			if points := strings.Count(p.Points, ";") + 1; points != 86400/step {
				t.Errorf("%d paths: %d points", paths, points)
			}
			for _, number := range strings.FieldsFunc(p.Points, func(c rune) bool { return c == ',' || c == ';' }) {
				if _, err := strconv.ParseUint(number, 10, 64); err != nil {
					t.Fatalf("%d paths: a number %q: %v", paths, number, err)
				}
			}
		}
		if report.Step != step || len(report.Paths) != paths || bytes > 256<<10 || text > 600_000 {
			t.Errorf("%d paths: steps of %d s, not %d; %d paths, %d bytes, %d of text", paths, report.Step, step, len(report.Paths), bytes, text)
		}
	}
}
