package drift

import (
	"errors"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/routing"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// eventQueue, in bytes, holds some thousand announcements of about 1 KiB, as
// many as a routing daemon or a VPN causes at once. More are lost, which costs
// one Look.
const eventQueue = 1 << 20

// listener reads announcements in one goroutine. The library's LinkSubscribe,
// AddrSubscribe and RouteSubscribe would be three sockets, each of which ends
// with the first loss, and there is none for rules: nl takes all groups on one.
type listener struct {
	socket  *nl.NetlinkSocket
	events  chan struct{}
	closing atomic.Bool
	ended   chan struct{}
	broken  atomic.Pointer[error]
	large   [len(family.All)]atomic.Bool // families of which a Look leaves out routes
}

// listen subscribes and starts the goroutine.
func listen() (*listener, error) {
	l, err := subscribe()
	if err != nil {
		return nil, err
	}
	go l.run()
	return l, nil
}

// subscribe opens the socket. Neighbours are not listened to.
func subscribe() (*listener, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE)
	if err != nil {
		return nil, err
	}
	// Beyond the limit of the system only with CAP_NET_ADMIN. What the system
	// grants without is enough on a quiet router.
	if socket.SetReceiveBufferSize(eventQueue, true) != nil {
		err = socket.SetReceiveBufferSize(eventQueue, false)
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	return &listener{socket: socket, events: make(chan struct{}, 1), ended: make(chan struct{})}, nil
}

func (l *listener) run() {
	defer close(l.ended)
	for {
		messages, from, err := l.socket.Receive()
		switch {
		case l.closing.Load():
			return
		case errors.Is(err, unix.ENOBUFS): // announcements were lost
			l.notify()
		case err != nil:
			l.broken.Store(&err)
			l.notify()
			return
		case from.Pid == nl.PidKernel && anyMatters(slices.DeleteFunc(messages, l.leavesOut)):
			l.notify()
		}
	}
}

func (l *listener) notify() {
	select {
	case l.events <- struct{}{}:
	default:
	}
}

// failure returns why nothing is received any more, or nil.
func (l *listener) failure() error {
	if err := l.broken.Load(); err != nil {
		return *err
	}
	return nil
}

func (l *listener) close() {
	l.closing.Store(true)
	l.socket.Close()
	<-l.ended
}

func anyMatters(messages []syscall.NetlinkMessage) bool {
	for _, m := range messages {
		if matters(m) {
			return true
		}
	}
	return false
}

// matters reports whether an announcement may change a fingerprint. New rules
// are our own, or nothing that an apply looks at. What changed of a device or
// an address is for a Look to find out.
func matters(m syscall.NetlinkMessage) bool {
	switch m.Header.Type {
	case unix.RTM_NEWRULE:
		return false
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return routeMatters(m)
	}
	return true
}

// leavesOut reports whether an announcement is of a route that a Look would leave
// out: a routing daemon that fills a large table changes it all the time.
func (l *listener) leavesOut(m syscall.NetlinkMessage) bool {
	if m.Header.Type != unix.RTM_NEWROUTE && m.Header.Type != unix.RTM_DELROUTE || len(m.Data) < unix.SizeofRtMsg {
		return false
	}
	header := nl.DeserializeRtMsg(m.Data)
	f := family.IPv4
	if header.Family == unix.AF_INET6 {
		f = family.IPv6
	}
	return l.large[f].Load() && header.Protocol != routing.Protocol &&
		kernel.IsPlain(int(header.Table), int(header.Dst_len), header.Protocol)
}

// routeMatters leaves out the kernel's own routes and those that we add
// ourselves.
func routeMatters(m syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofRtMsg {
		return true
	}
	header := nl.DeserializeRtMsg(m.Data)
	switch {
	case header.Flags&unix.RTM_F_CLONED != 0 || header.Table == unix.RT_TABLE_LOCAL:
		return false
	case header.Protocol == routing.Protocol:
		return m.Header.Type == unix.RTM_DELROUTE
	}
	return true
}
