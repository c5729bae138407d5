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

// devices looks devices up by name. It asks the kernel for every probe: one
// ioctl costs less than a microsecond, and a name that was kept would have to
// follow devices that vanish, return and are renamed.
type devices struct {
	fd      int
	request ifreq
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

// ask lets the kernel fill the union in. The error is ENODEV if there is no
// device of that name.
func (d *devices) ask(request uintptr, device string) error {
	if len(device) >= len(d.request.name) {
		return unix.ENODEV
	}
	d.request = ifreq{}
	copy(d.request.name[:], device)
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(d.fd), request, uintptr(unsafe.Pointer(&d.request)))
	if errno != 0 {
		return errno
	}
	return nil
}

func (d *devices) index(device string) (int32, error) {
	if err := d.ask(unix.SIOCGIFINDEX, device); err != nil {
		return 0, err
	}
	return int32(binary.NativeEndian.Uint32(d.request.union[:])), nil
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
