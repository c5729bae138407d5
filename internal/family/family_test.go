package family

import (
	"net/netip"
	"testing"
)

func TestFamily(t *testing.T) {
	tests := []struct {
		address string
		want    Family
		name    string
		bits    int
		route   string
	}{
		{"192.0.2.1", IPv4, "ipv4", 32, "0.0.0.0/0"},
		{"2001:db8::1", IPv6, "ipv6", 128, "::/0"},
		{"::ffff:192.0.2.1", IPv6, "ipv6", 128, "::/0"},
	}
	for _, tt := range tests {
		f := Of(netip.MustParseAddr(tt.address))
		if f != tt.want || f.String() != tt.name || f.Bits() != tt.bits || f.Default() != netip.MustParsePrefix(tt.route) {
			t.Errorf("%s: %s, %d bits, default %s; want %s, %d, %s", tt.address, f, f.Bits(), f.Default(), tt.name, tt.bits, tt.route)
		}
	}
	if All != [...]Family{IPv4, IPv6} {
		t.Errorf("all families: %v", All)
	}
}
