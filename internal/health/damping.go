package health

import "time"

const (
	// A path that goes offline three times within 15 s flaps: the numbers of
	// Juniper's adaptive timers for BFD.
	flapsToDamp = 3
	flapTime    = 15 * time.Second
	// maxHold bounds the hold, or a path would stay offline for hours after
	// its repair.
	maxHold = 5 * time.Minute
	// calmTime is how long a path must be online before its flaps are forgotten:
	// then one that goes on flapping does so at most once in that time.
	calmTime = maxHold
)

// damping keeps a path that flaps offline for longer each time.
type damping struct {
	flaps     int             // since the start
	recent    []time.Duration // when it last flapped, at most flapsToDamp times
	hold      time.Duration   // to come back; 0: as the rules say
	onlineAt  time.Duration   // when it last came back
	calmSince time.Duration   // the end of its last silence
}

// flap records that the path goes offline, and lengthens the hold if it flaps.
// base is how long a path that does not flap takes to come back.
func (d *damping) flap(now, base time.Duration) {
	if now-d.onlineAt >= calmTime {
		d.hold, d.recent = 0, nil
	}
	d.recent = append(d.recent, now)
	d.recent = d.recent[max(len(d.recent)-flapsToDamp, 0):]
	d.flaps++
	d.calmSince = now
	switch {
	case d.hold > 0:
		d.hold = min(2*d.hold, maxHold)
	case len(d.recent) == flapsToDamp && now-d.recent[0] <= flapTime:
		d.hold = min(2*base, maxHold)
	}
}

// held reports whether it is too early to come back: the path must not have been
// silent for the whole hold. Single misses do not count: where one round in a
// hundred is lost, five minutes without one come once in hours.
func (d *damping) held(now time.Duration) bool { return now-d.calmSince < d.hold }
