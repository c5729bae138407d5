package probe

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hardware is an Ethernet address.
type hardware [6]byte

var broadcast = hardware{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// devices is a socket by which devices are looked up by name, for every probe: that
// costs a microsecond, and devices vanish, return and are renamed.
type devices int

func openDevices() (devices, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket to look devices up: %w", err)
	}
	return devices(fd), nil
}

func (d devices) close() error { return unix.Close(int(d)) }

// index returns the interface index of a device, ENODEV if there is none: it binds
// the socket and reads to what. The ioctl for this (SIOCGIFINDEX) would start
// modprobe for a device that does not exist, and wait for it.
func (d devices) index(device string) (int, error) {
	if device == "" || len(device) >= unix.IFNAMSIZ {
		return 0, unix.ENODEV
	}
	if err := unix.BindToDevice(int(d), device); err != nil {
		return 0, err
	}
	return unix.GetsockoptInt(int(d), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
}

// ask makes an ioctl for a device and returns the union of struct ifreq, which is 16
// or 24 bytes. The Ifreq of x/sys has no hardware address.
func (d devices) ask(request uintptr, device string) ([24]byte, error) {
	var ifreq struct {
		name  [unix.IFNAMSIZ]byte
		union [24]byte
	}
	copy(ifreq.name[:], device)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d), request, uintptr(unsafe.Pointer(&ifreq)))
	if errno != 0 {
		return ifreq.union, errno
	}
	return ifreq.union, nil
}

// hardware returns the Ethernet address of a device, and false if it has none or
// does not resolve addresses (point-to-point, tun, raw IP, some LTE modems).
func (d devices) hardware(device string) (hardware, bool, error) {
	flags, err := d.ask(unix.SIOCGIFFLAGS, device)
	if err != nil || binary.NativeEndian.Uint16(flags[:])&unix.IFF_NOARP != 0 {
		return hardware{}, false, err
	}
	address, err := d.ask(unix.SIOCGIFHWADDR, device)
	if err != nil || binary.NativeEndian.Uint16(address[:]) != unix.ARPHRD_ETHER {
		return hardware{}, false, err
	}
	return hardware(address[2:8]), true, nil
}
