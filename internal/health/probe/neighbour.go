package probe

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// arp is an ARP packet, as it is sent (RFC 826).
type arp struct {
	Kind            [6]byte
	Operation       uint16
	Sender          hardware
	SenderAddress   [4]byte
	Receiver        hardware
	ReceiverAddress [4]byte
}

// ethernetIPv4 has the types and lengths of both addresses.
var ethernetIPv4 = [6]byte{0, unix.ARPHRD_ETHER, unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff, 6, 4}

const (
	arpRequest = 1
	arpReply   = 2
)

// Neighbour discovery (RFC 4861, sections 4.3 and 4.4).
const (
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
	solicitationSize       = 8 + 16 + 8 // header, target, our link-layer address
	advertisementSize      = 8 + 16
	solicited              = 0x40 // S flag: an answer, no announcement
	// Only a packet from the same link still has this hop limit.
	linkHopLimit = 255
)

// askNeighbour asks for the link-layer address of a target.
func (p *Prober) askNeighbour(path *pathState, t *target, probe *Probe) error {
	own, ok, err := p.devices.hardware(probe.Device)
	if err != nil {
		return err
	}
	if !ok {
		return p.sendPing(path, probe)
	}
	// A target that answered the last time is asked by unicast, as the kernel
	// does, so that hundreds of hosts in an uplink's network are left in peace.
	to := t.mac
	if t.awaiting || to == (hardware{}) {
		to = broadcast
	}
	t.awaiting = true
	s, err := p.open(path, &path.neighbour)
	if err != nil {
		return err
	}
	if path.key.Family == family.IPv4 {
		return unix.Sendto(s.fd, arpMessage(own, address4(probe.Source), probe.Address.As4()), 0, linkAddress(to, path.index))
	}
	group := netip.AddrPortFrom(solicitedNode(probe.Address), 0)
	return s.send(solicitation(own, probe.Address.As16()), group, path.index, probe.Mark, netip.Addr{})
}

// linkAddress is the destination of an ARP packet, with the device.
func linkAddress(to hardware, index int) *unix.SockaddrLinklayer {
	a := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: index, Halen: uint8(len(to))}
	copy(a.Addr[:], to[:])
	return a
}

// address4 returns 0.0.0.0 for anything but an IPv4 address.
func address4(a netip.Addr) [4]byte {
	if !a.Is4() {
		return [4]byte{}
	}
	return a.As4()
}

// networkOrder returns htons(n), see htons(3).
func networkOrder(n uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, n))
}

// setUpARP has a packet socket, which heeds no other binding to a device, take
// replies of ARP that come in by the path's.
func (path *pathState) setUpARP(fd int) error {
	return errors.Join(
		attachFilter(fd, arpReply, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: path.index}))
}

func arpMessage(own hardware, sender, wanted [4]byte) []byte {
	// It fails for other types only.
	b, _ := binary.Append(nil, binary.BigEndian,
		arp{Kind: ethernetIPv4, Operation: arpRequest, Sender: own, SenderAddress: sender, ReceiverAddress: wanted})
	return b
}

// parseARP reads who replied, and to whom.
func parseARP(b []byte) (mac hardware, sender, receiver netip.Addr, ok bool) {
	var a arp
	_, err := binary.Decode(b, binary.BigEndian, &a)
	ok = err == nil && a.Kind == ethernetIPv4 && a.Operation == arpReply
	return a.Sender, netip.AddrFrom4(a.SenderAddress), netip.AddrFrom4(a.ReceiverAddress), ok
}

func (path *pathState) handleARP(m packet) []Answer {
	mac, sender, receiver, ok := parseARP(m.data)
	from, isLink := m.from.(*unix.SockaddrLinklayer)
	if !ok || !isLink || netip.AddrFrom4(address4(path.source)) != receiver {
		return nil // an announcement, or for somebody else
	}
	return path.handleNeighbour(from.Ifindex, sender, mac)
}

func setUpND(fd int) error {
	return errors.Join(onlyICMPv6(fd, neighbourAdvertisement),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, linkHopLimit),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1))
}

// solicitedNode is the multicast group of an address, to which few other hosts
// listen: ff02::1:ff00:0/104 with its end (RFC 4291, section 2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	copy(b[:13], []byte{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff})
	return netip.AddrFrom16(b)
}

func solicitation(own hardware, wanted [16]byte) []byte {
	b := make([]byte, solicitationSize)
	b[0] = neighbourSolicitation
	copy(b[8:], wanted[:])
	b[24], b[25] = 1, 1 // source link-layer address, 8 bytes
	copy(b[26:], own[:])
	return b
}

// parseAdvertisement returns the target address of a solicited advertisement.
func parseAdvertisement(b []byte) (netip.Addr, bool) {
	if len(b) < advertisementSize || b[0] != neighbourAdvertisement || b[1] != 0 || b[4]&solicited == 0 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(b[8:24])), true
}

func (path *pathState) handleND(m packet) []Answer {
	wanted, ok := parseAdvertisement(m.data)
	index, hopLimit := m.arrival()
	if !ok || hopLimit != linkHopLimit {
		return nil
	}
	return path.handleNeighbour(index, wanted, hardware{})
}

// handleNeighbour returns the answer of a neighbour that is waited for: to the newest
// request, since none says to which, once. A packet of another device may have come
// before the socket was bound.
func (path *pathState) handleNeighbour(index int, neighbour netip.Addr, mac hardware) []Answer {
	for i := range path.targets {
		t := &path.targets[i]
		if path.index == index && t.address == neighbour && t.awaiting {
			t.awaiting, t.mac = false, mac
			return path.answer(i, neighbour, t.round)
		}
	}
	return nil
}
