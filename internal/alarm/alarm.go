// Package alarm wakes a goroutine at a given time. It owns a timer of the
// kernel (timerfd), which the runtime's poller watches like a socket.
//
// Go's own timers need less code. But whenever one of them expires, or would
// have expired had it not been put off, Go also wakes its watchdog thread, and
// a system call soon after has that look every 20 µs what the others do. In a
// process that sleeps nearly all the time this is half of all the work.
package alarm

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Alarm rings at one time. Only one goroutine may use it.
type Alarm struct {
	fd    int
	file  *os.File
	rings chan struct{}
	done  chan struct{} // closed when no goroutine is left
}

// New returns an alarm that is not set.
func New() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timer: %w", err)
	}
	file := os.NewFile(uintptr(fd), "timer")
	conn, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Time{}) // it fails if the poller does not watch the timer
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("timer: %w", err), file.Close())
	}
	a := &Alarm{fd: fd, file: file, rings: make(chan struct{}, 1), done: make(chan struct{})}
	go a.wait(conn)
	return a, nil
}

// Rings receives when the time has come. What is received after another Set may
// still be due to the one before.
func (a *Alarm) Rings() <-chan struct{} { return a.rings }

// Set has the alarm ring at a time, and not at the one that was set before. It
// rings at once for a time that has passed.
func (a *Alarm) Set(at time.Time) error {
	// 0 would stop the timer.
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(time.Until(at), 1)))}
	// Raw, here and below: an ordinary system call wakes the watchdog, too.
	_, _, errno := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(a.fd), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("timer: %w", errno)
	}
	return nil
}

// Close stops the alarm.
func (a *Alarm) Close() error {
	err := a.file.Close()
	<-a.done
	return err
}

// wait rings until the timer is closed.
func (a *Alarm) wait(conn syscall.RawConn) {
	defer close(a.done)
	expired := func(fd uintptr) bool {
		var count [8]byte // how often, an integer of the kernel
		_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&count)), uintptr(len(count)))
		return errno == 0
	}
	for conn.Read(expired) == nil {
		select {
		case a.rings <- struct{}{}:
		default: // it rings already
		}
	}
}
