package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Where messages go.
const (
	logStderr = "stderr"
	logSyslog = "syslog"
)

// levels are the values of option loglevel, the most important first.
var levels = []string{"error", "warning", "notice", "info", "debug"}

// logger writes messages to standard error or to syslog, where procd's
// triggered scripts must write because their standard error is lost. It also
// keeps the text for runs that share this run's result.
type logger struct {
	out    io.Writer
	syslog *syslogSocket
	level  int // index into levels of the least important that is written
	kept   strings.Builder
}

func openLog(where string, errOut io.Writer) (*logger, error) {
	l := &logger{out: errOut, level: slices.Index(levels, "notice")}
	if where != logSyslog {
		return l, nil
	}
	socket, err := openSyslog()
	if err != nil {
		return nil, fmt.Errorf("syslog: %w", err)
	}
	l.syslog = socket
	return l, nil
}

// SetLevel leaves out what is less important than the named level.
func (l *logger) SetLevel(name string) {
	if level := slices.Index(levels, name); level >= 0 {
		l.level = level
	}
}

// Close closes the connection to syslog.
func (l *logger) Close() {
	if l.syslog != nil {
		l.syslog.Close()
	}
}

func (l *logger) Error(text string)   { l.write("error", text) }
func (l *logger) Warning(text string) { l.write("warning", text) }
func (l *logger) Notice(text string)  { l.write("notice", text) }

// write writes a message line by line: syslog would join or cut longer ones.
func (l *logger) write(level, text string) {
	if slices.Index(levels, level) > l.level {
		return
	}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		l.kept.WriteString(line + "\n")
		if l.syslog == nil {
			fmt.Fprintln(l.out, line)
			continue
		}
		if err := l.syslog.Send(level, line); err != nil {
			fmt.Fprintf(os.Stderr, "syslog: %v: %s\n", err, line)
		}
	}
}
