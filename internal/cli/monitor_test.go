package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/rundir"
)

// folders are the configuration, if not empty, the run directory's accepted
// configuration, likewise, and the arguments that name both.
func folders(t *testing.T, config, accepted string) (run rundir.Dir, args []string) {
	t.Helper()
	dir := t.TempDir()
	run = rundir.Dir(filepath.Join(dir, "run"))
	if config != "" {
		if err := os.WriteFile(filepath.Join(dir, "loadbalance"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if accepted != "" {
		if err := run.Create(); err != nil {
			t.Fatal(err)
		}
		if err := run.Accept([]byte(accepted)); err != nil {
			t.Fatal(err)
		}
	}
	return run, []string{"--config-dir", dir, "--run-dir", string(run)}
}

const (
	someMember = "config member 'wan1'\n"
	noMonitor  = "config globals 'globals'\n\toption monitor '0'\n"
	disabled   = "config globals 'globals'\n\toption enabled '0'\n"
	faulty     = "config globals 'globals'\n\toption mark_mask 'x'\n"
)

func TestMonitorWanted(t *testing.T) {
	tests := []struct {
		name, config, accepted string
		code                   int
	}{
		{"a member", someMember, "", 0},
		{"no member", "config globals 'globals'\n", "", 1},
		{"a member that is disabled", someMember + "\toption enabled '0'\n", "", 1},
		{"no monitor", noMonitor + someMember, "", 1},
		{"disabled", disabled + someMember, "", 1},
		{"no file", "", "", 1},
		{"a syntax error", "config member 'wan1\n", "", 1},
		{"faulty globals", faulty + someMember, "", 1},
		{"a faulty member next to a good one", someMember + "config member 'wan2'\n\toption weight 'x'\n", "", 0},
		{"a mistake after a good configuration", "config member 'wan1\n", someMember, 0},
		{"no file after a good configuration", "", someMember, 0},
		{"the accepted one counts", someMember, noMonitor + someMember, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run, args := folders(t, tt.config, tt.accepted)
			existed := run.Exists()
			out, messages, code := runProgram(append(args, "monitor", "--wanted")...)
			if code != tt.code || out != "" || messages != "" {
				t.Errorf("exit code %d, want %d; output %q, messages %q", code, tt.code, out, messages)
			}
			if run.Exists() != existed {
				t.Error("the question has left something in the run directory")
			}
		})
	}
}

func TestSecondMonitor(t *testing.T) {
	run, args := folders(t, someMember, "")
	first, err := run.BecomeMonitor()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	out, messages, code := runProgram(append(args, "monitor")...)
	if code != 1 || out != "" || messages != "monitor: a monitor runs already\n" {
		t.Errorf("exit code %d, output %q, messages %q", code, out, messages)
	}
}

// TestOverdue: a file that changed and that nobody has asked for is named in the
// log after a minute, once; a reload that came too early is made up for.
func TestOverdue(t *testing.T) {
	run, args := folders(t, someMember, "config member 'wan2'\n")
	dir := args[1]
	var messages bytes.Buffer
	log := openLog(logStderr, &messages)
	a := &monitorApplier{invocation: &invocation{options: options{configDir: dir, runDir: string(run)}, log: log}, monitorLog: log}
	written := time.Now()
	look := func(name string, after time.Duration, overdue bool, lines int) {
		t.Helper()
		if got, _ := a.Overdue(written.Add(after)); got != overdue || strings.Count(messages.String(), "newer than what runs") != lines {
			t.Errorf("%s: overdue %v, log:\n%s", name, got, messages.String())
		}
	}
	look("while it is edited", 50*time.Second, false, 0)
	look("after a minute", 61*time.Second, false, 1)
	look("later", time.Hour, false, 1)
	check(t, os.Chtimes(filepath.Join(dir, "loadbalance"), written, written.Add(time.Hour)))
	look("edited again", time.Hour+61*time.Second, false, 2)
	check(t, run.Accept([]byte(someMember)))
	check(t, os.Chtimes(filepath.Join(dir, "loadbalance"), written, written.Add(2*time.Hour)))
	look("written anew, with nothing new in it", 3*time.Hour, false, 2)
	check(t, run.SetOverdue(true))
	look("after a reload that came too early", 3*time.Hour, true, 2)
	check(t, run.SetOverdue(false))
	look("made up for", 3*time.Hour, false, 2)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEndingMonitor: a monitor that has been told to end while it waited for the
// lock changes nothing any more.
func TestEndingMonitor(t *testing.T) {
	dir, args := folders(t, someMember, someMember)
	quit, end := context.WithCancel(context.Background())
	defer end()
	log := openLog(logStderr, &bytes.Buffer{})
	a := &monitorApplier{invocation: &invocation{options: options{configDir: args[1], runDir: string(dir)}, log: log}, quit: quit}
	ran := 0
	work := func() *run { ran++; return &run{} }
	for range 2 {
		if outcome, err := a.underLock(work); err != nil || !outcome.Idle {
			t.Errorf("%+v, %v", outcome, err)
		}
		end()
	}
	if ran != 1 {
		t.Errorf("%d runs", ran)
	}
}
