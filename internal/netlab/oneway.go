package netlab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// SendUDP opens t.Count UDP sockets, by default towards DiscardPort of Server(1),
// and sends packets from each in turn, with an interval between the rounds.
// Nothing answers DiscardPort; Watch shows what arrived and over which line.
func (l *Lab) SendUDP(t Traffic, packets int, interval time.Duration) error {
	t.Network = "udp"
	if !t.Server.IsValid() {
		t.Server = netip.AddrPortFrom(Server(1), DiscardPort)
	}
	t = l.complete(t)
	return t.From.Do(func() error {
		var files []*os.File
		defer func() {
			for _, file := range files {
				file.Close()
			}
		}()
		for j := range t.Count {
			file, err := l.open(t, t.source(j))
			if err != nil {
				return fmt.Errorf("socket %d: %w", j, err)
			}
			files = append(files, file)
		}
		for round := range packets {
			if round > 0 {
				time.Sleep(interval)
			}
			for j, file := range files {
				if _, err := file.Write([]byte("one way\n")); err != nil {
					return fmt.Errorf("socket %d, packet %d: %w", j, round, err)
				}
			}
		}
		return nil
	})
}

// SendInvalid sends n TCP segments from the first LAN host to Server(1), port 80,
// that the router's connection tracking finds INVALID: their checksum is wrong.
func (l *Lab) SendInvalid(n int) error {
	return l.Client.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			return fmt.Errorf("raw socket: %w", err)
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(lanHost(0), 0))); err != nil {
			return fmt.Errorf("raw socket: bind: %w", err)
		}
		for k := range n {
			segment := make([]byte, 20)
			binary.BigEndian.PutUint16(segment[0:], uint16(20000+k%40000)) // each from another port
			binary.BigEndian.PutUint16(segment[2:], HTTPPort)
			segment[12], segment[13] = 5<<4, 0x10 // five words long, ACK
			binary.BigEndian.PutUint16(segment[16:], wrongChecksum(segment))
			if err := unix.Sendto(fd, segment, 0, sockaddr(netip.AddrPortFrom(Server(1), 0))); err != nil {
				return fmt.Errorf("segment %d: %w", k, err)
			}
		}
		return nil
	})
}

// wrongChecksum is the right checksum of a segment between the addresses that
// SendInvalid uses, with one bit inverted. A constant would be right for one
// segment in 65536.
func wrongChecksum(segment []byte) uint16 {
	source, destination := lanHost(0).As4(), Server(1).As4()
	pseudo := append(source[:], destination[:]...)
	pseudo = append(pseudo, 0, unix.IPPROTO_TCP, 0, byte(len(segment)))
	var sum uint32
	for _, part := range [][]byte{pseudo, segment} {
		for k := 0; k < len(part); k += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[k:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum) ^ 1
}
