package probe

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

func TestDeviceReturnsWithAnotherIndex(t *testing.T) {
	l := newLab(t, 1)
	l.serveAll(1)
	askAll := func(round uint32) {
		for _, f := range family.All {
			for _, method := range methods {
				p := l.probe(1, f, method, round)
				l.send(p)
				l.expect(p)
			}
		}
	}
	askAll(1)
	before, err := l.prober.devices.index("wan1")
	if err != nil {
		t.Fatal(err)
	}

	l.run("ip link del wan1")
	for _, f := range family.All {
		for _, method := range methods {
			if err := l.prober.Send(l.probe(1, f, method, 2)); !errors.Is(err, unix.ENODEV) {
				t.Errorf("%s: error %v, want ENODEV", method, err)
			}
		}
	}

	for _, f := range []string{"-4", "-6"} {
		l.run("ip " + f + " rule del priority 8001")
	}
	l.run("ip link add other type veth peer name another") // takes the next indices
	l.connect(1)
	if after, err := l.prober.devices.index("wan1"); err != nil || after == before {
		t.Fatalf("index %d, %v: want another than %d", after, err, before)
	}
	askAll(3)
	l.expectNone()
}

// A device that comes back under the name of another is the new one at once.
func TestRenamedDevices(t *testing.T) {
	l := newLab(t, 2)
	p := l.probe(2, family.IPv4, "arp", 1)
	l.send(p)
	l.expect(p)
	l.inFar(2, func() { l.run("ip link set wan down") })
	for _, rename := range []string{"wan2 name wan9", "wan1 name wan2"} {
		l.run("ip link set " + rename)
	}
	p.Round = 2
	l.send(p)
	l.expect(p)
}

// Only the first request is for everybody; one that was not answered is
// followed by another of that kind.
func TestARPAsksWhoAnswered(t *testing.T) {
	l := newLab(t, 1)
	l.inFar(1, func() {
		l.nft("netdev", "ingress device wan", "ether type arp arp operation request ether daddr ff:ff:ff:ff:ff:ff counter",
			"ether type arp arp operation request ether daddr != ff:ff:ff:ff:ff:ff counter")
	})
	requests := func(broadcast, unicast int) {
		t.Helper()
		l.inFar(1, func() {
			if n := l.counted(); n[0] != broadcast || n[1] != unicast {
				t.Errorf("%d requests to everybody and %d to the gateway, want %d and %d", n[0], n[1], broadcast, unicast)
			}
		})
	}
	p := l.probe(1, family.IPv4, "arp", 0)
	for ; p.Round < 4; p.Round++ {
		l.send(p)
		l.expect(p)
	}
	requests(1, 3)

	l.inFar(1, func() {
		l.run("ip addr del 192.168.1.1/24 dev wan")
		l.run("ip link set wan address 02:00:00:00:00:99") // another gateway
	})
	l.send(p) // to the old one
	l.inFar(1, func() { l.run("ip addr add 192.168.1.1/24 dev wan") })
	p.Round++
	l.send(p)
	l.expect(p)
	requests(2, 4)
}

// Replies that nobody asked for, or that are for others, are none.
func TestARPAnnouncements(t *testing.T) {
	l := newLab(t, 1)
	l.inFar(1, func() {
		l.sysctl("ipv4/conf/all/arp_ignore", "8") // answers nothing
		l.run("ip link set wan address 02:00:00:00:00:01")
	})
	p := l.probe(1, family.IPv4, "arp", 1)
	l.send(p)
	for _, forged := range []struct{ sender, receiver [4]byte }{
		{gateway[0].As4(), gateway[0].As4()},        // gratuitous
		{gateway[0].As4(), [4]byte{10, 0, 0, 9}},    // for somebody else
		{[4]byte{10, 0, 0, 9}, ownAddress[0].As4()}, // of somebody else
	} {
		l.replyARP(p, forged.sender, forged.receiver)
	}
	l.replyARP(p, gateway[0].As4(), ownAddress[0].As4())
	l.expect(p)
	l.replyARP(p, gateway[0].As4(), ownAddress[0].As4()) // twice
	p.Round = 2
	l.inFar(1, func() { l.sysctl("ipv4/conf/all/arp_ignore", "1") })
	l.send(p)
	l.expect(p)
	l.expectNone()
}

// replyARP sends an ARP reply from the far end of line 1.
func (l *lab) replyARP(p Probe, sender, receiver [4]byte) {
	l.t.Helper()
	own, ok, err := l.prober.devices.hardware(p.Device)
	if err != nil || !ok {
		l.t.Fatal(own, ok, err)
	}
	l.inFar(1, func() {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
		if err != nil {
			l.t.Fatal(err)
		}
		defer unix.Close(fd)
		devices, err := openDevices()
		if err != nil {
			l.t.Fatal(err)
		}
		defer devices.close()
		index, err := devices.index("wan")
		if err != nil {
			l.t.Fatal(err)
		}
		b := arpMessage(hardware{2, 0, 0, 0, 0, 1}, sender, receiver)
		b[7] = arpReply
		copy(b[18:], own[:])
		if err := unix.Sendto(fd, b, 0, linkAddress(own, index)); err != nil {
			l.t.Fatal(err)
		}
	})
}

// Who has no Ethernet address is pinged.
func TestARPWithoutAddresses(t *testing.T) {
	l := newLab(t, 1)
	// Without ARP, frames go to the sender's own address.
	l.run("ip link set wan1 address 02:00:00:00:00:01 arp off")
	l.inFar(1, func() { l.run("ip link set wan address 02:00:00:00:00:01 arp off") })
	l.run("ip tuntap add dev tun0 mode tun")
	l.run("ip link set tun0 up")
	l.run("ip addr add 192.168.2.2 peer 192.168.2.1 dev tun0")
	l.nft("inet", "output", "oif tun0 icmp type echo-request ip daddr 192.168.2.1 counter")
	for _, f := range family.All {
		p := l.probe(1, f, "arp", 1)
		l.send(p)
		l.expect(p)
	}
	for _, path := range l.prober.paths {
		if path.neighbour.socket != nil {
			t.Error("asked for Ethernet addresses")
		}
	}
	p := l.probe(1, family.IPv4, "arp", 2)
	p.Device, p.Address = "tun0", netip.MustParseAddr("192.168.2.1")
	l.send(p)
	if n := l.counted()[0]; n != 1 {
		t.Errorf("%d echo requests over the tun device, want 1", n)
	}
}

func TestRefusedProbes(t *testing.T) {
	l := newLab(t, 1)
	for name, change := range map[string]func(*Probe){
		"no address":                func(p *Probe) { p.Address = other[1]; p.Key.Family = family.IPv4 },
		"unknown method":            func(p *Probe) { p.Method = "smoke" },
		"no target":                 func(p *Probe) { p.Target = -1 },
		"too many targets":          func(p *Probe) { p.Target = maxTargets },
		"no device":                 func(p *Probe) { p.Device = "" },
		"name of no device":         func(p *Probe) { p.Device = "wan2" },
		"longer than device's name": func(p *Probe) { p.Device = "wan1234567890123" },
	} {
		p := l.probe(1, family.IPv4, "ping", 1)
		change(&p)
		if err := l.prober.Send(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	l.expectNone()
	if err := l.prober.Send(l.probe(1, family.IPv4, "ping", 1)); !errors.Is(err, errClosed) {
		t.Errorf("error %v from a closed prober", err)
	}
	if err := l.prober.Close(); !errors.Is(err, errClosed) {
		t.Errorf("error %v from closing twice", err)
	}
}
