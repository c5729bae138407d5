package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// TestRelayedPrefix: a LAN host has an address of uplink 2's own network, as
// odhcpd's relay gives it, and netifd makes no source-specific routes
// (sourcefilter '0'). Its packets leave by that uplink, and by none while it is
// dead.
func TestRelayedPrefix(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3, IPv6: true}, members(netlab.Separate, 3))
		for i := 1; i <= 3; i++ {
			u := r.lab.Uplink(i)
			r.sh(fmt.Sprintf("ip -6 route flush default dev %[1]s; ip -6 route add default via %[2]v dev %[1]s metric %[3]d", u.Device, u.Gateway6, i))
		}
		inside := r.lab.Uplink(2).Address6.Addr()
		for range 100 {
			inside = inside.Next()
		}
		if _, err := r.lab.Client.Run("ip", "addr", "add", inside.String()+"/128", "dev", "lan", "nodad"); err != nil {
			t.Fatal(err)
		}
		r.sh("ip -6 route add " + inside.String() + "/128 dev lan")
		r.must("apply")
		for i := 1; i <= 3; i++ {
			r.sh(fmt.Sprintf("ip6tables-%s -t mangle -A POSTROUTING -s %v -o wan%d", backend, inside, i))
		}
		send := func() {
			t.Helper()
			traffic := netlab.Traffic{Server: netip.AddrPortFrom(netlab.Server6(1), netlab.DiscardPort), Sources: []netip.Addr{inside}, Count: 20}
			check(t, r.lab.SendUDP(traffic, 1, 0))
		}
		left := func() (by [4]int) {
			for _, line := range strings.Split(r.saved(family.IPv6, "mangle"), "\n") {
				var packets, bytes, i int
				if at := strings.Index(line, "-o wan"); at > 0 && strings.Contains(line, "POSTROUTING") {
					fmt.Sscanf(line, "[%d:%d]", &packets, &bytes)
					fmt.Sscanf(line[at:], "-o wan%d", &i)
					by[i] = packets
				}
			}
			return by
		}
		send()
		eventually(t, "20 packets by uplink 2", func() bool { return left() == [4]int{0, 0, 20, 0} })
		r.sh("ip link set wan2 down")
		r.must("apply")
		send()
		if got := left(); got != [4]int{0, 0, 20, 0} {
			t.Errorf("while its line is down, %v packets left by the uplinks", got)
		}
	})
}
