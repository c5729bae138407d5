package lifecycle

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is one that the package's program runs in.
type process struct {
	pid int
	// replaced says that the file it was started from is not there any more.
	replaced bool
	monitor  bool
}

// processes lists those of this device.
func (d *device) processes() []process {
	executable := d.file("usr/sbin/loadbalance")
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	check(d.t, err)
	var found []process
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, executable) {
			continue // it has ended, or is another's
		}
		arguments, err := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
		if err != nil || len(arguments) == 0 {
			continue // it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		check(d.t, err)
		found = append(found, process{
			pid: pid, replaced: target != executable,
			monitor: slices.Contains(strings.Split(string(arguments), "\x00"), "monitor"),
		})
	}
	return found
}

// running lists the processes that are no monitor.
func (d *device) running() []process {
	return slices.DeleteFunc(d.processes(), func(p process) bool { return p.monitor })
}

// monitors lists the monitors.
func (d *device) monitors() []process {
	return slices.DeleteFunc(d.processes(), func(p process) bool { return !p.monitor })
}

// monitor waits until exactly one monitor runs, that of the installed program and
// none of those before it, and returns it.
func (d *device) monitor(before ...process) process {
	d.t.Helper()
	var found []process
	alone := func() bool {
		found = d.monitors()
		return len(found) == 1 && !found[0].replaced && !slices.Contains(before, found[0])
	}
	if !holds(alone) {
		d.t.Fatalf("monitors: %+v, want one that is not among %+v; its standard error:\n%s\nlog:\n%s",
			found, before, d.crashes(), d.log.text())
	}
	return found[0]
}

// expectSameMonitor checks that no other monitor has taken its place.
func (d *device) expectSameMonitor(when string, want process) {
	d.t.Helper()
	if got := d.monitors(); len(got) != 1 || got[0] != want {
		d.t.Errorf("%s the monitors are %+v, want still %+v", when, got, want)
	}
}

// expectNoMonitor waits until none runs.
func (d *device) expectNoMonitor(when string) {
	d.t.Helper()
	if !holds(func() bool { return len(d.monitors()) == 0 }) {
		d.t.Fatalf("%s there are monitors: %+v", when, d.monitors())
	}
}

// crashes is what procd got from the standard error of its instances.
func (d *device) crashes() string {
	text, err := os.ReadFile(d.file("tmp/procd.stderr"))
	if err != nil && !os.IsNotExist(err) {
		d.t.Error(err)
	}
	return string(text)
}

// endInstances ends what procd has started, when the test is over.
func (d *device) endInstances() {
	d.call("cd /var/run/procd && for keeper in */*/keeper; do [ ! -f $keeper ] || kill $(cat $keeper); done")
	if !holds(func() bool { return len(d.processes()) == 0 }) {
		d.t.Errorf("processes that do not end: %+v", d.processes())
		for _, p := range d.processes() {
			check(d.t, unix.Kill(p.pid, unix.SIGKILL))
		}
	}
	if text := d.crashes(); text != "" {
		d.t.Errorf("the monitor wrote to standard error:\n%s", text)
	}
}
