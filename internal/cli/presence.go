package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"loadbalance/internal/monitor"
	"loadbalance/internal/rundir"
)

// appearEvery is when a monitor tries again to be known in a run directory that it cannot use.
// It works meanwhile; only a new configuration is taken up later.
const appearEvery = 2 * time.Second

// presence is what makes this process known as the monitor.
type presence struct {
	dir rundir.Dir
	log *logger
	// trouble is what was said last; empty while all is well.
	trouble string

	lock     *os.File
	socket   *monitor.Socket
	accepted *rundir.Notifier
}

// appear makes the process known, also again. The error: there is another monitor.
func (p *presence) appear() (known monitor.Presence, err error) {
	p.lock.Close() // of nil is none
	if p.accepted != nil {
		p.accepted.Close()
		p.accepted = nil
	}
	if p.lock, err = p.dir.BecomeMonitor(); err == nil {
		p.accepted, err = p.dir.Notify()
	}
	// With an error as before, it still listens in the kernel.
	if err == nil || p.trouble == "" && !errors.Is(err, rundir.ErrMonitorRuns) {
		err = errors.Join(err, p.listen())
	}
	if errors.Is(err, rundir.ErrMonitorRuns) {
		return known, err
	}
	if p.socket != nil {
		known.Questions = p.socket.Questions()
	}
	if err == nil {
		p.trouble = ""
		known.Accepted, known.Gone = p.accepted.Changes, p.accepted.Gone
		return known, nil
	}
	text := fmt.Sprintf("run directory: %v: the monitor works without it", err)
	if text != p.trouble {
		p.log.Warning(text)
	}
	p.trouble = text
	again := make(chan struct{})
	time.AfterFunc(appearEvery, func() { close(again) })
	known.Gone = again
	return known, nil
}

// listen opens the socket. The error may be a monitor of which the run directory does not tell.
func (p *presence) listen() (err error) {
	p.hush()
	if _, err := monitor.Ask(string(p.dir), monitor.Question{}); err == nil {
		return rundir.ErrMonitorRuns
	}
	p.socket, err = monitor.Listen(string(p.dir))
	return err
}

func (p *presence) hush() {
	if p.socket != nil {
		p.socket.Close()
	}
	p.socket = nil
}
