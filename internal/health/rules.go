package health

import (
	"cmp"
	"time"

	"loadbalance/internal/config"
)

// Rules are how a path is probed and when its verdict changes. If only a recovery
// limit is off, the failure limit holds in its place.
type Rules struct {
	// Targets are the targets by name, in a fixed order. A path without targets
	// is never probed and keeps its verdict.
	Targets []string
	// Needed is how many targets must answer, 1 to len(Targets).
	Needed int
	config.Track
}

// RulesOf returns the rules for a path with these targets, which can be fewer
// than the member has: a path has only those of its own family.
func RulesOf(t config.Track, targets []string) Rules {
	// These are no rules: a change of them does not begin the history anew.
	t.IPs, t.InitialState, t.OnDead, t.Failback, t.PortalRetry = nil, "", "", "", 0
	return Rules{Targets: targets, Needed: min(t.Reliability, len(targets)), Track: t}
}

// recoveryLoss is the loss in percent below which a path may come back; 0: any.
func (r *Rules) recoveryLoss() int { return cmp.Or(r.RecoveryLoss, r.FailureLoss) }

// recoveryLatency returns the latency below which a path may come back; 0: any.
func (r *Rules) recoveryLatency() time.Duration { return cmp.Or(r.RecoveryLatency, r.FailureLatency) }

// shortestInterval is the shortest interval that can be configured.
const shortestInterval = 50 * time.Millisecond
