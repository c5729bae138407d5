package lifecycle

import (
	"net/netip"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// load is traffic that must survive what a test does: new connections, 200 per
// second, each of which exchanges again after a while, and 50 that are open from
// the start to the end.
type load struct {
	d     *device
	flows netlab.Flows
	tally chan netlab.Tally
}

// startLoad starts traffic for about three seconds.
func (d *device) startLoad() *load {
	d.t.Helper()
	l := &load{d: d, tally: make(chan netlab.Tally, 1)}
	var tally netlab.Tally
	l.flows, tally = d.lab.Open(netlab.Traffic{Count: 50, Parallel: 10, Server: netip.AddrPortFrom(netlab.Server(9), netlab.EchoPort)})
	if tally.Failed > 0 {
		d.t.Fatalf("%d of the long connections failed: %v", tally.Failed, tally.Err)
	}
	d.t.Cleanup(l.flows.Close)
	go func() {
		l.tally <- d.lab.Connect(netlab.Traffic{Count: 600, Rate: 200, Recheck: 300 * time.Millisecond})
	}()
	return l
}

// expectNoHarm ends the traffic: no connection failed, changed its uplink, or
// left by another one than its address belongs to. It returns the new ones.
func (l *load) expectNoHarm() netlab.Tally {
	l.d.t.Helper()
	tally := <-l.tally
	if tally.Failed > 0 {
		l.d.t.Errorf("%d of %d new connections failed: %v", tally.Failed, len(tally.Sequence), tally.Err)
	}
	if failed, err := l.flows.Check(10 * time.Second); failed > 0 {
		l.d.t.Errorf("%d of %d long connections broke: %v", failed, len(l.flows), err)
	}
	l.d.expectNoSpoofed()
	return tally
}

// underLoad starts five balanced uplinks with traffic.
func underLoad(t *testing.T, backend string) (*device, *load) {
	t.Helper()
	d := newDevice(t, netlab.Options{Uplinks: 5, Backend: backend})
	d.install()
	d.balance(5)
	d.quiet("reload_config")
	d.log.await(t)
	d.log.take()
	return d, d.startLoad()
}

func TestRestartUnderLoad(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		d, load := underLoad(t, backend)
		for range 5 {
			d.quiet("/etc/init.d/loadbalance restart")
		}
		load.expectNoHarm()
		d.expectLog()
	})
}

func TestUpgradeUnderLoad(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		d, load := underLoad(t, backend)
		d.upgrade()
		load.expectNoHarm()
		d.expectLog()
	})
}

// TestNewWeight: a changed weight is applied once, in the way that the interface
// of OpenWrt does it, and moves no connection.
func TestNewWeight(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		d, load := underLoad(t, backend)
		d.quiet("uci set loadbalance.wan1.weight='4'; uci commit loadbalance; reload_config; reload_config")
		load.expectNoHarm()
		d.expectLog("apply: ")
		d.expectShares(4, 1, 1, 1, 1)
	})
}

// TestFirewallUnderLoad: a reload of the firewall runs the include, which has
// nothing to do.
func TestFirewallUnderLoad(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		d, load := underLoad(t, backend)
		d.quiet("/etc/init.d/firewall reload")
		load.expectNoHarm()
		d.expectLog()
	})
}

// TestOneOfFiveGoes: new connections go to the other four from the next one on,
// and connections of these lose nothing.
func TestOneOfFiveGoes(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		d := newDevice(t, netlab.Options{Uplinks: 5, Backend: backend})
		d.install()
		d.balance(5)
		flows, tally := d.lab.Open(netlab.Traffic{Count: 50, Parallel: 10})
		if tally.Failed > 0 {
			t.Fatalf("%d connections failed: %v", tally.Failed, tally.Err)
		}
		defer flows.Close()
		check(t, d.ifdown(3))
		d.expectPlan("after ifdown")
		d.expectShares(1, 1, 0, 1, 1)
		var others netlab.Flows
		for _, flow := range flows {
			if flow.Uplink != 3 {
				others = append(others, flow)
			}
		}
		if len(others) != 40 {
			t.Errorf("%d of 50 connections are not of wan3, want 40", len(others))
		}
		if failed, err := others.Check(10 * time.Second); failed > 0 {
			t.Errorf("%d of %d connections of the other uplinks broke: %v", failed, len(others), err)
		}
		d.expectNoSpoofed()
	})
}
