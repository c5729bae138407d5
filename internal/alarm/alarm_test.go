package alarm

import (
	"testing"
	"time"
)

// long is more than any of these tests takes, also on a busy machine.
const long = time.Minute

func newAlarm(t *testing.T) *Alarm {
	t.Helper()
	a, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func set(t *testing.T, a *Alarm, at time.Time) {
	t.Helper()
	if err := a.Set(at); err != nil {
		t.Fatal(err)
	}
}

func awaitRing(t *testing.T, a *Alarm) time.Time {
	t.Helper()
	select {
	case <-a.Rings():
		return time.Now()
	case <-time.After(long):
		t.Fatal("it does not ring")
		return time.Time{}
	}
}

func TestRingsInTime(t *testing.T) {
	a := newAlarm(t)
	for _, pause := range []time.Duration{-time.Hour, 0, time.Nanosecond, 20 * time.Millisecond, 1100 * time.Millisecond} {
		at := time.Now().Add(pause)
		set(t, a, at)
		if rang := awaitRing(t, a); rang.Before(at) {
			t.Errorf("set to %v from now: rang %v too early", pause, at.Sub(rang))
		}
	}
}

func TestLastSettingHolds(t *testing.T) {
	a := newAlarm(t)
	set(t, a, time.Now().Add(10*long))
	set(t, a, time.Now().Add(20*time.Millisecond))
	awaitRing(t, a)

	a = newAlarm(t)
	first, later := putOff(t, a)
	for !first.After(time.Now()) { // too slow: it may have rung already
		a = newAlarm(t)
		first, later = putOff(t, a)
	}
	if rang := awaitRing(t, a); rang.Before(later) {
		t.Errorf("put off, it rang %v too early", later.Sub(rang))
	}
}

// putOff sets an alarm twice, the second time to a later time.
func putOff(t *testing.T, a *Alarm) (first, later time.Time) {
	t.Helper()
	first = time.Now().Add(100 * time.Millisecond)
	later = first.Add(100 * time.Millisecond)
	set(t, a, first)
	set(t, a, later)
	return first, later
}

func TestRingsOnce(t *testing.T) {
	a := newAlarm(t)
	set(t, a, time.Now())
	awaitRing(t, a)
	select {
	case <-a.Rings():
		t.Error("it rang again")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestCloseEndsWaiting(t *testing.T) {
	a, err := New()
	if err != nil {
		t.Fatal(err)
	}
	set(t, a, time.Now().Add(long))
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
