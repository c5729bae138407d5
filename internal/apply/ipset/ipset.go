// Package ipset owns the kernel's sets whose names begin with "lb_": it reads
// them, compares them with a plan, and fills, swaps and destroys them through
// netlink. No ipset program is needed. Sets of anybody else are not read.
//
// Sets are changed and tested by github.com/vishvananda/netlink, an entry per
// request: 10,000 entries take 0.1 to 0.2 s on a PC. Reading is done here with
// its subpackage nl, since v1.3.1 of the library
//
//   - cannot list names only, nor a set without its entries: IpsetListAll reads
//     everything of all programs, the longest blocklist included;
//   - drops an entry's nomatch, so that the set looks as it should;
//   - prints two lines to standard error for each set that a current ipset
//     program has made (bucketsize and initval);
//   - starts two goroutines for each entry. Sets are read at every event: with
//     one of 10,000 entries that took 30 ms and a process of 13 MB (here 5 ms
//     and 6 MB), with one of 65,000 a process of 53 MB (here 12 MB), which a
//     router with 64 MB does not have.
package ipset

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/shell"
)

// Prefix begins the name of every set of ours.
const Prefix = "lb_"

// temporary is the set that is filled before it is swapped into place. A set
// from the configuration cannot have this name: section names have no dot.
// One is enough, since every swap is finished before the next begins; one that
// is there at the beginning was left by a run that was killed.
const temporary = Prefix + "tmp.new"

// The types of our sets: networks, and single addresses with a time limit.
const (
	networksType = "hash:net"
	limitedType  = "hash:ip"
)

func typeOf(timeout int) string {
	if timeout > 0 {
		return limitedType
	}
	return networksType
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

type verb uint8

const (
	create verb = iota
	add
	learn
	del
	swap
	destroy
)

// Op is a change of one set.
type Op struct {
	verb    verb
	set     string
	family  family.Family
	options Options
	entries []netip.Prefix
	learnt  []Learnt
}

// Options are those of a new set.
type Options struct {
	MaxElements int
	// Timeout, if not 0, is the default time limit of entries in seconds, and
	// the set is of type hash:ip instead of hash:net.
	Timeout int
	Learns  bool // see Set
}

// String returns the commands that a person would type for the same change,
// one in each line.
func (o Op) String() string {
	switch o.verb {
	case create:
		return o.createText()
	case add:
		return o.entriesText("add")
	case learn:
		var lines []string
		for _, l := range o.learnt {
			lines = append(lines, "ipset -exist add "+shell.Quote(o.set)+" "+l.String())
		}
		return strings.Join(lines, "\n")
	case del:
		return o.entriesText("del")
	case swap:
		return "ipset swap " + temporary + " " + shell.Quote(o.set)
	}
	return "ipset destroy " + shell.Quote(o.set)
}

func (o Op) createText() string {
	name := "inet"
	if o.family == family.IPv6 {
		name = "inet6"
	}
	text := "ipset create " + shell.Quote(o.set) + " " + typeOf(o.options.Timeout) + " family " + name
	if o.options.Timeout > 0 || o.options.Learns {
		text += fmt.Sprintf(" timeout %d", o.options.Timeout)
	}
	if o.options.MaxElements != defaultMaxElements {
		text += fmt.Sprintf(" maxelem %d", o.options.MaxElements)
	}
	if o.options.Learns {
		text += " comment"
	}
	return text
}

func (o Op) entriesText(verb string) string {
	lines := make([]string, 0, len(o.entries))
	for _, e := range o.entries {
		lines = append(lines, "ipset "+verb+" "+shell.Quote(o.set)+" "+entryText(e))
	}
	return strings.Join(lines, "\n")
}

// Run makes the change. To add an entry that is there already, or to delete
// what is gone already, is no error.
func (o Op) Run(k Kernel) error {
	switch o.verb {
	case create:
		return k.Create(o.set, o.family, o.options)
	case add:
		return k.Add(o.set, o.entries)
	case learn:
		return k.Learn(o.set, o.learnt...)
	case del:
		return k.Delete(o.set, o.entries)
	case swap:
		return k.Swap(temporary, o.set)
	}
	return k.Destroy(o.set)
}

func entryText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Changes are operations in two steps. Between them the caller changes the
// chains that refer to the sets: a set must exist before a rule names it, and
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
		c.Update = append(c.Update, Op{verb: destroy, set: temporary})
		delete(unwanted, temporary)
	}
	update := func(f family.Family, want []plan.Set) {
		for _, w := range want {
			old, exists := unwanted[w.Name]
			delete(unwanted, w.Name)
			c.Update = append(c.Update, diffSet(f, w, old, exists)...)
		}
	}
	update(family.IPv4, ipv4)
	update(family.IPv6, ipv6)
	for _, s := range have {
		if _, ok := unwanted[s.Name]; ok {
			c.Destroy = append(c.Destroy, Op{verb: destroy, set: s.Name})
		}
	}
	return c
}

func diffSet(f family.Family, want plan.Set, have Set, exists bool) []Op {
	entries := normalEntries(want.Entries)
	learnt, forgotten := stillLearnt(have.Learnt, want.Domains, entries)
	created := Op{verb: create, set: want.Name, family: f, options: optionsOf(want, len(entries))}
	if !exists {
		return fill(created, entries, nil)
	}
	if have.Type != typeOf(want.Timeout) || have.Family != f || want.Timeout > 0 && have.Timeout == 0 {
		// Sets of different types cannot be swapped.
		ops := []Op{{verb: destroy, set: want.Name}}
		return append(ops, fill(created, entries, nil)...)
	}
	if want.Timeout > 0 {
		return nil // rules fill it
	}
	added := missingFrom(have.Entries, entries)
	gone := append(missingFrom(entries, have.Entries), forgotten...)
	// Additions come first, so for a moment there are more entries than
	// before and after.
	fits := len(have.Entries)+len(added) <= have.MaxElements-created.options.room()
	inPlace := !have.Altered && have.Timeout == 0 && have.Learns == created.options.Learns && fits
	if inPlace && len(added)+len(gone) <= fewChanges {
		return append(entriesOp(add, want.Name, added), entriesOp(del, want.Name, gone)...)
	}
	created.set = temporary
	return append(fill(created, entries, learnt), Op{verb: swap, set: want.Name}, Op{verb: destroy, set: temporary})
}

// optionsOf are the options of a wanted set. One that learns has room for a
// certain number of addresses beside its entries, so that it is bounded.
func optionsOf(want plan.Set, entries int) Options {
	o := Options{Timeout: want.Timeout, Learns: len(want.Domains) > 0, MaxElements: max(defaultMaxElements, entries)}
	if o.Learns {
		o.MaxElements = entries + MaxLearnt
	}
	return o
}

// room is how many addresses a set learns.
func (o Options) room() int {
	if o.Learns {
		return MaxLearnt
	}
	return 0
}

func fill(created Op, entries []netip.Prefix, learnt []Learnt) []Op {
	ops := append([]Op{created}, entriesOp(add, created.set, entries)...)
	if len(learnt) > 0 {
		ops = append(ops, Op{verb: learn, set: created.set, learnt: learnt})
	}
	return ops
}

// entriesOp adds or deletes entries, if there are any.
func entriesOp(v verb, name string, entries []netip.Prefix) []Op {
	if len(entries) == 0 {
		return nil
	}
	return []Op{{verb: v, set: name, entries: entries}}
}

// missingFrom returns the prefixes of list that are not in set.
func missingFrom(set, list []netip.Prefix) []netip.Prefix {
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

// normalEntries returns entries as a hash:net set holds them: without host
// bits, each once, and prefixes of length 0, which the type refuses, as their
// two halves.
func normalEntries(entries []netip.Prefix) []netip.Prefix {
	normal := make([]netip.Prefix, 0, len(entries))
	for _, e := range entries {
		if e.Bits() == 0 {
			normal = append(normal, halves(e)...)
			continue
		}
		normal = append(normal, e.Masked())
	}
	sort.Slice(normal, func(i, j int) bool { return comparePrefixes(normal[i], normal[j]) < 0 })
	return slices.Compact(normal)
}

func halves(p netip.Prefix) []netip.Prefix {
	low, high := netip.IPv6Unspecified(), netip.AddrFrom16([16]byte{0x80})
	if p.Addr().Is4() {
		low, high = netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{0x80})
	}
	return []netip.Prefix{netip.PrefixFrom(low, 1), netip.PrefixFrom(high, 1)}
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

func isOurs(name string) bool { return strings.HasPrefix(name, Prefix) }
