package ipset

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// Flags of linux/netfilter/ipset/ip_set.h that say what to list of a set.
const (
	listNames  = 1 << 1 // IPSET_FLAG_LIST_SETNAME
	listHeader = 1 << 2 // IPSET_FLAG_LIST_HEADER: everything but the entries
)

// Read returns our sets, sorted by name, or ErrUnavailable.
func (n *Netlink) Read() ([]Set, error) { return n.readEach(n.readSet) }

// readEach reads each of our sets.
func (n *Netlink) readEach(read func(name string) (Set, error)) ([]Set, error) {
	names, err := n.names()
	if err != nil {
		return nil, fmt.Errorf("ipset list: %w", err)
	}
	var all []Set
	for _, name := range names {
		s, err := read(name)
		if errors.Is(err, unix.ENOENT) {
			continue // destroyed in between
		}
		if err != nil {
			return nil, fmt.Errorf("ipset list %s: %w", name, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func (n *Netlink) readSet(name string) (Set, error) {
	s, err := n.set(nl.IPSET_CMD_LIST, name)
	family.SortPrefixes(s.Entries)
	sort.Slice(s.Learnt, func(i, j int) bool { return s.Learnt[i].Address.Less(s.Learnt[j].Address) })
	return s, err
}

// Headers returns our sets without their entries, sorted by name; none where the
// kernel has no sets. Those in uncounted are not counted, which takes long in a large
// set.
func (n *Netlink) Headers(uncounted []string) ([]Set, error) {
	headers, err := n.readEach(func(name string) (Set, error) {
		if slices.Contains(uncounted, name) {
			return n.set(nl.IPSET_CMD_HEADER, name)
		}
		return n.set(nl.IPSET_CMD_LIST, name, flagsOf(listHeader))
	})
	if errors.Is(err, ErrUnavailable) {
		return nil, nil
	}
	return headers, err
}

// Family returns the family of any program's set; known is false when there is
// no such set.
func (n *Netlink) Family(name string) (f family.Family, known bool, err error) {
	s, err := n.set(nl.IPSET_CMD_HEADER, name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, ErrUnavailable) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("ipset header %s: %w", name, err)
	}
	return s.Family, true, nil
}

// names returns the names of our sets, sorted.
func (n *Netlink) names() ([]string, error) {
	var names []string
	err := n.ask(nl.IPSET_CMD_LIST, func(kind uint16, value []byte) {
		if name := unix.ByteSliceToString(value); kind == nl.IPSET_ATTR_SETNAME && isOurs(name) {
			names = append(names, name)
		}
	}, flagsOf(listNames))
	slices.Sort(names)
	return slices.Compact(names), err
}

// set reads one set. The kernel splits a large one into many messages, of
// which only the first has the header.
func (n *Netlink) set(command int, name string, arguments ...nl.NetlinkRequestData) (Set, error) {
	s := Set{Name: name}
	err := n.ask(command, s.parse, append(arguments, nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))...)
	return s, err
}

func flagsOf(list uint32) *nl.Uint32Attribute {
	return &nl.Uint32Attribute{Type: nl.IPSET_ATTR_FLAGS | nl.NLA_F_NET_BYTEORDER, Value: list}
}

// ask sends a request and visits the attributes of all answers.
func (n *Netlink) ask(command int, visit func(kind uint16, value []byte), arguments ...nl.NetlinkRequestData) error {
	req := n.kernel.Netfilter(unix.NFNL_SUBSYS_IPSET, command, nl.GetIpsetFlags(command), family.IPv4)
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_PROTOCOL, []byte{nl.IPSET_PROTOCOL}))
	for _, argument := range arguments {
		req.AddData(argument)
	}
	err := req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(m []byte) bool {
		if len(m) > nl.SizeofNfgenmsg {
			kernel.EachAttribute(m[nl.SizeofNfgenmsg:], visit)
		}
		return true
	})
	if kernel.IsMissing(err) {
		return ErrUnavailable
	}
	return err
}

func (s *Set) parse(kind uint16, value []byte) {
	switch kind {
	case nl.IPSET_ATTR_TYPENAME:
		s.Type = unix.ByteSliceToString(value)
	case nl.IPSET_ATTR_FAMILY:
		s.Family, _ = kernel.FamilyOf(uint8(kernel.BigEndian(value)))
	case nl.IPSET_ATTR_DATA:
		kernel.EachAttribute(value, s.parseOption)
	case nl.IPSET_ATTR_ADT:
		kernel.EachAttribute(value, s.parseEntry)
	}
}

func (s *Set) parseOption(kind uint16, value []byte) {
	number := kernel.BigEndian(value)
	switch kind {
	case nl.IPSET_ATTR_MAXELEM:
		s.MaxElements = int(number)
	case nl.IPSET_ATTR_TIMEOUT:
		s.Timeout = int(number)
	case nl.IPSET_ATTR_ELEMENTS:
		s.Count = int(number)
	case nl.IPSET_ATTR_CADT_FLAGS:
		s.Learns = number&nl.IPSET_FLAG_WITH_COMMENT != 0
	}
}

func (s *Set) parseEntry(_ uint16, entry []byte) {
	var address netip.Addr
	bits := s.Family.Bits() // what a missing length means
	learnt := Learnt{}
	kernel.EachAttribute(entry, func(kind uint16, value []byte) {
		switch {
		case kind == nl.IPSET_ATTR_IP:
			kernel.EachAttribute(value, func(_ uint16, a []byte) { address, _ = netip.AddrFromSlice(a) })
		case kind == nl.IPSET_ATTR_CIDR && len(value) == 1:
			bits = int(value[0])
		case kind == nl.IPSET_ATTR_TIMEOUT && len(value) == 4 && s.Learns:
			learnt.Left = int(kernel.BigEndian(value))
		case kind == nl.IPSET_ATTR_COMMENT && s.Learns:
			learnt.Domains = strings.Fields(unix.ByteSliceToString(value))
		default:
			s.Altered = true
		}
	})
	switch prefix := netip.PrefixFrom(address, bits); {
	case !address.IsValid():
		s.Altered = true // an entry of another type of set
	case learnt.Left > 0 && prefix.IsSingleIP():
		learnt.Address = address
		s.Learnt = append(s.Learnt, learnt)
	case learnt.Left > 0 || learnt.Domains != nil:
		s.Altered = true
		fallthrough
	default:
		s.Entries = append(s.Entries, prefix)
	}
}
