package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// TestScriptsDoNotDelayVerdicts has the user's scripts hang, fail and print
// megabytes. Verdicts come all the same, and each event is run once, in order.
func TestScriptsDoNotDelayVerdicts(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 4},
		members(netlab.Separate, 4, append(tracked[:len(tracked):len(tracked)], fastest...)...))
	notes := filepath.Join(r.dir, "notes")
	for name, text := range map[string]string{
		"10-hangs":  `if [ "$MEMBER $ACTION" = "wan2 inactive" ]; then sleep 1000; fi`,
		"20-fails":  "exit 3",
		"30-prints": "head -c 5000000 /dev/zero | tr '\\0' x",
		// After a moment the script has its own priority.
		"40-notes": `sleep 0.2; echo "$ACTION $MEMBER $INTERFACE $DEVICE $FAMILY $(nice)" >> ` + notes,
	} {
		check(t, os.MkdirAll(r.eventsDir(), 0o755), os.WriteFile(filepath.Join(r.eventsDir(), name), []byte(text+"\n"), 0o644))
	}
	r.must("apply")
	m := r.startMonitor()
	expectPriority(t, m.Cmd.Process.Pid, -10)
	for i, name := range []string{"wan2", "wan3"} {
		check(t, r.lab.Blackhole(i+2))
		eventually(t, name+" is announced", func() bool { return m.Log.Count("'"+name+"'", "offline: no answer") > 0 })
		r.waitState(name, "offline")
	}
	if text, err := os.ReadFile(notes); err == nil {
		t.Errorf("the verdicts waited for the script that hangs: %s", text)
	}
	want := "inactive wan2  wan2 ipv4 0\noffline wan2  wan2 ipv4 0\ninactive wan3  wan3 ipv4 0\noffline wan3  wan3 ipv4 0\n"
	var got string
	eventually(t, "all events are run", func() bool {
		text, _ := os.ReadFile(notes) // there is none at first
		got = string(text)
		return len(got) >= len(want)
	})
	if got != want {
		t.Errorf("events:\n%swant:\n%s", got, want)
	}
	if m.Log.Count("10-hangs") != 1 || m.Log.Count("20-fails") == 0 {
		t.Errorf("the log does not name the scripts that hang and fail:\n%s", m.Log)
	}
}

// expectPriority compares the priority of a process's threads (nice(2)).
func expectPriority(t *testing.T, pid, want int) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	check(t, err)
	for _, file := range threads {
		text, err := os.ReadFile(file)
		check(t, err)
		const nice = 16 // counted after the name (proc(5): field 19)
		if got := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))[nice]; got != strconv.Itoa(want) {
			t.Errorf("%s: nice %s, want %d", file, got, want)
		}
	}
	if len(threads) == 0 {
		t.Error("it has no threads")
	}
}

// TestFlappingLine has a line die and come back all the time. It must settle
// as offline, and the others notice nothing.
func TestFlappingLine(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 3},
		members(netlab.Separate, 3, append(tracked[:len(tracked):len(tracked)], fastest...)...))
	r.must("apply")
	m := r.startMonitor()
	others := r.openElsewhere(2, 40)
	defer others.Close()
	watched := watchFlows(others)
	const flaps = 12
	for range flaps {
		check(t, r.lab.Blackhole(2))
		time.Sleep(500 * time.Millisecond)
		check(t, r.lab.Restore(2))
		time.Sleep(500 * time.Millisecond)
	}
	offline, online := m.Log.Count("'wan2'", "offline: no answer"), m.Log.Count("'wan2' (ipv4): online")
	t.Logf("%d times offline, %d times online in %d flaps", offline, online, flaps)
	// Three or four before it counts as flapping; then it must answer for 0.3 s,
	// then for 0.6 s, which it never does.
	if offline == 0 || offline > 8 || online > 8 {
		t.Errorf("%d times offline, %d times online", offline, online)
	}
	if n := strings.Count(m.Log.String(), "offline: no answer"); n != offline {
		t.Errorf("other lines were taken out:\n%s", m.Log)
	}
	if err := watched(); err != nil {
		t.Errorf("a connection on another line: %v", err)
	}
}
