package health

import (
	"cmp"
	"time"

	"loadbalance/internal/config"
)

// Rules are how a path is probed and when its verdict changes.
type Rules struct {
	// Targets are the targets by name, in a fixed order. A path without targets
	// is never probed and keeps its verdict.
	Targets []string
	// Needed is how many targets must answer, 1 to len(Targets).
	Needed int
	// Interval lies between two rounds; Timeout is how long a round may go
	// unanswered before it counts as missed. Both are above 0.
	Interval, Timeout time.Duration
	// Down misses in a row take a path offline, Up hits in a row bring it
	// back; loss and latency are judged over Window rounds. All are above 0.
	Down, Up, Window int
	// FailureLoss (percent) takes a path offline; below RecoveryLoss it may
	// come back. FailureLatency and RecoveryLatency likewise. 0 switches a
	// limit off. If only the recovery limit is off, the failure limit holds in
	// its place, or the path would come back only to go offline at once.
	FailureLoss, RecoveryLoss       int
	FailureLatency, RecoveryLatency time.Duration
}

// RulesOf returns the rules for a path with these targets, which can be fewer
// than the member has: a path has only those of its own family.
func RulesOf(t config.Track, targets []string) Rules {
	return Rules{
		Targets: targets, Needed: min(t.Reliability, len(targets)),
		Interval: t.Interval, Timeout: t.Timeout,
		Down: t.Down, Up: t.Up, Window: t.Window,
		FailureLoss: t.FailureLoss, RecoveryLoss: t.RecoveryLoss,
		FailureLatency: t.FailureLatency, RecoveryLatency: t.RecoveryLatency,
	}
}

// recoveryLoss returns the loss in percent below which a path may come back; 0:
// any.
func (r *Rules) recoveryLoss() int { return cmp.Or(r.RecoveryLoss, r.FailureLoss) }

// recoveryLatency returns the latency below which a path may come back; 0: any.
func (r *Rules) recoveryLatency() time.Duration { return cmp.Or(r.RecoveryLatency, r.FailureLatency) }

// shortestInterval is the shortest interval that can be configured.
const shortestInterval = 50 * time.Millisecond
