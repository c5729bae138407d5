package health

import (
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/quota"
)

// Key identifies a path: a member in one family.
type Key struct {
	Member string        `json:"member"`
	Family family.Family `json:"family"`
}

// Snapshot is the answer of the monitor to status: its own state and that of
// every path that it probes.
type Snapshot struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"` // by the clock of now
	// Silence are the families that are silent, see Paths.Silent; Silent is
	// true if there is one.
	Silent  bool     `json:"silent"`
	Silence Silence  `json:"silence,omitempty"`
	Paths   []Report `json:"lines"`
	// Verdicts are those that other commands go by.
	Verdicts plan.Verdicts `json:"verdicts"`
	// Usage is what members have used of their quotas.
	Usage []quota.Usage `json:"usage,omitempty"`
	// Warnings are what failed beside the kernel in the last apply.
	Warnings []string `json:"warnings,omitempty"`
	// History is only there if it was asked for.
	History *DayReport `json:"history,omitempty"`
}

// Silence is a set of families that are silent; see Paths.Silent. 0 is none.
type Silence uint8

// silence returns the set with one family.
func silence(f family.Family) Silence { return 1 << f }

// In returns " in ipv4" or " in ipv6" for a single family, otherwise "": words
// for a message.
func (s Silence) In() string { return [...]string{"", " in ipv4", " in ipv6", ""}[s&3] }

// Report is the health of one path.
type Report struct {
	Key
	Online bool      `json:"online"`
	Since  time.Time `json:"since"` // when the verdict last changed
	Reason string    `json:"reason,omitempty"`
	// PortalURL is where a portal leads that keeps the path offline.
	PortalURL string `json:"portal_url,omitempty"`
	// Misses and Hits count the latest rounds in a row in which too few
	// targets, or enough, answered. One of them is 0.
	Misses int `json:"misses"`
	Hits   int `json:"hits"`
	// Loss is the part of the probes in the window that went unanswered, 0 to 1, and
	// Latency the mean time to an answer, 0 without any: of the worst needed target.
	Loss    float64       `json:"loss"`
	Latency time.Duration `json:"latency_ns"`
	Flaps   int           `json:"flaps"` // how often it went offline since the monitor started
	// Hold is how long a path that flapped must not be silent before it comes
	// back while a peer is online; 0 if it did not flap.
	Hold    time.Duration  `json:"hold_ns,omitempty"`
	Targets []TargetReport `json:"targets"`
}

// TargetReport is what one target answered within the window; the values are
// those of Report.
type TargetReport struct {
	Address string        `json:"address"`
	Loss    float64       `json:"loss"`
	Latency time.Duration `json:"latency_ns"`
}

// Report returns the health of a path for status, with the rounds of a silence. Since
// is relative to now: the clock may have been set after the verdict.
func (ps *Paths) Report(key Key, now time.Time) Report {
	p := ps.known[key]
	if p == nil {
		return Report{Key: key}
	}
	t := ps.at(now)
	s := p.sample(p.first, func(number uint32) bool { return p.over(number, t) })
	r := Report{
		Key: key, Online: p.online, Since: now.Add(p.since - t), Reason: p.reason, PortalURL: ps.PortalURL(key),
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

func part(lost, seen int) float64 { return float64(lost) / float64(max(seen, 1)) }
