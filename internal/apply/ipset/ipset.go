// Package ipset owns the kernel's sets whose names begin with "lb_": it reads them,
// compares them with a plan, and changes them through netlink. No ipset program is
// needed. Sets of anybody else are not read.
//
// Sets are changed and tested by github.com/vishvananda/netlink, an entry per
// request: 10,000 entries take 0.1 to 0.2 s on a PC. Reading is done here with its
// subpackage nl, since v1.3.1 of the library
//
//   - lists all sets of all programs with all entries, or nothing;
//   - drops an entry's nomatch, so that the set looks as it should;
//   - prints two lines to standard error for each set of a current ipset program;
//   - starts two goroutines for each entry: a set of 65,000, read at every event,
//     took a process of 53 MB (here 12 MB), which a router with 64 MB does not have.
package ipset

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/shell"
)

// Prefix begins the name of every set of ours.
const Prefix = "lb_"

// temporary is the set that is filled before it is swapped into place; no section has
// a dot in its name. A run that was killed may leave one.
const temporary = Prefix + "tmp.new"

// The types of sets of pairs. OpenWrt has the first. The second, for kernels that
// have been built without it, tells the ports of a destination apart, too.
const (
	pairs      = "hash:net,net"
	portedPair = "hash:ip,port,ip"
)

// typeOf is the type of our sets: networks, or with a time limit single addresses
// or pairs of them.
func typeOf(o Options) string {
	switch {
	case o.Pairs:
		return pairs
	case o.Timeout > 0:
		return "hash:ip"
	}
	return "hash:net"
}

// defaultMaxElements is the kernel's own limit for a hash set
// (IPSET_DEFAULT_MAXELEM in ip_set_hash_gen.h).
const defaultMaxElements = 65536

// fewChanges is how many entries are added or deleted in place. Above that a
// set is filled anew and swapped, so that it changes in one instant.
const fewChanges = 16

// Set is a set of ours as the kernel holds it.
type Set struct {
	Name        string
	Type        string // for example hash:net
	Family      family.Family
	MaxElements int
	Timeout     int            // default time limit of entries in seconds; 0: none
	Entries     []netip.Prefix // sorted
	// Learns says that entries may have a time limit and a comment each. Those
	// with a time limit are then in Learnt, sorted by address.
	Learns bool
	Learnt []Learnt
	// Altered says that the set or an entry has an option that we never write,
	// such as a timeout or nomatch.
	Altered bool
	Count   int // of entries, where these are not listed
}

// Kernel is the access that operations need. Errors name the set.
type Kernel interface {
	// Read returns our sets of both families, temporary ones included,
	// sorted by name.
	Read() ([]Set, error)
	// Create makes an empty set.
	Create(name string, f family.Family, o Options) error
	Add(name string, entries []netip.Prefix) error
	// Learn adds entries, or renews them, in a set that learns.
	Learn(name string, entries ...Learnt) error
	Delete(name string, entries []netip.Prefix) error
	// Swap exchanges the contents of two sets in one instant.
	Swap(a, b string) error
	Destroy(name string) error
}

// Op is a change of one set.
type Op struct {
	text func() string // a long list needs none as long as nobody reads it
	run  func(Kernel) error
}

// Options are those of a new set.
type Options struct {
	MaxElements int
	// Timeout, if not 0, is the default time limit of entries in seconds, and
	// the set is of type hash:ip or, of pairs, hash:net,net.
	Timeout int
	Pairs   bool
	Learns  bool // see Set
}

// String returns the commands that a person would type for the same change,
// one in each line.
func (o Op) String() string { return o.text() }

// Run makes the change. To add an entry that is there already, or to delete
// what is gone already, is no error.
func (o Op) Run(k Kernel) error { return o.run(k) }

func create(set string, f family.Family, o Options) Op {
	return Op{func() string {
		text := "ipset create " + shell.Quote(set) + " " + typeOf(o) + " family " + family.Pick(f, "inet", "inet6")
		if o.Timeout > 0 || o.Learns {
			text += fmt.Sprintf(" timeout %d", o.Timeout)
		}
		if o.MaxElements != defaultMaxElements {
			text += fmt.Sprintf(" maxelem %d", o.MaxElements)
		}
		if o.Learns {
			text += " comment"
		}
		return text
	}, func(k Kernel) error { return k.Create(set, f, o) }}
}

func add(set string, entries []netip.Prefix) []Op {
	return changeEntries("ipset add ", set, entries, family.PrefixText, func(k Kernel) error { return k.Add(set, entries) })
}

func del(set string, entries []netip.Prefix) []Op {
	return changeEntries("ipset del ", set, entries, family.PrefixText, func(k Kernel) error { return k.Delete(set, entries) })
}

func learn(set string, learnt []Learnt) []Op {
	return changeEntries("ipset -exist add ", set, learnt, Learnt.String, func(k Kernel) error { return k.Learn(set, learnt...) })
}

// changeEntries is the operation for some entries, if there are any.
func changeEntries[E any](command, set string, entries []E, text func(E) string, run func(Kernel) error) []Op {
	if len(entries) == 0 {
		return nil
	}
	return []Op{{func() string {
		lines := make([]string, len(entries))
		for i, e := range entries {
			lines[i] = command + shell.Quote(set) + " " + text(e)
		}
		return strings.Join(lines, "\n")
	}, run}}
}

// swapIn puts the temporary set into the place of a set, and destroys that.
func swapIn(set string) []Op {
	return []Op{{
		func() string { return "ipset swap " + temporary + " " + shell.Quote(set) },
		func(k Kernel) error { return k.Swap(temporary, set) },
	}, destroy(temporary)}
}

func destroy(set string) Op {
	return Op{
		func() string { return "ipset destroy " + shell.Quote(set) },
		func(k Kernel) error { return k.Destroy(set) },
	}
}

// Changes are operations in two steps: a set must exist before a rule names it, and
// the kernel refuses to destroy one that a rule still names.
type Changes struct {
	Update  []Op
	Destroy []Op
}

// Empty reports whether the kernel holds what the plan wants.
func (c Changes) Empty() bool { return len(c.Update)+len(c.Destroy) == 0 }

// Diff returns what turns have into the wanted sets of both families.
func Diff(ipv4, ipv6 []plan.Set, have []Set) Changes {
	var c Changes
	unwanted := make(map[string]Set, len(have))
	for _, s := range have {
		unwanted[s.Name] = s
	}
	if _, ok := unwanted[temporary]; ok {
		c.Update = append(c.Update, destroy(temporary))
		delete(unwanted, temporary)
	}
	for _, f := range family.All {
		for _, w := range family.Pick(f, ipv4, ipv6) {
			old, exists := unwanted[w.Name]
			delete(unwanted, w.Name)
			c.Update = append(c.Update, diffSet(f, w, old, exists)...)
		}
	}
	for _, s := range have {
		if _, ok := unwanted[s.Name]; ok {
			c.Destroy = append(c.Destroy, destroy(s.Name))
		}
	}
	return c
}

func diffSet(f family.Family, want plan.Set, have Set, exists bool) []Op {
	entries := normalEntries(want.Entries)
	learnt, forgotten := stillLearnt(have.Learnt, want.Domains, entries)
	options, room := Options{Timeout: want.Timeout, Pairs: want.Pairs, MaxElements: max(defaultMaxElements, len(entries))}, 0
	if options.Learns = len(want.Domains) > 0; options.Learns {
		room = MaxLearnt // beside its entries, so that it is bounded
		options.MaxElements = len(entries) + room
	}
	anew := append([]Op{create(want.Name, f, options)}, add(want.Name, entries)...)
	if !exists {
		return anew
	}
	sameType := have.Type == typeOf(options) || want.Pairs && have.Type == portedPair
	if !sameType || have.Family != f || want.Timeout > 0 && have.Timeout == 0 {
		// Sets of different types cannot be swapped.
		return append([]Op{destroy(want.Name)}, anew...)
	}
	if want.Timeout > 0 {
		return nil // rules fill it
	}
	added := Missing(have.Entries, entries)
	gone := append(Missing(entries, have.Entries), forgotten...)
	// Additions come first, so for a moment there are more entries than
	// before and after.
	fits := len(have.Entries)+len(added) <= have.MaxElements-room
	inPlace := !have.Altered && have.Timeout == 0 && have.Learns == options.Learns && fits
	if inPlace && len(added)+len(gone) <= fewChanges {
		return append(add(want.Name, added), del(want.Name, gone)...)
	}
	return slices.Concat([]Op{create(temporary, f, options)}, add(temporary, entries), learn(temporary, learnt), swapIn(want.Name))
}

// Missing returns the prefixes of list that are not in set.
func Missing(set, list []netip.Prefix) []netip.Prefix {
	known := make(map[netip.Prefix]bool, len(set))
	for _, p := range set {
		known[p] = true
	}
	var missing []netip.Prefix
	for _, p := range list {
		if !known[p] {
			missing = append(missing, p)
		}
	}
	return missing
}

// normalEntries returns entries as a hash:net set holds them: without host bits, each
// once, and the whole address space as two halves, since the type refuses /0.
func normalEntries(entries []netip.Prefix) []netip.Prefix {
	normal := make([]netip.Prefix, 0, len(entries))
	for _, e := range entries {
		if e.Bits() == 0 {
			normal = append(normal, halves(e)...)
			continue
		}
		normal = append(normal, e.Masked())
	}
	family.SortPrefixes(normal)
	return slices.Compact(normal)
}

func halves(p netip.Prefix) []netip.Prefix {
	low, high := netip.IPv6Unspecified(), netip.MustParseAddr("8000::")
	if p.Addr().Is4() {
		low, high = netip.IPv4Unspecified(), netip.MustParseAddr("128.0.0.0")
	}
	return []netip.Prefix{netip.PrefixFrom(low, 1), netip.PrefixFrom(high, 1)}
}

func isOurs(name string) bool { return strings.HasPrefix(name, Prefix) }
