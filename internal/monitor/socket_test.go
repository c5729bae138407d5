package monitor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalance/internal/health"
	"loadbalance/internal/quota"
)

// open opens a socket that the end of the test closes.
func open(t *testing.T, dir string) *Socket {
	t.Helper()
	d, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// answerAll answers all who ask until the end of the test.
func answerAll(t *testing.T, d *Socket, s health.Snapshot) {
	end := make(chan struct{})
	var answering sync.WaitGroup
	answering.Add(1)
	go func() {
		defer answering.Done()
		for {
			select {
			case q := <-d.Questions():
				q.Answer <- s
			case <-end:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(end)
		answering.Wait()
	})
}

// large is a snapshot that does not fit into the socket at once.
func large() health.Snapshot {
	s := health.Snapshot{PID: 7, Silent: true}
	for range 60 {
		s.Paths = append(s.Paths, health.Report{Key: health.Key{Member: "wan1"}, Reason: strings.Repeat("long ", 2000)})
	}
	return s
}

func TestQuery(t *testing.T) {
	tests := []struct{ name, dir string }{
		{"a usual folder", "run"},
		{"a path longer than a socket's may be", strings.Repeat("a-long-name/", 20) + "run"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), tt.dir)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			want := large()
			answerAll(t, open(t, dir), want)
			for range 3 {
				got, err := Ask(dir, Question{})
				if err != nil || got.PID != want.PID || !got.Silent || len(got.Paths) != len(want.Paths) {
					t.Errorf("got %d paths of process %d, %v", len(got.Paths), got.PID, err)
				}
			}
		})
	}
}

func TestCorrect(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	asked := make(chan Question, 1)
	go func() {
		q := <-d.Questions()
		asked <- q
		q.Answer <- health.Snapshot{PID: 7}
	}()
	s, err := Ask(dir, Question{Used: &quota.Usage{Member: "lte", Bytes: 12345678901}})
	if q := <-asked; err != nil || s.PID != 7 || q.Used == nil || *q.Used != (quota.Usage{Member: "lte", Bytes: 12345678901}) || q.Event != "" {
		t.Errorf("asked %+v, answered %+v, %v", q, s, err)
	}
}

func TestManyAsk(t *testing.T) {
	dir := t.TempDir()
	answerAll(t, open(t, dir), health.Snapshot{PID: 7})
	var asking sync.WaitGroup
	for range 50 {
		asking.Add(1)
		go func() {
			defer asking.Done()
			if s, err := Ask(dir, Question{}); err != nil || s.PID != 7 {
				t.Errorf("process %d, %v", s.PID, err)
			}
		}()
	}
	asking.Wait()
}

// TestSocketLeftOver: the socket of a monitor that was killed is replaced.
func TestSocketLeftOver(t *testing.T) {
	dir := t.TempDir()
	killed, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	killed.Close()
	if _, err := os.Lstat(filepath.Join(dir, socketName)); err != nil {
		t.Fatalf("the socket is gone: %v", err)
	}
	if _, err := Ask(dir, Question{}); err == nil {
		t.Error("an answer from nobody")
	}
	answerAll(t, open(t, dir), health.Snapshot{PID: 8})
	if s, err := Ask(dir, Question{}); err != nil || s.PID != 8 {
		t.Errorf("process %d, %v", s.PID, err)
	}
}

func TestNobodyToAsk(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		if _, err := Ask(dir, Question{}); err == nil {
			t.Errorf("%s: an answer from nobody", dir)
		}
	}
}

// TestNoPlaceForASocket: the monitor can be asked all the same, also where the
// folder is somebody else's.
func TestNoPlaceForASocket(t *testing.T) {
	open := func(dir string) string {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, dir := range []string{filepath.Join(t.TempDir(), "missing"), open(t.TempDir())} {
		d, err := Listen(dir)
		if err != nil {
			t.Fatal(err)
		}
		answer := health.Snapshot{PID: 10}
		go func() { (<-d.Questions()).Answer <- answer }()
		if s, err := Ask(dir, Question{}); err != nil || s.PID != answer.PID {
			t.Errorf("%s: process %d, %v", dir, s.PID, err)
		}
		d.Close()
		if _, err := Ask(dir, Question{}); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", dir, err)
		}
		if entries, err := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("left: %v, %v", entries, err)
		}
	}
}

// TestMonitorHangs: however many have asked it before, whoever asks is told
// after a while, also when no more may wait.
func TestMonitorHangs(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	var asking sync.WaitGroup
	for range 50 {
		asking.Add(1)
		go func() {
			defer asking.Done()
			if _, err := Ask(dir, Question{}); err == nil {
				t.Error("an answer from nobody")
			}
		}()
	}
	done := make(chan struct{})
	go func() {
		asking.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * socketTimeout):
		t.Fatal("some wait for ever")
	}
	answerAll(t, d, health.Snapshot{PID: 9})
	if s, err := Ask(dir, Question{}); err != nil || s.PID != 9 {
		t.Errorf("when it goes on: process %d, %v", s.PID, err)
	}
}

// TestCallerDoesNotRead: the next one is answered all the same.
func TestCallerDoesNotRead(t *testing.T) {
	dir := t.TempDir()
	answerAll(t, open(t, dir), large())
	address, closeDir, err := socketAddress(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeDir()
	caller, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	if _, err := caller.Write([]byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; {
		if s, err := Ask(dir, Question{}); err == nil && s.PID == 7 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the next one gets no answer")
		}
	}
}

// TestNotify: the monitor hears of an event, and whoever tells knows that it did.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	s, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 1)
	go func() {
		q := <-s.Questions()
		heard <- q.Event
		q.Answer <- health.Snapshot{}
	}()
	if _, err := Ask(dir, Question{Event: "ifup wan1"}); err != nil {
		t.Fatal(err)
	}
	if event := <-heard; event != "ifup wan1" {
		t.Errorf("the monitor heard of %q", event)
	}
	s.Close()
	if _, err := Ask(dir, Question{Event: "ifup wan1"}); err == nil {
		t.Error("nobody has heard of the event, and there is no error")
	}
}
