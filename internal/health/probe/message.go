package probe

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// nameSize holds the largest of sockaddr_in, sockaddr_in6 and sockaddr_ll.
	nameSize = unix.SizeofSockaddrInet6
	// controlSize holds the mark and the device of a packet that is sent (24
	// and 40 bytes), or the device and the hop limit of one that is received.
	controlSize = 64
	// dataSize holds an echo reply behind the longest IPv4 header, 60 bytes,
	// and the part of all other answers that is looked at.
	dataSize = 128
)

// message is one datagram with the arguments of sendmsg(2) and recvmsg(2). It
// is reused for every datagram, without allocating: the wrappers of x/sys
// allocate several times for each.
type message struct {
	header  unix.Msghdr
	vector  unix.Iovec
	_       [0]uintptr // aligns the headers in control
	control [controlSize]byte
	name    [nameSize]byte
	data    [dataSize]byte
}

// address sets the destination of a datagram, the device by which it leaves,
// its mark and, with IPv6, its source, if that is valid.
func (m *message) address(to netip.Addr, port uint16, index int32, mark uint32, source netip.Addr) {
	clear(m.name[:])
	binary.BigEndian.PutUint16(m.name[2:], port)
	var native [4]byte
	binary.NativeEndian.PutUint32(native[:], mark)
	end := m.putControl(0, unix.SOL_SOCKET, unix.SO_MARK, native[:])
	if to.Is4() {
		binary.NativeEndian.PutUint16(m.name[0:], unix.AF_INET)
		*(*[4]byte)(m.name[4:]) = to.As4()
		m.header.Namelen = unix.SizeofSockaddrInet4
		var info [unix.SizeofInet4Pktinfo]byte
		binary.NativeEndian.PutUint32(info[0:], uint32(index))
		end = m.putControl(end, unix.IPPROTO_IP, unix.IP_PKTINFO, info[:])
	} else {
		binary.NativeEndian.PutUint16(m.name[0:], unix.AF_INET6)
		*(*[16]byte)(m.name[8:]) = to.As16()
		binary.NativeEndian.PutUint32(m.name[24:], uint32(index)) // of a link-local address
		m.header.Namelen = unix.SizeofSockaddrInet6
		var info [unix.SizeofInet6Pktinfo]byte
		if source.Is6() {
			*(*[16]byte)(info[0:]) = source.As16()
		}
		binary.NativeEndian.PutUint32(info[16:], uint32(index))
		end = m.putControl(end, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info[:])
	}
	m.header.Name = &m.name[0]
	m.header.Control = &m.control[0]
	m.header.SetControllen(end)
}

// putControl writes a control message and returns where the next one begins.
func (m *message) putControl(at int, level, kind int32, value []byte) int {
	header := (*unix.Cmsghdr)(unsafe.Pointer(&m.control[at]))
	header.Level, header.Type = level, kind
	header.SetLen(unix.CmsgLen(len(value)))
	copy(m.control[at+unix.CmsgLen(0):], value)
	return at + unix.CmsgSpace(len(value))
}

// addressLink sets the device by which a frame leaves, and its destination.
func (m *message) addressLink(to hardware, protocol uint16, index int32) {
	clear(m.name[:])
	binary.NativeEndian.PutUint16(m.name[0:], unix.AF_PACKET)
	binary.BigEndian.PutUint16(m.name[2:], protocol)
	binary.NativeEndian.PutUint32(m.name[4:], uint32(index))
	m.name[11] = byte(len(to))
	copy(m.name[12:], to[:])
	m.header.Name = &m.name[0]
	m.header.Namelen = unix.SizeofSockaddrLinklayer
	m.header.Control = nil
	m.header.SetControllen(0)
}

// send sends the first size bytes of data.
func (m *message) send(fd, size int) error {
	m.vector.Base = &m.data[0]
	m.vector.SetLen(size)
	m.header.Iov = &m.vector
	m.header.SetIovlen(1)
	// Raw, here and below: nothing blocks, and before a call that may, Go wakes
	// its watchdog thread, which costs more than the rest of a probe.
	_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.header)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// receive reads a datagram and returns its length, cut off at dataSize.
func (m *message) receive(fd int) (int, unix.Errno) {
	m.vector.Base = &m.data[0]
	m.vector.SetLen(len(m.data))
	m.header.Iov = &m.vector
	m.header.SetIovlen(1)
	clear(m.name[:])
	m.header.Name = &m.name[0]
	m.header.Namelen = uint32(len(m.name))
	m.header.Control = &m.control[0]
	m.header.SetControllen(len(m.control))
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.header)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// source returns the address and port from which a datagram came.
func (m *message) source() netip.AddrPort {
	port := binary.BigEndian.Uint16(m.name[2:])
	switch binary.NativeEndian.Uint16(m.name[0:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(m.name[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(m.name[8:24])), port)
	}
	return netip.AddrPort{}
}

// linkIndex returns the index of the device by which a frame came in.
func (m *message) linkIndex() int32 { return int32(binary.NativeEndian.Uint32(m.name[4:])) }

// arrival returns the index of the device by which an IPv6 packet came in, and
// its hop limit; both are 0 if the kernel did not report them.
func (m *message) arrival() (index int32, hopLimit int) {
	parts, err := unix.ParseSocketControlMessage(m.control[:m.header.Controllen])
	if err != nil {
		return 0, 0
	}
	for _, c := range parts {
		if c.Header.Level != unix.IPPROTO_IPV6 {
			continue
		}
		switch {
		case c.Header.Type == unix.IPV6_PKTINFO && len(c.Data) >= unix.SizeofInet6Pktinfo:
			index = int32(binary.NativeEndian.Uint32(c.Data[16:]))
		case c.Header.Type == unix.IPV6_HOPLIMIT && len(c.Data) >= 4:
			hopLimit = int(binary.NativeEndian.Uint32(c.Data))
		}
	}
	return index, hopLimit
}
