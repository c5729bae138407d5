package explain

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// slotOf returns the slot, from 1, into which the cluster match puts a source (xt_cluster.c: jhash
// over the address, scaled to the number of slots). Of an IPv6 address it hashes the first 32 bits
// only: it divides NF_CT_TUPLE_L3SIZE, which counts words, by the size of a word once more. Words
// are in the machine's byte order, so the result holds for the machine that computes it.
func slotOf(source netip.Addr, total int, seed uint32) int {
	hash := jhash(binary.NativeEndian.Uint32(source.AsSlice()), seed)
	// reciprocal_scale of linux/kernel.h
	return 1 + int(uint64(hash)*uint64(total)>>32)
}

// jhashStart is JHASH_INITVAL of linux/jhash.h.
const jhashStart = 0xdeadbeef

// jhash is jhash_1word of linux/jhash.h, to which jhash2 comes down for one word.
func jhash(word, seed uint32) uint32 {
	b := seed + jhashStart + 1<<2
	a, c := word+b, b
	c = (c ^ b) - bits.RotateLeft32(b, 14)
	a = (a ^ c) - bits.RotateLeft32(c, 11)
	b = (b ^ a) - bits.RotateLeft32(a, 25)
	c = (c ^ b) - bits.RotateLeft32(b, 16)
	a = (a ^ c) - bits.RotateLeft32(c, 4)
	b = (b ^ a) - bits.RotateLeft32(a, 14)
	return (c ^ b) - bits.RotateLeft32(b, 24)
}
