package iptables

import (
	"math"
	"slices"
	"strings"
)

// Marker is a chain of somebody else whose rules look at marks.
type Marker struct {
	Chain string
	// Bits are the bits of the packet's or the connection's mark that the
	// chain's rules write, Compared those that they match.
	Bits, Compared uint32
}

// AddMarker adds what a rule does to what is known of its chain.
func AddMarker(all []Marker, m Marker) []Marker {
	if m.Bits|m.Compared == 0 {
		return all
	}
	i := slices.IndexFunc(all, func(known Marker) bool { return known.Chain == m.Chain })
	if i < 0 {
		return append(all, m)
	}
	all[i].Bits |= m.Bits
	all[i].Compared |= m.Compared
	return all
}

// addForeignRule notes which bits of a mark somebody else's rule writes and
// matches. In INPUT and POSTROUTING the packet's way is chosen already.
func (t *Table) addForeignRule(chain string, words []string, target string) {
	if chain == "INPUT" || chain == "POSTROUTING" {
		return
	}
	m := Marker{Chain: chain, Bits: writtenBits(words, target)}
	if matched, mask, masked := strings.Cut(valueOf(words, "--mark"), "/"); masked {
		m.Compared = number(mask)
	} else if matched != "" {
		m.Compared = math.MaxUint32
	}
	t.Markers = AddMarker(t.Markers, m)
}

// writtenBits returns the bits of a mark that a rule writes. iptables prints every
// way to set a mark as --set-xmark VALUE/MASK, which clears the mask's bits and
// inverts the value's. CONNMARK --restore-mark brings back of our bits what we saved.
func writtenBits(words []string, target string) uint32 {
	if target != "MARK" && target != "CONNMARK" && target != "TPROXY" {
		return 0
	}
	if slices.Contains(words, "--save-mark") {
		if mask := valueOf(words, "--ctmask", "--mask"); mask != "" {
			return number(mask)
		}
		return math.MaxUint32
	}
	value, mask, masked := strings.Cut(valueOf(words, "--set-xmark", "--tproxy-mark"), "/")
	switch {
	case value == "":
		return 0
	case !masked:
		return math.MaxUint32
	}
	return number(value) | number(mask)
}
