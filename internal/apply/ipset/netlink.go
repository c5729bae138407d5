package ipset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// ErrUnavailable says that the kernel has no sets.
var ErrUnavailable = errors.New("the kernel has no ipset support (on OpenWrt: package kmod-ipt-ipset)")

// Numbers of linux/netfilter/ipset/ip_set.h and ip_set_hash.h that the library
// does not have.
const (
	flagListNames = 1 << 1                     // IPSET_FLAG_LIST_SETNAME: names only
	errHashFull   = nl.IPSET_ERR_TYPE_SPECIFIC // IPSET_ERR_HASH_FULL
)

// Netlink is the Kernel of the network namespace in which Open was called.
// It speaks to the kernel directly, because the library's ipset functions
// panic on errors that are no number, print attributes that they do not know
// to standard error, and parse the sets of all other programs, too.
type Netlink struct {
	sockets map[int]*nl.SocketHandle
}

// Open opens a socket in the network namespace of the calling thread.
func Open() (*Netlink, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("ipset: netlink socket: %w", err)
	}
	return &Netlink{map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: s}}}, nil
}

// Close closes the socket.
func (n *Netlink) Close() { n.sockets[unix.NETLINK_NETFILTER].Close() }

// Read returns our sets, sorted by name, or ErrUnavailable.
func (n *Netlink) Read() ([]Set, error) {
	names, err := n.names()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, fmt.Errorf("ipset: %w", ErrUnavailable) // nfnetlink knows no such subsystem
	}
	if err != nil {
		return nil, fmt.Errorf("ipset list: %w", err)
	}
	var sets []Set
	for _, name := range names {
		s, err := n.readSet(name)
		if errors.Is(err, unix.ENOENT) {
			continue // destroyed in between
		}
		if err != nil {
			return nil, fmt.Errorf("ipset list %s: %w", name, err)
		}
		sets = append(sets, s)
	}
	return sets, nil
}

// names returns the names of our sets, sorted.
func (n *Netlink) names() ([]string, error) {
	req := n.request(nl.IPSET_CMD_LIST)
	req.AddData(&nl.Uint32Attribute{Type: nl.IPSET_ATTR_FLAGS | nl.NLA_F_NET_BYTEORDER, Value: flagListNames})
	messages, err := execute(req)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range messages {
		attrs, err := attributes(m)
		if err != nil {
			return nil, err
		}
		for _, a := range attrs {
			if name := text(a); kind(a) == nl.IPSET_ATTR_SETNAME && isOurs(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// readSet reads one set. The kernel splits a large one into many messages, of
// which only the first has the header.
func (n *Netlink) readSet(name string) (Set, error) {
	req := n.request(nl.IPSET_CMD_LIST)
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
	messages, err := execute(req)
	if err != nil {
		return Set{}, err
	}
	s := Set{Name: name}
	for _, m := range messages {
		attrs, err := attributes(m)
		if err != nil {
			return Set{}, err
		}
		if err := s.parse(attrs); err != nil {
			return Set{}, err
		}
	}
	slices.SortStableFunc(s.Entries, comparePrefixes)
	return s, nil
}

func (s *Set) parse(attrs []syscall.NetlinkRouteAttr) error {
	for _, a := range attrs {
		var err error
		switch kind(a) {
		case nl.IPSET_ATTR_TYPENAME:
			s.Type = text(a)
		case nl.IPSET_ATTR_FAMILY:
			if a.Value[0] == unix.AF_INET6 {
				s.Family = family.IPv6
			}
		case nl.IPSET_ATTR_DATA:
			err = s.parseHeader(a.Value)
		case nl.IPSET_ATTR_ADT:
			err = s.parseEntries(a.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) parseHeader(b []byte) error {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return err
	}
	for _, a := range attrs {
		switch kind(a) {
		case nl.IPSET_ATTR_MAXELEM:
			s.MaxElements = int(binary.BigEndian.Uint32(a.Value))
		case nl.IPSET_ATTR_TIMEOUT:
			s.Timeout = int(binary.BigEndian.Uint32(a.Value))
		}
	}
	return nil
}

func (s *Set) parseEntries(b []byte) error {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return err
	}
	for _, a := range attrs {
		if err := s.parseEntry(a.Value); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) parseEntry(b []byte) error {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return err
	}
	var address netip.Addr
	bits := s.Family.Bits() // what a missing length means
	for _, a := range attrs {
		switch kind(a) {
		case nl.IPSET_ATTR_IP:
			if address, err = parseAddress(a.Value); err != nil {
				return err
			}
		case nl.IPSET_ATTR_CIDR:
			bits = int(a.Value[0])
		default:
			s.Odd = true
		}
	}
	if !address.IsValid() {
		s.Odd = true // an entry of another type of set
		return nil
	}
	s.Entries = append(s.Entries, netip.PrefixFrom(address, bits))
	return nil
}

func parseAddress(b []byte) (netip.Addr, error) {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil || len(attrs) == 0 {
		return netip.Addr{}, errors.Join(errors.New("unreadable address"), err)
	}
	address, ok := netip.AddrFromSlice(attrs[0].Value)
	if !ok {
		return netip.Addr{}, errors.New("unreadable address")
	}
	return address, nil
}

// Create makes an empty set.
func (n *Netlink) Create(name string, f family.Family, maxElements, timeout int) error {
	req := n.request(nl.IPSET_CMD_CREATE)
	req.Flags |= unix.NLM_F_EXCL
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_TYPENAME, nl.ZeroTerminated(typeOf(timeout))))
	// Every kernel has revision 0 of the types, and we use nothing newer.
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_REVISION, []byte{0}))
	number := uint8(unix.AF_INET)
	if f == family.IPv6 {
		number = unix.AF_INET6
	}
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_FAMILY, []byte{number}))
	data := nl.NewRtAttr(nl.IPSET_ATTR_DATA|unix.NLA_F_NESTED, nil)
	data.AddChild(&nl.Uint32Attribute{Type: nl.IPSET_ATTR_MAXELEM | nl.NLA_F_NET_BYTEORDER, Value: uint32(maxElements)})
	if timeout > 0 {
		data.AddChild(&nl.Uint32Attribute{Type: nl.IPSET_ATTR_TIMEOUT | nl.NLA_F_NET_BYTEORDER, Value: uint32(timeout)})
	}
	req.AddData(data)
	_, err := execute(req)
	return setError("create", name, "", err)
}

// Family returns the family of any program's set; known is false when there is
// no such set.
func (n *Netlink) Family(name string) (f family.Family, known bool, err error) {
	req := n.request(nl.IPSET_CMD_HEADER)
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
	messages, err := execute(req)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, ErrUnavailable) {
		return 0, false, nil
	}
	if err != nil || len(messages) == 0 {
		return 0, false, setError("header", name, "", err)
	}
	attrs, err := attributes(messages[0])
	if err != nil {
		return 0, false, fmt.Errorf("ipset header %s: %w", name, err)
	}
	var set Set
	if err := set.parse(attrs); err != nil {
		return 0, false, fmt.Errorf("ipset header %s: %w", name, err)
	}
	return set.Family, true, nil
}

// Contains asks whether an address is in a set, of ours or of anybody else.
func (n *Netlink) Contains(name string, a netip.Addr) (bool, error) {
	req := n.request(nl.IPSET_CMD_TEST)
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
	req.AddData(entryAttribute(netip.PrefixFrom(a, a.BitLen())))
	_, err := execute(req)
	var number syscall.Errno
	if errors.As(err, &number) && number == nl.IPSET_ERR_EXIST {
		return false, nil // how the kernel says no
	}
	return err == nil, setError("test", name, " "+a.String(), err)
}

// Destroy destroys a set of ours that no rule names.
func (n *Netlink) Destroy(name string) error {
	if !isOurs(name) {
		return fmt.Errorf("ipset destroy %s: the set is not ours", name)
	}
	req := n.request(nl.IPSET_CMD_DESTROY)
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
	_, err := execute(req)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return setError("destroy", name, "", err)
}

// Swap exchanges the contents of two sets.
func (n *Netlink) Swap(a, b string) error {
	req := n.request(nl.IPSET_CMD_SWAP)
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(a)))
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME2, nl.ZeroTerminated(b)))
	_, err := execute(req)
	return setError("swap", a, " "+b, err)
}

// Add adds entries.
func (n *Netlink) Add(name string, entries []netip.Prefix) error {
	return n.change(nl.IPSET_CMD_ADD, "add", name, entries)
}

// Delete deletes entries.
func (n *Netlink) Delete(name string, entries []netip.Prefix) error {
	return n.change(nl.IPSET_CMD_DEL, "del", name, entries)
}

func (n *Netlink) change(command int, verb, name string, entries []netip.Prefix) error {
	err := n.send(command, name, entries)
	if err == nil || len(entries) == 0 {
		return nil
	}
	if len(entries) == 1 {
		return setError(verb, name, " "+entryText(entries[0]), err)
	}
	// One by one, to name the entry that the kernel refuses.
	for i := range entries {
		if err := n.change(command, verb, name, entries[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (n *Netlink) send(command int, name string, entries []netip.Prefix) error {
	req := n.request(command) // without NLM_F_EXCL: done already is no error
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
	// The kernel wants a line number along with a list of entries.
	req.AddData(&nl.Uint32Attribute{Type: nl.IPSET_ATTR_LINENO | nl.NLA_F_NET_BYTEORDER})
	list := nl.NewRtAttr(nl.IPSET_ATTR_ADT|unix.NLA_F_NESTED, nil)
	for _, e := range entries {
		list.AddChild(entryAttribute(e))
	}
	req.AddData(list)
	_, err := execute(req)
	return err
}

func entryAttribute(entry netip.Prefix) *nl.RtAttr {
	kind := nl.IPSET_ATTR_IPADDR_IPV4
	if entry.Addr().Is6() {
		kind = nl.IPSET_ATTR_IPADDR_IPV6
	}
	address := nl.NewRtAttr(nl.IPSET_ATTR_IP|unix.NLA_F_NESTED, nil)
	address.AddChild(nl.NewRtAttr(kind|int(nl.NLA_F_NET_BYTEORDER), entry.Addr().AsSlice()))
	data := nl.NewRtAttr(nl.IPSET_ATTR_DATA|unix.NLA_F_NESTED, nil)
	data.AddChild(address)
	data.AddChild(nl.NewRtAttr(nl.IPSET_ATTR_CIDR, []byte{uint8(entry.Bits())}))
	return data
}

func (n *Netlink) request(command int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(command|unix.NFNL_SUBSYS_IPSET<<8, nl.GetIpsetFlags(command))
	req.Sockets = n.sockets
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_INET, Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_PROTOCOL, []byte{nl.IPSET_PROTOCOL}))
	return req
}

func execute(req *nl.NetlinkRequest) ([][]byte, error) {
	return req.Execute(unix.NETLINK_NETFILTER, 0)
}

// setError names the command and says in words what ipset's own error numbers
// mean.
func setError(verb, name, rest string, err error) error {
	if err == nil {
		return nil
	}
	var number syscall.Errno
	if errors.As(err, &number) && number >= nl.IPSET_ERR_PRIVATE {
		err = errors.New(reason(number))
	}
	return fmt.Errorf("ipset %s %s%s: %w", verb, name, rest, err)
}

func reason(number syscall.Errno) string {
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
	return nl.IPSetError(number).Error()
}

// attributes returns the attributes of a message, behind its header.
func attributes(m []byte) ([]syscall.NetlinkRouteAttr, error) {
	if len(m) < nl.SizeofNfgenmsg {
		return nil, errors.New("unreadable answer of the kernel")
	}
	return nl.ParseRouteAttr(m[nl.SizeofNfgenmsg:])
}

// kind returns an attribute's type without the flags in its upper bits.
func kind(a syscall.NetlinkRouteAttr) int { return int(a.Attr.Type & nl.NLA_TYPE_MASK) }

func text(a syscall.NetlinkRouteAttr) string {
	s, _, _ := strings.Cut(string(a.Value), "\x00")
	return s
}
