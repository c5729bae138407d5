package rundir

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Every apply and stop holds the lock. At most one more waits for it: that one
// reads the world only after it has the lock, so whoever else wants an apply
// meanwhile takes the waiter's result.
//
//	lock    held while the kernel is changed, or must not be
//	queue   held by the one that waits for lock
//	result  what the last holder of lock did, and when it began
//	pending something happened that no run has seen yet
const (
	lockFile    = "lock"
	queueFile   = "queue"
	resultFile  = "result.json"
	pendingFile = "pending"
)

// Result is what one run did, for those that shared it.
type Result struct {
	// Began is when the run had the lock and began to read, in ns since boot.
	Began int64 `json:"began"`
	// Request is what the run was asked to do; only equal requests can share.
	Request string `json:"request"`
	Code    int    `json:"code"`
	Text    string `json:"text,omitempty"`
}

// Lock is the right to change the kernel: nobody else has it meanwhile.
type Lock struct {
	// Pending says that an event left its work to this run.
	Pending bool
	// Notes tell of processes that were in the way.
	Notes []string
	dir   Dir
	file  *os.File
	began int64
}

// Wait waits for the lock. If meanwhile a run with the same request has begun and
// ended, and no event came after that, it returns its result instead.
func (d Dir) Wait(request string) (*Lock, *Result, error) {
	arrived := sinceBoot()
	lock, err := d.queueUp(unix.LOCK_EX)
	if err != nil {
		return nil, nil, err
	}
	var last Result // one that was cut off by a crash is none
	err = d.readJSON(resultFile, &last)
	if err == nil && last.Request == request && last.Began > arrived && !d.exists(pendingFile) {
		lock.file.Close()
		return nil, &last, nil
	}
	lock.begin()
	return lock, nil, nil
}

// TryWait waits for the lock unless another run waits already: that one will
// see whatever happened before this call, and nil is returned.
func (d Dir) TryWait() (*Lock, error) {
	// Before the look at the queue: whoever leaves the queue later finds it.
	// Otherwise he does not hear of the event.
	how := unix.LOCK_EX | unix.LOCK_NB
	if d.touch(pendingFile) != nil {
		how = unix.LOCK_EX
	}
	lock, err := d.queueUp(how)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	if err == nil {
		lock.begin()
	}
	return lock, err
}

// queueUp waits for the lock and leaves the queue to the next. With LOCK_NB it
// does not wait for the queue. Without a file for a queue, all wait for the lock.
func (d Dir) queueUp(how int) (*Lock, error) {
	l := &Lock{dir: d}
	failed := d.Create()
	queue, err := d.open(queueFile)
	if err == nil && how&unix.LOCK_NB == 0 {
		queue, err = await(queue, &l.Notes)
	} else if err == nil {
		err = flock(queue, how)
	}
	if queue != nil {
		defer queue.Close()
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, err
	}
	file, err := d.open(lockFile)
	if err != nil {
		failed = errors.Join(failed, err)
		file, err = os.OpenFile(kernelLock, os.O_WRONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, errors.Join(failed, err)
	}
	l.file, err = await(file, &l.Notes)
	return l, err
}

// begin notes when the run began: what is read from now on shows all events up
// to now. A mark that cannot be removed only keeps results from being shared.
func (l *Lock) begin() {
	l.Pending = l.dir.exists(pendingFile)
	_ = l.dir.remove(pendingFile)
	l.began = sinceBoot()
}

// End keeps the result for those who wait for the same and gives the lock back.
func (l *Lock) End(request string, code int, text string) error {
	defer l.file.Close()
	return l.dir.writeJSON(resultFile, Result{Began: l.began, Request: request, Code: code, Text: text})
}

// sinceBoot is a clock that all processes share; Linux has it since 2.6.39.
func sinceBoot() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return now.Nano()
}
