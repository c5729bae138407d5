package netlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Ports of the servers. The answering ones send, for every line (TCP) or packet
// (UDP), the address and port of the client as they see it. They listen in World
// and, on EchoPort, in Router, Client, Guest and VPN as well.
const (
	EchoPort   = 7
	DNSPort    = 53  // answering, as if it were a resolver
	HTTPPort   = 80  // answering, as if it were a web server
	HTTPSPort  = 443 // answering
	SourcePort = 19  // TCP, World: answers one line; after another sends as many bytes as it says, or until closed
	SinkPort   = 20  // TCP, World: answers one line, then reads until closed
	// DiscardPort (UDP) is counted and dropped by the World.
	DiscardPort = 9
	// ForwardedPort of every uplink is passed on to the first LAN host's EchoPort.
	ForwardedPort = 8080
)

// maxServed bounds the connections that one server holds at a time; it closes
// further ones at once.
const maxServed = 1 << 16

// servers are the listening sockets of a laboratory and what they serve.
type servers struct {
	mu      sync.Mutex
	closed  bool
	open    map[interface{ Close() error }]struct{}
	running sync.WaitGroup
	// sunk counts the bytes that SinkPort has read, by uplink.
	sunk [MaxUplinks + 1]atomic.Int64
}

func (s *servers) add(c interface{ Close() error }) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.open) >= maxServed {
		c.Close()
		return false
	}
	s.open[c] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *servers) remove(c interface{ Close() error }) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	c.Close()
	s.running.Done()
}

func (s *servers) close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

func (l *Lab) startServers() error {
	l.servers.open = map[interface{ Close() error }]struct{}{}
	l.closers = append(l.closers, l.servers.close)
	for _, ns := range []*Namespace{l.Router, l.Client, l.Guest, l.VPN} {
		if err := l.serveAnswers(ns, EchoPort); err != nil {
			return err
		}
	}
	for _, port := range []int{EchoPort, DNSPort, HTTPPort, HTTPSPort} {
		if err := l.serveAnswers(l.World, port); err != nil {
			return err
		}
	}
	if err := l.serveTCP(l.World, SourcePort, l.source); err != nil {
		return err
	}
	return l.serveTCP(l.World, SinkPort, l.sink)
}

// serveAnswers starts an answering server, TCP and UDP.
func (l *Lab) serveAnswers(ns *Namespace, port int) error {
	if err := l.serveTCP(ns, port, answerLines); err != nil {
		return err
	}
	return l.serveUDP(ns, port)
}

func (l *Lab) families() []string {
	if l.options.IPv6 {
		return []string{"4", "6"}
	}
	return []string{"4"}
}

func (l *Lab) serveTCP(ns *Namespace, port int, serve func(*net.TCPConn)) error {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	for _, family := range l.families() {
		var listener net.Listener
		err := ns.Do(func() (err error) {
			listener, err = config.Listen(context.Background(), "tcp"+family, fmt.Sprintf(":%d", port))
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", ns.Name, err)
		}
		if l.servers.add(listener) {
			go l.accept(listener, serve)
		}
	}
	return nil
}

func (l *Lab) accept(listener net.Listener, serve func(*net.TCPConn)) {
	defer l.servers.remove(listener)
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // no file descriptor is free
			continue
		}
		if !l.servers.add(conn) {
			continue
		}
		go func() {
			defer l.servers.remove(conn)
			serve(conn.(*net.TCPConn))
		}()
	}
}

// answerLines sends the client's address for every line that it sends.
func answerLines(conn *net.TCPConn) {
	answer := []byte(conn.RemoteAddr().String() + "\n")
	buffer := make([]byte, 256)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		for range bytes.Count(buffer[:n], []byte("\n")) {
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}
}

// answerOnce handles the line that opens a bulk connection.
func answerOnce(conn *net.TCPConn) bool {
	if _, ok := readLine(conn); !ok {
		return false
	}
	_, err := conn.Write([]byte(conn.RemoteAddr().String() + "\n"))
	return err == nil
}

// readLine reads one byte after another: what follows is for the next reader.
func readLine(conn *net.TCPConn) (line string, ok bool) {
	octet := make([]byte, 1)
	for {
		if _, err := conn.Read(octet); err != nil {
			return "", false
		}
		if octet[0] == '\n' {
			return line, true
		}
		line += string(octet)
	}
}

// bulkBuffer is large enough that system calls do not limit the throughput.
const bulkBuffer = 256 << 10

func (l *Lab) source(conn *net.TCPConn) {
	if !answerOnce(conn) {
		return
	}
	line, ok := readLine(conn)
	if !ok {
		return
	}
	data := make([]byte, bulkBuffer)
	if n, err := strconv.Atoi(line); err == nil { // so many bytes
		for ; n > 0 && err == nil; n -= len(data) {
			_, err = conn.Write(data[:min(n, len(data))])
		}
		return
	}
	for {
		if _, err := conn.Write(data); err != nil {
			return
		}
	}
}

func (l *Lab) sink(conn *net.TCPConn) {
	if !answerOnce(conn) {
		return
	}
	counter := &l.servers.sunk[l.UplinkOf(conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())]
	data := make([]byte, bulkBuffer)
	for {
		n, err := conn.Read(data)
		counter.Add(int64(n))
		if err != nil {
			return
		}
	}
}

func (l *Lab) serveUDP(ns *Namespace, port int) error {
	for _, family := range l.families() {
		var conn *net.UDPConn
		err := ns.Do(func() (err error) {
			if conn, err = net.ListenUDP("udp"+family, &net.UDPAddr{Port: port}); err != nil {
				return err
			}
			return wantDestination(conn, family)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", ns.Name, err)
		}
		if l.servers.add(conn) {
			go l.answerPackets(conn)
		}
	}
	return nil
}

// wantDestination makes a socket report to which address a packet came, so that
// the answer can come from there.
func wantDestination(conn *net.UDPConn, family string) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var optionErr error
	err = raw.Control(func(fd uintptr) {
		if family == "4" {
			optionErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			return
		}
		// IPv6 otherwise refuses a source that only a local route covers.
		optionErr = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1))
	})
	return errors.Join(err, optionErr)
}

func (l *Lab) answerPackets(conn *net.UDPConn) {
	defer l.servers.remove(conn)
	packet, control := make([]byte, 2048), make([]byte, 128)
	for {
		_, controlLen, _, client, err := conn.ReadMsgUDPAddrPort(packet, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		answer := netip.AddrPortFrom(client.Addr().Unmap(), client.Port()).String() + "\n"
		// An error means that the client cannot be reached any more.
		_, _, _ = conn.WriteMsgUDPAddrPort([]byte(answer), answerFrom(control[:controlLen]), client)
	}
}

// answerFrom turns the control message of a received packet into the one that
// makes its destination the source of the answer.
func answerFrom(control []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			var info unix.Inet4Pktinfo
			copy(info.Spec_dst[:], m.Data[8:12]) // the packet's destination
			return unix.PktInfo4(&info)
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			var info unix.Inet6Pktinfo
			copy(info.Addr[:], m.Data[:16])
			return unix.PktInfo6(&info)
		}
	}
	return nil
}
