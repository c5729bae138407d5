package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// Process is a process that runs in the background.
type Process struct {
	*exec.Cmd
	// Log is its output, both streams together.
	Log *Log
}

// Background starts cmd in the namespace and keeps its output.
func (ns *Namespace) Background(cmd *exec.Cmd) (*Process, error) {
	p := &Process{Cmd: cmd, Log: &Log{}}
	cmd.Stdout, cmd.Stderr = p.Log, p.Log
	if err := ns.Start(cmd); err != nil {
		return nil, err
	}
	return p, nil
}

// End sends a signal and waits for the end of the process, unless somebody has
// waited for it already. Any end but that with exit code 0 is an error, which
// holds the log.
func (p *Process) End(signal os.Signal) error {
	if p.ProcessState != nil {
		return nil
	}
	if err := p.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := p.Wait(); err != nil {
		return fmt.Errorf("%s: %w:\n%s", strings.Join(p.Args, " "), err, p.Log)
	}
	return nil
}

// Log is the output of a process. It can be read while the process runs.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends to the log.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String returns the output so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count returns the number of lines that contain all of the words.
func (l *Log) Count(words ...string) int {
	n := 0
	for _, line := range strings.Split(l.String(), "\n") {
		found := true
		for _, w := range words {
			found = found && strings.Contains(line, w)
		}
		if found {
			n++
		}
	}
	return n
}
