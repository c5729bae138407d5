package rundir

import (
	"encoding/binary"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func notify(t *testing.T, d Dir) *Notifier {
	t.Helper()
	n, err := d.Notify()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// expectChange waits for one value of Changes.
func expectChange(t *testing.T, n *Notifier, what string) {
	t.Helper()
	select {
	case <-n.Changes:
	case <-time.After(time.Minute):
		t.Fatalf("nothing is heard: %s", what)
	}
}

// expectQuiet fails if something is heard within a moment.
func expectQuiet(t *testing.T, n *Notifier, what string) {
	t.Helper()
	select {
	case <-n.Changes:
		t.Errorf("%s is heard", what)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestWhatIsHeard(t *testing.T) {
	d := Dir(t.TempDir())
	n := notify(t, d)
	tests := []struct {
		what   string
		happen func() error
		heard  bool
	}{
		{"a configuration is accepted", func() error { return d.Accept([]byte("1")) }, true},
		{"another one is", func() error { return d.Accept([]byte("2")) }, true},
		{"the service is stopped", func() error { return d.SetStopped(true) }, true},
		{"it is started", func() error { return d.SetStopped(false) }, true},
		{"it is started again", func() error { return d.SetStopped(false) }, false},
		{"its configuration is accepted", func() error { return d.Accept([]byte("3")) }, true},
		{"verdicts are saved", func() error { return d.SaveVerdicts(some) }, false},
		{"state is saved", func() error { return d.SaveState(State{}) }, false},
		{"a turn", func() error {
			turn, _, err := d.Wait("apply")
			if err != nil {
				return err
			}
			return turn.End("apply", 0, "")
		}, false},
		{"the configuration is removed", func() error { return os.Remove(d.path(configFile)) }, true},
	}
	for _, tt := range tests {
		if err := tt.happen(); err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		if !tt.heard {
			expectQuiet(t, n, tt.what)
			continue
		}
		expectChange(t, n, tt.what)
		drain(n)
	}
	select {
	case <-n.Gone:
		t.Error("the folder counts as gone")
	default:
	}
}

// drain takes what is still on its way: a stop is two events.
func drain(n *Notifier) {
	for {
		select {
		case <-n.Changes:
		case <-time.After(20 * time.Millisecond):
			return
		}
	}
}

// TestManyChangesAreOne: whoever is busy for a while finds one value.
func TestManyChangesAreOne(t *testing.T) {
	d := Dir(t.TempDir())
	n := notify(t, d)
	for range 1000 {
		if err := d.Accept(nil); err != nil {
			t.Fatal(err)
		}
	}
	expectChange(t, n, "many changes")
	drain(n)
	if err := d.Accept(nil); err != nil {
		t.Fatal(err)
	}
	expectChange(t, n, "one more")
}

func TestFolderIsRemoved(t *testing.T) {
	tests := []struct {
		name   string
		remove func(Dir) error
	}{
		{"all of it", func(d Dir) error { return os.RemoveAll(string(d)) }},
		{"it is somebody else's", func(d Dir) error { return os.Chown(string(d), 65534, 65534) }},
		{"it has another name", func(d Dir) error { return os.Rename(string(d), string(d)+".old") }},
		{"the monitor's file", func(d Dir) error { return os.Remove(d.path(monitorFile)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Dir(t.TempDir() + "/run")
			defer become(t, d).Close()
			n := notify(t, d)
			if err := tt.remove(d); err != nil {
				t.Fatal(err)
			}
			select {
			case <-n.Gone:
			case <-time.After(time.Minute):
				t.Error("nothing is heard")
			}
		})
	}
}

func TestNotifyWithoutFolder(t *testing.T) {
	d := Dir(t.TempDir() + "/run")
	if n, err := d.Notify(); err == nil {
		n.Close()
		t.Error("no error for a folder that is not there")
	}
}

// inotifyEvent is one event in the kernel's format. The kernel pads names with
// zeros.
func inotifyEvent(mask uint32, name string, padding int) []byte {
	b := binary.NativeEndian.AppendUint32(nil, 1)
	b = binary.NativeEndian.AppendUint32(b, mask)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(name)+padding))
	return append(append(b, name...), make([]byte, padding)...)
}

func TestReadEvents(t *testing.T) {
	other := inotifyEvent(unix.IN_MOVED_TO, "state.json", 6)
	tests := []struct {
		name            string
		events          []byte
		concerned, gone bool
	}{
		{"none", nil, false, false},
		{"another file", other, false, false},
		{"an accepted configuration", inotifyEvent(unix.IN_MOVED_TO, configFile, 8), true, false},
		{"a stop behind others", append(append(other[:len(other):len(other)], other...), inotifyEvent(unix.IN_MOVED_TO, stoppedFile, 1)...), true, false},
		{"a longer name", inotifyEvent(unix.IN_MOVED_TO, configFile+".new", 4), false, false},
		{"events were lost", inotifyEvent(unix.IN_Q_OVERFLOW, "", 0), true, false},
		{"the folder is gone", inotifyEvent(unix.IN_IGNORED, "", 0), false, true},
		{"the monitor's file is gone", inotifyEvent(unix.IN_DELETE, monitorFile, 9), false, true},
		{"an event that was cut off", inotifyEvent(unix.IN_MOVED_TO, configFile, 8)[:18], false, false},
		{"a header that was cut off", inotifyEvent(unix.IN_MOVED_TO, configFile, 8)[:12], false, false},
	}
	for _, tt := range tests {
		if concerned, gone := readEvents(tt.events); concerned != tt.concerned || gone != tt.gone {
			t.Errorf("%s: %v, %v, want %v, %v", tt.name, concerned, gone, tt.concerned, tt.gone)
		}
	}
}

// FuzzReadEvents: whatever lies in the buffer, it is read to its end, and what
// stands at the beginning is seen.
func FuzzReadEvents(f *testing.F) {
	f.Add(inotifyEvent(unix.IN_DELETE, stoppedFile, 9))
	f.Add(inotifyEvent(unix.IN_IGNORED, "", 0))
	f.Add(inotifyEvent(unix.IN_MOVED_TO, configFile, 8)[:20])
	f.Add([]byte{15: 0xff})
	f.Fuzz(func(t *testing.T, rest []byte) {
		restConcerned, restGone := readEvents(rest)
		for _, first := range []struct {
			events          []byte
			concerned, gone bool
		}{
			{inotifyEvent(unix.IN_MOVED_TO, "state.json", 6), false, false},
			{inotifyEvent(unix.IN_MOVED_TO, configFile, 8), true, false},
			{inotifyEvent(unix.IN_IGNORED, "", 0), false, true},
		} {
			concerned, gone := readEvents(append(first.events, rest...))
			if concerned != (first.concerned || restConcerned) || gone != (first.gone || restGone) {
				t.Errorf("%v, %v", concerned, gone)
			}
		}
	})
}
