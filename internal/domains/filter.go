package domains

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiveBuffer is how many bytes of packets wait while the monitor works: 800
// answers, each of which takes the kernel 1.3 KB, or 80 ms at 10,000 a second.
const receiveBuffer = 1 << 20

// openSocket opens a packet socket that delivers the DNS answers which this
// machine sends, on all devices, from their IP header on. They are told from
// forwarded ones by the device that a packet has come in by: none. What hosts
// send, with whatever source, never counts, and an answer counts also where NAT
// has given it another source, as it does for hosts whose questions to other
// resolvers are redirected to this one. Classic BPF does not know that device,
// hence eBPF; OpenWrt's kernels have it since 21.02.
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
	program, err := load(filter())
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
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL)})
}

// instruction is struct bpf_insn of linux/bpf.h.
type instruction struct {
	code      uint8
	registers uint8 // destination and source, four bits each
	offset    int16
	immediate int32
}

// registers packs two registers: the destination comes first, which is in the
// lower bits on a little-endian machine and in the upper ones on another.
func registers(destination, source uint8) uint8 {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return source<<4 | destination
	}
	return destination<<4 | source
}

// Fields of struct __sk_buff in linux/bpf.h.
const (
	fieldProtocol       = 16 // in network order
	fieldIngressIfindex = 36
)

// test is a test of a part of the packet, in bytes from the IP header on.
type test struct {
	size   uint8 // BPF_B or BPF_H
	offset int32
	mask   int32 // 0: all bits
	want   int32
}

const dnsPort = 53

// filter passes UDP packets from port 53 that this machine sends, not
// fragmented or the first fragment.
func filter() []instruction {
	ipv4 := tests(
		test{unix.BPF_B, 0, 0, 0x45}, // version 4, a header without options
		test{unix.BPF_B, 9, 0, unix.IPPROTO_UDP},
		test{unix.BPF_H, 6, 0x1fff, 0}, // fragment offset
		test{unix.BPF_H, ipv4Header, 0, dnsPort})
	whole := tests(
		test{unix.BPF_B, 6, 0, unix.IPPROTO_UDP}, // next header
		test{unix.BPF_H, ipv6Header, 0, dnsPort})
	fragment := tests(
		test{unix.BPF_B, ipv6Header, 0, unix.IPPROTO_UDP},
		test{unix.BPF_H, ipv6Header + 2, 0xfff8, 0},
		test{unix.BPF_H, ipv6Header + fragmentHeader, 0, dnsPort})
	program := []instruction{
		// Loads from the packet want the context in register 6.
		{unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X, registers(6, 1), 0, 0},
		field(fieldIngressIfindex), jump(unix.BPF_JEQ, 2, 0),
		result(0), exit,
		field(fieldProtocol), jump(unix.BPF_JEQ, 3+int16(len(ipv4)), int32(networkOrder(unix.ETH_P_IPV6))),
		jump(unix.BPF_JEQ, 2, int32(networkOrder(unix.ETH_P_IP))),
		result(0), exit,
	}
	program = append(program, ipv4...)
	program = append(program, part(unix.BPF_B, 6), jump(unix.BPF_JEQ, int16(len(whole)), unix.IPPROTO_FRAGMENT))
	return append(append(program, whole...), fragment...)
}

// tests passes the whole packet if it passes all tests, and drops it otherwise.
func tests(all ...test) []instruction {
	var program []instruction
	for _, t := range all {
		program = append(program, part(t.size, t.offset))
		if t.mask != 0 {
			program = append(program, instruction{code: unix.BPF_ALU64 | unix.BPF_AND | unix.BPF_K, immediate: t.mask})
		}
		program = append(program, jump(unix.BPF_JEQ, 2, t.want), result(0), exit)
	}
	return append(program, result(maxPacket), exit)
}

// All but exit work on register 0, which is also the result.

func field(offset int16) instruction {
	return instruction{code: unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W, registers: registers(0, 6), offset: offset}
}

// part loads a part of the packet in the machine's order; a packet that is too
// short is dropped.
func part(size uint8, offset int32) instruction {
	return instruction{code: unix.BPF_LD | unix.BPF_ABS | size, immediate: offset}
}

// jump skips some instructions.
func jump(condition uint8, skip int16, than int32) instruction {
	return instruction{code: unix.BPF_JMP | unix.BPF_K | condition, offset: skip, immediate: than}
}

func result(value int32) instruction {
	return instruction{code: unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K, immediate: value}
}

var exit = instruction{code: unix.BPF_JMP | unix.BPF_EXIT}

// license is what the kernel wants to know; helpers for the GPL only are not used.
var license = [...]byte{'M', 'I', 'T', 0}

// load loads a socket filter and returns its file descriptor.
func load(program []instruction) (int, error) {
	// The part of union bpf_attr that BPF_PROG_LOAD has had from the start.
	attributes := struct {
		kind, count   uint32
		instructions  uint64
		license       uint64
		level, size   uint32
		log           uint64
		kernelVersion uint32
		flags         uint32
	}{
		kind: unix.BPF_PROG_TYPE_SOCKET_FILTER, count: uint32(len(program)),
		instructions: uint64(uintptr(unsafe.Pointer(&program[0]))),
		license:      uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes))
	runtime.KeepAlive(program)
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}

func networkOrder(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}
