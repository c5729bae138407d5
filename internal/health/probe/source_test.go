package probe

import (
	"net/netip"
	"strings"
	"testing"

	"loadbalance/internal/family"
)

// A line may have a delegated prefix and no address of its own: its probes come
// from an address on another device, and not from that in another line's prefix
// which the kernel would choose.
func TestSourceOnAnotherDevice(t *testing.T) {
	l := newLab(t, 1)
	l.serveAll(1)
	l.run("ip link add lan type veth peer name host")
	l.run("ip link set lan up")
	// The kernel prefers what resembles the target most.
	for _, address := range []string{"2001:db8:2::1", "2001:db8:fff0::1"} {
		l.run("ip addr add " + address + "/64 dev lan nodad")
	}
	l.run("ip addr del 2001:db8:1::2/64 dev wan1")
	linkLocal := l.linkLocal("wan1")
	l.inFar(1, func() {
		l.nft("inet", "input", "ip6 saddr 2001:db8:fff0::/48 counter drop")
		l.run("ip route add 2001:db8:2::/48 via " + linkLocal + " dev wan")
	})
	for round, method := range []string{"ping", "tcp", "dns", "http"} {
		p := l.probe(1, family.IPv6, method, uint32(round))
		p.Source = netip.MustParseAddr("2001:db8:2::1")
		l.send(p)
		l.expect(p)
	}
	l.inFar(1, func() {
		if n := l.counted(); n[0] > 0 {
			t.Errorf("%d packets came from another line's prefix", n[0])
		}
	})
}

// linkLocal returns the link-local address of a device.
func (l *lab) linkLocal(device string) string {
	l.t.Helper()
	words := strings.Fields(l.run("ip -6 -o addr show dev " + device + " scope link"))
	for i, word := range words {
		if word == "inet6" {
			address, _, _ := strings.Cut(words[i+1], "/")
			return address
		}
	}
	l.t.Fatalf("no link-local address on %s: %v", device, words)
	return ""
}
