// Package fwmark converts between the values that we deal to connections and
// packet marks (fwmarks). A value is spread over the bits of our mask from the
// lowest to the highest. 0 is no mark, the values from 1 on are members' indices,
// and the three highest ones are blackhole, unreachable and default.
package fwmark

import "math/bits"

// Mask is the set of mark bits that we own.
type Mask uint32

// Fallback is the default mask. Other programs on a router use the bits below:
// pbr, Tailscale and openNDS bits 16 to 23; NetBird's sockets 0x1bd00, Clash
// and its kin numbers such as 6666, wg-quick 51820.
const Fallback Mask = 0x3f000000

// MaxIndex is the highest member index under any mask: each priority range of
// the ip rules (9000+i, 9200+i and so on) has room for 199 members.
const MaxIndex = 199

// reserved counts no mark (0), default, unreachable and blackhole.
const reserved = 4

// values returns the number of values that the mask can hold.
func (m Mask) values() int { return 1 << min(bits.OnesCount32(uint32(m)), 16) }

// Default returns the value of connections that use the main table.
func (m Mask) Default() int { return m.values() - 1 }

// Unreachable returns the value of packets that are refused with an ICMP error.
func (m Mask) Unreachable() int { return m.values() - 2 }

// Blackhole returns the value of packets that are dropped silently.
func (m Mask) Blackhole() int { return m.values() - 3 }

// Capacity returns the number of members that the mask has room for, at most
// MaxIndex; it is less than 1 if the mask is too small.
func (m Mask) Capacity() int { return min(m.values()-reserved, MaxIndex) }

// Mark returns the mark of a value: its bits, spread over those of the mask.
func (m Mask) Mark(value int) uint32 {
	var mark uint32
	rest := uint32(m)
	for ; value != 0 && rest != 0; value >>= 1 {
		lowest := rest & -rest
		if value&1 != 0 {
			mark |= lowest
		}
		rest &^= lowest
	}
	return mark
}

// Value returns the value in our bits of a mark.
func (m Mask) Value(mark uint32) int {
	value := 0
	rest := uint32(m)
	for bit := 1; rest != 0; bit <<= 1 {
		lowest := rest & -rest
		if mark&lowest != 0 {
			value |= bit
		}
		rest &^= lowest
	}
	return value
}

// IsMember reports whether a value is the index of a member.
func (m Mask) IsMember(value int) bool { return value >= 1 && value <= m.Capacity() }

// tableBase is the first of our routing tables. Tables up to 255 fit the old
// 8-bit field and are used by others (Tailscale has 52, mwan3 1 to 60).
const tableBase = 300

// Table returns the routing table of a value: 300 and the value.
func Table(value int) int { return tableBase + value }
