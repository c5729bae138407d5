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

// socketName is the socket in the run directory on which other processes ask the
// monitor how it goes, or tell it of an event. Each connection carries one
// request as JSON and one answer.
const socketName = "monitor.sock"

// socketTimeout bounds the wait for the other end: a monitor that is stopped or
// hangs, or somebody who asks and does not listen. It is answered within a
// millisecond otherwise.
const socketTimeout = 2 * time.Second

// message is a request on the socket.
type message struct {
	// Event is what happened, in words for the log; empty for a mere question.
	Event string `json:"event,omitempty"`
}

// Question is a request as it reaches the monitor. The answer is always how it
// goes.
type Question struct {
	// Event, unless empty, is something that happened: an apply is wanted.
	Event string
	// Answer takes one value without waiting.
	Answer chan<- health.Snapshot
}

// backlog is how many may ask at the same moment.
const backlog = 16

// Socket is where the monitor is asked. Package net would do, but is 25 KB of the
// package on a router.
type Socket struct {
	listener  *os.File
	questions chan Question
	done      chan struct{}
}

// Listen opens the socket in a run directory in place of that of a monitor that
// is gone.
func Listen(dir string) (*Socket, error) {
	address, closeDir, err := socketAddress(dir)
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
	if err := errors.Join(unix.Bind(fd, address), unix.Listen(fd, backlog)); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("monitor socket: %w", err)
	}
	s := &Socket{
		listener:  os.NewFile(uintptr(fd), socketName),
		questions: make(chan Question),
		done:      make(chan struct{}),
	}
	go s.serve()
	return s, nil
}

// socketAddress is a path to the socket that is short enough for any run
// directory: the kernel takes 107 characters.
func socketAddress(dir string) (address *unix.SockaddrUnix, closeDir func(), err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	path := "/proc/self/fd/" + strconv.Itoa(int(folder.Fd())) + "/" + socketName
	return &unix.SockaddrUnix{Name: path}, func() { folder.Close() }, nil
}

// Questions delivers the requests.
func (s *Socket) Questions() <-chan Question { return s.questions }

// Close closes the socket.
func (s *Socket) Close() {
	close(s.done)
	s.listener.Close()
}

func (s *Socket) serve() {
	for {
		caller, err := s.accept()
		if err == nil {
			go s.answer(caller)
			continue
		}
		// Such as too many open files, unless it was closed.
		select {
		case <-time.After(socketTimeout):
		case <-s.done:
			return
		}
	}
}

func (s *Socket) accept() (*os.File, error) {
	raw, err := s.listener.SyscallConn()
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

// answer answers one caller.
func (s *Socket) answer(caller *os.File) {
	defer caller.Close()
	if err := caller.SetDeadline(time.Now().Add(socketTimeout)); err != nil {
		return
	}
	var m message
	if err := json.NewDecoder(caller).Decode(&m); err != nil {
		return // gone, or none of ours
	}
	reply := make(chan health.Snapshot, 1)
	select {
	case s.questions <- Question{Event: m.Event, Answer: reply}:
		_ = json.NewEncoder(caller).Encode(<-reply) // whoever has gone meanwhile needs no answer
	case <-time.After(socketTimeout): // the monitor hangs, and the caller has given up
	case <-s.done:
	}
}

// Query asks the monitor that runs in a run directory how it goes.
func Query(dir string) (health.Snapshot, error) { return exchange(dir, message{}) }

// Notify tells the monitor that runs in a run directory of an event. Without an
// error, the monitor makes the apply that it calls for.
func Notify(dir, event string) error {
	_, err := exchange(dir, message{Event: event})
	return err
}

func exchange(dir string, m message) (answer health.Snapshot, err error) {
	address, closeDir, err := socketAddress(dir)
	if err != nil {
		return answer, err
	}
	defer closeDir()
	conn, err := dial(address)
	if err != nil {
		return answer, fmt.Errorf("monitor socket: %w", err)
	}
	defer conn.Close()
	err = json.NewEncoder(conn).Encode(m)
	var text []byte
	if err == nil {
		text, err = io.ReadAll(conn)
	}
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		return answer, fmt.Errorf("the monitor does not answer: %w", err)
	}
	return answer, nil
}

// dial connects. Reading and writing take no longer than socketTimeout each.
func dial(address *unix.SockaddrUnix) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	limit := unix.NsecToTimeval(socketTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)) // also that of connect
	if err == nil {
		err = connect(fd, address)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), socketName), nil
}

// connect connects. With a time limit set, a signal interrupts it, and Go's
// runtime sends itself some.
func connect(fd int, address *unix.SockaddrUnix) error {
	for {
		if err := unix.Connect(fd, address); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
