package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// TestManyRoutes has a routing daemon fill the main table. Its routes lead where
// they say, a line that dies is left as soon as ever, and the monitor does not
// grow with the table.
func TestManyRoutes(t *testing.T) {
	const count = 20000
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, members(netlab.Separate, 3, append(tracked[:len(tracked):len(tracked)], fastest...)...))
		r.must("apply")
		few := r.watchBlackout(2)
		r.addRoutes(count)
		many := r.watchBlackout(2)
		t.Logf("%d routes: dealt nothing after %v, %d KB; with few after %v, %d KB", count, many.took, many.memory, few.took, few.memory)
		if many.memory > 2*few.memory {
			t.Errorf("the monitor needs %d KB, with few routes %d KB", many.memory, few.memory)
		}

		const notice = "the main table, or one of another program, has more than 5000 routes (ipv4)"
		if out := r.must("status"); !strings.Contains(out, notice) {
			t.Errorf("status does not name it:\n%s", out)
		}
		if _, messages, _ := r.call("check"); !strings.Contains(messages, notice) {
			t.Errorf("check does not name it:\n%s", messages)
		}
		tally := r.lab.Connect(netlab.Traffic{Server: server(netlab.VPNHost, netlab.EchoPort), Count: 30})
		if tally.ByUplink[0] != 30 {
			t.Errorf("connections into the VPN: %v", tally)
		}
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 30}))
	})
}

// addRoutes adds routes into the VPN to the main table, as a routing daemon does.
func (r *router) addRoutes(count int) {
	r.t.Helper()
	var batch strings.Builder
	for i := range count {
		a := netip.AddrFrom4([4]byte{100, byte(i >> 12), byte(i >> 4), byte(i << 4)})
		fmt.Fprintf(&batch, "route add %v/28 dev %s proto bgp\n", a, netlab.VPNDevice)
	}
	file := filepath.Join(r.dir, "batch")
	check(r.t, os.WriteFile(file, []byte(batch.String()), 0o600))
	r.sh("ip -batch " + file)
}

// blackoutCost is what the silent death of a line cost a monitor.
type blackoutCost struct {
	took   time.Duration // until the line was dealt nothing
	memory int           // the most that the monitor had, in KB
}

// watchBlackout runs a monitor through a silent death of a line.
func (r *router) watchBlackout(uplink int) blackoutCost {
	r.t.Helper()
	m := r.startMonitor()
	took := r.blackoutTime(uplink)
	memory := peakMemory(r.t, m)
	check(r.t, m.End(syscall.SIGTERM))
	return blackoutCost{took, memory}
}

// blackoutTime is how long after its silent death a line is still dealt
// connections.
func (r *router) blackoutTime(uplink int) time.Duration {
	r.t.Helper()
	name := fmt.Sprintf("wan%d", uplink)
	r.waitState(name, "active")
	start := time.Now()
	check(r.t, r.lab.Blackhole(uplink))
	eventually(r.t, name+" is dealt nothing", func() bool {
		return !slices.Contains(strings.Fields(r.sh("iptables-"+r.backend+" -t mangle -S lb_policy_balanced")), "lb_member_"+name)
	})
	took := time.Since(start)
	check(r.t, r.lab.Restore(uplink))
	r.waitState(name, "active")
	return took
}

// peakMemory is the most that a process has had in memory, in KB.
func peakMemory(t *testing.T, p *netlab.Process) (kilobytes int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	check(t, err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes
}
