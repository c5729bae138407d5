package drift

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// getInfo is IPT_SO_GET_INFO and IP6T_SO_GET_INFO of
// linux/netfilter_ipv4/ip_tables.h and linux/netfilter_ipv6/ip6_tables.h.
const getInfo = 64

// tableInfo is struct ipt_getinfo, which IPv6 has, too. The hooks are those of
// linux/netfilter.h.
type tableInfo struct {
	name       [32]byte
	validHooks uint32
	hookEntry  [5]uint32 // where the chain of a hook begins
	underflow  [5]uint32 // where its policy is
	entries    uint32
	size       uint32 // bytes
}

// legacySum sums up the layout of the mangle tables of iptables-legacy.
func legacySum() (uint64, error) {
	total := uint64(0)
	for _, f := range family.All {
		info, err := layout(f, "mangle")
		if err != nil {
			return 0, fmt.Errorf("legacy mangle table (%s): %w", f, err)
		}
		total += hash("legacy mangle table", f, info)
	}
	return total, nil
}

// layout asks for the layout of a table, which is empty where there is none.
func layout(f family.Family, table string) (info tableInfo, err error) {
	socket, err := unix.Socket(family.Pick(f, unix.AF_INET, unix.AF_INET6), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return info, nil
	}
	if err != nil {
		return info, os.NewSyscallError("socket", err)
	}
	defer unix.Close(socket)
	copy(info.name[:], table)
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), uintptr(family.Pick(f, unix.IPPROTO_IP, unix.IPPROTO_IPV6)), getInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	switch errno {
	case 0:
		return info, nil
	case unix.ENOENT, unix.ENOPROTOOPT: // no such table; no legacy tables at all
		return tableInfo{}, nil
	}
	return tableInfo{}, os.NewSyscallError("getsockopt", errno)
}
