package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// slowestVerdict is the longest time from a blackout to chains without the line
// while something is broken: the default detection takes 2.8 s, and what is broken
// may cost a second.
const slowestVerdict = 4 * time.Second

// expectFailover lets everything behind uplink 2 vanish, and returns how long it
// takes until no new connection is dealt to it. Meanwhile other things may happen.
func (r *router) expectFailover(meanwhile ...func()) time.Duration {
	r.t.Helper()
	chain := "iptables-" + r.backend + " -t mangle -S lb_policy_balanced"
	if !strings.Contains(r.sh(chain), "lb_member_wan2") {
		r.t.Fatal("wan2 is out of use from the beginning")
	}
	start := time.Now()
	check(r.t, r.lab.Blackhole(2))
	for _, happen := range meanwhile {
		happen()
	}
	eventually(r.t, "wan2 is out of use", func() bool { return !strings.Contains(r.sh(chain), "lb_member_wan2") })
	took := time.Since(start)
	if took > slowestVerdict {
		r.t.Errorf("wan2 is out of use after %s", took)
	}
	return took
}

// expectTruth checks that status and metrics tell of the dead line.
func (r *router) expectTruth(fault string) {
	r.t.Helper()
	eventually(r.t, "status tells the truth", func() bool {
		s := r.status()
		return stateOf(s, "wan2") == "offline" && s.InSync && s.Monitor.Running
	})
	if notices := strings.Join(r.status().Notices, "\n"); !strings.Contains(notices, fault) {
		r.t.Errorf("status does not tell of %q:\n%s", fault, notices)
	}
	metrics := r.must("metrics")
	for _, want := range []string{"loadbalance_in_sync 1", `loadbalance_member_online{member="wan2",family="ipv4"} 0`,
		`loadbalance_member_online{member="wan1",family="ipv4"} 1`} {
		if !strings.Contains(metrics, want+"\n") {
			r.t.Errorf("metrics without %s", want)
		}
	}
}

// mountRunDir gives the router a run directory of its own with room for pages.
func (r *router) mountRunDir(kilobytes int) {
	r.t.Helper()
	check(r.t, os.MkdirAll(r.runDir(), 0o700),
		syscall.Mount("tmpfs", r.runDir(), "tmpfs", 0, fmt.Sprintf("size=%dk,mode=0700", kilobytes)))
	r.t.Cleanup(func() { check(r.t, syscall.Unmount(r.runDir(), syscall.MNT_DETACH)) })
}

// runDirFault is called by its name, told in some words and made to happen.
type runDirFault struct {
	name, told string
	happen     func(r *router)
}

// runDirFaults are what can happen to a run directory, before a monitor is there
// or while it works.
var runDirFaults = []runDirFault{
	{"full", "no space left on device", func(r *router) {
		r.sh("cat /dev/zero > " + r.runDir() + "/filler 2> /dev/null || true")
	}},
	{"read-only", "read-only file system", func(r *router) {
		check(r.t, syscall.Mount(r.runDir(), r.runDir(), "", syscall.MS_BIND, ""))
		r.t.Cleanup(func() { check(r.t, syscall.Unmount(r.runDir(), syscall.MNT_DETACH)) })
		check(r.t, syscall.Mount("", r.runDir(), "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	}},
	{"a file", "it is no directory", func(r *router) {
		// At once, before the monitor makes it anew.
		r.sh(fmt.Sprintf("until rm -rf %[1]s && true > %[1]s; do :; done", r.runDir()))
	}},
	{"somebody else's", "others can write there", func(r *router) { check(r.t, os.Chown(r.runDir(), 65534, 65534)) }},
}

// TestBrokenRunDirectory: a dead line goes out of use as fast as ever, a new
// configuration counts and is not undone, and whoever asks hears the truth.
func TestBrokenRunDirectory(t *testing.T) {
	for _, fault := range runDirFaults {
		for _, when := range []string{"before", "during"} {
			t.Run(fault.name+" "+when, func(t *testing.T) {
				eachBackend(t, func(t *testing.T, backend string) { fault.test(t, backend, when == "before") })
			})
		}
	}
}

func (fault runDirFault) test(t *testing.T, backend string, before bool) {
	config := members(netlab.Separate, 3, tracked...)
	r := newRouter(t, backend, netlab.Options{Uplinks: 3}, config)
	if fault.name == "full" {
		r.mountRunDir(64)
	}
	r.must("apply")
	var m *netlab.Process
	if before {
		fault.happen(r)
		m = r.monitor()
	} else {
		m = r.startMonitor()
		fault.happen(r)
	}
	eventually(t, "the monitor probes", func() bool { return r.probedLines() == 3 })
	t.Logf("out of use after %s", r.expectFailover())
	r.expectTruth(fault.told)
	r.configure(config + "config policy 'other'\n\tlist use_member 'wan1'\nconfig rule 'r'\n\toption proto 'tcp'\n\toption use_policy 'other'\n")
	if _, messages, code := r.call("apply"); code != 0 || strings.Count(messages, "\n") > 1 {
		t.Errorf("exit code %d, messages %q", code, messages)
	}
	check(t, r.lab.Restore(2))
	r.waitState("wan2", "active")
	if chains := r.sh("iptables-" + backend + " -t mangle -S"); !strings.Contains(chains, "-N lb_policy_other") {
		t.Error("the new configuration is undone")
	}
	// Two looks at least, since the line needs 3 s to come back.
	// What is full has room for what replaces the old.
	if n := m.Log.Count(fault.told); n > 4 || n == 0 && fault.name != "full" {
		t.Errorf("%d messages of the monitor:\n%s", n, m.Log)
	}
	if n := m.Log.Count("repair", "written"); n > 0 {
		t.Errorf("%d repairs:\n%s", n, m.Log)
	}
}

// TestStoppedHolder: a process of ours that is stopped while it has the lock is
// ended, another program is passed over, and both are named.
func TestStoppedHolder(t *testing.T) {
	for _, holder := range []string{"ours", "another program"} {
		t.Run(holder, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2, tracked...))
				r.must("apply")
				m := r.startMonitor()
				eventually(t, "the monitor probes", func() bool { return r.probedLines() == 2 })
				take, told := r.stopApply, "killed"
				if holder != "ours" {
					told = "none of ours"
					take = func() { t.Cleanup(r.lock()) }
				}
				t.Logf("out of use after %s", r.expectFailover(func() {
					time.Sleep(2 * time.Second) // not before the monitor is about to need it
					take()
				}))
				if m.Log.Count(told) != 1 {
					t.Errorf("it is not named:\n%s", m.Log)
				}
				if _, messages, code := r.call("apply"); code != 0 {
					t.Errorf("exit code %d, %s", code, messages)
				}
				if holder == "ours" {
					told = "" // that is over
				}
				r.expectTruth(told)
			})
		})
	}
}

// stopApply stops an apply in the middle, while its chains are written.
func (r *router) stopApply() {
	r.t.Helper()
	p := newPrograms(r.t)
	p.link(iptablesPrograms(r.backend)...)
	p.script("iptables-"+r.backend+"-restore", "kill -STOP $PPID\nsleep 1000")
	p.link("cat", "sh", "sleep")
	cmd := exec.Command(binary, r.args("apply")...)
	cmd.Env = p.env()
	r.configure(members(netlab.Separate, 2, tracked...) + "config policy 'other'\n\tlist use_member 'wan1'\n")
	check(r.t, r.lab.Router.Start(cmd))
	eventually(r.t, "the apply is stopped", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		check(r.t, err)
		return strings.Contains(string(text), ") T ")
	})
	r.t.Cleanup(func() { _ = cmd.Wait() })
}

// TestDamagedFiles: whatever is in the place of a file of the run directory, the
// kernel's state stays, a dead line goes out of use, and the file is mended.
func TestDamagedFiles(t *testing.T) {
	damages := map[string]string{
		"emptied":   ": > $f",
		"cut":       "head -c 40 $f > $f.x; cat $f.x > $f; rm $f.x",
		"random":    "head -c 300 /dev/urandom > $f",
		"a folder":  "rm -f $f; mkdir -p $f/x || true",
		"a link":    "mv $f $f.real; ln -s $f.real $f",
		"a fifo":    "rm -f $f; mkfifo $f || true",
		"unsealed":  "sed -i 1d $f",
		"all blank": "tr -c '' ' ' < $f > $f.x; cat $f.x > $f; rm $f.x",
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2, append(tracked[:2:2], fastest...)...))
				r.must("apply")
				r.startMonitor()
				eventually(t, "the monitor probes", func() bool { return r.probedLines() == 2 })
				before := r.dump()
				for _, file := range []string{"accepted", "state.json", "verdicts.json", "result.json"} {
					r.sh("f=" + filepath.Join(r.runDir(), file) + "; " + damage)
				}
				r.must("hotplug", "ifup", "wan1")
				r.expectSame("with damaged files", before.sorted(), r.dump().sorted())
				r.expectFailover()
				eventually(t, "all is mended", func() bool {
					s := r.status()
					return stateOf(s, "wan2") == "offline" && s.InSync && len(s.Notices) == 0
				})
			})
		})
	}
	t.Run("with mistakes in the user's file", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, backend string) {
			r := newRouter(t, backend, netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
			r.must("apply")
			before := r.dump()
			r.configure(members(netlab.Separate, 1, "option weight 'x'"))
			r.sh(": > " + filepath.Join(r.runDir(), "accepted"))
			_, messages, code := r.call("hotplug", "ifup", "wan1")
			if code == 0 || !strings.Contains(messages, "accepted is damaged") {
				t.Errorf("exit code %d, messages %q", code, messages)
			}
			r.expectSame("without any configuration", before, r.dump())
		})
	})
}
