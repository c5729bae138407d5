package challenge

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

func flow(client, server string) Flow {
	return Flow{Client: netip.MustParseAddrPort(client), Server: netip.MustParseAddrPort(server)}
}

// TestSegment checks what a receiver checks: the sum over everything that a
// checksum covers, the checksum included, is all ones.
func TestSegment(t *testing.T) {
	tests := []struct {
		flow      Flow
		ip        int // length of the IP header
		addresses int // where the addresses begin
		proto     int // where the protocol is
		hops      int
		length    int // where the length is, and what it must be
		want      int
	}{
		{flow("192.168.1.2:40000", "203.0.113.9:443"), 20, 12, 9, 8, 2, 40},
		{flow("255.255.255.254:65535", "255.255.255.253:65535"), 20, 12, 9, 8, 2, 40},
		{flow("[fd00::2]:40000", "[2001:db8::9]:443"), 40, 8, 6, 7, 4, 20},
		{flow("[ffff::ffff]:65535", "[fffe::fffe]:65535"), 40, 8, 6, 7, 4, 20},
	}
	for _, tt := range tests {
		for _, number := range []uint32{0, 1 << 31, 0xffffffff, 0x12345678} {
			p := segment(tt.flow, number, ^number)
			if len(p) != tt.ip+20 {
				t.Fatalf("%v: %d bytes", tt.flow, len(p))
			}
			size := tt.flow.Client.Addr().BitLen() / 8
			source, _ := netip.AddrFromSlice(p[tt.addresses : tt.addresses+size])
			destination, _ := netip.AddrFromSlice(p[tt.addresses+size : tt.addresses+2*size])
			tcp := p[tt.ip:]
			got := Flow{
				Server: netip.AddrPortFrom(source, binary.BigEndian.Uint16(tcp)),
				Client: netip.AddrPortFrom(destination, binary.BigEndian.Uint16(tcp[2:])),
			}
			if got != tt.flow {
				t.Errorf("the packet is of %v, want %v", got, tt.flow)
			}
			if p[tt.proto] != 6 || p[tt.hops] != 64 || int(binary.BigEndian.Uint16(p[tt.length:])) != tt.want {
				t.Errorf("%v: wrong protocol, hop limit or length: % x", tt.flow, p[:tt.ip])
			}
			if tcp[12] != 5<<4 || tcp[13] != 0x10 {
				t.Errorf("%v: no bare ACK: % x", tt.flow, tcp)
			}
			if binary.BigEndian.Uint32(tcp[4:]) != number || binary.BigEndian.Uint32(tcp[8:]) != ^number {
				t.Errorf("%v: wrong numbers: % x", tt.flow, tcp)
			}
			if size == 4 && naiveSum(p[:tt.ip]) != 0xffff {
				t.Errorf("%v: wrong IP checksum", tt.flow)
			}
			pseudo := append([]byte{0, 6, 0, 20}, p[tt.addresses:tt.addresses+2*size]...)
			if naiveSum(append(pseudo, tcp...)) != 0xffff {
				t.Errorf("%v: wrong TCP checksum", tt.flow)
			}
		}
	}
}

// naiveSum is the ones' complement sum, with the carry taken at once.
func naiveSum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 + uint32(b[i+1])
		if sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}
