package lifecycle

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// systemLog stands in for logd: it keeps what arrives at the device's /dev/log.
type systemLog struct {
	path  string
	mu    sync.Mutex
	lines []string
}

func openLog(t *testing.T, path string) *systemLog {
	t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	check(t, err)
	t.Cleanup(func() { socket.Close() })
	l := &systemLog{path: path}
	go l.receive(socket)
	return l
}

func (l *systemLog) receive(socket *net.UnixConn) {
	buffer := make([]byte, 8192)
	for {
		n, err := socket.Read(buffer)
		if err != nil {
			return
		}
		// <29>loadbalance[123]: text
		_, text, _ := strings.Cut(string(buffer[:n]), "]: ")
		l.mu.Lock()
		l.lines = append(l.lines, text)
		l.mu.Unlock()
	}
}

// await waits until all that has been sent so far is there: the socket keeps the
// order.
func (l *systemLog) await(t *testing.T) {
	t.Helper()
	const mark = "test]: mark"
	socket, err := net.Dial("unixgram", l.path)
	check(t, err)
	defer socket.Close()
	_, err = socket.Write([]byte(mark))
	check(t, err)
	arrived := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		i := slices.Index(l.lines, "mark")
		if i >= 0 {
			l.lines = slices.Delete(l.lines, i, i+1)
		}
		return i >= 0
	}
	if !holds(arrived) {
		t.Fatal("the log's socket does not work")
	}
}

func (l *systemLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// take returns the lines since the last call.
func (l *systemLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}
