package netlab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRunAndCommand(t *testing.T) {
	l := Start(t, Options{Uplinks: 1})
	direct, err := l.Router.Run("readlink", "/proc/self/ns/net")
	must(t, err)
	entered, err := l.Router.Command(context.Background(), "readlink", "/proc/self/ns/net").Output()
	must(t, err)
	host, err := os.Readlink("/proc/self/ns/net")
	must(t, err)
	if direct != string(entered) || strings.TrimSpace(direct) == host {
		t.Errorf("Run in %q, Command in %q, host %q", direct, entered, host)
	}
	if _, err := l.Router.Run("false"); err == nil || !strings.Contains(err.Error(), "router: false") {
		t.Errorf("error of a failed command: %v", err)
	}
}

func hostDevices(t *testing.T) string {
	t.Helper()
	devices, err := net.Interfaces()
	must(t, err)
	return fmt.Sprint(devices)
}

func holders(t *testing.T, inodes map[uint64]bool) int {
	t.Helper()
	count := 0
	for _, pattern := range []string{"/proc/self/task/*/ns/net", "/proc/self/fd/*"} {
		paths, err := filepath.Glob(pattern)
		must(t, err)
		for _, path := range paths {
			var stat unix.Stat_t
			if unix.Stat(path, &stat) == nil && inodes[stat.Ino] {
				count++
			}
		}
	}
	return count
}

func TestCloseLeavesNothing(t *testing.T) {
	before := hostDevices(t)
	l := Start(t, Options{Topology: P2P, Uplinks: 2, Rate: "20mbit"})
	inodes := map[uint64]bool{}
	for _, ns := range l.spaces {
		var stat unix.Stat_t
		must(t, unix.Fstat(ns.fd, &stat))
		inodes[stat.Ino] = true
	}
	if during := hostDevices(t); during != before {
		t.Errorf("devices of the host changed from %s to %s", before, during)
	}
	if tally := l.Connect(Traffic{Count: 100, Parallel: 50}); tally.OK() != 100 {
		t.Error(tally)
	}
	if _, err := l.Throughput(Bulk{Connections: 2, WarmUp: time.Millisecond, Duration: 100 * time.Millisecond}); err != nil {
		t.Error(err)
	}
	if holders(t, inodes) < len(l.spaces) {
		t.Error("the check does not see the namespaces while they exist")
	}
	l.Close()
	eventually(t, "no thread and no file holds a namespace", func() bool { return holders(t, inodes) == 0 })
	if after := hostDevices(t); after != before {
		t.Errorf("devices of the host changed from %s to %s", before, after)
	}
	l.Close()
}

func TestParallelLabs(t *testing.T) {
	var labs []*Lab
	for range 3 {
		labs = append(labs, Start(t, Options{Topology: Campus, Uplinks: 2}))
	}
	must(t, labs[0].IfDown(1))
	for k, l := range labs {
		want := 1
		if k == 0 {
			want = 2
		}
		if tally := l.Connect(Traffic{Count: 5}); tally.ByUplink[want] != 5 {
			t.Errorf("laboratory %d: %v", k, tally)
		}
	}
}

func TestDoReturnsHome(t *testing.T) {
	l := Start(t, Options{Uplinks: 1})
	current := func() []byte {
		var stat unix.Stat_t
		must(t, unix.Stat("/proc/thread-self/ns/net", &stat))
		return fmt.Appendf(nil, "%d", stat.Ino)
	}
	home := current()
	var inside []byte
	must(t, l.World.Do(func() error { inside = current(); return nil }))
	if bytes.Equal(home, inside) || !bytes.Equal(home, current()) {
		t.Errorf("home %s, inside %s, after %s", home, inside, current())
	}
}
