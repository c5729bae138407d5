package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Packet is one packet that reached the World over a line.
type Packet struct {
	Line        int    // the line it came over
	Network     string // "tcp" (only a connection's SYN) or "udp"
	Source      netip.AddrPort
	Destination netip.AddrPort
}

// Watch records every SYN and every UDP packet that reaches the World, before any
// rule there can drop it. It holds some 80000 packets between two readings.
type Watch struct {
	fd    int
	lines map[int]int // interface index → line
}

// Watch starts to record.
func (l *Lab) Watch() (*Watch, error) {
	w := &Watch{fd: -1, lines: map[int]int{}}
	err := l.World.Do(func() error {
		for i := 1; i <= l.Uplinks(); i++ {
			device, err := net.InterfaceByName(lineDevice(i))
			if err != nil {
				return err
			}
			w.lines[device.Index] = i
		}
		return w.listen()
	})
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("watch the world: %w", err)
	}
	return w, nil
}

func (w *Watch) listen() (err error) {
	// Protocol 0 receives nothing until the filter stands.
	w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
		return err
	}
	filter := synOrUDP()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(w.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return err
	}
	var all [2]byte
	binary.BigEndian.PutUint16(all[:], unix.ETH_P_ALL)
	return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(all[:])})
}

// synOrUDP accepts, from the IP header on, UDP packets and TCP segments with SYN
// but without ACK. IPv6 extension headers do not occur here.
func synOrUDP() []unix.SockFilter {
	const (
		tcpFlags = 13 // offset of the octet in the TCP header
		synAck   = 0x12
		syn      = 0x02
	)
	return []unix.SockFilter{
		loadByte(0),
		and(0xf0),
		jumpIfEqual(0x60, 0, 3),
		{Code: unix.BPF_LDX | unix.BPF_W | unix.BPF_IMM, K: 40}, // IPv6: length of the header
		loadByte(6), // next header
		{Code: unix.BPF_JMP | unix.BPF_JA, K: 2},
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}, // IPv4: length of the header
		loadByte(9), // protocol
		jumpIfEqual(unix.IPPROTO_UDP, 4, 0),
		jumpIfEqual(unix.IPPROTO_TCP, 0, 4),
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: tcpFlags},
		and(synAck),
		jumpIfEqual(syn, 0, 1),
		{Code: unix.BPF_RET | unix.BPF_K, K: 64}, // headers are all that is read
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

func loadByte(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: offset}
}

func and(mask uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask}
}

// jumpIfEqual skips so many instructions.
func jumpIfEqual(value uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: yes, Jf: no}
}

// Packets returns what has come since the last call, in the order of arrival. A
// packet that was answered is among them. It fails if packets were lost because
// nobody called it.
func (w *Watch) Packets() ([]Packet, error) {
	var packets []Packet
	buffer := make([]byte, 64)
	for {
		n, from, err := unix.Recvfrom(w.fd, buffer, 0)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return packets, fmt.Errorf("watch the world: %w", err)
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || link.Pkttype != unix.PACKET_HOST || w.lines[link.Ifindex] == 0 {
			continue
		}
		p := parsePacket(buffer[:n])
		p.Line = w.lines[link.Ifindex]
		packets = append(packets, p)
	}
	statistics, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err == nil && statistics.Drops > 0 {
		err = fmt.Errorf("%d packets were lost", statistics.Drops)
	}
	if err != nil {
		return packets, fmt.Errorf("watch the world: %w", err)
	}
	return packets, nil
}

// parsePacket reads what synOrUDP has let through.
func parsePacket(b []byte) Packet {
	protocol, header := b[9], int(b[0]&0xf)*4
	source, destination := b[12:16], b[16:20]
	if b[0]>>4 == 6 {
		protocol, header = b[6], 40
		source, destination = b[8:24], b[24:40]
	}
	p := Packet{Network: "tcp"}
	if protocol == unix.IPPROTO_UDP {
		p.Network = "udp"
	}
	p.Source = addrPort(source, b[header:])
	p.Destination = addrPort(destination, b[header+2:])
	return p
}

func addrPort(address, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(address) // 4 or 16 octets, as cut above
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
}

// Close ends the recording.
func (w *Watch) Close() {
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
	w.fd = -1
}
