package drift

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/ipset"
)

// Flags of linux/netfilter/ipset/ip_set.h that say what to list of a set.
const (
	listNames  = 1 << 1 // IPSET_FLAG_LIST_SETNAME
	listHeader = 1 << 2 // IPSET_FLAG_LIST_HEADER: everything but the entries
)

// Requests to nfnetlink have the subsystem in the upper byte of their type.
const (
	askList       = unix.NFNL_SUBSYS_IPSET<<8 | nl.IPSET_CMD_LIST
	askHeader     = unix.NFNL_SUBSYS_IPSET<<8 | nl.IPSET_CMD_HEADER
	askGeneration = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN
	askRules      = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE
)

// sets sums up our sets. They are asked for one by one, because a kernel that
// is asked for all counts those of other programs, too, and to count takes
// longer the larger a set is.
func (w *Watcher) sets(open []string) (uint64, error) {
	names, err := w.setNames()
	if err != nil {
		return 0, err
	}
	total := uint64(0)
	for _, name := range names {
		set, err := w.set(name, slices.Contains(open, name))
		if errors.Is(err, unix.ENOENT) {
			continue // destroyed in between
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		total += set.addend()
	}
	return total, nil
}

// setNames returns the names of our sets, or none where the kernel has no sets.
func (w *Watcher) setNames() ([]string, error) {
	var names []string
	err := w.filter.exchange(askList, unix.NLM_F_DUMP, listRequest(listNames), func(m message) error {
		return eachNetfilterAttribute(m.body, func(kind uint16, value []byte) {
			if kind != nl.IPSET_ATTR_SETNAME {
				return
			}
			if name := text(value); strings.HasPrefix(name, ipset.Prefix) {
				names = append(names, name)
			}
		})
	})
	if isNoSubsystem(err) {
		return nil, nil
	}
	return names, err
}

// set returns the digest of one set, without its number of entries if it is
// open or if its entries expire.
func (w *Watcher) set(name string, open bool) (digest, error) {
	kind, flags, request := uint16(askList), uint16(unix.NLM_F_DUMP), listRequest(listHeader)
	if open {
		kind, flags, request = askHeader, 0, setRequest()
	}
	request = appendAttribute(request, nl.IPSET_ATTR_SETNAME, append([]byte(name), 0))
	d := newDigest(ofSet)
	err := w.filter.exchange(kind, flags, request, func(m message) (err error) {
		d, err = d.set(m.body)
		return err
	})
	return d, err
}

// set adds what a message tells of a set.
func (d digest) set(body []byte) (digest, error) {
	var nested error
	err := eachNetfilterAttribute(body, func(kind uint16, value []byte) {
		switch kind {
		case nl.IPSET_ATTR_SETNAME, nl.IPSET_ATTR_TYPENAME, nl.IPSET_ATTR_FAMILY:
			d = d.field(kind, value)
		case nl.IPSET_ATTR_DATA:
			d, nested = d.setHeader(value)
		}
	})
	return d, errors.Join(err, nested)
}

func (d digest) setHeader(b []byte) (digest, error) {
	var entries []byte
	limited := false
	err := eachAttribute(b, func(kind uint16, value []byte) {
		switch kind {
		case nl.IPSET_ATTR_MAXELEM:
			d = d.field(kind, value)
		case nl.IPSET_ATTR_TIMEOUT:
			d, limited = d.field(kind, value), true
		case nl.IPSET_ATTR_ELEMENTS:
			entries = value
		}
	})
	if !limited {
		d = d.field(nl.IPSET_ATTR_ELEMENTS, entries)
	}
	return d, err
}

// isNoSubsystem says whether nfnetlink does not know the subsystem that was
// asked, which it calls an invalid request.
func isNoSubsystem(err error) bool { return isAbsent(err) || errors.Is(err, unix.EINVAL) }

func listRequest(flags byte) []byte {
	return appendAttribute(setRequest(), nl.IPSET_ATTR_FLAGS|unix.NLA_F_NET_BYTEORDER, []byte{0, 0, 0, flags})
}

func setRequest() []byte {
	return appendAttribute(netfilterRequest(unix.AF_INET), nl.IPSET_ATTR_PROTOCOL, []byte{nl.IPSET_PROTOCOL})
}

// netfilterRequest is a struct nfgenmsg.
func netfilterRequest(family uint8) []byte { return []byte{family, nl.NFNETLINK_V0, 0, 0} }

// eachNetfilterAttribute is eachAttribute behind a struct nfgenmsg.
func eachNetfilterAttribute(body []byte, each func(kind uint16, value []byte)) error {
	if len(body) < nl.SizeofNfgenmsg {
		return errUnreadable
	}
	return eachAttribute(body[nl.SizeofNfgenmsg:], each)
}

func text(value []byte) string {
	s, _, _ := strings.Cut(string(value), "\x00")
	return s
}
