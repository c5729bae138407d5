// Package bpf loads eBPF programs into the kernel.
package bpf

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Instruction is struct bpf_insn of linux/bpf.h.
type Instruction struct {
	Operation uint8
	Registers uint8 // see Registers
	Offset    int16
	Value     int32
}

var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// Registers packs two registers into bit fields: the destination comes first, which
// is in the lower bits on a little-endian machine and in the upper ones on another.
func Registers(destination, source uint8) uint8 { return pack(destination, source, bigEndian) }

func pack(destination, source uint8, bigEndian bool) uint8 {
	if bigEndian {
		return destination<<4 | source
	}
	return source<<4 | destination
}

// Load loads a program of a type (BPF_PROG_TYPE_…) and returns its file descriptor.
func Load(kind uint32, program []Instruction) (int, error) {
	// Before Linux 5.11, programs of root count as locked memory, of which 64 KB are the usual limit.
	var limit unix.Rlimit
	if unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}, &limit) == nil {
		defer unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &limit, nil)
	}
	license := []byte("MIT\x00") // helpers for the GPL only are not used
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&program[0])
	pinned.Pin(&license[0])
	return call(unix.BPF_PROG_LOAD, &[3]uint64{
		pair(kind, uint32(len(program))),
		uint64(uintptr(unsafe.Pointer(&program[0]))), uint64(uintptr(unsafe.Pointer(&license[0]))),
	})
}

// Attach has the kernel run a program for a control group in place of another. kind is BPF_CGROUP_….
func Attach(group, program int, kind uint32) error {
	_, err := call(unix.BPF_PROG_ATTACH, &[3]uint64{pair(uint32(group), uint32(program)), pair(kind, 0)})
	return err
}

// pair is two numbers of 32 bits as they follow each other in memory.
func pair(first, second uint32) (both uint64) {
	*(*[2]uint32)(unsafe.Pointer(&both)) = [2]uint32{first, second}
	return both
}

// call is the system call. What follows the attributes that a command knows is 0.
func call(command uintptr, attributes *[3]uint64) (int, error) {
	result, _, code := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(attributes)), unsafe.Sizeof(*attributes))
	if code != 0 {
		return 0, code
	}
	return int(result), nil
}
