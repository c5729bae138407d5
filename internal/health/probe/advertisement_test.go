package probe

import (
	"testing"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// Advertisements that were not asked for, come from beyond the link, or over
// another line, are no answers.
func TestForgedAdvertisements(t *testing.T) {
	l := newLab(t, 2)
	for i := range l.far {
		l.inFar(i+1, func() { // nobody answers by itself
			l.nft("inet", "input", "icmpv6 type nd-neighbor-solicit ip6 daddr ff02::/16 drop")
		})
	}
	p := l.probe(1, family.IPv6, "arp", 1)
	l.send(p)
	right := make([]byte, advertisementSize)
	wanted := p.Address.As16()
	right[0], right[4] = neighbourAdvertisement, solicited
	copy(right[8:], wanted[:])

	announcement := append([]byte(nil), right...)
	announcement[4] = 0
	another := append([]byte(nil), right...)
	another[23]++
	l.advertise(1, announcement, linkHopLimit)
	l.advertise(1, another, linkHopLimit)
	l.advertise(1, right[:advertisementSize-1], linkHopLimit)
	l.advertise(1, right, linkHopLimit-1)
	l.advertise(2, right, linkHopLimit)
	// All of those have arrived before the answer to this one, in which the
	// first line still waits for its own.
	second := l.probe(2, family.IPv6, "arp", 2)
	l.send(second)
	l.advertise(2, right, linkHopLimit)
	l.expect(second)
	l.advertise(1, right, linkHopLimit)
	l.expect(p)
	l.expectNone()
}

// advertise sends an ICMPv6 message from far end i to the router.
func (l *lab) advertise(i int, b []byte, hopLimit int) {
	l.t.Helper()
	l.inFar(i, func() {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
		if err != nil {
			l.t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hopLimit); err != nil {
			l.t.Fatal(err)
		}
		to := &unix.SockaddrInet6{Addr: ownAddress[family.IPv6].As16()}
		if err := unix.Sendto(fd, b, 0, to); err != nil {
			l.t.Fatal(err)
		}
	})
}

// A gateway's reply over one line does not answer the line whose gateway has
// the same address.
func TestARPOfTwins(t *testing.T) {
	l := newLab(t, 2)
	l.inFar(2, func() { l.sysctl("ipv4/conf/all/arp_ignore", "8") }) // answers nothing
	for round := uint32(1); round <= 3; round++ {
		l.send(l.probe(2, family.IPv4, "arp", round))
		p := l.probe(1, family.IPv4, "arp", round)
		l.send(p)
		l.expect(p)
	}
	l.expectNone()
}
