package quota

import (
	"encoding/json"
	"testing"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/kernel"
	"loadbalance/internal/plan"
)

// zone is where 1 December begins at 17:00 of 30 November in UTC.
var zone = time.FixedZone("ICT", 7*3600)

func at(text string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04:05", text, zone)
	if err != nil {
		panic(err)
	}
	return t
}

// world is what a book is asked to count.
type world struct {
	book    Book
	now     time.Time
	traffic map[string]kernel.Traffic
	members []plan.Member
	news    bool
	usage   []Usage
}

func newWorld(now string) *world {
	w := &world{now: at(now), traffic: map[string]kernel.Traffic{}, members: []plan.Member{
		{Name: "dsl", Quota: config.Quota{Day: 1}, IPv4: plan.MemberState{Device: "br-lan"}},
		{Name: "lte", Quota: config.Quota{Bytes: 5e6, Day: 1, Action: "last"}}}}
	w.device("wwan0")
	w.carry("br-lan", 1, 7)
	w.carry("wwan0", 3, 1000)
	return w
}

// device is the one that lte has, in both families.
func (w *world) device(names ...string) {
	w.members[1].IPv4.Device, w.members[1].IPv6.Device = names[0], names[len(names)-1]
}

// carry has a device carry bytes until its counter has a value.
func (w *world) carry(device string, index int, bytes int64) {
	w.traffic[device] = kernel.Traffic{Name: device, Index: index, Received: uint64(bytes / 2), Sent: uint64(bytes - bytes/2)}
}

func (w *world) count() {
	var traffic []kernel.Traffic
	for _, t := range w.traffic {
		traffic = append(traffic, t)
	}
	w.usage, w.news = w.book.Count(w.now, traffic, w.members)
}

// set is carry, and a look at it ten seconds later.
func (w *world) set(device string, index int, bytes int64) {
	w.carry(device, index, bytes)
	w.now = w.now.Add(10 * time.Second)
	w.count()
}

// restart is a new monitor: the book as it was kept.
func (w *world) restart(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(w.book)
	if err == nil {
		w.book = Book{}
		err = json.Unmarshal(text, &w.book)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// reboot is a restart with new counters, as the monitor does it.
func (w *world) reboot(t *testing.T) {
	t.Helper()
	w.restart(t)
	w.book.Devices, w.traffic = nil, map[string]kernel.Traffic{}
}

func (w *world) expect(t *testing.T, bytes int64, since string) {
	t.Helper()
	u := w.book.Of("lte")
	if u == nil || len(w.usage) != 1 || w.usage[0] != *u {
		t.Fatalf("in the book %+v, returned %+v", u, w.usage)
	}
	if u.Bytes != bytes {
		t.Errorf("%d bytes, want %d", u.Bytes, bytes)
	}
	if since == "" && !u.Since.IsZero() || since != "" && !u.Since.Equal(at(since)) {
		t.Errorf("since %v, want %s", u.Since, since)
	}
}

func TestWhatWentBeforeTheQuotaDoesNotCount(t *testing.T) {
	w := newWorld("2026-12-10 12:00:00")
	w.count()
	w.expect(t, 0, "2026-12-01 00:00:00")
	w.set("wwan0", 3, 1500)
	w.expect(t, 500, "2026-12-01 00:00:00")
	if w.book.Of("dsl") != nil {
		t.Error("a member without a quota is counted")
	}
}

func TestUsedUp(t *testing.T) {
	w := newWorld("2026-12-10 12:00:00")
	w.count()
	w.set("wwan0", 3, 5_000_999)
	if v := w.usage[0].Verdict(); v != (plan.Verdict{}) {
		t.Errorf("one byte is left: %+v", v)
	}
	const why = "its quota of 0.005 GB is used up"
	for _, bytes := range []int64{5_001_000, 60_000_000} {
		w.set("wwan0", 3, bytes)
		if v := w.usage[0].Verdict(); v != (plan.Verdict{Spent: why}) {
			t.Errorf("after %d bytes: %+v", bytes, v)
		}
	}
	w.members[1].Quota.Action = "off"
	w.count()
	if v := w.usage[0].Verdict(); v != (plan.Verdict{Spent: why, Offline: why}) {
		t.Errorf("off: %+v", v)
	}
	w.members[1].Quota.Bytes = 120e6
	w.count()
	if v := w.usage[0].Verdict(); v != (plan.Verdict{}) {
		t.Errorf("with a larger quota: %+v", v)
	}
	if got := w.usage[0].String(); got != "member 'lte' has used 0.060 of 0.12 GB (50.0%) since 2026-12-01" {
		t.Error(got)
	}
	w.members[1].Quota.Bytes = 0
	if w.count(); len(w.usage) != 0 {
		t.Errorf("without a quota: %+v", w.usage)
	}
}

func TestNextPeriod(t *testing.T) {
	w := newWorld("2026-11-30 23:59:45")
	w.count()
	w.set("wwan0", 3, 7000) // 23:59:55
	w.expect(t, 6000, "2026-11-01 00:00:00")
	w.set("wwan0", 3, 7100)
	w.expect(t, 0, "2026-12-01 00:00:00")
	w.set("wwan0", 3, 7150)
	w.expect(t, 50, "2026-12-01 00:00:00")
}

// Each day on which a period may begin, also across the end of a year and in
// the shortest month.
func TestPeriods(t *testing.T) {
	for _, c := range []struct {
		now   string
		day   int
		begin string
	}{
		{"2026-12-01 00:00:00", 1, "2026-12-01 00:00:00"},
		{"2026-12-27 23:59:59", 28, "2026-11-28 00:00:00"},
		{"2026-12-28 00:00:00", 28, "2026-12-28 00:00:00"},
		{"2027-01-14 12:00:00", 15, "2026-12-15 00:00:00"},
		{"2027-03-31 12:00:00", 28, "2027-03-28 00:00:00"},
		{"2027-03-01 12:00:00", 28, "2027-02-28 00:00:00"},
		{"2028-02-29 12:00:00", 1, "2028-02-01 00:00:00"},
	} {
		w := newWorld(c.now)
		w.members[1].Quota.Day = c.day
		w.count()
		w.expect(t, 0, c.begin)
	}
}

// The period began while no monitor ran: what was carried since the last look
// cannot be divided.
func TestPeriodThatBeganWithoutMonitor(t *testing.T) {
	w := newWorld("2026-11-20 12:00:00")
	w.count()
	w.set("wwan0", 3, 3000)
	w.restart(t)
	w.now = at("2026-12-05 12:00:00")
	w.set("wwan0", 3, 9000)
	w.expect(t, 0, "2026-12-01 00:00:00")
	w.set("wwan0", 3, 9001)
	w.expect(t, 1, "2026-12-01 00:00:00")
}

func TestRestart(t *testing.T) {
	w := newWorld("2026-12-10 12:00:00")
	w.count()
	w.set("wwan0", 3, 2000)
	w.restart(t)
	w.set("wwan0", 3, 2600) // also what was carried meanwhile
	w.expect(t, 1600, "2026-12-01 00:00:00")
}

// After a reboot all counters have begun with 0, whatever they show by now, and
// the indices mean other devices.
func TestReboot(t *testing.T) {
	for _, c := range []struct {
		name  string
		index int
		bytes int64
	}{{"less than before", 3, 300}, {"more than before", 3, 9000}, {"another index", 4, 300}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld("2026-12-10 12:00:00")
			w.count()
			w.set("wwan0", 3, 2000)
			w.reboot(t)
			w.set("wwan0", c.index, c.bytes)
			w.expect(t, 1000+c.bytes, "2026-12-01 00:00:00")
		})
	}
}

func TestInterfaceThatGoesAndComes(t *testing.T) {
	w := newWorld("2026-12-10 12:00:00")
	w.count()
	w.set("wwan0", 3, 2000)
	t.Run("slowly", func(t *testing.T) {
		delete(w.traffic, "wwan0")
		w.device("")
		w.now = w.now.Add(time.Minute)
		w.count()
		w.expect(t, 1000, "2026-12-01 00:00:00")
		w.device("wwan0")
		w.set("wwan0", 8, 400)
		w.expect(t, 1400, "2026-12-01 00:00:00")
	})
	t.Run("between two looks, with more than before", func(t *testing.T) {
		w.set("wwan0", 9, 700)
		w.expect(t, 2100, "2026-12-01 00:00:00")
	})
	t.Run("a driver that begins its counter anew", func(t *testing.T) {
		w.set("wwan0", 9, 100)
		w.expect(t, 2200, "2026-12-01 00:00:00")
	})
	t.Run("another device that was there before", func(t *testing.T) {
		w.device("eth2")
		w.carry("eth2", 2, 1e9)
		w.device("wwan0")
		w.count()
		w.device("eth2")
		w.set("eth2", 2, 1e9+5)
		w.expect(t, 2205, "2026-12-01 00:00:00")
	})
}

// The device of IPv6 is a tunnel through that of IPv4, whose counter has its
// bytes as well.
func TestTunnelCountsOnce(t *testing.T) {
	w := newWorld("2026-12-10 12:00:00")
	w.device("wwan0", "6in4")
	w.carry("6in4", 5, 100)
	w.count()
	w.carry("6in4", 5, 500)
	w.set("wwan0", 3, 1600)
	w.expect(t, 600, "2026-12-01 00:00:00")
}

// Before NTP, a clock begins with 1970, with the time of the image, or with that
// of the last file (sysfixtime).
func TestClockThatIsNotSet(t *testing.T) {
	for _, before := range []string{"1970-01-01 00:00:20", "2025-02-03 12:00:00", "2026-10-01 00:00:01", "2026-12-10 12:00:05"} {
		t.Run(before, func(t *testing.T) {
			w := newWorld("2026-12-10 12:00:00")
			w.count()
			w.set("wwan0", 3, 2000)
			w.reboot(t)
			w.now = at(before)
			w.set("wwan0", 3, 10)
			w.set("wwan0", 3, 30)
			w.expect(t, 1030, "2026-12-01 00:00:00")
			w.now = at("2026-12-12 12:00:00")
			w.set("wwan0", 3, 31)
			w.expect(t, 1031, "2026-12-01 00:00:00")
			w.now = at("2027-01-02 12:00:00")
			w.set("wwan0", 3, 32)
			w.expect(t, 0, "2027-01-01 00:00:00")
		})
	}
	t.Run("at the first start of all", func(t *testing.T) {
		w := newWorld("1970-01-01 00:00:20")
		w.count()
		w.set("wwan0", 3, 1400)
		w.expect(t, 400, "")
		w.now = at("2026-12-12 12:00:00")
		w.set("wwan0", 3, 1500)
		w.expect(t, 500, "2026-12-01 00:00:00")
	})
}

// Neither a time zone that is set later nor another day forgets what was used.
func TestPeriodThatIsMoved(t *testing.T) {
	w := newWorld("2026-12-20 12:00:00")
	w.count()
	w.set("wwan0", 3, 2000)
	w.now = w.now.UTC()
	w.set("wwan0", 3, 2001)
	w.members[1].Quota.Day = 15
	w.set("wwan0", 3, 2002)
	w.expect(t, 1002, "2026-12-01 00:00:00")
	w.now = at("2027-01-15 07:00:01") // of which 15 January is ten seconds old in UTC
	w.now = w.now.UTC()
	w.set("wwan0", 3, 2003)
	if u := w.book.Of("lte"); u.Bytes != 0 || !u.Since.Equal(time.Date(2027, 1, 15, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", u)
	}
}

// What is written wears out the flash: other devices are no reason.
func TestNews(t *testing.T) {
	w := newWorld("2026-12-10 12:00:00")
	if w.count(); !w.news {
		t.Error("a period that has begun is none")
	}
	if w.set("br-lan", 1, 1e9); w.news {
		t.Error("the LAN's bytes are some")
	}
	if w.set("wwan0", 3, 1001); !w.news {
		t.Error("the member's bytes are none")
	}
}
