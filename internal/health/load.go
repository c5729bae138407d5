package health

import (
	"fmt"
	"time"

	"loadbalance/internal/kernel"
)

const (
	// fullFrom and freeBelow are parts of a line's rate: TCP holds its bottleneck
	// above 90 %, and a line in between must not change all the time.
	fullFrom, freeBelow = 0.90, 0.75
	// loadTime is the time over which a rate is the average, and the least time
	// between two changes, since each writes the chains anew. The average sets a line
	// free a second after its downloads end. If it had to be idle for 3 s, what is new
	// would crowd on the others: five lines at 80 % load made downloads from 2 MB on
	// 7 % slower than turns alone, and so 3 % faster (simulation).
	loadTime = 3 * time.Second
)

// Rates are what a line carries, in bits per second (0: not stated), and by which
// devices, mostly one.
type Rates struct {
	Download, Upload float64
	Devices          [2]string
}

// Load tells which lines are full, from what their devices carry.
type Load struct {
	changed  time.Time
	readings []reading         // back to the first within loadTime
	full     map[string]string // how lines came to be full, in words
}

// reading is what all devices had carried at a time.
type reading struct {
	at      time.Time
	traffic []kernel.Traffic
}

// Full says in words why a member's line is full; "" if it is not.
func (l *Load) Full(member string) string { return l.full[member] }

// Keep forgets all lines but those of some members.
func (l *Load) Keep(members map[string]Rates) {
	for name := range l.full {
		if _, known := members[name]; !known {
			delete(l.full, name)
		}
	}
}

// Read takes what all devices have carried by now, and reports whether a line has
// become full or free. What a device that was made anew has carried says nothing.
func (l *Load) Read(now time.Time, traffic []kernel.Traffic, members map[string]Rates) (changed bool) {
	l.readings = append(l.readings, reading{now, traffic})
	for len(l.readings) > 2 && now.Sub(l.readings[1].at) >= loadTime {
		l.readings = l.readings[1:]
	}
	first := l.readings[0]
	passed := now.Sub(first.at)
	if passed < loadTime || now.Sub(l.changed) < loadTime {
		return false
	}
	for name, rates := range members {
		download, upload, known := rate(first.traffic, traffic, rates.Devices, passed.Seconds())
		above := func(part float64) bool {
			return rates.Download > 0 && download > part*rates.Download || rates.Upload > 0 && upload > part*rates.Upload
		}
		switch {
		case !known:
		case l.full[name] == "" && above(fullFrom):
			if l.full == nil {
				l.full = map[string]string{}
			}
			l.full[name] = fmt.Sprintf("its line is full: %.1f Mbit/s down, %.1f Mbit/s up", download/1e6, upload/1e6)
			l.changed, changed = now, true
		case l.full[name] != "" && !above(freeBelow):
			delete(l.full, name)
			l.changed, changed = now, true
		}
	}
	return changed
}

// rate is what a member's devices carry, in bits per second, if it is known of one.
func rate(last, now []kernel.Traffic, devices [2]string, seconds float64) (download, upload float64, known bool) {
	for _, t := range now {
		for _, was := range last {
			isOne := t.Name == devices[0] || t.Name == devices[1]
			if isOne && t.Index == was.Index && t.Received >= was.Received && t.Sent >= was.Sent {
				download += 8 * float64(t.Received-was.Received) / seconds
				upload += 8 * float64(t.Sent-was.Sent) / seconds
				known = true
			}
		}
	}
	return download, upload, known
}
