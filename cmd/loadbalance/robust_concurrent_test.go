package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"loadbalance/internal/netlab"
)

const concurrent = 20

// TestConcurrentApplies starts many applies while another holds the lock, so
// that all of them wait for it: one does the work for all.
func TestConcurrentApplies(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Separate, 5)
		r := newRouter(t, backend, netlab.Options{Uplinks: 5}, config)
		want := r.fresh(config)
		r.must("stop")
		p := newPrograms(t)
		p.count()
		r.env = p.env()

		unlock := r.slowApply()
		running := r.startMany(slices.Repeat([]string{"apply"}, concurrent))
		eventually(t, "all processes wait for a lock", func() bool { return waiting(t, running) == concurrent })
		unlock()
		summaries := 0
		for _, result := range finish(t, running) {
			if result.code != 0 {
				t.Errorf("exit code %d:\n%s%s", result.code, result.out, result.messages)
			}
			if result.out != "" {
				summaries++
			}
		}
		// The one that waited in front may have begun to read before the last
		// ones arrived; they then share the run of the next.
		started := p.started()
		if runs := countLines(strings.Join(started, "\n"), "iptables-"+backend+"-save"); runs > 2 || summaries > 2 {
			t.Errorf("%d of %d processes did work, %d told of it:\n%s", runs, concurrent, summaries, strings.Join(started, "\n"))
		}
		r.env = nil
		r.expectApplied("concurrent applies", want)
	})
}

// TestConcurrentAppliesAndStops mixes applies and stops.
func TestConcurrentAppliesAndStops(t *testing.T) {
	const seed = 5
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Separate, 5)
		r := newRouter(t, backend, netlab.Options{Uplinks: 5}, config)
		before := r.dump()
		want := r.fresh(config)
		random := rand.New(rand.NewPCG(seed, seed))
		ends := map[string]int{}
		for round := range 6 {
			var commands []string
			for range concurrent {
				commands = append(commands, []string{"apply", "apply", "stop"}[random.IntN(3)])
			}
			for _, result := range finish(t, r.startMany(commands)) {
				if result.code != 0 {
					t.Errorf("round %d: exit code %d:\n%s%s", round, result.code, result.out, result.messages)
				}
			}
			now := r.dump()
			switch {
			case difference(want, now.sorted()) == "":
				ends["applied"]++
				r.expectApplied("applied", want)
			case difference(before, now) == "":
				ends["stopped"]++
			default:
				t.Errorf("round %d: neither applied:\n%s\nnor stopped:\n%s", round, difference(want, now.sorted()), difference(before, now))
			}
		}
		t.Logf("rounds by their end: %v", ends)
	})
}

// process is a running program with what it prints.
type process struct {
	cmd           *exec.Cmd
	out, messages bytes.Buffer
}

type result struct {
	out, messages string
	code          int
}

// startMany starts one process for each command.
func (r *router) startMany(commands []string) []*process {
	r.t.Helper()
	var running []*process
	for _, command := range commands {
		p := &process{cmd: exec.Command(binary, r.args(command)...)}
		p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = r.env, &p.out, &p.messages
		if err := r.lab.Router.Start(p.cmd); err != nil {
			r.t.Fatal(err)
		}
		running = append(running, p)
	}
	return running
}

// finish waits for the end of all processes.
func finish(t *testing.T, running []*process) []result {
	t.Helper()
	var results []result
	for _, p := range running {
		err := p.cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		results = append(results, result{p.out.String(), p.messages.String(), p.cmd.ProcessState.ExitCode()})
	}
	return results
}

// slowApply starts an apply whose iptables-save takes its time. It returns when
// that has the lock; the returned function has it die.
func (r *router) slowApply() (kill func()) {
	r.t.Helper()
	p := newPrograms(r.t)
	running := filepath.Join(p.dir, "running")
	for _, name := range iptablesPrograms(r.backend) {
		p.script(name, fmt.Sprintf(": > %[1]s\nwhile test -e %[1]s; do sleep 0.1; done\nkill -9 $PPID", running))
	}
	p.link("sleep")
	cmd := exec.Command(binary, r.args("apply")...)
	cmd.Env = p.env()
	check(r.t, r.lab.Router.Start(cmd))
	eventually(r.t, "the slow apply has the lock", func() bool {
		_, err := os.Stat(running)
		return err == nil
	})
	return func() {
		check(r.t, os.Remove(running))
		_ = cmd.Wait()
	}
}

// lock takes the lock that every apply and stop takes, as another program.
func (r *router) lock() (unlock func()) {
	r.t.Helper()
	file, err := os.OpenFile(filepath.Join(r.runDir(), "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err == nil {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return func() { file.Close() }
}

// waiting counts the processes that the kernel has waiting for a lock.
func waiting(t *testing.T, running []*process) int {
	t.Helper()
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range running {
		for _, line := range strings.Split(string(locks), "\n") {
			// 1: -> FLOCK  ADVISORY  WRITE 4711 00:2b:31 0 EOF
			if strings.Contains(line, "->") && strings.Contains(line, fmt.Sprintf(" %d ", p.cmd.Process.Pid)) {
				n++
				break
			}
		}
	}
	return n
}
