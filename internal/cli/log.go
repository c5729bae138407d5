package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

const (
	logStderr = "stderr"
	logSyslog = "syslog"
)

// levels are the values of option loglevel, the most important first, as in syslog.
var levels = []string{"error", "warning", "notice", "info", "debug"}

// logger writes messages to standard error, or to syslog, as scripts of procd's triggers
// must, whose standard error is lost; at a terminal to both. It also keeps the text for
// runs that share this run's result.
type logger struct {
	out    io.Writer
	quiet  bool   // out is only for what syslog does not take
	syslog string // where its daemon listens; empty: not to syslog
	level  int    // index into levels of the least important that is written
	kept   strings.Builder
	// forgetful: nothing is kept, since nobody shares a result.
	forgetful bool
	// messages, unless nil, takes all in place of out.
	messages []message
	mu       sync.Mutex
}

// openLog never fails: what syslog does not take (as at boot) goes to standard error.
func openLog(where string, errOut io.Writer) *logger {
	l := &logger{out: errOut, level: slices.Index(levels, "notice")}
	if where != logSyslog {
		return l
	}
	l.syslog = syslogPath
	_, _, terminal := terminalSize(errOut)
	l.quiet = !terminal
	return l
}

// SetLevel leaves out what is less important than the named level.
func (l *logger) SetLevel(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if level := slices.Index(levels, name); level >= 0 {
		l.level = level
	}
}

func (l *logger) Error(texts ...string)   { l.all("error", texts) }
func (l *logger) Warning(texts ...string) { l.all("warning", texts) }
func (l *logger) Notice(texts ...string)  { l.all("notice", texts) }

func (l *logger) all(level string, texts []string) {
	for _, text := range texts {
		l.Log(level, text)
	}
}

// Log writes a message line by line: syslog would join or cut longer ones.
func (l *logger) Log(level, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Index(levels, level) > l.level {
		return
	}
	if l.messages != nil {
		l.messages = append(l.messages, message{level, text})
		return
	}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if !l.forgetful {
			l.kept.WriteString(line + "\n")
		}
		if !l.quiet {
			fmt.Fprintln(l.out, line)
		}
		if l.syslog == "" {
			continue
		}
		if err := sendToSyslog(l.syslog, level, line); err != nil && l.quiet {
			fmt.Fprintln(l.out, line) // as at boot, and where no logd runs
		}
	}
}
