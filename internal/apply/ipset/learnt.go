package ipset

import (
	"fmt"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// MaxLearnt is how many addresses a set learns, of 150 bytes each in the kernel.
// Streaming services answer with some hundred in the course of a day.
const MaxLearnt = 4096

// Limits of a learnt entry's life, in seconds. Hosts use addresses for longer
// than the answers that they had them from allow; the kernel takes no more than
// 24 days (IPSET_MAX_TIMEOUT).
const (
	MinLifetime = 24 * 60 * 60
	MaxLifetime = 2147483
)

// Learnt is an entry that comes from a DNS answer. The kernel keeps all of it: it
// goes when its time is over, and its comment names the domains.
type Learnt struct {
	Address netip.Addr
	// Domains are those that the address was learnt for, the last one last. An
	// entry without is somebody else's.
	Domains []string
	Left    int // seconds
}

// comment is the domains; the oldest are left out if they do not fit.
func (l Learnt) comment() string {
	text := strings.Join(l.Domains, " ")
	for len(text) > nl.IPSET_MAX_COMMENT_SIZE {
		_, text, _ = strings.Cut(text, " ")
	}
	return text
}

func (l Learnt) String() string {
	return fmt.Sprintf("%s timeout %d comment '%s'", l.Address, l.Left, l.comment())
}

func (l Learnt) prefix() netip.Prefix { return netip.PrefixFrom(l.Address, l.Address.BitLen()) }

// Learn enters what was learnt, or renews it.
func (n *Netlink) Learn(name string, entries ...Learnt) error {
	for _, l := range entries {
		entry, left := entryOf(l.prefix()), uint32(l.Left)
		entry.Comment, entry.Timeout = l.comment(), &left
		if err := n.kernel.Netlink.IpsetAdd(name, entry); err != nil {
			return setError("add", name, "", err) // the same for every address
		}
	}
	return nil
}

// Learnt returns what a set has learnt; nothing if there is no such set.
func (n *Netlink) Learnt(name string) ([]Learnt, error) {
	s, err := n.readSet(name)
	return s.Learnt, kernel.Ignore(err, unix.ENOENT)
}

// stillLearnt divides what a set has learnt into what stays and what goes, since none
// of its domains is wanted. What is listed by itself is in neither.
func stillLearnt(have []Learnt, domains []string, listed []netip.Prefix) (kept []Learnt, gone []netip.Prefix) {
	for _, l := range have {
		_, isListed := slices.BinarySearchFunc(listed, l.prefix(), family.ComparePrefixes)
		wanted := slices.ContainsFunc(l.Domains, func(d string) bool { return slices.Contains(domains, d) })
		switch {
		case isListed:
		case wanted:
			kept = append(kept, l)
		default:
			gone = append(gone, l.prefix())
		}
	}
	return kept, gone
}
