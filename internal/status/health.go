package status

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/health"
)

// Monitor is the state of the process that probes the lines.
type Monitor struct {
	// Wanted says that the configuration has targets to probe.
	Wanted  bool `json:"wanted"`
	Running bool `json:"running"`
	// Error is why the monitor could not be asked.
	Error string `json:"error,omitempty"`
	PID   int    `json:"pid,omitempty"`
	// Started is nil when it does not run.
	Started *time.Time `json:"started,omitempty"`
	// Silent says that no target of any line of a family answers, so that no
	// verdict is passed there: see health.Snapshot.
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

// report returns the health of a member in one family; nil where it is not
// probed.
func (in Input) report(member string, f family.Family) *health.Report {
	if in.Health == nil {
		return nil
	}
	for i, r := range in.Health.Paths {
		if r.Member == member && r.Family == f {
			return &in.Health.Paths[i]
		}
	}
	return nil
}

// trouble tells what is wrong with the monitor, and what helps, in lines.
func (m Monitor) trouble() []string {
	switch {
	case m.Error != "":
		return []string{m.Error}
	case m.Wanted && !m.Running:
		return []string{"the monitor does not run: track_ip is not checked",
			"start it: /etc/init.d/loadbalance restart; why it ended: logread -e loadbalance"}
	case m.Silent:
		return []string{"no target of any line answers" + m.silence.In() + " although the links are there: no line is taken out of use for it"}
	}
	return nil
}

// writeHealth prints a row for each line that is probed, and one for each
// target that stands out.
func (s Status) writeHealth(w io.Writer) error {
	table := newTable(w)
	headed := false
	s.eachFamily(func(m Member, f family.Family, state *Family) {
		if state.Health == nil {
			return
		}
		if !headed {
			fmt.Fprintln(table, "\nHEALTH\tFAMILY\tVERDICT\tSINCE\tIN A ROW\tLOSS\tLATENCY\tFLAPS\tWHY")
			headed = true
		}
		s.writeLine(table, m.Name, f, state.Health)
	})
	return table.Flush()
}

func (s Status) writeLine(w io.Writer, member string, f family.Family, r *health.Report) {
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", member, f, verdict(r.Online), ago(s.Time, r.Since), streak(r),
		percent(r.Loss), milliseconds(r.Latency), r.Flaps, why(r))
	for _, t := range r.Targets {
		if note := standsOut(t, r.Targets); note != "" {
			fmt.Fprintf(w, "\t\t\t\t\t%s\t%s\t\ttarget %s %s\n", percent(t.Loss), milliseconds(t.Latency), t.Address, note)
		}
	}
}

func verdict(online bool) string {
	if online {
		return "online"
	}
	return "offline"
}

// ago writes how long ago something was: to the second within a day, else, or
// when the clock was set back since, the time itself.
func ago(now, then time.Time) string {
	passed := now.Sub(then)
	if passed < 0 || passed >= 24*time.Hour {
		return then.Format("2006-01-02 15:04")
	}
	return passed.Truncate(time.Second).String() + " ago"
}

// streak writes the hits or misses in a row.
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

// why writes the reason of the verdict and what keeps it.
func why(r *health.Report) string {
	text := dash(r.Reason)
	if r.Hold > 0 && !r.Online {
		text += ", must answer for " + r.Hold.String() + " because it flapped"
	}
	return text
}

// Targets that differ by less than this are alike: 10 points of loss are what
// the default of recovery_loss still takes for a good line, and distances of
// targets on one line differ by a few milliseconds.
const (
	lossApart    = 0.1
	latencyApart = 10 * time.Millisecond
)

// standsOut tells how a target differs from the best one; "" when it does not.
func standsOut(t health.TargetReport, all []health.TargetReport) string {
	if t.Loss >= 1 {
		return "is silent"
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

func percent(part float64) string {
	return strconv.FormatFloat(100*part, 'f', 1, 64) + "%"
}

// milliseconds writes a latency; that of a line that never answered is 0.
func milliseconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64) + "ms"
}
