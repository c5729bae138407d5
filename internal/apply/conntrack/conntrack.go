// Package conntrack reads the kernel's connection table and deletes entries from it,
// with the subpackage nl of github.com/vishvananda/netlink, one message at a time.
// What v1.3.1 of the library has (ConntrackTableList, ConntrackDeleteFilters)
//
//   - collects the whole table first: with 16,000 connections, as a router with
//     64 MB may have, a process grew to 17 MB (here 9 MB);
//   - leaves out an entry's status, which says whether an answer was seen;
//   - cannot delete one connection without reading all, nor say why it failed.
package conntrack

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// ErrUnavailable says that the connection table cannot be read.
var ErrUnavailable = errors.New("the kernel does not give access to its connection table (on OpenWrt: package kmod-nf-conntrack-netlink)")

// Tuple is one direction of a connection.
type Tuple struct {
	Source      netip.Addr
	Destination netip.Addr
	// Ports are 0 for protocols that have none, ICMP among them.
	SourcePort      uint16
	DestinationPort uint16
}

// Entry is a connection.
type Entry struct {
	Family   family.Family
	Protocol uint8 // by IP protocol number
	Mark     uint32
	Original Tuple // as the first packet had it
	Reply    Tuple // as answers come in, before they are translated back
	// Opening says that of a TCP connection only the client's SYN was seen.
	Opening bool
	// Ended says that a TCP connection is over. A new one between the same
	// ports gets a new entry.
	Ended bool
	// Answered says that a packet in the direction of Reply was seen.
	Answered bool
}

// Netlink reads and changes the connection table behind a handle.
type Netlink struct{ kernel *kernel.Handle }

// New returns access to the connection table of the handle's network namespace.
func New(k *kernel.Handle) *Netlink { return &Netlink{k} }

// Each calls visit, which must not use the handle, for every entry of a family until
// it returns false. Some that come or go meanwhile may be left out or visited twice.
func (n *Netlink) Each(f family.Family, visit func(Entry) bool) error {
	return n.each(f, func(e Entry, _ []byte) bool { return visit(e) })
}

// each is Each that also gives the kernel's message.
func (n *Netlink) each(f family.Family, visit func(e Entry, message []byte) bool) error {
	req := n.request(f, nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
	err := req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(m []byte) bool {
		e, ok := parse(m)
		// A kernel without the family sends the others.
		return !ok || e.Family != f || visit(e, m)
	})
	if errors.Is(err, nl.ErrDumpInterrupted) {
		return nil // see Each: it is no snapshot in any case
	}
	if kernel.IsMissing(err) {
		err = ErrUnavailable
	}
	if err != nil {
		return fmt.Errorf("conntrack list (%s): %w", f, err)
	}
	return nil
}

// Count is a number of entries.
type Count struct {
	Total int
	// Unanswered are those to which no answer was seen yet. Traffic that
	// expects none, such as syslog over UDP, is among them for ever.
	Unanswered int
}

// CountByMark returns how many entries of a family there are for each value of
// their mark under mask. Entries whose masked mark is 0 are not counted.
func (n *Netlink) CountByMark(f family.Family, mask uint32) (map[uint32]Count, error) {
	counts := map[uint32]Count{}
	err := n.Each(f, func(e Entry) bool {
		v := e.Mark & mask
		if v == 0 {
			return true
		}
		count := counts[v]
		count.Total++
		if !e.Answered {
			count.Unanswered++
		}
		counts[v] = count
		return true
	})
	return counts, err
}

// Delete deletes the entries of a family that match, when the table has been read,
// and returns how many; match must not use the handle. One that cannot be deleted
// keeps no other from it: the error says how many, and why the first.
func (n *Netlink) Delete(f family.Family, match func(Entry) bool) (int, error) {
	var chosen [][]byte
	err := n.each(f, func(e Entry, m []byte) bool {
		if match(e) {
			chosen = append(chosen, identity(m))
		}
		return true
	})
	deleted := 0
	var first error
	for _, id := range chosen {
		switch failed := n.delete(f, id); {
		case failed == nil:
			deleted++
		case first == nil:
			first = failed
		}
	}
	if first != nil {
		err = errors.Join(err, fmt.Errorf("conntrack delete (%s): %d entries could not be deleted: %w", f, len(chosen)-deleted, first))
	}
	return deleted, err
}

// DeleteOne deletes the entry of a connection of TCP or UDP, by its first direction,
// in the default zone, if there is one. Several goroutines may call it at a time.
func (n *Netlink) DeleteOne(protocol uint8, source, destination netip.AddrPort) error {
	f := family.Of(source.Addr())
	if err := n.delete(f, identityOf(protocol, source, destination)); err != nil {
		return fmt.Errorf("conntrack delete (%s): protocol %d from %v to %v: %w", f, protocol, source, destination, err)
	}
	return nil
}

// Mark sets bits of the mask in the entries' marks to what choose returns, when the
// table has been read; choose must not use the handle. (The library's update has
// neither mask nor zone, and sets the time limit.)
func (n *Netlink) Mark(f family.Family, mask uint32, choose func(Entry) uint32) error {
	var changes []*nl.NetlinkRequest
	err := n.each(f, func(e Entry, m []byte) bool {
		if mark := choose(e); (mark^e.Mark)&mask != 0 {
			req := n.request(f, nl.IPCTNL_MSG_CT_NEW, unix.NLM_F_ACK)
			req.AddRawData(identity(m))
			req.AddData(nl.NewRtAttr(nl.CTA_MARK, nl.BEUint32Attr(mark&mask)))
			req.AddData(nl.NewRtAttr(markMask, nl.BEUint32Attr(mask)))
			changes = append(changes, req)
		}
		return true
	})
	for _, req := range changes {
		if failed := execute(req); failed != nil && err == nil {
			err = fmt.Errorf("conntrack mark (%s): %w", f, failed)
		}
	}
	return err
}

// delete deletes one entry by the attributes that identify it.
func (n *Netlink) delete(f family.Family, id []byte) error {
	req := n.request(f, nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
	req.AddRawData(id)
	return execute(req)
}

// execute changes one entry. One that is not there ended by itself.
func execute(req *nl.NetlinkRequest) error {
	_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	return kernel.Ignore(err, unix.ENOENT)
}

func (n *Netlink) request(f family.Family, operation, flags int) *nl.NetlinkRequest {
	return n.kernel.Netfilter(unix.NFNL_SUBSYS_CTNETLINK, operation, flags, f)
}
