package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/netlab"
	"loadbalance/internal/status"
)

// TestWatch: rates of real traffic, on a pipe and as JSON, until the program is
// told to end or nobody reads any more.
func TestWatch(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
		r.must("apply")
		t.Run("JSON", func(t *testing.T) { watchJSON(t, r) })
		t.Run("text", func(t *testing.T) { watchText(t, r) })
		t.Run("terminal", func(t *testing.T) { watchTerminal(t, r) })
		t.Run("interrupted", func(t *testing.T) { watchInterrupted(t, r) })
		t.Run("unanswered", func(t *testing.T) { expectUnanswered(t, r) })
	})
}

// watching is a running status --watch.
type watching struct {
	cmd *exec.Cmd
	out *bufio.Scanner
	// file is our end of its standard output.
	file *os.File
}

// watch starts status --watch with a pipe for its output.
func (r *router) watch(t *testing.T, args ...string) *watching {
	t.Helper()
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, r.args(append([]string{"status", "--watch"}, args...)...)...)
	cmd.Stdout, cmd.Stderr = theirs, os.Stderr
	return r.startWatching(t, cmd, ours, theirs)
}

func (r *router) startWatching(t *testing.T, cmd *exec.Cmd, ours, theirs *os.File) *watching {
	t.Helper()
	t.Cleanup(func() { ours.Close() })
	err := r.lab.Router.Start(cmd)
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	w := &watching{cmd: cmd, out: bufio.NewScanner(ours), file: ours}
	t.Cleanup(func() {
		if w.cmd.ProcessState == nil {
			_ = w.cmd.Process.Kill() // the test has failed already
			_ = w.cmd.Wait()
		}
	})
	w.out.Buffer(nil, 1<<20) // a status with all uplinks is one line of JSON
	return w
}

// line reads the next line; at the end of the output the test fails.
func (w *watching) line(t *testing.T) string {
	t.Helper()
	if !w.out.Scan() {
		t.Fatalf("the output has ended: %v", w.out.Err())
	}
	return w.out.Text()
}

// expectEnd waits for the end, which must be a success.
func (w *watching) expectEnd(t *testing.T) {
	t.Helper()
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
}

// maxFrames is how many frames, which are seconds, may pass until one shows what
// is expected of it.
const maxFrames = 30

func watchJSON(t *testing.T, r *router) {
	w := r.watch(t, "--json")
	for n := 1; ; n++ {
		var s status.Status
		if err := json.Unmarshal([]byte(w.line(t)), &s); err != nil {
			t.Fatal(err)
		}
		if n == 1 && len(s.Devices) == 2 && s.Devices[0].Rate != nil {
			t.Errorf("the first frame has a rate: %v", *s.Devices[0].Rate)
		}
		if n > 1 && carries(s) {
			break
		}
		if n == maxFrames {
			t.Fatalf("no frame shows the rates of all members: %+v", s)
		}
		expectAll(t, r.lab.Connect(netlab.Traffic{Count: 20}))
	}
	check(t, w.cmd.Process.Signal(unix.SIGTERM))
	if _, err := io.Copy(io.Discard, w.file); err != nil {
		t.Error(err)
	}
	w.expectEnd(t)
}

// carries says whether both members have rates and connections.
func carries(s status.Status) bool {
	carrying := 0
	for i, m := range s.Members {
		device, state := s.Devices[i], m.IPv4
		if device.Rate != nil && device.Rate.Received > 0 && device.Rate.Sent > 0 &&
			state.NewRate != nil && *state.NewRate > 0 && state.Connections > 0 {
			carrying++
		}
	}
	return carrying == 2
}

// watchText reads three frames and then closes the pipe.
func watchText(t *testing.T, r *router) {
	w := r.watch(t)
	var blank, frames int
	for frames < 3 {
		line := w.line(t)
		if strings.ContainsRune(line, '\x1b') {
			t.Errorf("an escape in %q", line)
		}
		if strings.HasPrefix(line, "loadbalance is running") {
			frames++
			if frames > 1 && blank != 1 {
				t.Errorf("%d blank lines before frame %d", blank, frames)
			}
		}
		blank++
		if line != "" {
			blank = 0
		}
	}
	w.file.Close()
	w.expectEnd(t)
}

// watchTerminal reads frames from a terminal of 60 columns and 12 rows, and
// types Ctrl-C.
func watchTerminal(t *testing.T, r *router) {
	const columns, rows = 60, 12
	ours, theirs := openTerminal(t, columns, rows)
	cmd := exec.Command(binary, r.args("status", "--watch")...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	w := r.startWatching(t, cmd, ours, theirs)
	var height, frames int
	for frames < 3 {
		line, isHome := strings.CutPrefix(strings.TrimSuffix(w.line(t), "\r"), "\x1b[J")
		line, isFirst := strings.CutPrefix(line, "\x1b[H")
		if isFirst {
			frames, height = frames+1, 0
		}
		if isHome != (isFirst && frames > 1) {
			t.Errorf("a screen is cleared at %q", line)
		}
		height++
		if line = strings.TrimSuffix(line, "\x1b[K"); len(line) > columns || strings.ContainsRune(line, '\x1b') {
			t.Errorf("a line of %d columns: %q", len(line), line)
		}
		if height >= rows {
			t.Errorf("frame %d has %d lines on %d rows", frames, height, rows)
		}
	}
	if _, err := ours.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	w.expectEnd(t)
}

// watchInterrupted: what cannot be read for a while is reported, and frames go
// on as soon as it can.
func watchInterrupted(t *testing.T, r *router) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	messages := filepath.Join(t.TempDir(), "messages")
	file, err := os.Create(messages)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(binary, r.args("status", "--watch")...)
	cmd.Stdout, cmd.Stderr = theirs, file
	w := r.startWatching(t, cmd, ours, theirs)
	w.line(t)
	folder, away := filepath.Join(r.dir, "config"), filepath.Join(r.dir, "away")
	accepted, awayToo := r.runDir(), filepath.Join(r.dir, "run-away")
	check(t, os.Rename(folder, away), os.Rename(accepted, awayToo))
	eventually(t, "a message tells what is missing", func() bool {
		text, err := os.ReadFile(messages)
		check(t, err)
		return strings.Contains(string(text), "there is no configuration")
	})
	check(t, os.Rename(away, folder))
	if err := os.Rename(awayToo, accepted); err != nil {
		t.Fatal(err) // the folder was made anew
	}
	for frames := 0; frames < 2; {
		if strings.HasPrefix(w.line(t), "loadbalance is running") {
			frames++
		}
	}
	check(t, w.cmd.Process.Signal(unix.SIGINT))
	w.expectEnd(t)
}

// openTerminal makes a terminal and returns both ends. See pts(4).
func openTerminal(t *testing.T, columns, rows uint16) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(ours.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	check(t, err,
		unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0),
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}))
	theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// expectUnanswered: connections over a line into nowhere stand out.
func expectUnanswered(t *testing.T, r *router) {
	check(t, r.lab.Blackhole(2))
	// The half that is lost costs the whole time limit, which the other half
	// does not need by far.
	r.lab.Connect(netlab.Traffic{Count: 10, Parallel: 10, Timeout: time.Second})
	var s status.Status
	if err := json.Unmarshal([]byte(r.must("status", "--json")), &s); err != nil {
		t.Fatal(err)
	}
	good, dead := s.Members[0].IPv4, s.Members[1].IPv4
	if dead.UnansweredConnections != 5 || dead.Unanswered != 5/float64(dead.Connections) {
		t.Errorf("%d of %d connections (%v) over the dead line are unanswered, want 5", dead.UnansweredConnections, dead.Connections, dead.Unanswered)
	}
	if good.UnansweredConnections != 0 || good.Connections == 0 {
		t.Errorf("%d of %d connections over the good line are unanswered", good.UnansweredConnections, good.Connections)
	}
	row := "5 (" + strconv.FormatFloat(100*dead.Unanswered, 'f', 1, 64) + "%)"
	if text := r.must("status"); !strings.Contains(text, row) {
		t.Errorf("no %q in\n%s", row, text)
	}
	metric := "loadbalance_member_unanswered_connections{member=\"wan2\",family=\"ipv4\"} 5\n"
	if text := r.must("metrics"); !strings.Contains(text, metric) {
		t.Errorf("no %q in\n%s", metric, text)
	}
}
