package rundir

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// look is how often somebody who waits for a lock asks who has it. The second
	// look finds intruders, so that a blackout, seen after 2.8 s, is answered
	// within 4 s.
	look = 300 * time.Millisecond
	// hungAfter is when a run of ours counts as hanging, such as one whose output
	// nobody reads: all its programs have time limits, which together are less.
	hungAfter = 4 * time.Minute
	// kernelLock is locked where the run directory cannot hold a file: it is always
	// there, each network namespace has its own, and only root can open it.
	kernelLock = "/proc/sys/net/ipv4/route/flush"
)

// holder is a process that has a file locked.
type holder struct {
	pid int
	// ours says that it runs this program.
	ours    bool
	command string
	// status is that of proc(5): how it is, and what changes as soon as it runs.
	status string
}

// passed is the process for whose end this one has waited in vain before.
var passed atomic.Int64

// await locks a file. A process of ours that is stopped or hangs is killed, since
// the next run repairs what it has left. Another program is passed over, since it
// does not change what is ours: file is nil then. Both is told in notes.
func await(file *os.File, notes *[]string) (*os.File, error) {
	err := flock(file, unix.LOCK_EX|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return file, err
	}
	locked := make(chan error, 1)
	go func() { locked <- flock(file, unix.LOCK_EX) }()
	start, wait, last := time.Now(), look, holder{}
	if h := holderOf(file); !h.ours && int64(h.pid) == passed.Load() {
		wait, last = 0, h
	}
	for ; ; wait = look {
		select {
		case err := <-locked:
			return file, err
		case <-time.After(wait):
		}
		before, h := last, holderOf(file)
		last = h
		switch {
		case h.pid == 0 || h.pid != before.pid: // has it only now
		case !h.ours:
			passed.Store(int64(h.pid))
			go func() {
				<-locked // later, when nobody needs it any more
				file.Close()
			}()
			*notes = append(*notes, fmt.Sprintf("%s, which is none of ours, holds the lock: went on without it", h))
			return nil, nil
		case (h.stopped() && h == before || time.Since(start) > hungAfter) && h.kill(file):
			*notes = append(*notes, fmt.Sprintf("%s held the lock since %s or longer, stopped or hanging: killed", h, start.Format(time.TimeOnly)))
		}
	}
}

// flock is flock(2), which a signal may interrupt.
func flock(file *os.File, how int) error {
	for {
		if err := unix.Flock(int(file.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// holderOf finds who has a file locked, if this process can see it.
func holderOf(file *os.File) holder {
	var stat unix.Stat_t
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Fstat(int(file.Fd()), &stat) != nil {
		return holder{}
	}
	id := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(stat.Dev)), unix.Minor(uint64(stat.Dev)), stat.Ino)
	for _, line := range strings.Split(string(locks), "\n") {
		// 1: FLOCK  ADVISORY  WRITE 4711 00:2b:31 0 EOF; those who wait have an arrow.
		fields := strings.Fields(line)
		if len(fields) > 5 && fields[1] == "FLOCK" && fields[5] == id {
			return describe(fields[4])
		}
	}
	return holder{}
}

func describe(number string) holder {
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 0 {
		return holder{}
	}
	dir := "/proc/" + number
	program, _ := os.Readlink(dir + "/exe")
	self, _ := os.Readlink("/proc/self/exe")
	const replaced = " (deleted)" // by an upgrade, while the process runs
	ours := self != "" && strings.TrimSuffix(program, replaced) == strings.TrimSuffix(self, replaced)
	status, _ := os.ReadFile(dir + "/status")
	arguments, _ := os.ReadFile(dir + "/cmdline")
	words := strings.Split(string(arguments), "\x00")
	return holder{pid, ours, strings.Join(words[:min(len(words), 2)], " "), string(status)}
}

// stopped reports whether a signal or a debugger (t) has stopped the process.
func (h holder) stopped() bool {
	return strings.Contains(h.status, "\nState:\tT") || strings.Contains(h.status, "\nState:\tt")
}

// String names the process; its command line can do no harm in a log.
func (h holder) String() string { return fmt.Sprintf("process %d (%.80q)", h.pid, h.command) }

// kill kills the process if it still is the one that has the file locked.
func (h holder) kill(file *os.File) bool {
	// The number may pass to another process; what is open here does not.
	process, err := unix.PidfdOpen(h.pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(process)
	return holderOf(file) == h && unix.PidfdSendSignal(process, unix.SIGKILL, nil, 0) == nil
}
