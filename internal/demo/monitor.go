package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// monitor is the program's monitor, at work on the router.
type monitor struct {
	cmd *exec.Cmd
	log log
}

// log is what the monitor writes, readable meanwhile.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// startMonitor starts the monitor and waits until its probes are answered.
func (d *demo) startMonitor() (*monitor, error) {
	command := d.program.Command("monitor")
	m := &monitor{cmd: exec.Command(command[0], command[1:]...)}
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	if err := d.lab.Router.Start(m.cmd); err != nil {
		return nil, err
	}
	for end := time.Now().Add(answerTime); ; time.Sleep(50 * time.Millisecond) {
		out, err := d.program.Run("status")
		if err == nil && strings.Count(out, " online ") == uplinks {
			return m, nil
		}
		if time.Now().After(end) {
			m.end()
			return nil, fmt.Errorf("the monitor does not work: %w\n%s%s", err, out, m.log.String())
		}
	}
}

// await waits until the log has a text, and returns how long that took.
func (m *monitor) await(text string) (time.Duration, error) {
	start := time.Now()
	// Far above the 3 s that it takes by design.
	for end := start.Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(m.log.String(), text) {
			return time.Since(start), nil
		}
	}
	return 0, fmt.Errorf("the monitor did not say: %s\n%s", text, m.log.String())
}

// end ends the monitor. What it has brought into the kernel stays.
func (m *monitor) end() {
	_ = m.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	_ = m.cmd.Wait()
}
