package health

import "time"

// Report returns the health of a path for status. It counts all rounds of the
// window that are over, also those of a silence. Since is relative to now,
// since the clock may have been set after the verdict.
func (ps *Paths) Report(key Key, now time.Time) Report {
	p := ps.known[key]
	if p == nil {
		return Report{Key: key}
	}
	t := ps.at(now)
	seen, tallies := p.tally(t)
	r := Report{
		Key: key, Online: p.online, Since: now.Add(p.since - t), Reason: p.reason,
		Misses: p.misses(), Flaps: p.flaps, Loss: part(p.lost(tallies), seen),
		Targets: make([]TargetReport, 0, p.targets()),
	}
	r.Latency, _ = p.latency(tallies, 1)
	if r.Misses == 0 {
		r.Hits = p.run()
	}
	if !p.online {
		r.Hold = p.hold
	}
	for i, name := range p.rules.Targets {
		t := &tallies[i]
		r.Targets = append(r.Targets, TargetReport{Address: name, Loss: part(t.lost, seen), Latency: t.mean()})
	}
	return r
}

// tally returns how many of the newest rounds are over, at most a window of
// them, and what each target answered in these.
func (h *history) tally(now time.Duration) (seen int, tallies []tally) {
	tallies = make([]tally, h.targets())
	for number := h.newest; seen < h.rules.Window && h.holds(number); number-- {
		if !h.over(number, now) {
			continue
		}
		seen++
		for i, latency := range h.round(number).latencies {
			tallies[i].count(latency, 1)
		}
	}
	return seen, tallies
}

func part(lost, seen int) float64 {
	if seen == 0 {
		return 0
	}
	return float64(lost) / float64(seen)
}
