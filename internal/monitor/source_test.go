package monitor

import (
	"net/netip"
	"testing"

	"loadbalance/internal/uplink"
)

func TestSource(t *testing.T) {
	const lan1, lan2 = "2001:db8:1:100::1", "2001:db8:2:100::1"
	main := &uplink.Main{}
	for _, text := range []string{lan2 + "/64", lan1 + "/64", "fd00::1/64"} {
		main.Addresses = append(main.Addresses, uplink.Address{Device: "lan", Prefix: netip.MustParsePrefix(text)})
	}
	prefixes := []netip.Prefix{netip.MustParsePrefix("2001:db8:1:100::/56")}
	own := func(texts ...string) (addresses []netip.Addr) {
		for _, text := range texts {
			addresses = append(addresses, netip.MustParseAddr(text))
		}
		return addresses
	}
	for _, c := range []struct {
		name, target string
		path         uplink.Path
		want         string
	}{
		{"IPv4", "1.1.1.1", uplink.Path{Addresses: own("198.18.1.2", "198.18.1.3")}, "198.18.1.2"},
		{"IPv6 with an address", "2001:db8:ffff::1", uplink.Path{Addresses: own("2001:db8:1::2"), Prefixes: prefixes}, ""},
		{"IPv6 with a prefix only", "2001:db8:ffff::1", uplink.Path{Prefixes: prefixes}, lan1},
		{"its gateway", "fe80::1", uplink.Path{Prefixes: prefixes}, ""},
		{"a prefix that no device uses", "2001:db8:ffff::1",
			uplink.Path{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:3::/48")}}, ""},
	} {
		got := source(netip.MustParseAddr(c.target), &c.path, main)
		if got.IsValid() != (c.want != "") || got.IsValid() && got.String() != c.want {
			t.Errorf("%s: from %v, want '%s'", c.name, got, c.want)
		}
	}
}
