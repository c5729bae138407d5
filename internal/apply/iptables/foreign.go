package iptables

import (
	"math"
	"slices"
	"strings"
)

// Marker is a chain of somebody else whose rules change marks.
type Marker struct {
	Chain string
	// Bits are the bits of the packet's or the connection's mark that the
	// chain's rules write.
	Bits uint32
}

// addForeignChain notes a chain that is neither ours nor built in.
func (t *Table) addForeignChain(name string) {
	if !isBuiltin(name) {
		t.ForeignChains = append(t.ForeignChains, name)
	}
}

// addForeignRule notes which bits of a mark somebody else's rule writes. In
// INPUT and POSTROUTING the packet's way is chosen already.
func (t *Table) addForeignRule(chain string, words []string, target string) {
	if chain == "INPUT" || chain == "POSTROUTING" {
		return
	}
	bits := writtenBits(words, target)
	if bits == 0 {
		return
	}
	i := slices.IndexFunc(t.Markers, func(m Marker) bool { return m.Chain == chain })
	if i < 0 {
		t.Markers = append(t.Markers, Marker{Chain: chain, Bits: bits})
		return
	}
	t.Markers[i].Bits |= bits
}

// writtenBits returns the bits of a mark that a rule writes. iptables prints
// every way to set a mark as --set-xmark VALUE/MASK, which clears the mask's
// bits and then inverts the value's. CONNMARK --restore-mark is left out: what
// it brings back of our bits is what we saved.
func writtenBits(words []string, target string) uint32 {
	if target != "MARK" && target != "CONNMARK" {
		return 0
	}
	if slices.Contains(words, "--save-mark") {
		if mask := valueOf(words, "--ctmask", "--mask"); mask != "" {
			return number(mask)
		}
		return math.MaxUint32
	}
	value, mask, masked := strings.Cut(valueOf(words, "--set-xmark"), "/")
	switch {
	case value == "":
		return 0
	case !masked:
		return math.MaxUint32
	}
	return number(value) | number(mask)
}
