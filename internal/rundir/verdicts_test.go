package rundir

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// some are verdicts of both families.
var some = plan.Verdicts{
	family.IPv4: {"wan1": {Offline: "no answer from 192.0.2.1 for 2.3 s"}, "wan2": {}},
	family.IPv6: {"wan1": {Offline: "lost 40 % of the last 60 probes (limit 30 %)"}},
}

func become(t *testing.T, d Dir) *os.File {
	t.Helper()
	monitor, err := d.BecomeMonitor()
	if err != nil {
		t.Fatal(err)
	}
	return monitor
}

func expectMonitor(t *testing.T, d Dir, want bool) {
	t.Helper()
	if runs, err := d.MonitorRuns(); runs != want || err != nil {
		t.Errorf("a monitor runs: %v, %v, want %v", runs, err, want)
	}
}

func sameVerdicts(a, b plan.Verdicts) bool {
	if len(a) != len(b) {
		return false
	}
	for f, members := range a {
		if len(members) != len(b[f]) {
			return false
		}
		for name, reason := range members {
			if got, known := b[f][name]; !known || got != reason {
				return false
			}
		}
	}
	return true
}

func TestOneMonitor(t *testing.T) {
	d := Dir(t.TempDir() + "/run")
	expectMonitor(t, d, false)
	first := become(t, d)
	expectMonitor(t, d, true)
	if text, err := os.ReadFile(d.path(monitorFile)); string(text) != strconv.Itoa(os.Getpid())+"\n" || err != nil {
		t.Errorf("the file says %q, %v", text, err)
	}
	if second, err := d.BecomeMonitor(); !errors.Is(err, ErrMonitorRuns) {
		t.Errorf("a second monitor: %v, %v", second, err)
	}
	expectMonitor(t, d, true)
	first.Close()
	expectMonitor(t, d, false)
	become(t, d).Close()
}

// TestLongProcessID: what a longer number of an earlier monitor left is gone.
func TestLongProcessID(t *testing.T) {
	d := Dir(t.TempDir())
	if err := os.WriteFile(d.path(monitorFile), []byte(strings.Repeat("9", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	defer become(t, d).Close()
	if text, err := os.ReadFile(d.path(monitorFile)); string(text) != strconv.Itoa(os.Getpid())+"\n" || err != nil {
		t.Errorf("the file says %q, %v", text, err)
	}
}

// TestAskingDoesNotHinder: those who ask for the monitor never keep one from
// starting.
func TestAskingDoesNotHinder(t *testing.T) {
	d := Dir(t.TempDir())
	become(t, d).Close()
	end := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Add(1)
		go func() {
			defer asking.Done()
			for {
				select {
				case <-end:
					return
				default:
				}
				if _, err := d.MonitorRuns(); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for range 300 {
		monitor, err := d.BecomeMonitor()
		if err != nil {
			t.Error(err)
			break
		}
		monitor.Close()
	}
	close(end)
	asking.Wait()
}

// TestProgramsOfTheMonitor: a program that the monitor has started does not
// stand for it.
func TestProgramsOfTheMonitor(t *testing.T) {
	d := Dir(t.TempDir())
	monitor := become(t, d)
	program := exec.Command("sleep", "1000")
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	monitor.Close()
	expectMonitor(t, d, false)
	become(t, d).Close()
	if err := program.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := program.Wait(); err == nil {
		t.Error("the program ended by itself")
	}
}

// TestVerdictsWhileAMonitorLives: only then are they anybody's business, but the
// next monitor finds them all the same.
func TestVerdictsWhileAMonitorLives(t *testing.T) {
	d := Dir(t.TempDir())
	monitor := become(t, d)
	if got, err := d.LastVerdicts(); got != nil || err != nil {
		t.Errorf("before the first: %v, %v", got, err)
	}
	for _, want := range []plan.Verdicts{some, {}, some} {
		if err := d.SaveVerdicts(want); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Verdicts(); !sameVerdicts(got, want) || got == nil || err != nil {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	monitor.Close()
	if got, err := d.Verdicts(); got != nil || err != nil {
		t.Errorf("without a monitor: %v, %v", got, err)
	}
	if got, err := d.LastVerdicts(); !sameVerdicts(got, some) || err != nil {
		t.Errorf("for the next monitor: %v, %v", got, err)
	}
}

func TestDamagedVerdicts(t *testing.T) {
	d := Dir(t.TempDir())
	for _, text := range []string{"", "{", "[]", `{"ipv5": {}}`, `{"ipv4": ["wan1"]}`, "\x00\x00"} {
		if err := os.WriteFile(d.path(verdictsFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := d.LastVerdicts(); got != nil || err == nil || !strings.Contains(err.Error(), "verdicts.json is damaged") {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestVerdictsEndWithTheService: those from before a stop are nobody's any more.
func TestVerdictsEndWithTheService(t *testing.T) {
	d := Dir(t.TempDir())
	for _, forget := range []func() error{d.ForgetVerdicts, d.ForgetVerdicts, func() error { return d.SetStopped(true) }} {
		if err := d.SaveVerdicts(some); err != nil {
			t.Fatal(err)
		}
		if err := forget(); err != nil {
			t.Fatal(err)
		}
		if got, err := d.LastVerdicts(); got != nil || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
	if err := d.ForgetVerdicts(); err != nil {
		t.Errorf("without any: %v", err)
	}
}
