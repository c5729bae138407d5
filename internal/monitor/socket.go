package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/health"
	"loadbalance/internal/quota"
)

// socketName is the socket in the run directory on which other processes ask the
// monitor. Each connection carries one request as JSON and one answer.
const socketName = "monitor.sock"

// socketTimeout bounds the wait for the other end, which may be stopped or hang. It
// is answered within a millisecond otherwise.
const socketTimeout = 2 * time.Second

// Question is a request to the monitor. The answer is always how it goes.
type Question struct {
	// Event, unless empty, is something that happened, in words for the log: an
	// apply is wanted. Without an error, the monitor makes it.
	Event string `json:"event,omitempty"`
	// History asks for that as well.
	History bool `json:"history,omitempty"`
	// Used, unless nil, corrects what a member has used of its quota.
	Used *quota.Usage `json:"used,omitempty"`
	// Answer takes one value without waiting.
	Answer chan<- health.Snapshot `json:"-"`
}

// backlog is how many may ask at the same moment.
const backlog = 16

// ErrNone says that nobody answers because no monitor runs.
var ErrNone = errors.New("no monitor runs")

// Socket is where the monitor is asked. Package net would add 25 KB to the package.
type Socket struct {
	listener  int
	questions chan Question
	done      chan struct{}
	ended     chan struct{} // closed when nothing of it is left
}

// Listen opens the socket in a run directory in place of that of a monitor that
// is gone, or in the kernel where the directory cannot hold one.
func Listen(dir string) (*Socket, error) {
	fd, err := listenIn(dir)
	if err != nil {
		fd, err = listen(inKernel(dir))
	}
	if err != nil {
		return nil, fmt.Errorf("monitor socket: %w", err)
	}
	s := &Socket{
		listener:  fd,
		questions: make(chan Question),
		done:      make(chan struct{}),
		ended:     make(chan struct{}),
	}
	go s.serve()
	return s, nil
}

func listenIn(dir string) (int, error) {
	address, closeDir, err := socketAddress(dir)
	if err != nil {
		return 0, err
	}
	defer closeDir()
	if err := os.RemoveAll(filepath.Join(dir, socketName)); err != nil {
		return 0, err
	}
	return listen(address)
}

func listen(address *unix.SockaddrUnix) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	// The mode is that of the file.
	if err := errors.Join(unix.Fchmod(fd, 0o600), unix.Bind(fd, address), unix.Listen(fd, backlog)); err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// inKernel is an address that needs no file. Each network namespace has its own.
// Anybody may take it or connect to it: both ends look who the other one is.
func inKernel(dir string) *unix.SockaddrUnix {
	return &unix.SockaddrUnix{Name: fmt.Sprintf("@loadbalance-%08x", crc32.ChecksumIEEE([]byte(dir)))}
}

// isOurs reports whether the other end is a process of the same user: root.
func isOurs(fd int) bool {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && int(peer.Uid) == os.Geteuid()
}

// socketAddress is a path to the socket that is short enough for any run
// directory: the kernel takes 107 characters.
func socketAddress(dir string) (address *unix.SockaddrUnix, closeDir func(), err error) {
	folder, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(folder.Fd()), &stat); err != nil || int(stat.Uid) != os.Geteuid() || stat.Mode&0o022 != 0 {
		folder.Close()
		return nil, nil, unix.ENOENT // whatever is there, others may have put it there
	}
	path := "/proc/self/fd/" + strconv.Itoa(int(folder.Fd())) + "/" + socketName
	return &unix.SockaddrUnix{Name: path}, func() { folder.Close() }, nil
}

// Questions delivers the requests.
func (s *Socket) Questions() <-chan Question { return s.questions }

// Close closes the socket.
func (s *Socket) Close() {
	close(s.done)
	_ = unix.Shutdown(s.listener, unix.SHUT_RD) // wakes serve
	<-s.ended
	unix.Close(s.listener)
}

func (s *Socket) serve() {
	defer close(s.ended)
	for {
		caller, _, err := unix.Accept4(s.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		switch {
		case err == nil && isOurs(caller):
			go s.answer(os.NewFile(uintptr(caller), socketName))
			continue
		case err == nil:
			unix.Close(caller)
			continue
		case errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.EINTR):
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

// answer answers one caller.
func (s *Socket) answer(caller *os.File) {
	defer caller.Close()
	if err := caller.SetDeadline(time.Now().Add(socketTimeout)); err != nil {
		return
	}
	reply := make(chan health.Snapshot, 1)
	q := Question{Answer: reply}
	if err := json.NewDecoder(caller).Decode(&q); err != nil {
		return // gone, or none of ours
	}
	select {
	case s.questions <- q:
		_ = json.NewEncoder(caller).Encode(<-reply) // whoever has gone meanwhile needs no answer
	case <-time.After(socketTimeout): // the monitor hangs, and the caller has given up
	case <-s.done:
	}
}

// Ask asks the monitor that runs in a run directory.
func Ask(dir string, q Question) (answer health.Snapshot, err error) {
	conn, err := reach(dir)
	if err != nil {
		return answer, err
	}
	defer conn.Close()
	if err = json.NewEncoder(conn).Encode(q); err == nil {
		err = json.NewDecoder(conn).Decode(&answer)
	}
	if err != nil {
		return answer, fmt.Errorf("the monitor does not answer: %w", err)
	}
	return answer, nil
}

// reach connects to the monitor, wherever it listens.
func reach(dir string) (*os.File, error) {
	address, closeDir, err := socketAddress(dir)
	if err == nil {
		defer closeDir()
		var conn *os.File
		if conn, err = dial(address); err == nil {
			return conn, nil
		}
	}
	if conn, err := dial(inKernel(dir)); err == nil {
		return conn, nil
	}
	for _, none := range []error{unix.ENOENT, unix.ECONNREFUSED, unix.ENOTDIR, unix.ELOOP} {
		if errors.Is(err, none) {
			return nil, ErrNone
		}
	}
	return nil, fmt.Errorf("monitor socket: %w", err)
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
	if err == nil && !isOurs(fd) {
		err = unix.ECONNREFUSED // as if nobody was there
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), socketName), nil
}

// connect is interrupted by signals, of which Go's runtime sends itself some.
func connect(fd int, address *unix.SockaddrUnix) error {
	for {
		if err := unix.Connect(fd, address); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
