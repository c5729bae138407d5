package rundir

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWhatDoesNotCheckOut: every file is the one that was written, or none.
func TestWhatDoesNotCheckOut(t *testing.T) {
	d := Dir(t.TempDir() + "/run")
	if err := errors.Join(d.Create(), d.Accept([]byte("config member 'a'\nconfig member 'b'\n"))); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(d.path(configFile))
	if err != nil {
		t.Fatal(err)
	}
	for size := range whole {
		changed := append([]byte{}, whole...)
		changed[size] ^= 1
		for _, text := range [][]byte{whole[:size], changed} {
			if err := os.WriteFile(d.path(configFile), text, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := d.Accepted(); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q counts as %q, %v", text, got, err)
			}
		}
	}
}

// TestOtherThings in the place of a file are replaced, and not waited for.
func TestOtherThings(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"folder": func(path string) error { return os.MkdirAll(path+"/below", 0o700) },
		"link":   func(path string) error { return os.Symlink("elsewhere", path) },
		"fifo":   func(path string) error { return unix.Mkfifo(path, 0o600) },
	} {
		d := Dir(t.TempDir() + "/run")
		if err := d.Create(); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{configFile, stateFile, verdictsFile, resultFile, lockFile, queueFile, monitorFile} {
			if err := put(d.path(file)); err != nil {
				t.Fatal(err)
			}
		}
		if text, err := d.Accepted(); err == nil {
			t.Errorf("%s: accepted %q", name, text)
		}
		if err := errors.Join(d.Accept([]byte("x")), d.SaveState(State{}), d.SaveVerdicts(some)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		become(t, d).Close()
		end(t, turn(t, d, "apply"), "apply", 0, "")
		if text, err := d.Accepted(); string(text) != "x" || err != nil {
			t.Errorf("%s: then %q, %v", name, text, err)
		}
		if _, err := os.Lstat(string(d) + "/elsewhere"); err == nil {
			t.Error("a link was followed")
		}
	}
}

// TestUnusable: without a folder that is ours there is still a lock, and no file
// is read or written.
func TestUnusable(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"a file":       func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a link":       func(path string) error { return os.Symlink(os.TempDir(), path) },
		"for all":      func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o777)) },
		"somebody's":   func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chown(path, 65534, 65534)) },
		"below a file": func(path string) error { return os.WriteFile(strings.TrimSuffix(path, "/run"), nil, 0o600) },
	} {
		d := Dir(t.TempDir() + "/x/run")
		if name != "below a file" {
			if err := os.Mkdir(strings.TrimSuffix(string(d), "/run"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := spoil(string(d)); err != nil {
			t.Fatal(err)
		}
		own := turn(t, d, "apply")
		second, err := os.OpenFile(kernelLock, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := flock(second, unix.LOCK_EX|unix.LOCK_NB); err == nil {
			t.Errorf("%s: there is no lock", name)
		}
		if err := own.End("apply", 0, ""); err == nil {
			t.Errorf("%s: a result was saved", name)
		}
		if err := flock(second, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Errorf("%s: the lock is kept: %v", name, err)
		}
		second.Close()
		if d.Accept(nil) == nil || d.Trouble() == nil && d.Exists() || d.Stopped() {
			t.Errorf("%s: it is used", name)
		}
		if _, err := d.BecomeMonitor(); err == nil {
			t.Errorf("%s: a monitor lives there", name)
		}
	}
}

// TestFull: what is there is replaced as long as there is room for it, and is
// nothing otherwise.
func TestFull(t *testing.T) {
	path := t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	d := Dir(path)
	if err := errors.Join(d.Accept([]byte("first")), d.Trouble()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"/filler", make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("it is not full")
	}
	if err := d.Trouble(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("trouble: %v", err)
	}
	if err := d.Accept([]byte("second")); err != nil {
		t.Error(err)
	}
	if text, err := d.Accepted(); string(text) != "second" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if err := d.Accept(bytes.Repeat([]byte("x"), 1<<20)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a text without room: %v", err)
	}
	if text, err := d.Accepted(); err == nil {
		t.Errorf("what was cut off counts as %d bytes", len(text))
	}
	end(t, turn(t, d, "apply"), "apply", 0, "") // an empty file takes no room
}

// soon is when somebody who has no business with the lock has lost it: after two
// looks, and what a busy machine adds.
const soon = 2*look + 2*time.Second

// hold has a process hold the lock until the test ends.
func hold(t *testing.T, d Dir, cmd *exec.Cmd) {
	t.Helper()
	cmd.Env = append(os.Environ(), "HOLD_DIR="+string(d))
	if err := errors.Join(d.Create(), cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(cmd.Process.Kill(), cmd.Wait()) })
	eventually(t, "the process holds the lock", func() bool {
		file, err := os.Open(d.path(lockFile))
		if err != nil {
			return false
		}
		defer file.Close()
		return holderOf(file).pid == cmd.Process.Pid
	})
}

// TestStoppedHolder: who waits for a process of ours that is stopped, by a signal
// or by a debugger, ends it and names it.
func TestStoppedHolder(t *testing.T) {
	for name, stop := range map[string]func(pid int) error{
		"signal":   func(pid int) error { return unix.Kill(pid, unix.SIGSTOP) },
		"debugger": func(pid int) error { return errors.Join(unix.PtraceSeize(pid), unix.PtraceInterrupt(pid)) },
	} {
		d := Dir(t.TempDir() + "/run")
		cmd := exec.Command(os.Args[0], "-test.run=^TestHoldForever$")
		hold(t, d, cmd)
		runtime.LockOSThread() // which is the debugger
		if err := stop(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		own := turn(t, d, "apply")
		runtime.UnlockOSThread()
		if took := time.Since(begin); took < look || took > soon {
			t.Errorf("%s: it took %s", name, took)
		}
		if len(own.Notes) != 1 || !strings.Contains(own.Notes[0], "TestHoldForever") || !strings.Contains(own.Notes[0], "killed") {
			t.Errorf("%s: notes %q", name, own.Notes)
		}
		end(t, own, "apply", 0, "")
	}
}

// TestOtherHolder: another program, stopped or not, is passed over and lives; the
// second time at once.
func TestOtherHolder(t *testing.T) {
	for name, signal := range map[string]unix.Signal{"running": 0, "stopped": unix.SIGSTOP} {
		d := Dir(t.TempDir() + "/run")
		cmd := exec.Command("flock", d.path(lockFile), "cat")
		input, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		hold(t, d, cmd)
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		for _, limit := range []time.Duration{soon, look} {
			begin := time.Now()
			own := turn(t, d, "apply")
			if took := time.Since(begin); took > limit || limit == soon && took < look {
				t.Errorf("%s: it took %s", name, took)
			}
			if len(own.Notes) != 1 || !strings.Contains(own.Notes[0], "flock") || !strings.Contains(own.Notes[0], "none of ours") {
				t.Errorf("%s: notes %q", name, own.Notes)
			}
			end(t, own, "apply", 0, "")
		}
		input.Close()
		if err := errors.Join(cmd.Process.Signal(unix.SIGCONT), cmd.Wait()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSlowHolder: a run of ours that goes on keeps the lock, also when something
// stops it for moments.
func TestSlowHolder(t *testing.T) {
	d := Dir(t.TempDir() + "/run")
	cmd := exec.Command(os.Args[0], "-test.run=^TestHoldForever$")
	hold(t, d, cmd)
	waiter := come(t, d, lockFile)
	for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(look * 3 / 4) {
		if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(look / 2)
		if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	if waiting(t, d.path(lockFile)) != 1 {
		t.Error("somebody else has the lock")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	end(t, (<-waiter).turn, "apply", 0, "")
}
