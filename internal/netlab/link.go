package netlab

import (
	"fmt"
	"strings"
	"time"
)

// SettleTimeout bounds the wait for what the kernel does within a second: a
// machine that is busy, or pauses, is no failure.
const SettleTimeout = 30 * time.Second

// awaitLinks waits until the kernel reports the carrier that every device has,
// or has lost, as its state. It does that with a delay, at most once per second
// (linkwatch), and until then programs take a new device for one without a
// cable.
func (ns *Namespace) awaitLinks() error {
	for end := time.Now().Add(SettleTimeout); ; time.Sleep(2 * time.Millisecond) {
		out, err := ns.Run("ip", "-o", "link", "show", "up")
		if err != nil {
			return err
		}
		late := lateLink(out)
		if late == "" {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: state does not follow the carrier: %s", ns.Name, late)
		}
	}
}

// lateLink returns the line of a device whose reported state (NO-CARRIER, the
// absence of IFF_RUNNING) contradicts its carrier (LOWER_UP).
func lateLink(lines string) string {
	for _, line := range strings.Split(lines, "\n") {
		if line == "" {
			continue
		}
		if strings.Contains(line, "LOWER_UP") == strings.Contains(line, "NO-CARRIER") {
			return line
		}
	}
	return ""
}
