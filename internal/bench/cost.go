package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/netlab"
)

// Budgets of a monitor of five members that finds nothing to do.
const (
	idleCPU      = 0.003 // of one core
	idleResident = 12_000_000
)

// costCases are numbers of members and of targets of each.
var costCases = []struct{ members, targets int }{{5, 1}, {5, 2}, {60, 2}}

// cost measures monitors at work: as `make build` makes the program, and as it
// is packaged.
func (b *bench) cost() error {
	packaged, err := b.packaged(runtime.GOARCH)
	if err != nil {
		return err
	}
	t := newTable(b.out, "back end", "program", "members", "targets", "CPU, of one core", "of it in programs it starts",
		"switches/s", "resident", "of it anonymous", "most", "")
	for _, c := range costCases {
		results, err := withEachBackend(func(backend string) (costs, error) {
			r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: c.members, IPv6: true, Backend: backend})
			if err != nil {
				return costs{}, err
			}
			defer r.Close()
			return r.costs(c.targets, b.program, packaged)
		})
		if err != nil {
			return err
		}
		for k, backend := range backends {
			for i, name := range []string{"make build", "packaged"} {
				cost := results[k][i]
				verdict := ""
				if c.members == 5 {
					verdict = budget(cost.cpu() <= idleCPU, "%.1f %%", 100*idleCPU) + ", " +
						budget(cost.most <= idleResident, "%s", megabytes(idleResident))
				}
				t.row(backend, name, fmt.Sprint(c.members), fmt.Sprint(c.targets), fmt.Sprintf("%.2f %%", 100*cost.cpu()),
					fmt.Sprintf("%.2f %%", 100*cost.children.Seconds()/cost.elapsed.Seconds()),
					fmt.Sprintf("%.0f", float64(cost.switches)/cost.elapsed.Seconds()),
					megabytes(cost.resident), megabytes(cost.anonymous), megabytes(cost.most), verdict)
			}
		}
	}
	return t.Flush()
}

type costs [2]usage

// costs measures two programs one after the other.
func (r *rig) costs(targets int, programs ...string) (results costs, err error) {
	for i, file := range programs {
		if r.program, err = r.Install(file, r.dir); err != nil {
			return results, err
		}
		if results[i], err = r.cost(targets); err != nil {
			return results, err
		}
	}
	return results, nil
}

// cost is what a monitor takes in a minute, in which it compares everything
// once.
func (r *rig) cost(targets int) (used usage, err error) {
	if err := r.track(tracked(targets, defaultSettings)); err != nil {
		return used, err
	}
	m, err := r.startMonitor()
	if err != nil {
		return used, err
	}
	defer func() { err = errors.Join(err, m.end()) }()
	time.Sleep(5 * time.Second) // the start is over, with what it makes garbage of
	before, err := usageOf(m.Cmd.Process.Pid)
	if err != nil {
		return used, err
	}
	start := time.Now()
	time.Sleep(time.Minute)
	after, err := usageOf(m.Cmd.Process.Pid)
	after.elapsed = time.Since(start)
	after.own -= before.own
	after.children -= before.children
	after.switches -= before.switches
	return after, err
}

// usage is what a process has used.
type usage struct {
	elapsed       time.Duration
	own, children time.Duration // of the processors
	switches      int64         // of threads that waited
	// Memory in bytes; most is the highest resident so far.
	resident, anonymous, most int64
}

// cpu is the part of one core.
func (u usage) cpu() float64 { return (u.own + u.children).Seconds() / u.elapsed.Seconds() }

func usageOf(pid int) (usage, error) {
	var u usage
	folder := filepath.Join("/proc", strconv.Itoa(pid))
	threads, err := filepath.Glob(filepath.Join(folder, "task", "*"))
	if err != nil {
		return u, err
	}
	for _, thread := range threads {
		// The process's own times are in ticks of 10 ms, a twelfth of the
		// budget; those of its threads are in nanoseconds.
		ran, err := number(filepath.Join(thread, "schedstat"), func(text string) string { return strings.Fields(text)[0] })
		if err == nil {
			var switches int64
			switches, err = number(filepath.Join(thread, "status"), field("voluntary_ctxt_switches:"))
			u.switches += switches
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return u, err
		}
		u.own += time.Duration(ran)
	}
	// Read once: the process may grow between two readings, and then have had
	// less at most than it has.
	status, err := os.ReadFile(filepath.Join(folder, "status"))
	if err != nil {
		return u, err
	}
	for name, bytes := range map[string]*int64{"VmRSS:": &u.resident, "RssAnon:": &u.anonymous, "VmHWM:": &u.most} {
		kilobytes, err := parseNumber(field(name)(string(status)))
		if err != nil {
			return u, fmt.Errorf("process %d: %s %w", pid, name, err)
		}
		*bytes = kilobytes * 1024
	}
	u.children, err = childrenTime(filepath.Join(folder, "stat"))
	return u, err
}

// number reads one number of a file.
func number(file string, cut func(text string) string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	n, err := parseNumber(cut(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}

func parseNumber(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

// field cuts the word after a name at the begin of a line.
func field(name string) func(string) string {
	return func(text string) string {
		for _, line := range strings.Split(text, "\n") {
			if words := strings.Fields(line); len(words) > 1 && words[0] == name {
				return words[1]
			}
		}
		return ""
	}
}

// childrenTime reads how long the ended children of a process have run.
func childrenTime(file string) (time.Duration, error) {
	const (
		tick       = 10 * time.Millisecond // of every architecture that Linux gives to users
		user, kern = 13, 14                // cutime and cstime, counted after the name (proc(5): fields 16 and 17)
	)
	total := time.Duration(0)
	for _, at := range []int{user, kern} {
		ticks, err := number(file, func(text string) string {
			return strings.Fields(text[strings.LastIndexByte(text, ')')+1:])[at]
		})
		if err != nil {
			return 0, err
		}
		total += time.Duration(ticks) * tick
	}
	return total, nil
}
