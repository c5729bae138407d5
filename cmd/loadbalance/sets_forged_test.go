package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/netlab"
)

// hardware is the address and the index of the device "lan" or of another one.
func hardware(t *testing.T, ns *netlab.Namespace, device string) *net.Interface {
	t.Helper()
	var found *net.Interface
	check(t, ns.Do(func() (err error) {
		found, err = net.InterfaceByName(device)
		return err
	}))
	return found
}

// sniffer sees every packet of a namespace, from its IP header on.
type sniffer struct {
	t  *testing.T
	fd int
}

func sniff(t *testing.T, ns *netlab.Namespace) sniffer {
	t.Helper()
	s := sniffer{t: t}
	check(t, ns.Do(func() (err error) {
		all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(all))
		return err
	}))
	t.Cleanup(func() { unix.Close(s.fd) })
	limit := unix.NsecToTimeval((200 * time.Millisecond).Nanoseconds())
	check(t, unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	return s
}

// source waits for a payload and returns where it comes from.
func (s sniffer) source(payload []byte) (from netip.AddrPort) {
	s.t.Helper()
	packet := make([]byte, 2048)
	for end := time.Now().Add(arrivalLimit); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(s.fd, packet, 0)
		if err != nil || !bytes.HasSuffix(packet[:n], payload) {
			continue
		}
		if packet[0]>>4 == 4 {
			a, _ := netip.AddrFromSlice(packet[12:16])
			return netip.AddrPortFrom(a, uint16(packet[20])<<8|uint16(packet[21]))
		}
		a, _ := netip.AddrFromSlice(packet[8:24])
		return netip.AddrPortFrom(a, uint16(packet[40])<<8|uint16(packet[41]))
	}
	s.t.Fatal("the forged answer does not arrive: the test shows nothing")
	return from
}

// TestForgedAnswers: what a LAN host sends is never learnt, though it leaves the
// router as an answer of the router's would: with its address and from port 53.
// An answer of the router that has another source on its way is learnt.
func TestForgedAnswers(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := strings.ReplaceAll(members(netlab.Separate, 2)+domainRules, "wan2", "wan1")
		r := newRouter(t, backend, netlab.Options{Uplinks: 2, IPv6: true, NAT66: true}, config)
		r.must("apply")
		r.startMonitor()
		router, host := hardware(t, r.lab.Router, netlab.LANDevice), hardware(t, r.lab.Client, "lan")
		out := -1
		check(t, r.lab.Client.Do(func() (err error) {
			out, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			return err
		}))
		t.Cleanup(func() { unix.Close(out) })
		lan6, number := netip.MustParseAddr("fd00::1"), byte(0)
		forge := func(to *net.Interface, at *netlab.Namespace, source, destination, appears netip.Addr) {
			t.Helper()
			number++
			message := dnsAnswer(t, fmt.Sprintf("x%d.films.example.", number), netlab.Server(100+int(number)), netlab.Server6(100+int(number)))
			f := frame{mac: host.HardwareAddr, source: source, destination: destination, protocol: unix.IPPROTO_UDP, sport: 53, dport: 4321}
			arrival := sniff(t, at)
			check(t, unix.Sendto(out, f.carrying(to.HardwareAddr, message, 0), 0, &unix.SockaddrLinklayer{Ifindex: host.Index}))
			if got := arrival.source(message); got != netip.AddrPortFrom(appears, 53) {
				t.Errorf("from %s to %s: it appears from %s, not from %s", source, destination, got, appears)
			}
		}
		lanHost := r.lab.LANHosts()[0]
		// Masquerading gives it the router's address and leaves the port.
		forge(router, r.lab.World, lanHost, netlab.Server(1), r.lab.Uplink(1).Public)
		forge(router, r.lab.Router, lanHost, netlab.GuestHost, lanHost)
		// IPv6 forwards packets with the router's own address.
		forge(router, r.lab.VPN, lan6, netlab.VPNHost6, lan6)
		forge(router, r.lab.Guest, lanHost, netlab.GuestHost, lanHost)

		// A redirected question: the host gets the answer from whom it asked.
		r.sh("iptables -t nat -A PREROUTING -i lan -p udp --dport 53 -j REDIRECT --to-ports 53")
		r.startDNSMasq(append(names, "--listen-address=127.0.0.1,"+netlab.RouterLAN.String())...)
		r.lookUp(netlab.Server(53), "www.films.example.", 1)
		eventually(t, "a redirected question is learnt from", func() bool { return r.learnt("films") == 1 })

		// A bridge passes on what one host sends to another with the router's
		// address.
		r.bridgeLAN()
		r.sh("ip addr flush dev guest && ip link set guest master br-lan")
		guest := hardware(t, r.lab.Guest, "lan")
		eventually(t, "the bridge forwards", func() bool {
			return strings.Contains(r.sh("bridge link show dev guest"), "state forwarding")
		})
		forge(guest, r.lab.Guest, netlab.RouterLAN, netlab.GuestHost, netlab.RouterLAN)
		forge(guest, r.lab.Guest, lan6, netip.MustParseAddr("fd00::9"), lan6)
		lo := netip.AddrFrom4([4]byte{127, 0, 0, 2})
		check(t, r.answer(netip.AddrPortFrom(lo, 53), netip.AddrPortFrom(lo, 4321), dnsAnswer(t, "films.example.", netlab.Server(99))))
		eventually(t, "the router's own answer is learnt", func() bool { return r.learnt("films") == 2 })
		if n := r.learnt("films6"); n != 0 {
			t.Errorf("%d addresses of IPv6 were learnt", n)
		}
	})
}
