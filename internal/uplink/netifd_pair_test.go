package uplink

import (
	"net/netip"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// Two interfaces of one line, each a member of its own, as mwan3 has them: the
// kernel's IPv6 on the device, its delegated prefix too, is that of wan6 alone.
func TestNetifdMemberPerFamily(t *testing.T) {
	kernel := kernelWith(device{name: "eth1", addresses: []string{"192.0.2.2/24", "2001:db8:1::2/64"}})
	kernel.routes[family.IPv6] = []route{{Route: Route{Type: Unicast, Destination: prefix("::/0"),
		From: prefix("2001:db8:100::/56"), Device: "eth1", Gateway: addr("fe80::1")}}}
	wan := netifdInterface{Name: "wan", Up: true, L3Device: "eth1"}
	wan.Addresses[family.IPv4] = addrs("192.0.2.2")
	wan6 := netifdInterface{Name: "wan6", Up: true, L3Device: "eth1", Prefixes: []netip.Prefix{prefix("2001:db8:100::/56")}}
	wan6.Addresses[family.IPv6] = addrs("2001:db8:1::2")
	n := &netifd{snapshot: kernel, interfaces: []netifdInterface{wan, wan6},
		members: []config.Member{{Name: "wan", Interface: "wan"}, {Name: "wan6", Interface: "wan6"}}}
	s := n.state()
	if p := s.Members[0].IPv6; p != nil {
		t.Errorf("wan has IPv6: %+v", *p)
	}
	if p := s.Members[1].IPv6; p == nil || !p.Up {
		t.Errorf("wan6 has no IPv6: %+v", p)
	}
	// Alone, wan has the line's IPv6 as well.
	n.members = n.members[:1]
	if p := n.state().Members[0].IPv6; p == nil || !p.Up {
		t.Errorf("wan alone has no IPv6: %+v", p)
	}
}
