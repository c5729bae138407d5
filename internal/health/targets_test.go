package health

import (
	"fmt"
	"net/netip"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// TestTargets: a path is asked the targets of its own family; the gateway, or
// the other end of a point-to-point link, stands for 'gateway'.
func TestTargets(t *testing.T) {
	addresses := func(texts ...string) []netip.Addr {
		var all []netip.Addr
		for _, text := range texts {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	network := func(text string) []uplink.Network {
		return []uplink.Network{{Prefix: netip.MustParsePrefix("198.51.100.0/24")}, {Prefix: netip.MustParsePrefix(text)}}
	}
	gateway := &uplink.Path{Gateway: netip.MustParseAddr("198.51.100.1"), Networks: network("192.0.2.7/32")}
	gateway6 := &uplink.Path{Gateway: netip.MustParseAddr("fe80::1")}
	for _, c := range []struct {
		name   string
		track  config.Track
		v4, v6 *uplink.Path
		want4  []netip.Addr
		want6  []netip.Addr
		has4   bool
		has6   bool
	}{
		{"none", config.Track{}, gateway, gateway6, nil, nil, false, false},
		{"of both families", config.Track{IPs: addresses("1.1.1.1", "2001:db8::1", "9.9.9.9")}, gateway, gateway6,
			addresses("1.1.1.1", "9.9.9.9"), addresses("2001:db8::1"), true, true},
		{"of one family", config.Track{IPs: addresses("2001:db8::1")}, gateway, gateway6, nil, addresses("2001:db8::1"), false, true},
		{"the gateway alone", config.Track{Gateway: true}, gateway, gateway6, addresses("198.51.100.1"), addresses("fe80::1"), true, true},
		{"the gateway beside an address", config.Track{IPs: addresses("1.1.1.1"), Gateway: true}, gateway, gateway6,
			addresses("1.1.1.1", "198.51.100.1"), nil, true, false},
		{"the gateway twice", config.Track{IPs: addresses("198.51.100.1"), Gateway: true}, gateway, gateway6, addresses("198.51.100.1"), nil, true, false},
		{"the other end", config.Track{Gateway: true}, &uplink.Path{Networks: network("192.0.2.7/32")}, &uplink.Path{},
			addresses("192.0.2.7"), nil, true, true},
		{"no gateway on a cable", config.Track{Gateway: true}, &uplink.Path{Networks: network("192.0.2.0/31")}, &uplink.Path{}, nil, nil, true, true},
	} {
		for f, want := range map[family.Family][]netip.Addr{family.IPv4: c.want4, family.IPv6: c.want6} {
			path, has := c.v4, c.has4
			if f == family.IPv6 {
				path, has = c.v6, c.has6
			}
			if got, own := Targets(c.track, f, path, &uplink.Main{}); fmt.Sprint(got) != fmt.Sprint(want) || own != nil {
				t.Errorf("%s, %s: %v, want %v; of the router: %v", c.name, f, got, want, own)
			}
			if got := HasTargets(c.track, f); got != has {
				t.Errorf("%s, %s: has targets: %v", c.name, f, got)
			}
		}
	}
}

// TestOwnTargets: what is an address of the router, of the line itself or of
// another device, is no target, be it listed or the gateway. A link-local one is
// the router's on its own link only.
func TestOwnTargets(t *testing.T) {
	own := func(device, prefix string) uplink.Address {
		return uplink.Address{Device: device, Prefix: netip.MustParsePrefix(prefix)}
	}
	main := &uplink.Main{Addresses: []uplink.Address{own("wan1", "198.51.100.2/24"), own("br-lan", "192.168.1.1/24"),
		own("wan1", "2001:db8::2/64"), own("wan1", "fe80::2/64"), own("br-lan", "fe80::1/64")}}
	for _, c := range []struct{ target, gateway, want, own string }{
		{"198.51.100.2", "", "[]", "[198.51.100.2]"},
		{"192.168.1.1", "", "[]", "[192.168.1.1]"},
		{"192.168.1.2", "", "[192.168.1.2]", "[]"},
		{"198.51.100.1", "192.168.1.1", "[198.51.100.1]", "[192.168.1.1]"},
		{"2001:db8::2", "fe80::1", "[fe80::1]", "[2001:db8::2]"},
		{"fe80::2", "", "[]", "[fe80::2]"},
	} {
		target := netip.MustParseAddr(c.target)
		path := &uplink.Path{Device: "wan1"}
		track := config.Track{IPs: []netip.Addr{target}, Gateway: c.gateway != ""}
		if track.Gateway {
			path.Gateway = netip.MustParseAddr(c.gateway)
		}
		targets, refused := Targets(track, family.Of(target), path, main)
		if fmt.Sprint(targets) != c.want || fmt.Sprint(refused) != c.own {
			t.Errorf("%+v: %v and %v of the router", c, targets, refused)
		}
	}
}

// TestSilenceIn names a family only where it is the only one.
func TestSilenceIn(t *testing.T) {
	four, six := silence(family.IPv4), silence(family.IPv6)
	for s, want := range map[Silence]string{0: "", four: " in ipv4", six: " in ipv6", four | six: ""} {
		if got := s.In(); got != want {
			t.Errorf("%d: %q, want %q", s, got, want)
		}
	}
}
