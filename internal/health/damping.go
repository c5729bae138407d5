package health

import "time"

const (
	// A path that went offline so often within so short a time flaps: the
	// numbers of Juniper's adaptive timers for BFD.
	flapsToDamp = 3
	flapTime    = 15 * time.Second
	// maxHold bounds the time to come back, or a path would stay out for hours
	// after its repair.
	maxHold = 5 * time.Minute
	// calmTime is how long a path must be online for its flaps to be forgotten:
	// as long as the longest hold, so that a path that goes on flapping does so
	// once in that time at most.
	calmTime = maxHold
)

// damping keeps a path that flaps offline for longer each time.
type damping struct {
	flaps     int                        // since the start
	flapped   [flapsToDamp]time.Duration // the last times
	recent    int                        // how many of these are set
	hold      time.Duration              // to come back; 0: as the rules say
	onlineAt  time.Duration              // when it last came back
	calmSince time.Duration              // the end of its last silence
}

// flap takes note that the path went offline. The time to come back is base
// where it did not flap.
func (d *damping) flap(now, base time.Duration) {
	if now-d.onlineAt >= calmTime {
		d.hold, d.recent = 0, 0
	}
	oldest := d.flaps % flapsToDamp
	d.flapped[oldest] = now
	d.flaps++
	d.recent = min(d.recent+1, flapsToDamp)
	d.calmSince = now
	next := d.flaps % flapsToDamp
	switch {
	case d.hold > 0:
		d.hold = min(2*d.hold, maxHold)
	case d.recent == flapsToDamp && now-d.flapped[next] <= flapTime:
		d.hold = min(2*base, maxHold)
	}
}

// held reports whether it is too early to come back. The path must have been
// without silence for the whole hold. Single misses do not start it anew: they
// would not have taken the path offline either, and where one round in a
// hundred is lost, five minutes without any come once in hours.
func (d *damping) held(now time.Duration) bool { return now-d.calmSince < d.hold }
