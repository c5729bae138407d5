package monitor

import (
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
)

// TestDeviceOfLostLink: netifd tells no device of an interface that is down,
// but a script wants to know which one it was.
func TestDeviceOfLostLink(t *testing.T) {
	g := newMonitorRig(t, three)
	g.noDevice = true
	g.start()
	g.down["wan2"] = true
	g.kernel.Network++
	g.pass(3 * time.Second)
	g.expect("events", &g.events, "inactive wan2 ipv4", "offline wan2 ipv4")
	if g.event.Device != "wan2" {
		t.Errorf("the last event: %+v", g.event)
	}
}

// TestProbesThatCannotBeSent: the reason tells trouble on this router, such as
// a firewall that refuses its probes, from a dead line.
func TestProbesThatCannotBeSent(t *testing.T) {
	const told = "; probe of 192.0.2.2 cannot be sent: operation not permitted"
	for _, blocked := range []bool{true, false} {
		g := newMonitorRig(t, three)
		g.blocked["wan2"] = true
		g.start()
		g.blocked["wan2"], g.silent["wan2"] = blocked, true
		g.pass(4 * time.Second)
		reason := g.applied[family.IPv4]["wan2"]
		if !strings.HasPrefix(reason, "no answer from 192.0.2.1, 192.0.2.2") || strings.HasSuffix(reason, told) != blocked ||
			strings.Count(reason, "; probe") > 1 || !blocked && strings.Contains(reason, "permitted") {
			t.Errorf("blocked %v: reason %q", blocked, reason)
		}
		if g.event.Reason != reason {
			t.Errorf("blocked %v: the script's reason is %q", blocked, g.event.Reason)
		}
	}
}
