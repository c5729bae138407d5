// Package cgroup has the kernel mark all sockets of a program and of its children, by a control
// group with a BPF program that sees each socket when it is made: before the kernel chooses the
// route, and so the source address. A rule of iptables would come after that.
package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"loadbalance/internal/bpf"
)

// Join moves this process, and what it executes, into the group whose new sockets carry the mark.
func Join(mark uint32) error {
	parent, err := parentOfGroups()
	if err != nil {
		return err
	}
	group := filepath.Join(parent, fmt.Sprintf("%#x", mark)) // so it never needs another program
	if err := os.MkdirAll(group, 0o755); err != nil {
		return err
	}
	if err := attach(group, program(mark)); err != nil {
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

// program sets a socket's mark, 16 bytes into the struct bpf_sock of register 1, and lets it be made.
func program(mark uint32) []bpf.Instruction {
	const move = unix.BPF_ALU | unix.BPF_MOV | unix.BPF_K
	return []bpf.Instruction{
		{Operation: move, Registers: bpf.Registers(2, 0), Value: int32(mark)},
		{Operation: unix.BPF_STX | unix.BPF_MEM | unix.BPF_W, Registers: bpf.Registers(1, 2), Offset: 16},
		{Operation: move, Value: 1},
		{Operation: unix.BPF_JMP | unix.BPF_EXIT},
	}
}

// attach has the kernel run the program for each IPv4 and IPv6 socket made in the group.
func attach(group string, program []bpf.Instruction) error {
	fd, err := bpf.Load(unix.BPF_PROG_TYPE_CGROUP_SOCK, program)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	dir, err := os.Open(group)
	if err != nil {
		return err
	}
	defer dir.Close()
	return bpf.Attach(int(dir.Fd()), fd, unix.BPF_CGROUP_INET_SOCK_CREATE)
}
