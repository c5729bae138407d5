package uplink

import (
	"errors"
	"fmt"
	"time"

	"loadbalance/internal/uci"
)

const (
	// firstLimit is how long netifd may take when a process asks it for the first
	// time. It answers from memory, within milliseconds, and is late only while
	// it sets up many devices.
	firstLimit = 10 * time.Second
	// knownLimit is how long it may take later, or where an answer is known:
	// with what program.Run may take longer, a verdict comes less than a second late.
	knownLimit = 700 * time.Millisecond
	// silentFor is how long a silent netifd is left alone: a verdict that comes
	// up while one run waits for netifd is not to wait again in its own.
	silentFor = time.Second
)

// Netifd asks netifd and keeps what it said. A netifd that does not answer says
// nothing of the lines: what it said last goes on counting, together with what
// the kernel says now.
type Netifd struct {
	// ConfigDir has the file network.
	ConfigDir string
	// Answer is what netifd said when it was asked last; nil: nothing.
	Answer []byte

	interfaces []netifdInterface // as netifd said last; nil: never
	answered   time.Time
	failure    error // why netifd did not answer when it was asked last
	failed     time.Time
}

// Recall takes over an answer of an earlier process, if none is known. One that
// cannot be read is as good as lost.
func (n *Netifd) Recall(answer []byte, answered time.Time) {
	if interfaces, err := parseDump(answer); err == nil && n.interfaces == nil {
		n.interfaces, n.answered = interfaces, answered
	}
}

// ask has interfaces and failure tell what netifd says.
func (n *Netifd) ask() {
	if n.failure != nil && time.Since(n.failed) < silentFor {
		return
	}
	limit := firstLimit
	if n.interfaces != nil || n.failure != nil {
		limit = knownLimit
	}
	var interfaces []netifdInterface
	if n.Answer, n.failure = dumpInterfaces(limit); n.failure == nil {
		interfaces, n.failure = parseDump(n.Answer)
	}
	if n.failure == nil && len(interfaces) == 0 {
		n.failure = errors.New("ubus call network.interface dump: the answer has no interface")
	}
	if n.failure != nil {
		n.Answer, n.failed = nil, time.Now()
		return
	}
	n.interfaces, n.answered = interfaces, time.Now()
}

// silence says that netifd does not answer, and what counts instead; empty if it
// answers.
func (n *Netifd) silence() string {
	switch {
	case n.failure == nil:
		return ""
	case n.interfaces == nil:
		return fmt.Sprintf("netifd does not answer, and no earlier answer is known (%v)", n.failure)
	}
	age := max(time.Since(n.answered), 0).Round(time.Second)
	return fmt.Sprintf("netifd does not answer: what it said %s ago counts (%v)", age, n.failure)
}

// network are the interfaces' sections of the file network by name; nil where
// it cannot be read, which is for package advice to tell.
func (n *Netifd) network() map[string]uci.Section {
	file, err := uci.Load(n.ConfigDir, "network")
	if err != nil {
		return nil
	}
	sections := map[string]uci.Section{}
	for _, s := range file.Sections {
		if s.Type == "interface" {
			sections[s.Name] = s
		}
	}
	return sections
}
