package cli

import (
	"fmt"
	"io"
	"log/syslog"
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
	syslog *syslog.Writer
	level  int // index into levels of the least important that is written
	kept   strings.Builder
}

func openLog(where string, errOut io.Writer) (*logger, error) {
	l := &logger{out: errOut, level: 2}
	if where != logSyslog {
		return l, nil
	}
	writer, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_NOTICE, "loadbalance")
	if err != nil {
		return nil, fmt.Errorf("syslog: %w", err)
	}
	l.syslog = writer
	return l, nil
}

// SetLevel leaves out what is less important than the named level.
func (l *logger) SetLevel(name string) {
	for i, level := range levels {
		if level == name {
			l.level = i
		}
	}
}

// Close closes the connection to syslog.
func (l *logger) Close() {
	if l.syslog != nil {
		l.syslog.Close()
	}
}

func (l *logger) Error(text string)   { l.write(0, text) }
func (l *logger) Warning(text string) { l.write(1, text) }
func (l *logger) Notice(text string)  { l.write(2, text) }
func (l *logger) Info(text string)    { l.write(3, text) }

// write writes a message line by line: syslog would join or cut longer ones.
func (l *logger) write(level int, text string) {
	if level > l.level {
		return
	}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		l.kept.WriteString(line + "\n")
		if l.syslog == nil {
			fmt.Fprintln(l.out, line)
			continue
		}
		// There is nowhere left to report that syslog is gone.
		_ = l.toSyslog(level, line)
	}
}

func (l *logger) toSyslog(level int, line string) error {
	switch level {
	case 0:
		return l.syslog.Err(line)
	case 1:
		return l.syslog.Warning(line)
	case 2:
		return l.syslog.Notice(line)
	}
	return l.syslog.Info(line)
}
