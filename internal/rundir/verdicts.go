package rundir

import (
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"loadbalance/internal/plan"
)

// The monitor's files:
//
//	monitor        locked while a monitor lives; its text is the process's id
//	verdicts.json  the members that are offline
//
// When the monitor ends, the verdicts stay for the next one only.
const (
	monitorFile  = "monitor"
	verdictsFile = "verdicts.json"
)

// monitorLock is a lock of fcntl(2) that belongs to the open file. Unlike one of
// flock(2) it can be asked for without keeping a monitor from starting.
var monitorLock = unix.Flock_t{Type: unix.F_WRLCK}

// ErrMonitorRuns says that there is a monitor already.
var ErrMonitorRuns = errors.New("a monitor runs already")

// BecomeMonitor makes this process the monitor until it ends or closes what is
// returned. The error is ErrMonitorRuns if there is one.
func (d Dir) BecomeMonitor() (*os.File, error) {
	if err := d.Create(); err != nil {
		return nil, err
	}
	file, err := d.open(monitorFile)
	if err != nil {
		return nil, err
	}
	whole := monitorLock
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &whole); err != nil {
		file.Close()
		if errors.Is(err, unix.EAGAIN) {
			return nil, ErrMonitorRuns
		}
		return nil, d.trouble(err)
	}
	// For people; where there is no room the lock is enough.
	if file.Truncate(0) == nil {
		_, _ = file.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	}
	return file, nil
}

// MonitorRuns reports whether a monitor lives.
func (d Dir) MonitorRuns() (bool, error) {
	file, err := os.OpenFile(d.path(monitorFile), os.O_RDONLY|safely, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, d.trouble(err)
	}
	defer file.Close()
	whole := monitorLock
	err = unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &whole)
	return err == nil && whole.Type != unix.F_UNLCK, d.trouble(err)
}

// SaveVerdicts keeps the verdicts for whoever applies next.
func (d Dir) SaveVerdicts(verdicts plan.Verdicts) error {
	return d.writeJSON(verdictsFile, verdicts)
}

// ForgetVerdicts has the next monitor begin without verdicts: those of one that
// ended long ago would take out lines that work again.
func (d Dir) ForgetVerdicts() error { return d.remove(verdictsFile) }

// LastVerdicts returns what was saved last.
func (d Dir) LastVerdicts() (verdicts plan.Verdicts, err error) {
	if err = d.readJSON(verdictsFile, &verdicts); err != nil {
		return nil, err // and not the part before the mistake
	}
	return verdicts, nil
}

// Verdicts returns the saved verdicts while a monitor lives; otherwise nobody is
// offline, since nobody would notice the return.
func (d Dir) Verdicts() (plan.Verdicts, error) {
	runs, err := d.MonitorRuns()
	if err != nil || !runs {
		return nil, err
	}
	return d.LastVerdicts()
}
