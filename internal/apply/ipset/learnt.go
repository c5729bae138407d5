package ipset

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// MaxLearnt is how many addresses a set learns. Streaming services answer with
// some hundred in the course of a day. Each takes the kernel 150 bytes, so that
// a router with 64 MB bears some sets that are full.
const MaxLearnt = 4096

// MinLifetime is how long in seconds a learnt entry stays at least: hosts use
// addresses for longer than the answers that they had them from allow.
const MinLifetime = 24 * 60 * 60

// maxLifetime is the kernel's IPSET_MAX_TIMEOUT: 24 days.
const maxLifetime = 2147483

// maxComment is the kernel's IPSET_MAX_COMMENT_SIZE.
const maxComment = 255

// Learnt is an entry that comes from a DNS answer. The kernel keeps all of it:
// it goes by itself when its time is over, and its comment names the domains, so
// that no other record is needed.
type Learnt struct {
	Address netip.Addr
	// Domains are those of the configuration that the address was learnt for,
	// the last one last. An entry without is somebody else's.
	Domains []string
	// Lifetime is how many seconds after the last answer it goes, at least
	// MinLifetime, Left how many are left.
	Lifetime, Left int
}

// NewLearnt is the entry of an answer that is seen now. ttl is the answer's time
// to live in seconds, earlier the entry from before, if there was one.
func NewLearnt(address netip.Addr, domain string, ttl uint32, earlier Learnt) Learnt {
	l := Learnt{Address: address, Lifetime: int(min(max(ttl, MinLifetime), maxLifetime))}
	l.Left = l.Lifetime
	for _, d := range earlier.Domains {
		if d != domain {
			l.Domains = append(l.Domains, d)
		}
	}
	l.Domains = append(l.Domains, domain)
	for len(l.comment()) > maxComment {
		l.Domains = l.Domains[1:]
	}
	return l
}

// For returns the entry as it is for a set of these domains only; false if it
// has no place there.
func (l Learnt) For(domains []string) (Learnt, bool) {
	l.Domains = slices.DeleteFunc(slices.Clone(l.Domains), func(d string) bool { return !slices.Contains(domains, d) })
	return l, len(l.Domains) > 0
}

// comment is the domains and, where it is not MinLifetime, the lifetime, which
// is no name: the last part of a name is more than digits.
func (l Learnt) comment() string {
	text := strings.Join(l.Domains, " ")
	if l.Lifetime != MinLifetime {
		text += " " + strconv.Itoa(l.Lifetime)
	}
	return text
}

// parseComment is the reverse of comment.
func (l *Learnt) parseComment(text string) {
	l.Domains, l.Lifetime = strings.Fields(text), MinLifetime
	if last := len(l.Domains) - 1; last >= 0 {
		if n, err := strconv.Atoi(l.Domains[last]); err == nil {
			l.Domains, l.Lifetime = l.Domains[:last], n
		}
	}
}

func (l Learnt) String() string {
	return fmt.Sprintf("%s timeout %d comment '%s'", l.Address, l.Left, l.comment())
}

// Learn enters what was learnt, or renews it.
func (n *Netlink) Learn(name string, entries []Learnt) error {
	for _, l := range entries {
		entry := entryOf(netip.PrefixFrom(l.Address, l.Address.BitLen()))
		left := uint32(l.Left)
		entry.Comment, entry.Timeout = l.comment(), &left
		if err := n.kernel.Netlink.IpsetAdd(name, entry); err != nil {
			return setError("add", name, " "+l.Address.String(), err)
		}
	}
	return nil
}

// Learnt returns what a set has learnt; nothing if there is no such set.
func (n *Netlink) Learnt(name string) ([]Learnt, error) {
	s, err := n.readSet(name)
	return s.Learnt, err
}

// diffLearnt compares what a set has learnt with its domains: kept is what
// stays, changed is the part of it whose domains are fewer now, and gone is what
// goes. What the configuration lists by itself is no longer learnt.
func diffLearnt(domains []string, listed []netip.Prefix, have []Learnt) (kept, changed []Learnt, gone []netip.Prefix) {
	for _, l := range have {
		prefix := netip.PrefixFrom(l.Address, l.Address.BitLen())
		_, isListed := slices.BinarySearchFunc(listed, prefix, comparePrefixes)
		if isListed {
			continue
		}
		now, wanted := l.For(domains)
		if !wanted {
			gone = append(gone, prefix)
			continue
		}
		kept = append(kept, now)
		if len(now.Domains) < len(l.Domains) {
			changed = append(changed, now)
		}
	}
	return kept, changed, gone
}
