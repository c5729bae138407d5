package hooks

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// rig is a runner with a folder of scripts, and one for what they leave.
type rig struct {
	t       *testing.T
	scripts string
	out     string
	runner  *Runner

	mu    sync.Mutex
	lines []string
}

// newRig returns a rig that closes its runner at the end, and then sees that no
// goroutine is left.
func newRig(t *testing.T) *rig {
	t.Helper()
	g := &rig{t: t, scripts: t.TempDir(), out: t.TempDir()}
	before := runtime.NumGoroutine()
	g.runner = NewRunner(g.scripts, func(level, text string) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.lines = append(g.lines, level+": "+text)
	})
	t.Cleanup(func() {
		g.runner.Close()
		eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	})
	return g
}

// script writes a script in which $out is the folder for what scripts leave.
func (g *rig) script(name, text string) {
	g.t.Helper()
	text = strings.ReplaceAll(text, "$out", g.out)
	if err := os.WriteFile(filepath.Join(g.scripts, name), []byte(text), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// read returns what scripts have written to a file so far.
func (g *rig) read(name string) string {
	text, err := os.ReadFile(filepath.Join(g.out, name))
	if err != nil && !os.IsNotExist(err) {
		g.t.Fatal(err)
	}
	return string(text)
}

// idle waits until all events are worked off.
func (g *rig) idle() {
	g.t.Helper()
	eventually(g.t, "all events are worked off", func() bool {
		g.runner.mu.Lock()
		defer g.runner.mu.Unlock()
		return !g.runner.working
	})
}

func (g *rig) expectLog(want ...string) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if got := strings.Join(g.lines, "\n"); got != strings.Join(want, "\n") {
		g.t.Errorf("the log has\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// eventually polls for up to a minute, far longer than anything here takes.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestOrder: every event runs all scripts in the order of their names, and the
// next event waits for that.
func TestOrder(t *testing.T) {
	g := newRig(t)
	for _, name := range []string{"9-last", "10-first", "50-middle"} {
		g.script(name, "echo "+name+" $ACTION $MEMBER >> $out/order\n")
	}
	for _, name := range []string{".hidden", "10-first~", "20-old.bak", "20-old.orig", "30-x-opkg", "30-x.apk-new"} {
		g.script(name, "echo never >> $out/order\n")
	}
	if err := os.Mkdir(filepath.Join(g.scripts, "40-folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"60-link": "10-first", "70-broken": "nothing"} {
		if err := os.Symlink(target, filepath.Join(g.scripts, name)); err != nil {
			t.Fatal(err)
		}
	}
	var want strings.Builder
	for i := range 20 {
		action := []string{"offline", "online"}[i%2]
		g.runner.Post(Event{Action: action, Member: fmt.Sprintf("wan%d", i)})
		for _, name := range []string{"10-first", "50-middle", "10-first", "9-last"} { // the third is the link
			fmt.Fprintf(&want, "%s %s wan%d\n", name, action, i)
		}
	}
	g.idle()
	if got := g.read("order"); got != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got, want.String())
	}
	g.expectLog()
}

func TestNoFolder(t *testing.T) {
	g := newRig(t)
	g.runner.dir = filepath.Join(g.scripts, "missing")
	g.runner.Post(Event{Action: "online", Member: "wan1"})
	g.idle()
	g.expectLog()
}

func TestUnreadableFolder(t *testing.T) {
	g := newRig(t)
	g.script("file", "")
	g.runner.dir = filepath.Join(g.scripts, "file")
	g.runner.Post(Event{Action: "online", Member: "wan1"})
	g.idle()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.lines) != 1 || !strings.HasPrefix(g.lines[0], "error: hook scripts: ") || !strings.Contains(g.lines[0], g.runner.dir) {
		t.Errorf("the log has %q", g.lines)
	}
}

// held posts an event whose script waits until release is called.
func (g *rig) held() (release func()) {
	g.t.Helper()
	g.script("10-held", `echo $MEMBER >> $out/ran
[ $MEMBER != held ] || { : > $out/holding; until [ -e $out/release ]; do sleep 0.01; done; }
`)
	g.runner.Post(Event{Action: "offline", Member: "held"})
	eventually(g.t, "the script runs", func() bool {
		_, err := os.Stat(filepath.Join(g.out, "holding"))
		return err == nil
	})
	return func() {
		if err := os.WriteFile(filepath.Join(g.out, "release"), nil, 0o644); err != nil {
			g.t.Fatal(err)
		}
	}
}

// TestOverflow: the newest events stay, in order, and one line tells how many are
// gone.
func TestOverflow(t *testing.T) {
	g := newRig(t)
	g.runner.limit = time.Hour
	release := g.held()
	const tooMany = 43
	want := "held\n"
	for i := range maxQueue + tooMany {
		g.runner.Post(Event{Action: "online", Member: fmt.Sprintf("wan%d", i)})
		if i >= tooMany {
			want += fmt.Sprintf("wan%d\n", i)
		}
	}
	g.expectLog() // Post writes no log
	release()
	g.idle()
	if got := g.read("ran"); got != want {
		t.Errorf("ran for\n%s\nwant\n%s", got, want)
	}
	g.expectLog("warning: hook scripts are too slow: the 43 oldest events were dropped")
}

// TestClose: the running script comes to its end, and nothing runs after it.
func TestClose(t *testing.T) {
	g := newRig(t)
	g.runner.limit = time.Hour
	release := g.held()
	g.script("20-next", ": > $out/next\n")
	g.runner.Post(Event{Action: "online", Member: "wan1"})
	g.runner.Post(Event{Action: "online", Member: "wan2"})
	closed := make(chan bool)
	go func() {
		g.runner.Close()
		close(closed)
	}()
	eventually(t, "Close was called", g.runner.isClosed)
	g.runner.Post(Event{Action: "online", Member: "late"})
	select {
	case <-closed:
		t.Error("Close did not wait for the script")
	default:
	}
	release()
	<-closed
	if got := g.read("ran"); got != "held\n" {
		t.Errorf("ran for\n%swant only the first", got)
	}
	if _, err := os.Stat(filepath.Join(g.out, "next")); err == nil {
		t.Error("another script ran after Close")
	}
	g.expectLog("warning: hook scripts: 2 events were dropped at the end")
	g.runner.Close()
	g.expectLog("warning: hook scripts: 2 events were dropped at the end")
}

// TestCloseWhileHanging: Close waits no longer than the limit.
func TestCloseWhileHanging(t *testing.T) {
	g := newRig(t)
	g.runner.limit, g.runner.grace = 5*time.Second, 100*time.Millisecond
	g.held() // never released
	g.runner.Close()
	g.expectLog("warning: hook script 10-held (offline held): not done after 5s, killed")
}

// TestRepetitionDoesNotPileUp: while a script of a member runs or waits, nothing is
// told again of it; of others it is, and what is new always.
func TestRepetitionDoesNotPileUp(t *testing.T) {
	g := newRig(t)
	g.script("10-slow", "echo $ACTION $MEMBER$REPEAT >> $out/ran\n[ ! -e $out/slow ] || sleep 1\n")
	if err := os.WriteFile(filepath.Join(g.out, "slow"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	g.runner.Post(Event{Action: "portal", Member: "wan1-"})
	eventually(t, "the script runs", func() bool { return g.read("ran") != "" })
	if err := os.Remove(filepath.Join(g.out, "slow")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		g.runner.Post(Event{Action: "portal", Member: "wan1-", Repeat: true})
		g.runner.Post(Event{Action: "portal", Member: "wan2-", Repeat: true})
	}
	g.runner.Post(Event{Action: "portal", Member: "wan1-"})
	g.idle()
	g.runner.Post(Event{Action: "portal", Member: "wan1-", Repeat: true})
	g.idle()
	if got, want := g.read("ran"), "portal wan1-\nportal wan2-1\nportal wan1-\nportal wan1-1\n"; got != want {
		t.Errorf("ran\n%swant\n%s", got, want)
	}
}
