// Package hooks runs the user's scripts, /etc/hotplug.d/loadbalance/*, for every
// transition of a member: one event and one script at a time, in order.
//
// They are ordinary hotplug scripts of OpenWrt: the shell reads them, so they
// need not be executable, functions.sh is loaded, and the environment says what
// happened. One that leaves a process in the background should redirect its
// output: the pipe is closed soon after the script's end.
package hooks

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Event is one transition of a member. Each field becomes a variable in the
// environment of the scripts, and all of them together, as JSON, another one.
type Event struct {
	Action    string `json:"action"` // online, offline, portal, active, inactive, full, free or quota
	Member    string `json:"member"`
	Interface string `json:"interface"` // empty for a device without netifd
	Device    string `json:"device"`    // empty while the member has none
	Family    string `json:"family"`    // ipv4, ipv6, or both with a blank between them
	Reason    string `json:"reason"`    // for people
	Address   string `json:"address"`   // the member's own; empty while it has none
	// PortalURL is where a portal leads, with nothing that a shell would take.
	PortalURL string `json:"portal_url,omitempty"`
	Repeat    bool   `json:"repeat,omitempty"` // of a portal that lasts
}

// maxQueue is how many events wait at most: every one of the 60 possible members
// can go and come back in both families (240).
const maxQueue = 256

// scriptLimit is the time that a script has. A resolver asks twice and waits 5 s
// each time (resolv.conf(5)), so a report to a server by name arrives or fails.
const scriptLimit = 10 * time.Second

// grace is the time from SIGTERM to SIGKILL, and how long output is still read
// after the script's end, which a process in the background may keep open. With
// scriptLimit it stays below the monitor's term_timeout in the init script.
const grace = time.Second

// Runner runs the scripts of one folder for the events that are posted to it. It
// has a goroutine only while there are events.
type Runner struct {
	dir   string
	log   func(level, text string)
	limit time.Duration // scriptLimit, less in tests
	grace time.Duration

	worker  sync.WaitGroup
	mu      sync.Mutex // for all below
	queue   []Event
	dropped int // events that were dropped since the last one was taken
	working bool
	current string // the member whose scripts run, while working
	closed  bool
}

// NewRunner returns a runner for the scripts in dir, which need not exist. It
// calls log with a level and one line of text, from a goroutine of its own.
func NewRunner(dir string, log func(level, text string)) *Runner {
	return &Runner{dir: dir, log: log, limit: scriptLimit, grace: grace}
}

// Post queues an event and never blocks. A repetition is dropped where a script of
// the member runs or waits. Of more than 256 waiting events the oldest are dropped,
// and the log says so. After Close it does nothing.
func (r *Runner) Post(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || e.Repeat && r.isUnderWay(e.Member) {
		return
	}
	if len(r.queue) == maxQueue {
		r.queue = r.queue[1:]
		r.dropped++
	}
	r.queue = append(r.queue, e)
	if !r.working {
		r.working = true
		r.worker.Add(1)
		go r.work()
	}
}

// isUnderWay reports whether a script runs or is to run for a member.
func (r *Runner) isUnderWay(member string) bool {
	return r.working && r.current == member || slices.ContainsFunc(r.queue, func(e Event) bool { return e.Member == member })
}

// Close waits for the script that is running, at most its time limit and the
// grace (11 s), and drops all that would have run after it.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed = true
	left := len(r.queue) + r.dropped
	r.queue, r.dropped = nil, 0
	r.mu.Unlock()
	r.worker.Wait()
	if left > 0 {
		r.log("warning", fmt.Sprintf("hook scripts: %d events were dropped at the end", left))
	}
}

// work runs the scripts for one event after the other until none is left.
func (r *Runner) work() {
	defer r.worker.Done()
	for {
		r.mu.Lock()
		if len(r.queue) == 0 {
			r.working = false
			r.queue = nil // free the memory of a long queue
			r.mu.Unlock()
			return
		}
		e, dropped := r.queue[0], r.dropped
		r.queue, r.dropped, r.current = r.queue[1:], 0, e.Member
		r.mu.Unlock()
		// Logged here and not in Post, which must not wait for the log.
		if dropped > 0 {
			r.log("warning", fmt.Sprintf("hook scripts are too slow: the %d oldest events were dropped", dropped))
		}
		r.run(e)
	}
}

func (r *Runner) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}
