package health

import (
	"strconv"
	"strings"
	"time"
)

// silenceReason returns which targets did not answer, and for how long.
func (p *path) silenceReason(now time.Duration) string {
	silent := p.silentTargets()
	quiet := " for " + seconds(now-p.quietSince)
	if len(silent) == len(p.rules.Targets) {
		return "no answer from " + strings.Join(silent, ", ") + quiet
	}
	reason := "fewer than " + strconv.Itoa(p.rules.Needed) + " of " + strconv.Itoa(p.targets()) + " targets answered" + quiet
	if len(silent) > 0 {
		reason += "; no answer from " + strings.Join(silent, ", ")
	}
	return reason
}

// silentTargets returns the targets that answered none of the rounds that took
// the path offline.
func (p *path) silentTargets() []string {
	var silent []string
	for i, name := range p.rules.Targets {
		heard := false
		for number := p.ended - uint32(p.rules.Down) + 1; number <= p.ended; number++ {
			heard = heard || p.round(number).latencies[i] != 0
		}
		if !heard {
			silent = append(silent, name)
		}
	}
	return silent
}

func (p *path) qualityReason() string {
	if p.tooLossy() {
		return "lost " + strconv.Itoa(p.judged().lost()*100/p.rules.Window) + " % of the last " + strconv.Itoa(p.rules.Window) +
			" probes (limit " + strconv.Itoa(p.rules.FailureLoss) + " %)"
	}
	latency, _ := p.judged().judgedLatency()
	return "mean latency " + milliseconds(latency) + " (limit " + milliseconds(p.rules.FailureLatency) + ")"
}

func (p *path) recoveryReason(now time.Duration) string {
	reason := strconv.Itoa(p.run()) + " answers in a row"
	if p.hold > 0 && !p.held(now) {
		reason += ", no outage for " + seconds(p.hold) + " after flapping"
	}
	return reason
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
}
