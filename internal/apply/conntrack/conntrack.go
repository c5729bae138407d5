// Package conntrack reads the kernel's connection table and deletes entries
// from it. It works on one message at a time, so that its memory does not grow
// with the table.
package conntrack

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
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

	key []byte // the attributes that identify the entry
}

// Netlink reads and changes the connection table of the network namespace in
// which Open was called.
type Netlink struct {
	dumps, deletions map[int]*nl.SocketHandle
}

// Open opens the sockets in the network namespace of the calling thread.
func Open() (*Netlink, error) {
	// Entries are deleted while the table is being read, which takes a
	// second socket.
	dumps, err := openSocket()
	if err != nil {
		return nil, err
	}
	deletions, err := openSocket()
	if err != nil {
		dumps[unix.NETLINK_NETFILTER].Close()
		return nil, err
	}
	return &Netlink{dumps: dumps, deletions: deletions}, nil
}

func openSocket() (map[int]*nl.SocketHandle, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("conntrack: netlink socket: %w", err)
	}
	return map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: s}}, nil
}

// Close closes the sockets.
func (n *Netlink) Close() {
	n.dumps[unix.NETLINK_NETFILTER].Close()
	n.deletions[unix.NETLINK_NETFILTER].Close()
}

// Filter selects entries by their mark; the kernel applies it. The zero value
// selects all.
type Filter struct {
	Mark, Mask uint32
}

// Each calls visit for every entry of a family that the filter selects, until
// visit returns false. Connections come and go while the table is read: some
// of those may be left out or be visited twice. visit must not call n.Each.
func (n *Netlink) Each(f family.Family, filter Filter, visit func(Entry) bool) error {
	req := newRequest(n.dumps, f, nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
	if filter.Mask != 0 {
		req.AddData(nl.NewRtAttr(nl.CTA_MARK, nl.BEUint32Attr(filter.Mark)))
		req.AddData(nl.NewRtAttr(markMask, nl.BEUint32Attr(filter.Mask)))
	}
	err := req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(m []byte) bool {
		e, ok := parse(m)
		// A kernel that cannot filter by mark sends every entry, and one
		// without the family sends the others.
		if !ok || e.Family != f || e.Mark&filter.Mask != filter.Mark&filter.Mask {
			return true
		}
		return visit(e)
	})
	if errors.Is(err, nl.ErrDumpInterrupted) {
		return nil // see above: it is no snapshot in any case
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		err = ErrUnavailable // nfnetlink knows no such subsystem
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
	err := n.Each(f, Filter{}, func(e Entry) bool {
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

// Delete deletes the entries of a family that the filter selects and for which
// match holds, and returns how many. match may keep the entries that it is
// given. An entry that cannot be deleted does not keep the others from being
// deleted; the error says how many such there were, and why the first.
func (n *Netlink) Delete(f family.Family, filter Filter, match func(Entry) bool) (int, error) {
	var result deletions
	err := n.Each(f, filter, func(e Entry) bool {
		if match(e) {
			result.note(n.delete(e))
		}
		return true
	})
	return result.deleted, errors.Join(err, result.err(f))
}

// Remove deletes entries that Each has found before, like Delete, and returns
// those that are gone now, be it by themselves.
func (n *Netlink) Remove(f family.Family, entries []Entry) ([]Entry, error) {
	var result deletions
	gone := entries[:0]
	for _, e := range entries {
		err := n.delete(e)
		result.note(err)
		if err == nil {
			gone = append(gone, e)
		}
	}
	return gone, result.err(f)
}

// deletions counts what became of them.
type deletions struct {
	deleted, failed int
	first           error
}

func (d *deletions) note(err error) {
	if err == nil {
		d.deleted++
		return
	}
	if d.failed == 0 {
		d.first = err
	}
	d.failed++
}

func (d *deletions) err(f family.Family) error {
	if d.failed == 0 {
		return nil
	}
	return fmt.Errorf("conntrack delete (%s): %d entries could not be deleted: %w", f, d.failed, d.first)
}

// DeleteTCP deletes the entry of a TCP connection between two addresses of one
// family, by the direction in which it was opened, in the default zone. One that
// is not there is no error. It may be called from several goroutines at a time.
func (n *Netlink) DeleteTCP(source, destination netip.AddrPort) error {
	f := family.Of(source.Addr())
	if err := n.delete(Entry{Family: f, key: tcpKey(source, destination)}); err != nil {
		return fmt.Errorf("conntrack delete (%s): TCP from %v to %v: %w", f, source, destination, err)
	}
	return nil
}

func (n *Netlink) delete(e Entry) error {
	req := newRequest(n.deletions, e.Family, nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
	req.AddRawData(e.key)
	_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // it ended by itself
	}
	return err
}

func newRequest(sockets map[int]*nl.SocketHandle, f family.Family, operation, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|operation, flags)
	req.Sockets = sockets
	number := uint8(unix.AF_INET)
	if f == family.IPv6 {
		number = unix.AF_INET6
	}
	req.AddData(&nl.Nfgenmsg{NfgenFamily: number, Version: nl.NFNETLINK_V0})
	return req
}
