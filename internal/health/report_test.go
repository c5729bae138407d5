package health

import (
	"reflect"
	"testing"
	"time"
	"unsafe"
)

// The clock of a router without a battery is set by NTP some time after the
// start. What was written down before is told by the new clock.
func TestReportAfterClockWasSet(t *testing.T) {
	const year = 365 * 24 * time.Hour
	ps, key := NewPaths(), Key{Member: "wan1"}
	start := time.Now()
	ps.Set(key, quick("1.1.1.1"), true, start)
	now := setClock(t, start.Add(10*time.Second), year)
	since := ps.Report(key, now).Since
	if got := now.Round(0).Sub(since.Round(0)); got != 10*time.Second {
		t.Errorf("since %s ago, want 10s", got)
	}
}

// setClock returns a time as time.Now does after the clock was put forward: the
// monotonic reading is not. Nothing public makes such a time, hence the layout
// of time.Time: 33 bits of wall hold its seconds, from bit 30 on.
func setClock(t *testing.T, now time.Time, forward time.Duration) time.Time {
	t.Helper()
	set := now
	*(*uint64)(unsafe.Pointer(&set)) += uint64(forward/time.Second) << 30
	if set.Sub(now) != 0 || set.Round(0).Sub(now.Round(0)) != forward {
		t.Fatalf("%s was set to %s", now, set)
	}
	return set
}

// A report has the rounds that are over when it is asked for.
func TestReportNow(t *testing.T) {
	ps, key := NewPaths(), Key{Member: "wan1"}
	ps.Set(key, quick("1.1.1.1", "8.8.8.8"), true, epoch)
	first := ps.Sent(key, epoch)
	ps.Answered(key, first, 0, epoch.Add(20*ms))
	ps.Answered(key, first, 1, epoch.Add(40*ms))
	second := ps.Sent(key, epoch.Add(100*ms))
	ps.Answered(key, second, 0, epoch.Add(160*ms))
	for _, c := range []struct {
		at   time.Duration
		loss [2]float64
		mean [2]time.Duration
	}{
		{299 * ms, [2]float64{0, 0}, [2]time.Duration{20 * ms, 40 * ms}},
		{300 * ms, [2]float64{0, 0.5}, [2]time.Duration{40 * ms, 40 * ms}},
	} {
		want := Report{
			Key: key, Online: true, Since: epoch, Hits: 2, Latency: 40 * ms, Loss: c.loss[0],
			Targets: []TargetReport{{"1.1.1.1", c.loss[0], c.mean[0]}, {"8.8.8.8", c.loss[1], c.mean[1]}},
		}
		if c.at == 299*ms {
			want.Latency = 20 * ms // the first target is the better one
		}
		if got := ps.Report(key, epoch.Add(c.at)); !reflect.DeepEqual(got, want) {
			t.Errorf("at %s: got  %+v\nwant %+v", c.at, got, want)
		}
	}
}

// A report has the reason of the verdict in force, misses or hits but not both,
// loss over the window alone, and a hold only while it keeps the path offline.
func TestReportOfVerdict(t *testing.T) {
	key := Key{Member: "wan1"}
	s := newSim(trace(map[string]string{"wan1": "++++++++++++++++++++----++++--+"}))
	s.set(Key{Member: "earlier"}, quick(), true)
	s.now = time.Minute
	s.set(key, quick("1.1.1.1"), true)
	s.paths.known[key].hold = time.Second // from before
	for _, c := range []struct {
		after        time.Duration // rounds are sent at multiples of 100 ms
		online       bool
		since        time.Duration
		reason       string
		misses, hits int
		loss         float64
		hold         time.Duration
	}{
		{0, true, 0, "", 0, 0, 0, 0},
		{1950 * ms, true, 0, "", 0, 20, 0, 0},
		{2250 * ms, true, 0, "", 1, 0, 0.1, 0},
		{2410 * ms, false, 2400 * ms, "no answer from 1.1.1.1 for 0.5 s", 3, 0, 0.3, 2 * time.Second},
		{2750 * ms, true, 2620 * ms, "3 answers in a row", 0, 4, 0.4, 0},
	} {
		s.until(time.Minute + c.after)
		want := Report{
			Key: key, Online: c.online, Since: epoch.Add(time.Minute + c.since), Reason: c.reason, Misses: c.misses, Hits: c.hits, Loss: c.loss,
			Hold: c.hold,
		}
		got := s.paths.Report(key, epoch.Add(s.now))
		got.Latency, got.Flaps, got.Targets = 0, 0, nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("after %s:\ngot  %+v\nwant %+v", c.after, got, want)
		}
	}
}
