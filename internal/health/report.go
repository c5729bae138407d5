package health

import (
	"time"

	"loadbalance/internal/family"
)

// Key names a path: one member in one family.
type Key struct {
	Member string        `json:"member"`
	Family family.Family `json:"family"`
}

// Snapshot is what the monitor tells of itself and of every path that it
// probes.
type Snapshot struct {
	PID int `json:"pid"`
	// Started is when the monitor was started, by the present clock.
	Started time.Time `json:"started"`
	// Silent says that in a family no target of any path answers although the
	// links are there: taken for trouble of the targets or further upstream, so
	// no verdict is passed there. Silence are these families.
	Silent  bool     `json:"silent"`
	Silence Silence  `json:"silence,omitempty"`
	Paths   []Report `json:"lines"`
}

// Report is the health of one path.
type Report struct {
	Key
	Online bool `json:"online"`
	// Since is when the present verdict was passed; Reason says why.
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"`
	// Misses and Hits are the rounds in a row, up to now, in which too few
	// targets answered, or enough did. One of them is 0.
	Misses int `json:"misses"`
	Hits   int `json:"hits"`
	// Loss is the part of the probes in the window that went unanswered, 0
	// to 1, and Latency the mean time to an answer: those of the worst target
	// that is still needed.
	Loss    float64       `json:"loss"`
	Latency time.Duration `json:"latency_ns"`
	// Flaps is how often the path went offline since the monitor was started.
	Flaps int `json:"flaps"`
	// Hold is how long the path must answer without a gap before it comes
	// back while a peer is online, where that was lengthened because it
	// flapped; otherwise 0.
	Hold    time.Duration  `json:"hold_ns,omitempty"`
	Targets []TargetReport `json:"targets"`
}

// TargetReport is what one target answered within the window.
type TargetReport struct {
	Address string        `json:"address"`
	Loss    float64       `json:"loss"`
	Latency time.Duration `json:"latency_ns"`
}
