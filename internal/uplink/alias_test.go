package uplink

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/config"
)

// on returns a path on eth1.
func on(gateway string, addresses ...string) *Path {
	p := &Path{Device: "eth1", Up: true}
	if gateway != "" {
		p.Gateway = netip.MustParseAddr(gateway)
	}
	for _, a := range addresses {
		prefix := netip.MustParsePrefix(a)
		p.Addresses = append(p.Addresses, prefix.Addr())
		p.Networks = append(p.Networks, Network{prefix.Masked(), prefix.Addr()})
	}
	return p
}

// TestSeparate: which of two members on one device are a line, with which
// addresses.
func TestSeparate(t *testing.T) {
	elsewhere := on("10.0.1.254", "10.0.1.1/24")
	elsewhere.Device = "eth2"
	for name, tt := range map[string]struct {
		second *Path
		reason string // why the second is none
		want   string // the addresses of both
	}{
		"an address each":                 {on("10.0.2.254", "10.0.2.1/24"), "", "[10.0.1.1] [10.0.2.1]"},
		"both addresses, two gateways":    {on("10.0.2.254", "10.0.1.1/24", "10.0.2.1/24"), "", "[10.0.1.1] [10.0.2.1]"},
		"the same gateway":                {on("10.0.1.254", "10.0.1.2/24"), "same gateway 10.0.1.254", "[10.0.1.1] [10.0.1.2]"},
		"the same address":                {on("10.0.1.253", "10.0.1.1/24"), "same address", "[10.0.1.1] [10.0.1.1]"},
		"no gateway":                      {on("", "10.0.2.1/24"), "no gateway tells the two apart", "[10.0.1.1] [10.0.2.1]"},
		"the same gateway, other device":  {elsewhere, "", "[10.0.1.1] [10.0.1.1]"},
		"a gateway outside of any subnet": {on("10.9.9.9", "10.0.1.1/24"), "same address", "[10.0.1.1] [10.0.1.1]"},
	} {
		first := on("10.0.1.254", "10.0.1.1/24")
		s := State{Members: []Member{{Name: "a", IPv4: first}, {Name: "b", IPv4: tt.second}}}
		s.separate([]config.Member{{Name: "a", Enabled: true}, {Name: "b", Enabled: true}})
		got := s.Members[1].IPv4
		if !first.Up || got.Up != (tt.reason == "") || !strings.Contains(got.Reason, tt.reason) {
			t.Errorf("%s: first up %v, second up %v: %s", name, first.Up, got.Up, got.Reason)
		}
		if text := strings.ReplaceAll(strings.Join([]string{join(first), join(got)}, " "), ",", ""); text != tt.want {
			t.Errorf("%s: addresses %s, want %s", name, text, tt.want)
		}
	}
	disabled := State{Members: []Member{{Name: "a", IPv4: on("10.0.1.254", "10.0.1.1/24")}, {Name: "b", IPv4: on("10.0.1.254", "10.0.1.1/24")}}}
	disabled.separate([]config.Member{{Name: "a"}, {Name: "b", Enabled: true}})
	if !disabled.Members[1].IPv4.Up {
		t.Errorf("a disabled member is in the way: %s", disabled.Members[1].IPv4.Reason)
	}
}

func join(p *Path) string {
	var words []string
	for _, a := range p.Addresses {
		words = append(words, a.String())
	}
	slices.Sort(words)
	return "[" + strings.Join(words, " ") + "]"
}
