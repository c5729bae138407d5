package main

import (
	"fmt"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// aliases puts uplinks 1 and 2 on one device, br0, as two addresses with a
// gateway each.
func aliases(r *router) {
	r.sh("ip link add br0 type bridge && ip link set br0 up")
	for i := 1; i <= 2; i++ {
		u := r.lab.Uplink(i)
		r.sh(fmt.Sprintf("ip addr flush dev %[1]s; ip link set %[1]s master br0; ip addr add %[2]v dev br0; ip route add default via %[3]v dev br0 metric %[4]d",
			u.Device, u.Address, u.Gateway, i))
	}
	// The laboratory's gateways are one machine: each is to answer for itself.
	check(r.t, r.lab.Access(1).Sysctl("net/ipv4/conf/all/arp_ignore", "1"))
	nat := "iptables-" + r.backend + " -t nat -A "
	r.sh(nat + "PREROUTING -i br0 -j zone_wan_prerouting; " + nat + "POSTROUTING -o br0 -j zone_wan_postrouting")
}

func aliasConfig(r *router, options ...string) string {
	var text strings.Builder
	for i := 1; i <= 2; i++ {
		fmt.Fprintf(&text, "config member 'wan%d'\n\toption device 'br0'\n\toption gateway '%v'\n\t%s\n", i, r.lab.Uplink(i).Gateway,
			strings.Join(options, "\n\t"))
	}
	return text.String()
}

// TestTwoMembersOnOneDevice: shares, connections that come in over each, and
// failover both ways.
func TestTwoMembersOnOneDevice(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, "")
		aliases(r)
		r.configure(aliasConfig(r, append(tracked[:len(tracked):len(tracked)], fastest...)...))
		r.must("apply")
		r.startMonitor()
		expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 100}))
		for i := 1; i <= 2; i++ {
			r.expectTurnsUsed(family.IPv4, 0, func() { expectInbound(t, r, i) })
		}
		for i := 1; i <= 2; i++ {
			check(t, r.lab.Blackhole(i))
			eventually(t, "line "+fmt.Sprint(i)+" is offline", func() bool { return r.status().Members[i-1].IPv4.State == "offline" })
			left := []int{0, 40, 40}
			left[i] = 0
			expectShares(t, r.lab.Connect(netlab.Traffic{Count: 40}), left...)
			expectInbound(t, r, 3-i)
			check(t, r.lab.Restore(i))
			eventually(t, "line "+fmt.Sprint(i)+" is active", func() bool { return r.status().Members[i-1].IPv4.State == "active" })
		}
	})
}

// TestNoSecondLine: one gateway on one device is one line, however often it is
// configured.
func TestNoSecondLine(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, "")
		gateway := r.lab.Uplink(1).Gateway
		r.configure(fmt.Sprintf("config member 'a'\n\toption device 'wan1'\nconfig member 'b'\n\toption device 'wan1'\n\toption gateway '%v'\n"+
			"config member 'c'\n\toption device 'wan2'\n", gateway))
		_, messages, code := r.call("check")
		want := fmt.Sprintf("member 'b' is left out: is on the device of member 'a' and has the same gateway %v: no second line (set option gateway)", gateway)
		if code != 0 || !strings.Contains(messages, want) {
			t.Errorf("check: exit code %d, messages %q", code, messages)
		}
		r.must("apply")
		expectShares(t, r.lab.Connect(netlab.Traffic{Count: 40}), 0, 20, 20)
	})
}
