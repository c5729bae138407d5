package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/health"
)

// socketName is the socket in the run directory on which the monitor answers
// how it goes: each connection gets one snapshot as JSON.
const socketName = "monitor.sock"

// askTimeout bounds the wait for a monitor that is stopped or hangs. It
// answers within a millisecond otherwise.
const askTimeout = 2 * time.Second

// backlog is how many may ask at the same moment.
const backlog = 16

// Door is the socket on which a monitor is asked.
type Door struct {
	file  *os.File
	asked chan chan<- health.Snapshot
	done  chan struct{}
}

// OpenDoor opens the socket in a run directory in place of that of a monitor
// that is gone.
func OpenDoor(dir string) (*Door, error) {
	path, closeDir, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	defer closeDir()
	if err := os.Remove(filepath.Join(dir, socketName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("monitor socket: %w", err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, backlog)); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("monitor socket: %w", err)
	}
	d := &Door{
		file:  os.NewFile(uintptr(fd), socketName),
		asked: make(chan chan<- health.Snapshot),
		done:  make(chan struct{}),
	}
	go d.serve()
	return d, nil
}

// socketPath is a path to the socket that is short enough for any run
// directory: the kernel takes 107 characters.
func socketPath(dir string) (path string, closeDir func(), err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return "/proc/self/fd/" + strconv.Itoa(int(folder.Fd())) + "/" + socketName, func() { folder.Close() }, nil
}

// Asked delivers those who ask; each wants one snapshot.
func (d *Door) Asked() <-chan chan<- health.Snapshot { return d.asked }

// Close closes the socket.
func (d *Door) Close() {
	close(d.done)
	d.file.Close()
}

func (d *Door) serve() {
	for {
		caller, err := d.accept()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files
			select {
			case <-time.After(askTimeout):
				continue
			case <-d.done:
				return
			}
		}
		reply := make(chan health.Snapshot, 1)
		select {
		case d.asked <- reply:
			d.answer(caller, <-reply)
		case <-d.done:
		}
		caller.Close()
	}
}

func (d *Door) accept() (*os.File, error) {
	raw, err := d.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var caller int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		caller, _, failed = unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.ECONNABORTED) && !errors.Is(failed, unix.EINTR)
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(caller), socketName), nil
}

// answer writes a snapshot. A caller that does not read is not waited for.
func (d *Door) answer(caller *os.File, s health.Snapshot) {
	text, err := json.Marshal(s)
	if err != nil {
		return
	}
	if err := caller.SetWriteDeadline(time.Now().Add(askTimeout)); err == nil {
		_, _ = caller.Write(text) // whoever has gone meanwhile needs no answer
	}
}

// Ask asks the monitor that runs in a run directory how it goes.
func Ask(dir string) (health.Snapshot, error) {
	var s health.Snapshot
	path, closeDir, err := socketPath(dir)
	if err != nil {
		return s, err
	}
	defer closeDir()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return s, fmt.Errorf("monitor socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), socketName)
	defer file.Close()
	limit := unix.NsecToTimeval(askTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)) // also that of connect
	if err == nil {
		err = connect(fd, path)
	}
	if err != nil {
		return s, fmt.Errorf("monitor socket: %w", err)
	}
	text, err := io.ReadAll(file)
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("the monitor does not answer: %w", err)
	}
	return s, nil
}

// connect connects. With a time limit set, a signal interrupts it, and Go's
// runtime sends itself some.
func connect(fd int, path string) error {
	for {
		err := unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
