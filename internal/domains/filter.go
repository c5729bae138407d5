package domains

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/bpf"
)

// receiveBuffer is how many bytes of packets wait while the monitor works: 800
// answers, each of which takes the kernel 1.3 KB, or 80 ms at 10,000 a second.
const receiveBuffer = 1 << 20

// openSocket opens a packet socket that delivers the DNS answers which this
// machine sends, on all devices, from their IP header on. Unlike forwarded ones
// they have come in by no device. So nothing counts that hosts send, with whatever
// source, and an answer counts also where NAT has given it another source, for
// hosts whose questions are redirected to this resolver. Classic BPF does not know
// that device, hence eBPF; OpenWrt's kernels have it since 21.02.
func openSocket() (*os.File, error) {
	// Protocol 0: nothing is received until the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "DNS answers")
	if err := setUp(f, fd); err != nil {
		f.Close()
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	return f, nil
}

func setUp(f *os.File, fd int) error {
	program, err := bpf.Load(unix.BPF_PROG_TYPE_SOCKET_FILTER, filter())
	if err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, program)
	unix.Close(program) // the socket holds it
	if err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		return err
	}
	// It fails if the poller did not accept the socket: reads would block.
	if err := f.SetDeadline(time.Time{}); err != nil {
		return err
	}
	// Only sockets for all protocols see what leaves.
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})})
}

const dnsPort = 53

// filter passes UDP packets from port 53 that this machine sends, whole or the
// first fragment. What else it passes of fragments, payload leaves out.
func filter() []bpf.Instruction {
	const ingressIfindex = 36 // in struct __sk_buff of linux/bpf.h
	// All but the first instruction work on register 0, which is also the
	// result. part loads a part of a packet, and drops one that is too short.
	part := func(size uint8, offset int32) bpf.Instruction {
		return bpf.Instruction{Operation: unix.BPF_LD | unix.BPF_ABS | size, Value: offset}
	}
	jump := func(condition uint8, than int32, skip int16) bpf.Instruction {
		return bpf.Instruction{Operation: unix.BPF_JMP | unix.BPF_K | condition, Offset: skip, Value: than}
	}
	set := func(value int32) bpf.Instruction {
		return bpf.Instruction{Operation: unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K, Value: value}
	}
	exit := bpf.Instruction{Operation: unix.BPF_JMP | unix.BPF_EXIT}
	return []bpf.Instruction{
		{Operation: unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X, Registers: bpf.Registers(6, 1)}, // where part finds the packet
		{Operation: unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W, Registers: bpf.Registers(0, 6), Offset: ingressIfindex},
		jump(unix.BPF_JNE, 0, 16), // drop
		part(unix.BPF_B, 0),
		{Operation: unix.BPF_ALU64 | unix.BPF_AND | unix.BPF_K, Value: 0xf0},
		jump(unix.BPF_JEQ, 6<<4, 4), // IPv6
		part(unix.BPF_B, ipv4Protocol),
		jump(unix.BPF_JNE, unix.IPPROTO_UDP, 11), // drop
		part(unix.BPF_H, ipv4Header),
		jump(unix.BPF_JA, 0, 6), // source port
		part(unix.BPF_B, ipv6Next),
		jump(unix.BPF_JEQ, unix.IPPROTO_FRAGMENT, 3),
		jump(unix.BPF_JNE, unix.IPPROTO_UDP, 6), // drop
		part(unix.BPF_H, ipv6Header),
		jump(unix.BPF_JA, 0, 1), // source port
		part(unix.BPF_H, ipv6Header+fragmentHeader),
		jump(unix.BPF_JNE, dnsPort, 2), // drop
		set(maxPacket), exit,
		set(0), exit,
	}
}
