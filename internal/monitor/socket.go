package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

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

// Socket is where the monitor is asked.
type Socket struct {
	listener  *net.UnixListener
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
	listener, err := net.ListenUnix("unix", address)
	if err != nil {
		return nil, fmt.Errorf("monitor socket: %w", err)
	}
	listener.SetUnlinkOnClose(false) // the next monitor's may be there by then
	s := &Socket{listener: listener, questions: make(chan Question), done: make(chan struct{})}
	go s.serve()
	return s, nil
}

// socketAddress is a path to the socket that is short enough for any run
// directory: the kernel takes 107 characters.
func socketAddress(dir string) (address *net.UnixAddr, closeDir func(), err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	path := "/proc/self/fd/" + strconv.Itoa(int(folder.Fd())) + "/" + socketName
	return &net.UnixAddr{Net: "unix", Name: path}, func() { folder.Close() }, nil
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
		caller, err := s.listener.AcceptUnix()
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

// answer answers one caller.
func (s *Socket) answer(caller *net.UnixConn) {
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
	conn, err := net.DialUnix("unix", nil, address)
	if err != nil {
		return answer, fmt.Errorf("monitor socket: %w", err)
	}
	defer conn.Close()
	err = conn.SetDeadline(time.Now().Add(socketTimeout))
	if err == nil {
		err = json.NewEncoder(conn).Encode(m)
	}
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
