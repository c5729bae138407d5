// Package fwmark knows how values are laid out in the packet mark. We own only
// the bits of one mask; a value is spread over these bits from the lowest to
// the highest. Values from 1 on are members' indices, the three highest ones
// stand for what is no member.
package fwmark

import "math/bits"

// Mask is the set of mark bits that we own.
type Mask uint32

// Fallback is the default mask. mwan3 has used it for years, so pbr
// (0x00ff0000) and Tailscale (0xff0000) stay clear of it.
const Fallback Mask = 0x3f00

// MaxIndex is the highest member index under any mask: each priority range of
// the ip rules (9000+i, 9200+i and so on) has room for 199 members.
const MaxIndex = 199

// reserved is the number of values that are no members: 0 (no mark yet),
// default, unreachable and blackhole.
const reserved = 4

// values returns the number of values that the mask can hold.
func (m Mask) values() int { return 1 << min(bits.OnesCount32(uint32(m)), 16) }

// Default is the value of connections that take the main table.
func (m Mask) Default() int { return m.values() - 1 }

// Unreachable is the value of packets that are refused with an ICMP error.
func (m Mask) Unreachable() int { return m.values() - 2 }

// Blackhole is the value of packets that are dropped silently.
func (m Mask) Blackhole() int { return m.values() - 3 }

// Capacity is the number of members that the mask has room for; less than 1
// means that the mask is too small.
func (m Mask) Capacity() int { return min(m.values()-reserved, MaxIndex) }

// Mark returns the mark that stands for a value.
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

// Value returns the value that a mark carries in our bits.
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

// IsMember says whether a value is a member's index.
func (m Mask) IsMember(value int) bool { return value >= 1 && value <= m.Capacity() }

// tableBase is the first of our routing tables. Tables up to 255 fit the old
// 8-bit field and are used by others (Tailscale has 52, mwan3 1 to 60).
const tableBase = 300

// Table returns the routing table that belongs to a value.
func Table(value int) int { return tableBase + value }
