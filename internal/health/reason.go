package health

import (
	"fmt"
	"strings"
	"time"
)

// maxPlace is how much of a portal's address, mostly below 60 bytes without the
// query, is for people.
const maxPlace = 100

// silenceReason returns which targets did not answer, for how long; or a portal's.
func (p *path) silenceReason(now time.Duration, portal bool) string {
	if portal {
		reason := fmt.Sprintf("status %d instead of %d", p.met.Status, p.rules.Status)
		if place, _, _ := strings.Cut(p.met.URL, "?"); place != "" {
			reason += ", redirected to " + place[:min(len(place), maxPlace)]
		}
		return reason
	}
	silent, quiet := p.silentTargets(), (now - p.quietSince).Seconds()
	names := strings.Join(silent, ", ")
	if len(silent) == p.targets() {
		return fmt.Sprintf("no answer from %s for %.1f s", names, quiet)
	}
	reason := fmt.Sprintf("fewer than %d of %d targets answered for %.1f s", p.rules.Needed, p.targets(), quiet)
	if len(silent) > 0 {
		reason += "; no answer from " + names
	}
	return reason
}

// silentTargets returns those that answered none of the last Down rounds.
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
	window := p.rules.Window
	if p.tooLossy() {
		return fmt.Sprintf("lost %d %% of the last %d probes (limit %d %%)", p.judged().lost()*100/window, window, p.rules.FailureLoss)
	}
	latency, _ := p.judged().judgedLatency()
	return fmt.Sprintf("mean latency %d ms (limit %d ms)", latency.Milliseconds(), p.rules.FailureLatency.Milliseconds())
}

func (p *path) recoveryReason(now time.Duration) string {
	reason := fmt.Sprintf("%d answers in a row", p.run())
	if p.hold > 0 && !p.held(now) {
		reason += fmt.Sprintf(", no outage for %.1f s after flapping", p.hold.Seconds())
	}
	return reason
}
