package health

import (
	"strconv"
	"strings"
	"time"
)

// silenceReason says who did not answer, and since when.
func (l *line) silenceReason(now time.Duration) string {
	silent := l.silentTargets()
	quiet := " for " + seconds(now-l.quietSince)
	if len(silent) == len(l.rules.Targets) {
		return "no answer from " + strings.Join(silent, ", ") + quiet
	}
	reason := "fewer than " + strconv.Itoa(l.needed) + " of " + strconv.Itoa(l.targets) + " targets answered" + quiet
	if len(silent) > 0 {
		reason += ": none from " + strings.Join(silent, ", ")
	}
	return reason
}

// silentTargets are those that answered none of the rounds that took the line
// out.
func (l *line) silentTargets() []string {
	var silent []string
	for i, name := range l.rules.Targets {
		heard := false
		for number := l.ended - uint32(l.down) + 1; number <= l.ended; number++ {
			heard = heard || l.cells(number)[i] != 0
		}
		if !heard {
			silent = append(silent, name)
		}
	}
	return silent
}

func (l *line) qualityReason() string {
	if l.tooLossy() {
		return strconv.Itoa(l.lost(l.tallies)*100/l.window) + " % of the last " + strconv.Itoa(l.window) +
			" probes lost, the limit is " + strconv.Itoa(l.rules.FailureLoss) + " %"
	}
	latency, _ := l.judgedLatency()
	return "mean latency " + milliseconds(latency) + ", the limit is " + milliseconds(l.rules.FailureLatency)
}

func (l *line) recoveryReason(now time.Duration) string {
	reason := strconv.Itoa(l.run()) + " answers in a row"
	if l.hold > 0 && !l.held(now) {
		reason += ", no outage for " + seconds(l.hold) + " after it flapped"
	}
	return reason
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
}
