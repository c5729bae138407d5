package monitor

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/health"
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
		reason := g.applied[family.IPv4]["wan2"].Offline
		if !strings.HasPrefix(reason, "no answer from 192.0.2.1, 192.0.2.2") || strings.HasSuffix(reason, told) != blocked ||
			strings.Count(reason, "; probe") > 1 || !blocked && strings.Contains(reason, "permitted") {
			t.Errorf("blocked %v: reason %q", blocked, reason)
		}
		if g.event.Reason != reason {
			t.Errorf("blocked %v: the script's reason is %q", blocked, g.event.Reason)
		}
	}
}

// TestOwnTarget: an address of the router is not probed, which is said once.
func TestOwnTarget(t *testing.T) {
	g := newMonitorRig(t, strings.ReplaceAll(three, "list track_ip '192.0.2.2'", "list track_ip '192.168.1.1'"))
	g.begin(g.now)
	for range 3 {
		g.kernel.Network++
		g.pass(3 * time.Second)
	}
	for _, member := range []string{"wan1", "wan2", "wan3"} {
		key := health.Key{Member: member}
		if probes := g.probes[key]; len(probes) != 1 || probes[0].Address.String() != "192.0.2.1" || g.sent[key] == 0 {
			t.Errorf("%s: probes %+v, %d sent", member, probes, g.sent[key])
		}
		told := "error: " + health.OwnTarget(member, netip.MustParseAddr("192.168.1.1"))
		if n := strings.Count(strings.Join(g.logged, "\n"), told); n != 1 {
			t.Errorf("%s: told %d times:\n%s", member, n, strings.Join(g.logged, "\n"))
		}
	}
}
