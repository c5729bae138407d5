package ipset

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// ErrUnavailable says that the kernel has no sets.
var ErrUnavailable = errors.New("the kernel has no ipset support (on OpenWrt: package kmod-ipt-ipset)")

// errHashFull is IPSET_ERR_HASH_FULL of linux/netfilter/ipset/ip_set_hash.h,
// the first of the numbers that each type of set has for itself.
const errHashFull = nl.IPSET_ERR_TYPE_SPECIFIC

// commentRevision is the revision of type hash:net in which entries may have a
// comment (linux/net/netfilter/ipset/ip_set_hash_net.c). The library makes sets
// of revision 0, of which the ipset program would print no comments.
const commentRevision = 4

// Netlink is the Kernel behind a handle. read.go has what it reads.
type Netlink struct{ kernel *kernel.Handle }

// New returns access to the sets of the handle's network namespace.
func New(k *kernel.Handle) *Netlink { return &Netlink{k} }

// Create makes an empty set.
func (n *Netlink) Create(name string, f family.Family, o Options) error {
	options := netlink.IpsetCreateOptions{Family: kernel.Number(f), MaxElements: uint32(o.MaxElements), Comments: o.Learns}
	if o.Learns {
		options.Revision = commentRevision
	}
	if o.Timeout > 0 || o.Learns {
		seconds := uint32(o.Timeout)
		options.Timeout = &seconds
	}
	err := n.kernel.Netlink.IpsetCreate(name, typeOf(o), options)
	if o.Pairs && errors.Is(err, nl.IPSetError(nl.IPSET_ERR_FIND_TYPE)) {
		err = n.kernel.Netlink.IpsetCreate(name, portedPair, options)
	}
	return setError("create", name, "", err)
}

// Destroy destroys a set of ours that no rule names.
func (n *Netlink) Destroy(name string) error {
	if !isOurs(name) {
		return fmt.Errorf("ipset destroy %s: the set is not ours", name)
	}
	return setError("destroy", name, "", kernel.Ignore(n.kernel.Netlink.IpsetDestroy(name), unix.ENOENT))
}

// Swap exchanges the contents of two sets.
func (n *Netlink) Swap(a, b string) error {
	return setError("swap", a, " "+b, n.kernel.Netlink.IpsetSwap(a, b))
}

// Add adds entries.
func (n *Netlink) Add(name string, entries []netip.Prefix) error {
	return change(n.kernel.Netlink.IpsetAdd, "add", name, entries)
}

// Delete deletes entries.
func (n *Netlink) Delete(name string, entries []netip.Prefix) error {
	return change(n.kernel.Netlink.IpsetDel, "del", name, entries)
}

func change(request func(string, *netlink.IPSetEntry) error, verb, name string, entries []netip.Prefix) error {
	for _, e := range entries {
		if err := request(name, entryOf(e)); err != nil {
			return setError(verb, name, " "+family.PrefixText(e), err)
		}
	}
	return nil
}

// Contains reports whether an address is in a set, of ours or of anybody else. A
// second one is the destination in a set of pairs.
func (n *Netlink) Contains(name string, a ...netip.Addr) (bool, error) {
	entry := entryOf(family.Host(a[0]))
	if len(a) > 1 {
		if s, err := n.set(nl.IPSET_CMD_HEADER, name); err != nil || s.Type != pairs {
			return false, errors.Join(fmt.Errorf("ipset test %s: it is of type '%s', not %s", name, s.Type, pairs), err)
		}
		entry.IP2 = a[1].AsSlice()
	}
	in, err := n.kernel.Netlink.IpsetTest(name, entry)
	return in, setError("test", name, " "+a[0].String(), err)
}

func entryOf(p netip.Prefix) *netlink.IPSetEntry {
	// Replace stands for "done already is no error", in deletions, too.
	return &netlink.IPSetEntry{IP: p.Addr().AsSlice(), CIDR: uint8(p.Bits()), Replace: true}
}

// setError names the command and says in words what ipset's own error numbers
// mean.
func setError(verb, name, rest string, err error) error {
	if err == nil {
		return nil
	}
	var number nl.IPSetError
	if errors.As(err, &number) {
		err = errors.New(reason(number))
	}
	return fmt.Errorf("ipset %s %s%s: %w", verb, name, rest, err)
}

func reason(number nl.IPSetError) string {
	switch number {
	case nl.IPSET_ERR_BUSY, nl.IPSET_ERR_REFERENCED:
		return "the set is in use by a rule"
	case nl.IPSET_ERR_TYPE_MISMATCH:
		return "the sets have different types or families"
	case nl.IPSET_ERR_FIND_TYPE:
		return "the kernel has no sets of this type"
	case errHashFull:
		return "the set is full"
	}
	return number.Error()
}
