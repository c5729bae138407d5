package netlab

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// tunQueue is how many packets a tun device holds while its goroutine is not
// running, more than all connections of a test can have under way. The kernel's
// 500 overflow in a moment on a busy machine, and what is lost then was lost by
// the laboratory and by no line.
const tunQueue = 10000

// tunLink is a point-to-point link: two tun devices and the goroutines that carry
// packets between them. To the kernel it looks like PPP: POINTOPOINT, NOARP, no
// hardware address.
type tunLink struct {
	router, access *os.File
}

func (l *Lab) createTuns() error {
	if l.options.Topology != P2P {
		return nil
	}
	for _, u := range l.uplinks {
		router, err := openTun(l.Router, u.Device)
		if err != nil {
			return err
		}
		access, err := openTun(l.Access(u.Index), u.Device)
		if err != nil {
			router.Close()
			return err
		}
		l.tuns = append(l.tuns, tunLink{router, access})
		for _, ns := range []*Namespace{l.Router, l.Access(u.Index)} {
			if err := ns.ip(fmt.Sprintf("link set %s txqueuelen %d\n", u.Device, tunQueue)); err != nil {
				return err
			}
		}
		done := make(chan struct{}, 2)
		go carry(router, access, done)
		go carry(access, router, done)
		l.closers = append(l.closers, func() {
			router.Close()
			access.Close()
			<-done
			<-done
		})
	}
	return nil
}

// carry moves packets until a file is closed or its device deleted. A write fails
// while the far device is down; such packets are lost, as on a cut line.
func carry(from, to *os.File, done chan<- struct{}) {
	defer func() { done <- struct{}{} }()
	packet := make([]byte, 1<<16)
	for {
		n, err := from.Read(packet)
		if err != nil {
			return
		}
		if _, err := to.Write(packet[:n]); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

func openTun(ns *Namespace, name string) (*os.File, error) {
	var file *os.File
	err := ns.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		request, err := unix.NewIfreq(name)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("%s: create tun %s: %w", ns.Name, name, err)
		}
		// Only now: the runtime's poller refuses a tun that has no device yet.
		file = os.NewFile(uintptr(fd), "tun "+name)
		return nil
	})
	return file, err
}

// setCarrier makes the router's end of the link report its carrier as on or off.
func (t tunLink) setCarrier(on bool) error {
	value := 0
	if on {
		value = 1
	}
	conn, err := t.router.SyscallConn()
	if err != nil {
		return err
	}
	var ioctlErr error
	err = conn.Control(func(fd uintptr) {
		ioctlErr = unix.IoctlSetPointerInt(int(fd), unix.TUNSETCARRIER, value)
	})
	return errors.Join(err, ioctlErr)
}
