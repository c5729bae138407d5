package main

import (
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// TestNoIP6Tables has only the programs for IPv4 installed.
func TestNoIP6Tables(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true}, members(netlab.Separate, 2))
		before := r.dump()
		p := newPrograms(t)
		p.link("iptables-"+backend, "iptables-"+backend+"-save", "iptables-"+backend+"-restore")
		r.env = p.env()
		_, messages, code := r.call("apply")
		if code != 0 || !strings.Contains(messages, "ip6tables") || !strings.Contains(messages, "IPv6 is not balanced") {
			t.Errorf("exit code %d, messages:\n%s", code, messages)
		}
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 20}))
		expectNoIPv6(r, before)
		if out := r.must("plan"); out != "" {
			t.Errorf("plan still finds work:\n%s", out)
		}
		if _, messages, code := r.call("check"); code != 0 || !strings.Contains(messages, "ip6tables") {
			t.Errorf("check: exit code %d, messages:\n%s", code, messages)
		}
		r.must("stop")
		r.expectSame("after stop", before, r.dump())
	})
}

// TestNoIP6TablesNeeded has no member with IPv6: nobody misses ip6tables.
func TestNoIP6TablesNeeded(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2))
	p := newPrograms(t)
	p.link("iptables-nft-save", "iptables-nft-restore")
	r.env = p.env()
	if _, messages, code := r.call("apply"); code != 0 || messages != "" {
		t.Errorf("exit code %d, messages:\n%s", code, messages)
	}
}

// expectNoIPv6 fails the test unless IPv6 is as it was.
func expectNoIPv6(r *router, before dump) {
	r.t.Helper()
	now, want, got := r.dump(), dump{}, dump{}
	for _, command := range dumpCommands {
		if strings.Contains(command, "-6") || strings.HasPrefix(command, "ip6") {
			want[command], got[command] = before[command], now[command]
		}
	}
	r.expectSame("IPv6", want, got)
}

// TestIPv6SwitchedOff has a kernel whose IPv6 is switched off.
func TestIPv6SwitchedOff(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Separate, 2, "option gateway6 fe80::1")
		r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true}, config)
		for _, conf := range []string{"all", "default"} {
			if err := r.lab.Router.Sysctl("net/ipv6/conf/"+conf+"/disable_ipv6", "1"); err != nil {
				t.Fatal(err)
			}
		}
		before := r.dump()
		_, messages, code := r.call("apply")
		if code != 0 || !strings.Contains(messages, "IPv6") {
			t.Errorf("exit code %d, messages:\n%s", code, messages)
		}
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 20}))
		expectNoIPv6(r, before)
		if out := r.must("plan"); out != "" {
			t.Errorf("plan still finds work:\n%s", out)
		}
		r.must("stop")
		r.expectSame("after stop", before, r.dump())
	})
}

// TestIPv6SwitchedOffWhileRunning switches IPv6 off and on again between
// applies.
func TestIPv6SwitchedOffWhileRunning(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true}, members(netlab.Separate, 2))
		r.must("apply")
		if err := r.lab.Router.Sysctl("net/ipv6/conf/all/disable_ipv6", "1"); err != nil {
			t.Fatal(err)
		}
		r.must("apply")
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 20}))
		if out := r.must("plan"); out != "" {
			t.Errorf("plan still finds work:\n%s", out)
		}
		r.must("stop")
		if out := r.sh("ip -N -6 rule; ip6tables-" + backend + "-save; ipset list -n"); strings.Contains(out, "lb_") || strings.Contains(out, "proto 108") {
			t.Errorf("left after stop:\n%s", out)
		}
	})
}

// TestNoIPTables has no iptables at all.
func TestNoIPTables(t *testing.T) {
	for _, backend := range []string{"nft", "legacy", "auto"} {
		t.Run(backend, func(t *testing.T) {
			r := newRouter(t, "nft", netlab.Options{Uplinks: 2, IPv6: true}, members(netlab.Separate, 2))
			r.backend = backend
			before := r.dump()
			p := newPrograms(t)
			p.link("sh")
			r.env = p.env()
			for _, command := range []string{"apply", "plan", "check"} {
				out, messages, code := r.call(command)
				if code != 1 || out != "" || !strings.Contains(messages, "iptables") || !strings.Contains(messages, "is not installed") {
					t.Errorf("%s: exit code %d, output %q, messages:\n%s", command, code, out, messages)
				}
			}
			r.expectSame("without iptables", before, r.dump())
			r.expectNames(0)
		})
	}
}
