package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"loadbalance/internal/netlab"
)

// asNobody runs f on a thread of the user nobody in the router's namespace. The
// thread ends with it.
func (r *router) asNobody(f func()) {
	r.t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		ns, err := unix.Open(r.lab.Router.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.Setns(ns, unix.CLONE_NEWNET), unix.Close(ns))
		}
		// The raw calls are for one thread, others for the process.
		for _, call := range [][4]uintptr{{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, nobody, nobody, nobody}, {unix.SYS_SETRESUID, nobody, nobody, nobody}} {
			if _, _, number := syscall.RawSyscall(call[0], call[1], call[2], call[3]); number != 0 {
				err = errors.Join(err, number)
			}
		}
		if err == nil {
			f()
		}
		failed <- err
	}()
	check(r.t, <-failed)
}

// lockAsNobody takes every lock in a folder that nobody can have, until the end of
// the test.
func (r *router) lockAsNobody(dir string) (taken []string) {
	r.asNobody(func() {
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return nil
			}
			r.t.Cleanup(func() { unix.Close(fd) })
			all := unix.Flock_t{Type: unix.F_RDLCK}
			if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil || unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &all) == nil {
				taken = append(taken, path)
			}
			return nil
		})
	})
	return taken
}

// expectClosed checks that nobody can open, lock, make or connect to anything.
func (r *router) expectClosed() {
	r.t.Helper()
	if taken := r.lockAsNobody(r.runDir()); len(taken) > 0 {
		r.t.Errorf("nobody can lock %q", taken)
	}
	for _, name := range []string{"lock", "queue", "state.json", "accepted", "monitor", "monitor.sock", "new"} {
		path := filepath.Join(r.runDir(), name)
		r.asNobody(func() {
			if fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT, 0o600); err == nil {
				unix.Close(fd)
				r.t.Errorf("nobody can open or make %s", name)
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err == nil {
				err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
				unix.Close(fd)
			}
			if err == nil {
				r.t.Errorf("nobody can connect to %s", name)
			}
		})
		if info, err := os.Lstat(path); err == nil && info.Mode().Perm() != 0o600 {
			r.t.Errorf("%s has the mode %v", name, info.Mode())
		}
	}
	if info, err := os.Lstat(r.runDir()); err != nil || info.Mode().Perm() != 0o700 {
		r.t.Errorf("the run directory: %v, %v", info.Mode(), err)
	}
}

// TestNobody: whatever other users of the router have prepared, they keep nobody
// from applying and from watching the lines, and get at nothing.
func TestNobody(t *testing.T) {
	owned := func(r *router) string {
		dir := filepath.Join(r.dir, "theirs")
		check(r.t, os.Mkdir(dir, 0o777), os.Chown(dir, nobody, nobody),
			os.WriteFile(filepath.Join(dir, "stopped"), nil, 0o644), os.WriteFile(filepath.Join(dir, "queue"), nil, 0o666))
		return dir
	}
	tests := []struct {
		name    string
		prepare func(r *router)
		// refused: the run directory is not used, and stays as it is.
		refused bool
	}{
		{"nothing", func(*router) {}, false},
		{"of an earlier version", func(r *router) {
			check(r.t, os.Mkdir(r.runDir(), 0o755))
			for _, name := range []string{"lock", "queue", "monitor", "state.json", "accepted"} {
				check(r.t, os.WriteFile(filepath.Join(r.runDir(), name), []byte("{}"), 0o644))
			}
		}, false},
		{"a mode for all", func(r *router) { check(r.t, os.Mkdir(r.runDir(), 0o755), os.Chmod(r.runDir(), 0o777)) }, true},
		{"theirs", func(r *router) { check(r.t, os.Rename(owned(r), r.runDir())) }, true},
		{"a link", func(r *router) { check(r.t, os.Symlink(owned(r), r.runDir())) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2, append(tracked[:2:2], fastest...)...))
			tt.prepare(r)
			r.lockAsNobody(r.runDir())
			listing := "ls -lnR --time-style=full-iso " + r.dir + "/theirs " + r.runDir() + "/ 2>&1 || true"
			before := r.sh(listing)
			r.must("apply")
			m := r.monitor()
			eventually(t, "the monitor probes", func() bool { return r.probedLines() == 2 })
			r.expectFailover()
			if tt.refused {
				if after := r.sh(listing); after != before {
					t.Errorf("what is theirs has changed:\n%s\n%s", before, after)
				}
				if m.Log.Count("others can write there")+m.Log.Count("it is no directory") == 0 {
					t.Errorf("nothing is said:\n%s", m.Log)
				}
				return
			}
			r.expectClosed()
		})
	}
}

// TestFollowsNoLink: what root writes in folders of others ends in no other file,
// and replaces what is not its own.
func TestFollowsNoLink(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
	victim := filepath.Join(r.dir, "victim")
	names := filepath.Join(r.dir, "rt_tables.d")
	check(t, os.WriteFile(victim, []byte("precious"), 0o644), os.Mkdir(names, 0o777))
	for _, name := range []string{"loadbalance.conf", "loadbalance.conf.new"} {
		check(t, os.Symlink(victim, filepath.Join(names, name)))
	}
	r.must("apply")
	r.expectNames(2)
	check(t, os.Remove(filepath.Join(names, "loadbalance.conf")), syscall.Mkfifo(filepath.Join(names, "loadbalance.conf"), 0o666))
	r.must("apply")
	r.expectNames(2)
	if text, err := os.ReadFile(victim); string(text) != "precious" {
		t.Errorf("%q, %v", text, err)
	}
}

// TestMinorFailures: what does not decide over a packet's way is a warning, once;
// the new configuration is in force.
func TestMinorFailures(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Separate, 2, append(tracked[:2:2], fastest...)...)
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, config)
		check(t, os.WriteFile(filepath.Join(r.dir, "rt_tables.d"), nil, 0o644))
		r.sh("ipset create lb_x hash:ip; iptables-" + backend + " -t raw -A PREROUTING -m set --match-set lb_x src -j ACCEPT")
		r.must("apply")
		m := r.startMonitor()
		for i, change := range []func() int{
			func() int { _, _, code := r.call("apply"); return code },
			func() int { check(t, m.Process.Signal(syscall.SIGHUP)); return 0 },
		} {
			r.configure(fmt.Sprintf("%sconfig policy 'other%d'\n\tlist use_member 'wan1'\nconfig rule 'r'\n\toption use_policy 'other%d'\n", config, i, i))
			if code := change(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			newest := func() bool {
				return strings.Contains(r.sh("iptables-"+backend+" -t mangle -S"), fmt.Sprintf("-N lb_policy_other%d", i))
			}
			eventually(t, "the new configuration is in force", newest)
			eventually(t, "a line that flaps is followed", func() bool { return r.probedLines() == 2 })
			r.expectFailover()
			check(t, r.lab.Restore(2))
			eventually(t, "wan2 is back", func() bool { return stateOf(r.status(), "wan2") == "active" })
			if !newest() {
				t.Error("the old configuration is back")
			}
		}
		for _, told := range []string{"ipset destroy lb_x: the set is in use", "rt_tables.d: not a directory"} {
			if n := m.Log.Count(told); n != 1 {
				t.Errorf("%q is said %d times:\n%s", told, n, m.Log)
			}
		}
		if n := m.Log.Count("repair"); n > 0 {
			t.Errorf("repairs without end:\n%s", m.Log)
		}
		if notices := strings.Join(r.status().Notices, "\n"); !strings.Contains(notices, "lb_x") || !strings.Contains(notices, "rt_tables.d") {
			t.Errorf("status tells %s", notices)
		}
	})
}
