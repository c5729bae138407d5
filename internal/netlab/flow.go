package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Flow is one connection (TCP) or socket (UDP) to an answering server.
type Flow struct {
	// Uplink is the one over which the server saw the flow come, 0 if it saw
	// no uplink's address.
	Uplink int
	// Seen is the source that the server saw first.
	Seen netip.AddrPort

	file  *os.File
	moved atomic.Int64 // bytes that a Bulk has moved
}

// open starts a connection without waiting for it. It must run on a thread
// inside the namespace. source may be the zero Addr.
func (l *Lab) open(t Traffic, source netip.Addr) (*os.File, error) {
	domain, kind := unix.AF_INET, unix.SOCK_STREAM
	if t.Server.Addr().Is6() {
		domain = unix.AF_INET6
	}
	if t.Network == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := l.prepare(fd, t, source); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if err := unix.Connect(fd, sockaddr(t.Server)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return nil, fmt.Errorf("connect: %w", err)
	}
	return os.NewFile(uintptr(fd), "flow to "+t.Server.String()), nil
}

func (l *Lab) prepare(fd int, t Traffic, source netip.Addr) error {
	if t.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(t.Mark)); err != nil {
			return fmt.Errorf("mark: %w", err)
		}
	}
	if t.Device != "" {
		if err := unix.BindToDevice(fd, t.Device); err != nil {
			return fmt.Errorf("bind to device %s: %w", t.Device, err)
		}
	}
	if t.Network == "udp" {
		return l.bindUDP(fd, t, source)
	}
	return prepareTCP(fd, source)
}

func prepareTCP(fd int, source netip.Addr) error {
	// Close with a reset: TIME_WAIT would use up the ports.
	linger := unix.Linger{Onoff: 1}
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger); err != nil {
		return fmt.Errorf("linger: %w", err)
	}
	if !source.IsValid() {
		return nil
	}
	// The port is chosen at connect, when the whole tuple counts: a source
	// address then has 64000 ports to each server, not 64000 in all.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return fmt.Errorf("bind without port: %w", err)
	}
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0))); err != nil {
		return fmt.Errorf("bind to %v: %w", source, err)
	}
	return nil
}

// The ports that the kernel gives to sockets, from ip-sysctl's
// ip_local_port_range; no server of a laboratory listens in there.
const (
	firstPort = 32768
	lastPort  = 60999
)

// bindUDP gives a socket the port after the last one's. The kernel would draw
// one, and a socket that draws an earlier one's port continues its connection,
// which the router still knows: over that one's uplink, or, bound to another
// uplink, not at all, since NAT drops what changes its device (EPERM).
func (l *Lab) bindUDP(fd int, t Traffic, source netip.Addr) error {
	if !source.IsValid() {
		source = unspecified(t.Server.Addr())
	}
	for range lastPort - firstPort + 1 {
		port := firstPort + (l.udpSockets.Add(1)-1)%(lastPort-firstPort+1)
		err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, uint16(port))))
		if errors.Is(err, unix.EADDRINUSE) { // by a socket that no Traffic opened
			continue
		}
		if err != nil {
			return fmt.Errorf("bind to %v, port %d: %w", source, port, err)
		}
		return nil
	}
	return fmt.Errorf("bind to %v: every port is in use", source)
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// Exchange sends a line and returns the source that the server saw.
func (f *Flow) Exchange(timeout time.Duration) (netip.AddrPort, error) {
	if err := f.file.SetDeadline(time.Now().Add(timeout)); err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := f.file.Write([]byte("?\n")); err != nil {
		return netip.AddrPort{}, err
	}
	answer := make([]byte, 0, 64) // longer than any address
	for {
		n, err := f.file.Read(answer[len(answer):cap(answer)])
		if err != nil {
			return netip.AddrPort{}, err
		}
		answer = answer[:len(answer)+n]
		if line, _, found := bytes.Cut(answer, []byte("\n")); found {
			return netip.ParseAddrPort(string(line))
		}
		if len(answer) == cap(answer) {
			return netip.AddrPort{}, fmt.Errorf("the server answered %q", answer)
		}
	}
}

// Check exchanges again and fails if the server no longer sees the same source.
func (f *Flow) Check(timeout time.Duration) error {
	seen, err := f.Exchange(timeout)
	if err != nil {
		return err
	}
	if seen != f.Seen {
		return fmt.Errorf("the server first saw %v, now %v", f.Seen, seen)
	}
	return nil
}

// Close ends the flow; a TCP connection is reset.
func (f *Flow) Close() { f.file.Close() }

// Dial opens one flow of t and waits for the first answer.
func (l *Lab) Dial(t Traffic) (*Flow, error) {
	t = l.complete(t)
	var file *os.File
	err := t.From.Do(func() (err error) {
		file, err = l.open(t, t.source(0))
		return err
	})
	if err != nil {
		return nil, err
	}
	return l.greet(file, t.Timeout)
}

// greet makes a Flow of a connection that was started.
func (l *Lab) greet(file *os.File, timeout time.Duration) (*Flow, error) {
	f := &Flow{file: file}
	seen, err := f.Exchange(timeout)
	if err != nil {
		f.Close()
		return nil, err
	}
	f.Seen, f.Uplink = seen, l.UplinkOf(seen.Addr())
	return f, nil
}
