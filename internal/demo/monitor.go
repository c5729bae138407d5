package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// startMonitor starts the monitor and waits until its probes are answered.
func (d *demo) startMonitor() (err error) {
	if d.monitor, err = d.program.Start("monitor"); err != nil {
		return err
	}
	for end := time.Now().Add(answerTime); ; time.Sleep(50 * time.Millisecond) {
		out, err := d.program.Run("status")
		if err == nil && strings.Count(out, " online ") == uplinks {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the monitor does not work: %w\n%s%s", err, out, d.monitor.Log)
		}
	}
}

// await waits until the monitor says a text, and returns how long that took.
func (d *demo) await(text string) (time.Duration, error) {
	start := time.Now()
	// Far above the 3 s that it takes by design.
	for end := start.Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(d.monitor.Log.String(), text) {
			return time.Since(start), nil
		}
	}
	return 0, fmt.Errorf("the monitor did not say: %s\n%s", text, d.monitor.Log)
}

// endMonitor ends the monitor, if it was started. What it has brought into the
// kernel stays.
func (d *demo) endMonitor() {
	if d.monitor != nil {
		_ = d.monitor.End(syscall.SIGTERM) // it may have ended already
	}
}
