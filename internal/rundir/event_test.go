package rundir

import "testing"

// outcome is what Wait returned.
type outcome struct {
	turn   *Lock
	shared *Result
}

// come lets an apply come and returns when it waits in line.
func come(t *testing.T, d Dir, file string) <-chan outcome {
	t.Helper()
	result := make(chan outcome, 1)
	go func() {
		turn, shared, err := d.Wait("apply")
		if err != nil {
			t.Error(err)
		}
		result <- outcome{turn, shared}
	}()
	eventually(t, "an apply waits for "+file, func() bool { return waiting(t, d.path(file)) == 1 })
	return result
}

// leaveWork lets an event come that finds somebody waiting.
func leaveWork(t *testing.T, d Dir) {
	t.Helper()
	if turn, err := d.TryWait(); turn != nil || err != nil {
		t.Fatalf("the event got %v, %v, want to go at once", turn, err)
	}
}

func TestEventTakesTheLock(t *testing.T) {
	d := Dir(t.TempDir() + "/run")
	own, err := d.TryWait()
	if err != nil || own == nil {
		t.Fatalf("got %v, %v", own, err)
	}
	end(t, own, "hotplug", 0, "")
	if next := turn(t, d, "apply"); next.Pending {
		t.Error("the event is pending after its own turn")
	}
}

func TestEventLeavesItsWorkToTheWaiter(t *testing.T) {
	d := Dir(t.TempDir())
	running := turn(t, d, "apply")
	waiter := come(t, d, lockFile)
	for range 3 {
		leaveWork(t, d)
	}
	end(t, running, "apply", 0, "")
	got := <-waiter
	if got.turn == nil || !got.turn.Pending {
		t.Fatalf("the waiter got %+v, want a turn with an event pending", got)
	}
	end(t, got.turn, "apply", 0, "")
	if next := turn(t, d, "apply"); next.Pending {
		t.Error("the event is pending in a second turn")
	}
}

// TestNoSharingAfterAnEvent: the run whose result could be shared began before
// the event, and the event relies on the one that waits.
func TestNoSharingAfterAnEvent(t *testing.T) {
	d := Dir(t.TempDir())
	first := turn(t, d, "apply")
	second := come(t, d, lockFile)
	third := come(t, d, queueFile)
	end(t, first, "apply", 0, "")
	running := (<-second).turn
	eventually(t, "the third moves up", func() bool { return waiting(t, d.path(lockFile)) == 1 })
	leaveWork(t, d)
	end(t, running, "apply", 0, "")
	got := <-third
	if got.turn == nil || !got.turn.Pending {
		t.Fatalf("the third got %+v, want a turn with an event pending", got)
	}
	end(t, got.turn, "apply", 0, "")
}
