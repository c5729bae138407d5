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

// eventQueue, in bytes, holds some thousand announcements of about 1 KiB, as a
// routing daemon or a VPN causes at once. A loss costs one Look.
const eventQueue = 1 << 20

// listener reads announcements in one goroutine. The library's LinkSubscribe,
// AddrSubscribe and RouteSubscribe would be three sockets, each of which ends
// with the first loss, and there is none for rules: nl takes all groups on one.
type listener struct {
	socket *nl.NetlinkSocket
	events chan struct{}
	broken atomic.Pointer[error]        // why nothing is received any more
	large  [len(family.All)]atomic.Bool // families of which a Look leaves out routes
}

// subscribe opens the socket, which run reads. Neighbours are not listened to.
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
	return &listener{socket: socket, events: make(chan struct{}, 1)}, nil
}

func (l *listener) run() {
	for {
		messages, from, err := l.socket.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS): // announcements were lost
			l.notify()
		case err != nil:
			l.broken.Store(&err)
			l.notify()
			return
		case from.Pid == nl.PidKernel && slices.ContainsFunc(slices.DeleteFunc(messages, l.leavesOut), matters):
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

// routeHeader returns the route of an announcement, nil if it is of something else.
func routeHeader(m syscall.NetlinkMessage) *nl.RtMsg {
	if m.Header.Type != unix.RTM_NEWROUTE && m.Header.Type != unix.RTM_DELROUTE || len(m.Data) < unix.SizeofRtMsg {
		return nil
	}
	return nl.DeserializeRtMsg(m.Data)
}

// matters reports whether an announcement may change a fingerprint. New rules and new
// routes of ours are an apply's, the kernel's own routes nothing to it. What changed
// of a device or an address is for a Look to find out.
func matters(m syscall.NetlinkMessage) bool {
	route := routeHeader(m)
	switch {
	case route == nil:
		return m.Header.Type != unix.RTM_NEWRULE
	case route.Flags&unix.RTM_F_CLONED != 0 || route.Table == unix.RT_TABLE_LOCAL:
		return false
	case route.Protocol == routing.Protocol:
		return m.Header.Type == unix.RTM_DELROUTE
	}
	return true
}

// leavesOut reports whether an announcement is of a route that a Look would leave
// out: a routing daemon that fills a large table changes it all the time.
func (l *listener) leavesOut(m syscall.NetlinkMessage) bool {
	route := routeHeader(m)
	if route == nil {
		return false
	}
	f, _ := kernel.FamilyOf(route.Family)
	return l.large[f].Load() && route.Protocol != routing.Protocol &&
		kernel.IsPlain(int(route.Table), int(route.Dst_len), route.Protocol)
}
