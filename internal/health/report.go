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
	s := p.sample(p.first, func(number uint32) bool { return p.over(number, t) })
	r := Report{
		Key: key, Online: p.online, Since: now.Add(p.since - t), Reason: p.reason,
		Misses: p.misses(), Flaps: p.flaps, Loss: part(s.lost(), s.rounds),
		Targets: make([]TargetReport, 0, p.targets()),
	}
	r.Latency, _ = s.latency(1)
	if r.Misses == 0 {
		r.Hits = p.run()
	}
	if !p.online {
		r.Hold = p.hold
	}
	for i, name := range p.rules.Targets {
		t := s.targets[i]
		r.Targets = append(r.Targets, TargetReport{Address: name, Loss: part(s.rounds-t.answered, s.rounds), Latency: t.mean()})
	}
	return r
}

func part(lost, seen int) float64 {
	if seen == 0 {
		return 0
	}
	return float64(lost) / float64(seen)
}
