package main

import (
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// TestMonitorWhileRefused: where one family cannot be had, a dead line is
// noticed all the same and goes out of use in the other, and the log does not
// tell of it without end.
func TestMonitorWhileRefused(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true},
			members(netlab.Separate, 2, append(tracked[:len(tracked):len(tracked)], fastest...)...))
		p := newPrograms(t)
		p.link(iptablesPrograms(backend)...)
		p.script("ip6tables-"+backend+"-restore", "cat > /dev/null\necho \"line 7 failed\" >&2\nexit 1")
		p.link("cat", "sh", "sleep")
		r.env = p.env()
		if _, _, code := r.call("apply"); code != 1 {
			t.Fatalf("exit code %d, want 1", code)
		}
		m := r.startMonitor()
		eventually(t, "the monitor probes", func() bool { return r.probedLines() == 2 })
		check(t, r.lab.Blackhole(2))
		eventually(t, "wan2 is out of use", func() bool {
			return !strings.Contains(r.sh("iptables-"+backend+" -t mangle -S lb_policy_balanced"), "lb_member_wan2")
		})
		if n := m.Log.Count("this is what was refused"); n == 0 || n > 2 {
			t.Errorf("what was refused is logged %d times:\n%s", n, m.Log)
		}
	})
}

// TestMonitorWhileUnreadable: where one family's programs print without end, a
// dead line goes out of use in the other, and status tells what is wrong.
func TestMonitorWhileUnreadable(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true},
			members(netlab.Separate, 2, append(tracked[:len(tracked):len(tracked)], fastest...)...))
		r.must("apply")
		p := newPrograms(t)
		p.link(iptablesPrograms(backend)...)
		p.script("ip6tables-"+backend+"-save", "exec yes")
		p.link("yes")
		r.env = p.env()
		m := r.startMonitor()
		eventually(t, "the monitor probes", func() bool { return r.probedLines() == 2 })
		check(t, r.lab.Blackhole(2))
		eventually(t, "wan2 is out of use", func() bool { return !r.dealtTo("iptables-"+backend, "wan2") })
		if !r.dealtTo("ip6tables-"+backend, "wan2") {
			t.Error("the family that cannot be read was changed")
		}
		const reason = "printed more than 8 MB"
		if s := r.status(); s.InSync || !strings.Contains(strings.Join(s.Drift, "\n"), reason) || m.Log.Count(reason) == 0 {
			t.Errorf("in sync: %v, %q, log:\n%s", s.InSync, s.Drift, m.Log)
		}
	})
}
