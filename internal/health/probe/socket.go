package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dataSize holds an echo reply behind the longest IPv4 header, 60 bytes,
	// and the part of all other answers that is looked at.
	dataSize = 128
	// controlSize holds the device and the hop limit of a packet that is
	// received: 40 and 24 bytes.
	controlSize = 64
)

// socket is one that the runtime's poller watches.
type socket struct {
	file *os.File
	fd   int // valid while the file is open
	conn syscall.RawConn
}

// openSocket opens a socket, binds it to a device and sets it up.
func openSocket(name string, domain, kind, protocol, index int, setUp func(fd int) error) (*socket, error) {
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("%s socket: %w", name, err)
	}
	s := &socket{file: os.NewFile(uintptr(fd), name), fd: fd}
	s.conn, err = s.file.SyscallConn()
	// SetDeadline fails if the poller did not accept the socket: reads would
	// block.
	err = errors.Join(err, s.file.SetDeadline(time.Time{}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index), setUp(fd))
	if err != nil {
		s.file.Close()
		return nil, fmt.Errorf("%s socket: %w", name, err)
	}
	return s, nil
}

// packet is a received datagram, cut off at dataSize.
type packet struct {
	data, control []byte
	from          unix.Sockaddr
}

// receive passes every datagram to handle, which is called with the prober
// locked, and delivers the answers, until the socket is closed.
func (p *Prober) receive(s *socket, handle func(packet) []Answer) {
	defer p.goroutines.Done()
	data, control := make([]byte, dataSize), make([]byte, controlSize)
	var n, controlled int
	var from unix.Sockaddr
	var err error
	read := func(fd uintptr) bool { // false lets the poller wait for the next
		n, controlled, _, from, err = unix.Recvmsg(int(fd), data, control, 0)
		return err != unix.EAGAIN && err != unix.EINTR
	}
	for s.conn.Read(read) == nil {
		if err != nil {
			// Out of memory or the like. It must not become a busy loop.
			select {
			case <-p.closed:
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		p.mu.Lock()
		answers := handle(packet{data[:n], control[:controlled], from})
		p.mu.Unlock()
		for _, a := range answers {
			p.deliver(a)
		}
	}
}

// send sends a datagram with a mark, and from a source if that is valid.
func (s *socket) send(data []byte, to netip.AddrPort, index int, mark uint32, source netip.Addr) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
		return err
	}
	var control []byte
	switch {
	case source.Is6():
		control = unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: uint32(index), Addr: source.As16()})
	case source.Is4():
		control = unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(index), Spec_dst: source.As4()})
	}
	return unix.Sendmsg(s.fd, data, control, sockaddr(to, index), 0)
}

// sockaddr returns an address as the kernel takes it; index is for link-local ones.
func sockaddr(a netip.AddrPort, index int) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: uint32(index)}
}

// addrPort is the reverse of sockaddr; zero for other kinds of addresses.
func addrPort(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}

// arrival returns the index of the device by which an IPv6 packet came in, and
// its hop limit; both are 0 if the kernel did not report them.
func (m packet) arrival() (index, hopLimit int) {
	parts, _ := unix.ParseSocketControlMessage(m.control) // none after an error
	for _, c := range parts {
		switch {
		case c.Header.Level != unix.IPPROTO_IPV6:
		case c.Header.Type == unix.IPV6_PKTINFO && len(c.Data) >= unix.SizeofInet6Pktinfo:
			index = int(binary.NativeEndian.Uint32(c.Data[16:]))
		case c.Header.Type == unix.IPV6_HOPLIMIT && len(c.Data) >= 4:
			hopLimit = int(binary.NativeEndian.Uint32(c.Data))
		}
	}
	return index, hopLimit
}

// attachFilter drops, before they wake anybody, the packets whose 16 bits that
// load loads are others than want. It is classic BPF.
func attachFilter(fd int, want uint16, load ...unix.SockFilter) error {
	const wholePacket = 0xffff
	program := append(load,
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(want), Jf: 1},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: wholePacket},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}
