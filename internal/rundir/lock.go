package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Every apply and stop holds the lock. At most one more waits for it: that one
// reads the world only after it has the lock, so it sees everything that
// happened up to then, and whoever else wants an apply meanwhile needs none of
// its own but takes the waiter's result.
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
	// Began is the time in nanoseconds since boot at which the run had the
	// lock and began to read.
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
	dir     Dir
	file    *os.File
	began   int64
}

// Wait waits for the lock. If meanwhile another run with the same request has
// begun and ended, and no event came after it had begun, it returns that run's
// result instead of the lock.
func (d Dir) Wait(request string) (*Lock, *Result, error) {
	if err := d.Create(); err != nil {
		return nil, nil, err
	}
	arrived, err := sinceBoot()
	if err != nil {
		return nil, nil, err
	}
	queue, err := d.lock(queueFile, unix.LOCK_EX)
	if err != nil {
		return nil, nil, err
	}
	lock, err := d.leave(queue)
	if err != nil {
		return nil, nil, err
	}
	last, err := d.lastResult()
	if err == nil && last.Request == request && last.Began > arrived && !d.pending() {
		lock.Close()
		return nil, &last, nil
	}
	held, err := d.begin(lock)
	return held, nil, err
}

// TryWait waits for the lock unless another run waits already: that one will
// see whatever happened before this call, and nil is returned.
func (d Dir) TryWait() (*Lock, error) {
	if err := d.Create(); err != nil {
		return nil, err
	}
	// Before the look at the queue: whoever leaves the queue later finds it.
	if err := os.WriteFile(d.path(pendingFile), nil, 0o644); err != nil {
		return nil, err
	}
	queue, err := d.lock(queueFile, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lock, err := d.leave(queue)
	if err != nil {
		return nil, err
	}
	return d.begin(lock)
}

// leave waits for the lock and leaves the queue to the next.
func (d Dir) leave(queue *os.File) (*os.File, error) {
	defer queue.Close()
	return d.lock(lockFile, unix.LOCK_EX)
}

// begin notes when the run began: what is read from now on shows all events up
// to now.
func (d Dir) begin(lock *os.File) (*Lock, error) {
	held := &Lock{Pending: d.pending(), dir: d, file: lock}
	err := d.remove(pendingFile)
	if err == nil {
		held.began, err = sinceBoot()
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return held, nil
}

func (d Dir) pending() bool {
	_, err := os.Stat(d.path(pendingFile))
	return err == nil
}

// End keeps the result for those who wait for the same and gives the lock back.
func (l *Lock) End(request string, code int, text string) error {
	defer l.file.Close()
	data, err := json.Marshal(Result{Began: l.began, Request: request, Code: code, Text: text})
	if err != nil {
		return err
	}
	return l.dir.write(resultFile, data)
}

// lock opens a file and locks it, as flock(2) does: with LOCK_EX it waits until
// nobody else has it locked, with LOCK_NB the error is EWOULDBLOCK. Closing the
// file, or the end of the process, gives the lock back.
func (d Dir) lock(name string, how int) (*os.File, error) {
	file, err := os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(file.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", d.path(name), err)
	}
	return file, nil
}

// lastResult returns the zero result when there is none, or when the last run
// was killed while it wrote.
func (d Dir) lastResult() (Result, error) {
	text, err := os.ReadFile(d.path(resultFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, nil
	}
	if err != nil {
		return Result{}, err
	}
	var result Result
	err = json.Unmarshal(text, &result)
	return result, err
}

// sinceBoot returns a clock that all processes share and that nobody sets.
func sinceBoot() (int64, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return now.Nano(), nil
}
