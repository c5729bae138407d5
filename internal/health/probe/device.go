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

// devices looks devices up by name. It asks the kernel for every probe: that
// costs about a microsecond, and a name that was kept would have to follow
// devices that vanish, return and are renamed.
type devices struct {
	fd      int
	request ifreq
	// What index passes to the kernel.
	name   [unix.IFNAMSIZ]byte
	number int32
	size   uint32
}

// ifreq is struct ifreq of the kernel, whose union is 16 or 24 bytes.
type ifreq struct {
	name  [unix.IFNAMSIZ]byte
	union [24]byte
}

func openDevices() (devices, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|nonBlocking, 0)
	if err != nil {
		return devices{}, fmt.Errorf("socket to look devices up: %w", err)
	}
	return devices{fd: fd}, nil
}

func (d *devices) close() error { return unix.Close(d.fd) }

// ask makes an ioctl for a device, which fills in the union of request. The
// error is ENODEV if there is no device of that name.
func (d *devices) ask(request uintptr, device string) error {
	if len(device) >= len(d.request.name) {
		return unix.ENODEV
	}
	d.request = ifreq{}
	copy(d.request.name[:], device)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), request, uintptr(unsafe.Pointer(&d.request)))
	if errno != 0 {
		return errno
	}
	return nil
}

// index returns the interface index of a device: it binds the socket to the
// device and reads what it is bound to. The ioctl for this (SIOCGIFINDEX)
// would, for a device that does not exist, start modprobe and wait for it.
func (d *devices) index(device string) (int32, error) {
	if device == "" || len(device) >= len(d.name) {
		return 0, unix.ENODEV
	}
	d.name = [unix.IFNAMSIZ]byte{}
	copy(d.name[:], device)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(d.fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE,
		uintptr(unsafe.Pointer(&d.name)), uintptr(len(device)), 0)
	if errno != 0 {
		return 0, errno
	}
	d.size = uint32(unsafe.Sizeof(d.number))
	_, _, errno = unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(d.fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX,
		uintptr(unsafe.Pointer(&d.number)), uintptr(unsafe.Pointer(&d.size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return d.number, nil
}

// hardware returns the Ethernet address of a device, and false if the device
// has none or does not resolve addresses (point-to-point, tun, raw IP; some
// LTE modems are Ethernet devices without ARP).
func (d *devices) hardware(device string) (hardware, bool, error) {
	if err := d.ask(unix.SIOCGIFFLAGS, device); err != nil {
		return hardware{}, false, err
	}
	if binary.NativeEndian.Uint16(d.request.union[:])&unix.IFF_NOARP != 0 {
		return hardware{}, false, nil
	}
	if err := d.ask(unix.SIOCGIFHWADDR, device); err != nil {
		return hardware{}, false, err
	}
	if binary.NativeEndian.Uint16(d.request.union[:]) != unix.ARPHRD_ETHER {
		return hardware{}, false, nil
	}
	return hardware(d.request.union[2:8]), true, nil
}
