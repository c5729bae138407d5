package hooks

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestEnvironment(t *testing.T) {
	t.Setenv("MEMBER", "of somebody else")
	t.Setenv("SECRET", "of the monitor")
	g := newRig(t)
	// The shell adds its own few.
	g.script("10-environment", "env | grep -v -e ^PWD= -e ^OLDPWD= -e ^SHLVL= -e ^_= | sort > $out/env\npwd > $out/pwd\ncat > $out/stdin\n")
	g.runner.Post(Event{
		Action: "offline", Member: "wan1", Interface: "wan", Device: "eth1", Family: "ipv4",
		Reason: "4 probes lost; \"$(reboot)\" 'x'", Address: "192.0.2.2", PortalURL: "http://portal/?a=1&b=2",
	})
	g.idle()
	want := `ACTION=offline
ADDRESS=192.0.2.2
DEVICE=eth1
EVENT={"action":"offline","member":"wan1","interface":"wan","device":"eth1","family":"ipv4","reason":"4 probes lost; \"$(reboot)\" 'x'","address":"192.0.2.2","portal_url":"http://portal/?a=1\u0026b=2"}
FAMILY=ipv4
HOME=/root
HOTPLUG_TYPE=loadbalance
INTERFACE=wan
LOGNAME=root
MEMBER=wan1
PATH=/usr/sbin:/usr/bin:/sbin:/bin
PORTAL_URL=http://portal/?a=1&b=2
REASON=4 probes lost; "$(reboot)" 'x'
SHELL=/bin/sh
USER=root
`
	if got := g.read("env"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := g.read("pwd"); got != "/\n" {
		t.Errorf("the script ran in %s", got)
	}
	g.expectLog()
}

// TestFailures: one line each, and the scripts after it run all the same.
func TestFailures(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"exit code", "exit 3", "exit status 3"},
		{"return, as in a sourced script", "return 4", "exit status 4"},
		{"first line of its output", "echo\necho first\necho second\nfalse", "exit status 1: first"},
		{"standard error", "echo 'no route' >&2\nfalse", "exit status 1: no route"},
		{"control characters", `printf 'a\tb\033[31mc\r\nd'; exit 1`, "exit status 1: a b [31mc "},
		{"killed", "kill -9 $$", "signal: killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t)
			g.script("10-failing", c.text+"\n")
			g.script("20-next", "echo ran > $out/next\n")
			g.runner.Post(Event{Action: "online", Member: "wan2"})
			g.idle()
			g.expectLog("warning: hook script 10-failing (online wan2): " + c.want)
			if g.read("next") == "" {
				t.Error("the next script did not run")
			}
		})
	}
}

// TestSyntaxError: the shell's own message names the place.
func TestSyntaxError(t *testing.T) {
	g := newRig(t)
	g.script("10-faulty", "if true\n")
	g.runner.Post(Event{Action: "online", Member: "wan2"})
	g.idle()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.lines) != 1 || !strings.Contains(g.lines[0], "10-faulty (online wan2): exit status 2: ") {
		t.Errorf("the log has %q", g.lines)
	}
}

// TestMegabytes: the output fills no memory and blocks nothing.
func TestMegabytes(t *testing.T) {
	g := newRig(t)
	g.script("10-loud", "head -c 20000000 /dev/zero | tr '\\0' x\nhead -c 20000000 /dev/zero | tr '\\0' y >&2\necho done > $out/loud\nexit 1\n")
	g.runner.Post(Event{Action: "online", Member: "wan1"})
	g.idle()
	if g.read("loud") == "" {
		t.Error("the script did not come to its end")
	}
	g.expectLog("warning: hook script 10-loud (online wan1): exit status 1: " + strings.Repeat("x", outputLimit))
}

// TestLimit: what hangs is ended, with all that it started, whatever it does
// about SIGTERM.
func TestLimit(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"a child", "echo tried\nsleep 1000\n"},
		{"SIGTERM is ignored", "trap '' TERM\necho tried\nsleep 1000\n"},
		{"SIGTERM is taken for success", "trap 'exit 0' TERM\necho tried\nsleep 1000 & wait\n"},
		{"only a grandchild ignores SIGTERM", "(trap '' TERM; echo tried; exec sleep 1000) & wait\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t)
			// Long enough for a shell to start on a busy machine.
			g.runner.limit, g.runner.grace = 5*time.Second, 200*time.Millisecond
			g.script("10-hanging", "echo $$ > $out/group\n"+c.text)
			g.script("20-next", "echo ran > $out/next\n")
			g.runner.Post(Event{Action: "online", Member: "wan1"})
			g.idle()
			g.expectLog("warning: hook script 10-hanging (online wan1): not done after 5s, killed: tried")
			if g.read("next") == "" {
				t.Error("the next script did not run")
			}
			group := g.pid("group")
			eventually(t, "all processes of the script are gone", func() bool { return len(members(t, group)) == 0 })
		})
	}
}

// TestGrace: SIGTERM leaves time to clean up.
func TestGrace(t *testing.T) {
	g := newRig(t)
	g.runner.limit, g.runner.grace = 5*time.Second, time.Minute
	g.script("10-hanging", "(trap 'sleep 0.2; echo cleaned > $out/cleaned; exit' TERM; sleep 1000 & wait) > /dev/null 2>&1 & wait\n")
	g.runner.Post(Event{Action: "online", Member: "wan1"})
	g.idle()
	if g.read("cleaned") == "" {
		t.Error("the script was killed while it cleaned up")
	}
}

// TestBackground: a process that a script leaves behind lives on, and what it
// keeps open holds up nobody.
func TestBackground(t *testing.T) {
	g := newRig(t)
	g.runner.grace = 200 * time.Millisecond
	g.script("10-background", "echo started\nsleep 1000 &\necho $! > $out/background\n")
	g.script("20-next", "echo ran > $out/next\n")
	g.runner.Post(Event{Action: "online", Member: "wan1"})
	g.idle()
	g.expectLog()
	if g.read("next") == "" {
		t.Error("the next script did not run")
	}
	pid := g.pid("background")
	if err := unix.Kill(pid, 0); err != nil {
		t.Errorf("the process in the background was ended: %v", err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

// pid reads a number that a script wrote.
func (g *rig) pid(file string) int {
	g.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(g.read(file)))
	if err != nil {
		g.t.Fatal(err)
	}
	return pid
}

// members returns the living processes of a group.
func members(t *testing.T, group int) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): PID (NAME) STATE PARENT GROUP …; NAME may have blanks.
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 2 && fields[0] != "Z" && fields[2] == strconv.Itoa(group) {
			found = append(found, stat)
		}
	}
	return found
}
