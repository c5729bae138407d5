package rundir

import (
	"bytes"
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
	// patience is how long a lock is waited for before somebody asks who has it.
	// An apply takes well under a second.
	patience = 5 * time.Second
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
	ours, stopped bool
	command       string
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
	start, wait := time.Now(), patience
	if h := holderOf(file); h.pid != 0 && !h.ours && int64(h.pid) == passed.Load() {
		wait = 0
	}
	for ; ; wait = time.Second {
		select {
		case err := <-locked:
			return file, err
		case <-time.After(wait):
		}
		h := holderOf(file)
		switch {
		case h.pid == 0: // has just given it back
		case !h.ours:
			passed.Store(int64(h.pid))
			go func() {
				<-locked // later, when nobody needs it any more
				file.Close()
			}()
			*notes = append(*notes, fmt.Sprintf("%s, which is none of ours, holds the lock: went on without it", h))
			return nil, nil
		case (h.stopped || time.Since(start) > hungAfter) && h.kill(file):
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

// holderOf finds who has a file locked; the zero holder if nobody has, or one
// whom this process cannot see.
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

// describe looks at a process; the zero holder if it is none that can be seen.
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
	stat, _ := os.ReadFile(dir + "/stat") // 4711 (the name, with blanks) T ...
	stopped := bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" T"))
	arguments, _ := os.ReadFile(dir + "/cmdline")
	words := strings.Split(string(arguments), "\x00")
	return holder{pid, ours, stopped, strings.Join(words[:min(len(words), 2)], " ")}
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
