package health

import (
	"fmt"
	"time"

	"loadbalance/internal/kernel"
)

const (
	// fullFrom and freeBelow are parts of a line's rate. TCP holds a line that is
	// its bottleneck above 90 %; the distance keeps one in between from changing
	// all the time.
	fullFrom, freeBelow = 0.90, 0.75
	// loadTime is how long a line must be full, or free, and also the least time
	// between two changes, since each writes the chains anew.
	loadTime = 3 * time.Second
)

// Rates are what a line carries, in bits per second; 0: not stated.
type Rates struct{ Download, Upload float64 }

// Load tells which lines are full, from what their devices carry. The zero value
// knows of none.
type Load struct {
	at, changed time.Time
	last        []kernel.Traffic
	lines       map[string]*load
}

// load is that of one line.
type load struct {
	busy, idle time.Time // since when it has been so; zero: it is not
	full       string    // how it came to be full, in words; "": it is not
}

// Full says in words why a member's line is full; "" if it is not.
func (l *Load) Full(member string) string {
	if line := l.lines[member]; line != nil {
		return line.full
	}
	return ""
}

// Keep forgets all lines but those of some members.
func (l *Load) Keep(members map[string]Rates) {
	for name := range l.lines {
		if _, known := members[name]; !known {
			delete(l.lines, name)
		}
	}
}

// Read takes what all devices have carried by now, and reports whether a line has
// become full or free. Device names the members' devices. What a device that was
// made anew has carried says nothing, and neither does the first look.
func (l *Load) Read(now time.Time, traffic []kernel.Traffic, members map[string]Rates, device func(member string) []string) (changed bool) {
	passed, last := now.Sub(l.at).Seconds(), l.last
	began := l.at
	l.at, l.last = now, traffic
	if l.lines == nil {
		l.lines = map[string]*load{}
	}
	mayChange := now.Sub(l.changed) >= loadTime
	for name, rates := range members {
		line := l.lines[name]
		if line == nil {
			line = &load{}
			l.lines[name] = line
		}
		download, upload, known := rate(last, traffic, device(name), passed)
		switch {
		case !known:
			line.busy, line.idle = time.Time{}, time.Time{}
			continue
		case above(download, rates.Download, fullFrom) || above(upload, rates.Upload, fullFrom):
			line.busy, line.idle = since(line.busy, began), time.Time{}
		case above(download, rates.Download, freeBelow) || above(upload, rates.Upload, freeBelow):
			line.busy, line.idle = time.Time{}, time.Time{}
		default:
			line.busy, line.idle = time.Time{}, since(line.idle, began)
		}
		if !mayChange {
			continue
		}
		switch {
		case line.full == "" && lasts(line.busy, now):
			line.full = fmt.Sprintf("its line is full: %.1f Mbit/s down, %.1f Mbit/s up", download/1e6, upload/1e6)
			changed = true
		case line.full != "" && lasts(line.idle, now):
			line.full, changed = "", true
		}
	}
	if changed {
		l.changed = now
	}
	return changed
}

// rate is what the devices of a member carry together, in bits per second, and
// whether that is known of one.
func rate(last, now []kernel.Traffic, devices []string, seconds float64) (download, upload float64, known bool) {
	for _, t := range now {
		for _, was := range last {
			isOne := t.Name == devices[0] || t.Name == devices[1]
			if isOne && t.Index == was.Index && t.Received >= was.Received && t.Sent >= was.Sent && seconds > 0 {
				download += 8 * float64(t.Received-was.Received) / seconds
				upload += 8 * float64(t.Sent-was.Sent) / seconds
				known = true
			}
		}
	}
	return download, upload, known
}

func above(rate, stated, part float64) bool { return stated > 0 && rate > part*stated }

// since is the earlier of when something began and now, if it has begun at all.
func since(began, now time.Time) time.Time {
	if began.IsZero() {
		return now
	}
	return began
}

func lasts(since, now time.Time) bool { return !since.IsZero() && now.Sub(since) >= loadTime }
