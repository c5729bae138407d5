package drift

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// eventBuffer holds the largest announcement: the kernel allocates a page
	// or 8 KiB for one (NLMSG_GOODSIZE in linux/netlink.h), twice that for a
	// device with many virtual functions.
	eventBuffer = 16 << 10
	// eventQueue, in bytes, holds some thousand announcements of about 1 KiB,
	// as many as a routing daemon or a VPN causes at once. More are lost, which
	// costs one Look.
	eventQueue = 1 << 20
)

// groups are the announcements that are listened to. Neighbours are not among
// them.
var groups = []int{
	unix.RTNLGRP_LINK,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
}

// listener reads announcements in one goroutine.
type listener struct {
	file    *os.File // the socket in Go's poller, so that Close ends a read
	events  chan struct{}
	closing atomic.Bool
	ended   chan struct{}
	broken  atomic.Pointer[error]
	buffer  []byte
	news    news
	lost    bool // messages were lost, and older ones are still in the queue
}

// listen subscribes and starts the goroutine.
func listen(ask *socket) (*listener, error) {
	l, err := newListener(ask)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	connection, err := l.file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("events: %w", err), l.file.Close())
	}
	go l.run(connection)
	return l, nil
}

// newListener subscribes. What there is already it asks for through ask, after
// the subscription, so that nothing falls in between.
func newListener(ask *socket) (*listener, error) {
	fd, err := subscribe()
	if err != nil {
		return nil, err
	}
	l := &listener{
		file:   os.NewFile(uintptr(fd), "rtnetlink events"),
		events: make(chan struct{}, 1),
		ended:  make(chan struct{}),
		buffer: make([]byte, eventBuffer),
		news:   emptyNews(),
	}
	if err := l.news.learn(ask); err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	return l, nil
}

func subscribe() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// Beyond the limit of the system only with CAP_NET_ADMIN. What the system
	// grants without is enough on a quiet router.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventQueue) != nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, eventQueue)
	}
	address := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	for _, group := range groups {
		address.Groups |= 1 << (group - 1)
	}
	if err == nil {
		err = unix.Bind(fd, address)
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("subscribe", err)
	}
	return fd, nil
}

func (l *listener) run(connection syscall.RawConn) {
	defer close(l.ended)
	var fatal error
	err := connection.Read(func(fd uintptr) (done bool) {
		fatal = l.drain(int(fd))
		return fatal != nil
	})
	if l.closing.Load() {
		return
	}
	if fatal == nil {
		fatal = err // the poller does not take the socket
	}
	l.broken.Store(&fatal)
	l.notify()
}

// drain reads until the queue is empty.
func (l *listener) drain(fd int) error {
	for {
		n, from, err := unix.Recvfrom(fd, l.buffer, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			l.caughtUp()
			return nil
		case errors.Is(err, unix.ENOBUFS):
			l.lost = true
			l.notify()
		case err != nil:
			return os.NewSyscallError("recvfrom", err)
		case !fromKernel(from):
		case n > len(l.buffer) || l.news.in(l.buffer[:n]):
			l.notify()
		}
	}
}

// caughtUp ends a loss. The kernel loses messages until the queue is empty, so
// only now is everything in the past, and what is known may be outdated.
func (l *listener) caughtUp() {
	if !l.lost {
		return
	}
	l.lost = false
	l.news = emptyNews()
	l.notify()
}

func (l *listener) notify() {
	select {
	case l.events <- struct{}{}:
	default:
	}
}

// failure says why nothing is received any more.
func (l *listener) failure() error {
	if err := l.broken.Load(); err != nil {
		return *err
	}
	return nil
}

func (l *listener) close() error {
	l.closing.Store(true)
	err := l.file.Close()
	<-l.ended
	return err
}
