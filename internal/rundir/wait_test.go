package rundir

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// waiting returns how many are blocked on the lock of a file.
func waiting(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	inode := fmt.Sprintf(":%d ", info.Sys().(*syscall.Stat_t).Ino)
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, line := range strings.Split(string(locks), "\n") {
		if strings.Contains(line, "-> FLOCK") && strings.Contains(line, inode) {
			n++
		}
	}
	return n
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after a minute", what)
		}
	}
}

func turn(t *testing.T, d Dir, request string) *Lock {
	t.Helper()
	turn, shared, err := d.Wait(request)
	if err != nil || shared != nil {
		t.Fatalf("no turn: %v, %v", shared, err)
	}
	return turn
}

func end(t *testing.T, turn *Lock, request string, code int, text string) {
	t.Helper()
	if err := turn.End(request, code, text); err != nil {
		t.Error(err)
	}
}

// TestWaitersShareOneRun: of many that come while one works, the first works
// next, and all others return its result.
func TestWaitersShareOneRun(t *testing.T) {
	const waiters = 20
	d := Dir(t.TempDir() + "/run")
	first := turn(t, d, "apply")
	var lock sync.Mutex
	worked, shared := 0, 0
	var done sync.WaitGroup
	for range waiters {
		done.Add(1)
		go func() {
			defer done.Done()
			own, result, err := d.Wait("apply")
			if err != nil {
				t.Error(err)
				return
			}
			lock.Lock()
			defer lock.Unlock()
			if own != nil {
				worked++
				end(t, own, "apply", 7, "the second run")
				return
			}
			shared++
			if result.Code != 7 || result.Text != "the second run" {
				t.Errorf("shared %+v", result)
			}
		}()
	}
	eventually(t, "all wait", func() bool {
		return waiting(t, d.path(lockFile)) == 1 && waiting(t, d.path(queueFile)) == waiters-1
	})
	end(t, first, "apply", 0, "the first run")
	done.Wait()
	if worked != 1 || shared != waiters-1 {
		t.Errorf("%d worked, %d shared, want 1 and %d", worked, shared, waiters-1)
	}
}

// TestOnlyOneWorks: whatever arrives when, two never work at once.
func TestOnlyOneWorks(t *testing.T) {
	d := Dir(t.TempDir())
	var working sync.Mutex
	var done sync.WaitGroup
	for i := range 8 {
		done.Add(1)
		go func() {
			defer done.Done()
			request := fmt.Sprint("apply ", i%2)
			for range 20 {
				own, _, err := d.Wait(request)
				if err != nil {
					t.Error(err)
					return
				}
				if own == nil {
					continue
				}
				if !working.TryLock() {
					t.Error("two work at once")
				} else {
					working.Unlock()
				}
				end(t, own, request, 0, "")
			}
		}()
	}
	done.Wait()
}

// TestOtherRequestsAreNotShared: who waits for a stop is not content with an
// apply.
func TestOtherRequestsAreNotShared(t *testing.T) {
	d := Dir(t.TempDir())
	first := turn(t, d, "apply")
	results := make(chan string, 2)
	wait := func(request string) {
		own, shared, err := d.Wait(request)
		if err != nil || shared != nil {
			results <- fmt.Sprintf("%s: %v, %v", request, shared, err)
			return
		}
		end(t, own, request, 0, "")
		results <- ""
	}
	go wait("apply")
	eventually(t, "an apply waits", func() bool { return waiting(t, d.path(lockFile)) == 1 })
	go wait("stop")
	eventually(t, "a stop waits", func() bool { return waiting(t, d.path(queueFile)) == 1 })
	end(t, first, "apply", 0, "")
	for range 2 {
		if problem := <-results; problem != "" {
			t.Error(problem)
		}
	}
}

// TestEarlierRunsAreNotShared: a run that began before somebody came has not
// seen what he came for.
func TestEarlierRunsAreNotShared(t *testing.T) {
	d := Dir(t.TempDir())
	for range 3 {
		end(t, turn(t, d, "apply"), "apply", 0, "")
	}
	first := turn(t, d, "apply")
	second := make(chan error)
	go func() {
		own, shared, err := d.Wait("apply")
		if err == nil && shared != nil {
			err = fmt.Errorf("shared a run that had begun before: %+v", *shared)
		}
		if own != nil {
			err = own.End("apply", 0, "")
		}
		second <- err
	}()
	eventually(t, "the second waits", func() bool { return waiting(t, d.path(lockFile)) == 1 })
	end(t, first, "apply", 0, "")
	if err := <-second; err != nil {
		t.Error(err)
	}
}

// TestDamagedResult: a result that was cut off by a crash is as good as none.
func TestDamagedResult(t *testing.T) {
	for _, text := range []string{"", "{", "null", `{"began": "soon"}`, "\x00\x00"} {
		d := Dir(t.TempDir())
		if err := os.WriteFile(d.path(resultFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		end(t, turn(t, d, ""), "", 0, "")
	}
}

// TestKilledHolder: a process that is killed gives its turn back.
func TestKilledHolder(t *testing.T) {
	d := Dir(t.TempDir())
	cmd := exec.Command(os.Args[0], "-test.run=^TestHoldForever$")
	cmd.Env = append(os.Environ(), "HOLD_DIR="+string(d))
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(output); !strings.HasSuffix(said, "holding\n"); said += lines.Text() + "\n" {
		if !lines.Scan() {
			t.Fatalf("the process holds nothing: %v, %v, it said %q", lines.Err(), cmd.Wait(), said)
		}
	}
	got := make(chan *Lock)
	go func() {
		own, _, err := d.Wait("apply")
		if err != nil {
			t.Error(err)
		}
		got <- own
	}()
	eventually(t, "somebody waits for the process", func() bool { return waiting(t, d.path(lockFile)) == 1 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if own := <-got; own == nil {
		t.Error("no turn")
	} else {
		end(t, own, "apply", 0, "")
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process ended by itself")
	}
}

// TestHoldForever is the process that TestKilledHolder starts; by itself it
// takes its turn in a folder of its own and gives it back.
func TestHoldForever(t *testing.T) {
	dir, held := os.LookupEnv("HOLD_DIR")
	if !held {
		dir = t.TempDir()
	}
	own := turn(t, Dir(dir), "apply")
	if held {
		fmt.Println("holding")
		time.Sleep(time.Hour) // until killed; without a timer Go would call it a deadlock
	}
	end(t, own, "apply", 0, "")
}
