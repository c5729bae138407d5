package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// daemon is a system log.
type daemon struct {
	t    *testing.T
	path string
	fd   int
}

// startDaemon listens as logd does; the end of the test ends it.
func startDaemon(t *testing.T, path string) *daemon {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t, path, fd}
	t.Cleanup(d.stop)
	return d
}

func (d *daemon) stop() {
	if d.fd < 0 {
		return
	}
	unix.Close(d.fd)
	os.Remove(d.path)
	d.fd = -1
}

// expect reads what has come, without the process's number.
func (d *daemon) expect(want ...string) {
	d.t.Helper()
	id := fmt.Sprintf("loadbalance[%d]: ", os.Getpid())
	buffer := make([]byte, 1<<16)
	var got []string
	for {
		n, _, err := unix.Recvfrom(d.fd, buffer, unix.MSG_DONTWAIT)
		if err != nil {
			break
		}
		got = append(got, strings.Replace(string(buffer[:n]), id, "", 1))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		d.t.Errorf("the log got %q, want %q", got, want)
	}
}

// syslogLogger is a logger of a process without a terminal.
func syslogLogger(path string, errOut *bytes.Buffer) *logger {
	l := openLog(logStderr, errOut)
	l.syslog, l.quiet = path, true
	return l
}

func TestSyslogLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := startDaemon(t, path)
	var errOut bytes.Buffer
	l := syslogLogger(path, &errOut)
	l.SetLevel("debug")
	l.Error("two\nlines\n")
	l.Warning("w")
	l.Notice("n")
	l.Log("info", "i")
	l.Log("debug", "d")
	// The daemon's facility is 3: 8 * 3 and the severity (RFC 3164).
	d.expect("<27>two", "<27>lines", "<28>w", "<29>n", "<30>i", "<31>d")
	if errOut.Len() > 0 || l.kept.String() != "two\nlines\nw\nn\ni\nd\n" {
		t.Errorf("standard error %q, kept %q", errOut.String(), l.kept.String())
	}
}

// TestSyslogComesAndGoes: at boot the daemon is not there yet, and it may be
// started anew at any time. What it does not get, standard error does.
func TestSyslogComesAndGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var errOut bytes.Buffer
	l := syslogLogger(path, &errOut)
	l.Error("too early")
	first := startDaemon(t, path)
	l.Error("first")
	first.expect("<27>first")
	first.stop()
	l.Error("in between")
	second := startDaemon(t, path)
	l.Error("second")
	second.expect("<27>second")
	second.stop()
	// Nobody has written meanwhile.
	third := startDaemon(t, path)
	l.Error("third")
	third.expect("<27>third")
	lines := strings.Split(strings.TrimSpace(errOut.String()), "\n")
	if !slices.Equal(lines, []string{"too early", "in between"}) {
		t.Errorf("standard error: %q", lines)
	}
}

// TestSyslogHangs: a daemon that reads nothing costs a moment, and no message.
func TestSyslogHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := startDaemon(t, path)
	var errOut bytes.Buffer
	l := syslogLogger(path, &errOut)
	var sent []string
	for errOut.Len() == 0 {
		text := fmt.Sprint("line ", len(sent))
		start := time.Now()
		l.Error(text)
		if errOut.Len() > 0 {
			if took := time.Since(start); took < syslogTimeout/2 || took > time.Minute {
				t.Errorf("it waited %s", took)
			}
			if errOut.String() != text+"\n" {
				t.Errorf("standard error: %q", errOut.String())
			}
			break
		}
		sent = append(sent, "<27>"+text)
	}
	d.expect(sent...)
	l.Error("it goes on")
	d.expect("<27>it goes on")
}

// TestForgetfulLogger: a process that runs for months keeps nothing.
func TestForgetfulLogger(t *testing.T) {
	var errOut bytes.Buffer
	l := openLog(logStderr, &errOut)
	l.forgetful = true
	l.Error("e")
	if l.kept.Len() > 0 || errOut.String() != "e\n" {
		t.Errorf("kept %q, written %q", l.kept.String(), errOut.String())
	}
}
