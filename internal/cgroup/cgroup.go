// Package cgroup has the kernel mark all sockets of a program and of its
// children: a control group of their own, with a BPF program that sees each socket
// when it is made. The mark is there before the kernel chooses the route, and so the
// source address, in both families; a rule of iptables would come after that.
package cgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Join moves this process, and so what it executes, into the group whose sockets
// carry the mark. Sockets that are open already stay as they are.
func Join(mark uint32) error {
	parent, err := parentOfGroups()
	if err != nil {
		return err
	}
	group := filepath.Join(parent, fmt.Sprintf("%#x", mark)) // so it never needs another program
	if err := os.MkdirAll(group, 0o755); err != nil {
		return err
	}
	if err := attach(group, program(mark, bigEndian)); err != nil {
		return fmt.Errorf("BPF program for %s: %w", group, err)
	}
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0) // 0: the writer
}

// Remove removes the groups in which nothing runs.
func Remove() {
	parent, err := parentOfGroups()
	if err != nil {
		return
	}
	groups, _ := filepath.Glob(filepath.Join(parent, "0x*"))
	for _, group := range append(groups, parent) {
		_ = os.Remove(group) // refused while something runs there
	}
}

func parentOfGroups() (string, error) {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return "", err
	}
	for _, line := range bytes.Split(mounts, []byte("\n")) {
		if fields := bytes.Fields(line); len(fields) > 2 && string(fields[2]) == "cgroup2" {
			return filepath.Join(string(fields[1]), "loadbalance"), nil
		}
	}
	return "", errors.New("the kernel has no control groups, or no cgroup2 file system is mounted")
}

// instruction is struct bpf_insn of linux/bpf.h.
type instruction struct {
	operation uint8
	registers uint8 // two bit fields: where to, where from
	offset    int16
	value     uint32
}

var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// program sets a socket's mark, which lies 16 bytes into the struct bpf_sock that
// register 1 points to, and lets the socket be made.
func program(mark uint32, bigEndian bool) []instruction {
	const move = unix.BPF_ALU | unix.BPF_MOV | unix.BPF_K
	store := instruction{operation: unix.BPF_STX | unix.BPF_MEM | unix.BPF_W, registers: 0x21, offset: 16}
	two := uint8(0x02)
	if bigEndian {
		store.registers, two = 0x12, 0x20
	}
	return []instruction{
		{operation: move, registers: two, value: mark},
		store,
		{operation: move, value: 1},
		{operation: unix.BPF_JMP | unix.BPF_EXIT},
	}
}

// attach has the kernel run the program for each IPv4 and IPv6 socket that is made
// in the group, in the place of one that did so before.
func attach(group string, program []instruction) error {
	// Before Linux 5.11 the programs of all of root's processes count as locked
	// memory, of which 64 KB are the usual limit.
	var limit unix.Rlimit
	if unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}, &limit) == nil {
		defer unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &limit, nil)
	}
	license := []byte("MIT\x00")
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&program[0])
	pinned.Pin(&license[0])
	fd, err := bpf(unix.BPF_PROG_LOAD, &[3]uint64{
		pair(unix.BPF_PROG_TYPE_CGROUP_SOCK, uint32(len(program))),
		uint64(uintptr(unsafe.Pointer(&program[0]))), uint64(uintptr(unsafe.Pointer(&license[0]))),
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	dir, err := os.Open(group)
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = bpf(unix.BPF_PROG_ATTACH, &[3]uint64{
		pair(uint32(dir.Fd()), uint32(fd)), pair(unix.BPF_CGROUP_INET_SOCK_CREATE, 0),
	})
	return err
}

// pair is two numbers of 32 bits as they follow each other in memory.
func pair(first, second uint32) (both uint64) {
	*(*[2]uint32)(unsafe.Pointer(&both)) = [2]uint32{first, second}
	return both
}

// bpf is the system call. What follows the attributes that a command knows is 0.
func bpf(command uintptr, attributes *[3]uint64) (int, error) {
	result, _, code := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(attributes)), unsafe.Sizeof(*attributes))
	if code != 0 {
		return 0, code
	}
	return int(result), nil
}
