package uplink

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"loadbalance/internal/config"
	"loadbalance/internal/kernel"
)

// TestUnreadableKernel: what cannot be read is an error. Taken for empty, it would
// have every uplink withdrawn.
func TestUnreadableKernel(t *testing.T) {
	file, err := filepath.Abs("testdata/netifd/dhcp.json")
	if err != nil {
		t.Fatal(err)
	}
	standInForUbus(t, "cat "+file)
	h, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	for name, member := range map[string]config.Member{
		"kernel": {Name: "m", Device: "wan"},
		"netifd": {Name: "m", Interface: "wan"},
	} {
		s, err := NetifdSource{Kernel: h}.Read([]config.Member{member})
		if err == nil || !strings.HasPrefix(err.Error(), "routes: ") || len(s.Members) > 0 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// TestOperational: the states of RFC 2863 in which a device carries traffic.
func TestOperational(t *testing.T) {
	for state, want := range map[netlink.LinkOperState]bool{
		netlink.OperUnknown: true, netlink.OperNotPresent: false, netlink.OperDown: false, netlink.OperLowerLayerDown: false,
		netlink.OperTesting: false, netlink.OperDormant: false, netlink.OperUp: true,
	} {
		if got := operational(state); got != want {
			t.Errorf("%s: %v", state, got)
		}
	}
}

// TestParseAddress: the connected network of an address with a peer is the
// peer's.
func TestParseAddress(t *testing.T) {
	for _, tt := range []struct{ own, peer, network, other string }{
		{"192.0.2.2/24", "", "192.0.2.0/24", ""},
		{"192.0.2.2/24", "192.0.2.2/24", "192.0.2.0/24", ""},
		{"192.0.2.2/32", "203.0.113.1/32", "203.0.113.1/32", "203.0.113.1"},
		{"192.0.2.2/32", "203.0.113.1/24", "203.0.113.0/24", "203.0.113.1"},
		{"2001:db8::2/64", "", "2001:db8::/64", ""},
	} {
		raw := netlink.Addr{IPNet: kernel.IPNet(prefix(tt.own)), Scope: 7, Flags: 0x80}
		if tt.peer != "" {
			raw.Peer = kernel.IPNet(prefix(tt.peer))
		}
		a := parseAddress(raw)
		peer := ""
		if a.Peer.IsValid() {
			peer = a.Peer.String()
		}
		if a.Prefix != prefix(tt.own) || a.network != prefix(tt.network) || peer != tt.other || a.scope != 7 || a.flags != 0x80 {
			t.Errorf("%s peer %q: %+v", tt.own, tt.peer, a)
		}
	}
}

// TestFamiliesOfTheKernel: IPv4 is always there.
func TestFamiliesOfTheKernel(t *testing.T) {
	for _, ipv6 := range []bool{true, false} {
		s := (&netifd{snapshot: &snapshot{ipv6: ipv6}}).state()
		if !s.IPv4.Enabled || s.IPv6.Enabled != ipv6 {
			t.Errorf("IPv6 %v: %+v", ipv6, s)
		}
	}
}
