package status

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/health"
)

// Monitor is the state of the process that probes the paths.
type Monitor struct {
	Wanted  bool   `json:"wanted"`
	Running bool   `json:"running"`
	Error   string `json:"error,omitempty"`
	PID     int    `json:"pid,omitempty"`
	// Started is nil if it does not run.
	Started *time.Time `json:"started,omitempty"`
	// Silent: no target in a family answers, so no path goes offline there (health.Snapshot).
	Silent  bool `json:"silent"`
	silence health.Silence
}

func (in Input) monitor() Monitor {
	m := Monitor{Wanted: in.MonitorWanted}
	if in.MonitorError != nil {
		m.Error = in.MonitorError.Error()
	}
	if in.Health == nil {
		return m
	}
	m.Running, m.PID, m.Silent, m.silence = true, in.Health.PID, in.Health.Silent, in.Health.Silence
	m.Started = &in.Health.Started
	return m
}

// report returns the health of a member in one family; nil if it is not probed.
func (in Input) report(member string, f family.Family) *health.Report {
	if in.Health == nil {
		return nil
	}
	for i, r := range in.Health.Paths {
		if r.Key == (health.Key{Member: member, Family: f}) {
			return &in.Health.Paths[i]
		}
	}
	return nil
}

// trouble returns what is wrong with the monitor and what helps, as lines.
func (m Monitor) trouble() []string {
	switch {
	case m.Error != "":
		return []string{m.Error}
	case m.Wanted && !m.Running:
		return []string{"the monitor is not running: nobody probes track_ip",
			"start it: /etc/init.d/loadbalance restart; why it ended: logread -e loadbalance"}
	case m.Silent:
		return []string{"no target answers" + m.silence.In() + " although the links are up: probably trouble upstream, so no member goes offline for it"}
	}
	return nil
}

// healthTable has a row for each path that is probed, and for each target that stands out.
func (s Status) healthTable() string {
	rows := []string{"\nHEALTH\tFAMILY\tVERDICT\tSINCE\tIN A ROW\tLOSS\tLATENCY\tFLAPS\tWHY"}
	s.eachFamily(func(m Member, f family.Family, state *Family) {
		r := state.Health
		if r == nil {
			return
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s", m.Name, f, verdict(r.Online, state), ago(s.Time, r.Since), streak(r),
			percent(r.Loss), milliseconds(r.Latency), r.Flaps, why(r)))
		for _, t := range r.Targets {
			if note := standsOut(t, r.Targets); note != "" {
				rows = append(rows, fmt.Sprintf("\t\t\t\t\t%s\t%s\t\ttarget %s %s", percent(t.Loss), milliseconds(t.Latency), t.Address, note))
			}
		}
	})
	return table(rows)
}

func verdict(online bool, state *Family) string {
	switch {
	case online:
		return "online"
	case state.State == statePortal:
		return statePortal
	}
	return stateOffline
}

// ago formats how long ago something was; over a day, or before the clock was set back, the time.
func ago(now, then time.Time) string {
	passed := now.Sub(then)
	if passed < 0 || passed >= 24*time.Hour {
		return then.Format("2006-01-02 15:04")
	}
	return passed.Truncate(time.Second).String() + " ago"
}

func streak(r *health.Report) string {
	switch {
	case r.Misses == 1:
		return "1 miss"
	case r.Misses > 0:
		return strconv.Itoa(r.Misses) + " misses"
	case r.Hits == 1:
		return "1 hit"
	case r.Hits > 0:
		return strconv.Itoa(r.Hits) + " hits"
	}
	return "-"
}

// why returns the reason for the verdict, and what keeps a path offline.
func why(r *health.Report) string {
	text := cmp.Or(r.Reason, "-")
	if r.Hold > 0 && !r.Online {
		text += ", must answer for " + r.Hold.String() + " first because it flapped"
	}
	return text
}

// Targets that differ by less count as alike: the default of recovery_loss lets a path come back
// with 10 %, and the distances of targets differ by a few milliseconds.
const (
	lossApart    = 0.1
	latencyApart = 10 * time.Millisecond
)

// standsOut returns how a target is worse than the best one; "" if it is not.
func standsOut(t health.TargetReport, all []health.TargetReport) string {
	if t.Loss >= 1 {
		return "does not answer"
	}
	best := t
	for _, other := range all {
		best.Loss = min(best.Loss, other.Loss)
		if other.Loss < 1 {
			best.Latency = min(best.Latency, other.Latency)
		}
	}
	var notes []string
	if t.Loss-best.Loss >= lossApart {
		notes = append(notes, "loses more")
	}
	if t.Latency-best.Latency >= latencyApart && t.Latency >= 2*best.Latency {
		notes = append(notes, "is slower")
	}
	return strings.Join(notes, " and ")
}

func percent(part float64) string { return fmt.Sprintf("%.1f%%", 100*part) }

// milliseconds formats a latency; that of a path that never answered is 0.
func milliseconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
}
