package challenge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
)

// network is a namespace with a LAN that has hosts, a router behind which there
// are more, an uplink, and a point-to-point link. The far ends of all links lie
// in the same namespace.
const network = `
ip link set lo up
ip link add lan type veth peer name hosts
ip link add wan type veth peer name provider
ip link set hosts address 02:00:00:00:00:02
for d in lan hosts wan provider; do ip link set $d up; done
ip addr add 192.168.1.1/24 dev lan
ip addr add fd00::1/64 dev lan nodad
ip addr add 198.51.100.2/24 dev wan
ip route add default via 198.51.100.1
ip route add 10.0.0.0/8 via 192.168.1.254
ip route add 172.16.0.0/12 via inet6 fd00::fe dev lan
ip route add blackhole 192.0.2.0/24
ip route add unreachable 192.0.3.0/24
ip -6 route add fd99::/64 via fd00::fe
ip neigh add 192.168.1.10 lladdr 02:00:00:00:00:0a dev lan
ip neigh add 192.168.1.254 lladdr 02:00:00:00:00:fe dev lan
ip neigh add 198.51.100.1 lladdr 02:00:00:00:00:01 dev wan
ip neigh add fd00::10 lladdr 02:00:00:00:00:0a dev lan
ip neigh add fd00::fe lladdr 02:00:00:00:00:fe dev lan
ip tuntap add tun9 mode tun
ip addr add 10.9.0.1 peer 10.9.0.2 dev tun9
ip link set tun9 up
`

// inNetwork puts the test's thread into such a namespace.
func inNetwork(t testing.TB) {
	t.Helper()
	netlab.FreshNamespace(t)
	if out, err := exec.Command("sh", "-ec", network).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func openKernel(t testing.TB) *kernel.Handle {
	t.Helper()
	k, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// TestSearch: where clients are.
func TestSearch(t *testing.T) {
	inNetwork(t)
	f := newFinder(openKernel(t), []string{"wan"})
	tests := []struct {
		name, address string
		want          string // its link address; "own", "none" (needs none) or "" (not found)
	}{
		{"a host", "192.168.1.10", "02000000000a"},
		{"a host behind another router", "10.1.2.3", "0200000000fe"},
		{"a host behind an IPv6 router", "172.16.0.9", "0200000000fe"},
		{"a host that is not known", "192.168.1.11", ""},
		{"the router", "192.168.1.1", "own"},
		{"the router's address on an uplink", "198.51.100.2", "own"},
		{"a host behind an uplink", "203.0.113.9", ""},
		{"blackhole", "192.0.2.1", ""},
		{"unreachable", "192.0.3.1", ""},
		{"point-to-point", "10.9.0.2", "none"},
		{"an IPv6 host", "fd00::10", "02000000000a"},
		{"an IPv6 host behind another router", "fd99::5", "0200000000fe"},
		{"an IPv6 host that is not known", "fd00::11", ""},
		{"the router, IPv6", "fd00::1", "own"},
		{"no route", "2001:db8::1", ""},
	}
	for _, tt := range tests {
		for range 2 { // asked and remembered
			found, err := f.find(netip.MustParseAddr(tt.address))
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			got := ""
			switch {
			case found.own:
				got = "own"
			case found.link != nil && found.link.Halen == 0:
				got = "none"
			case found.link != nil:
				got = fmt.Sprintf("%x", found.link.Addr[:found.link.Halen])
			}
			if got != tt.want {
				t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
			}
		}
	}
}

// TestSend counts, and looks at what arrives at the hosts' end.
func TestSend(t *testing.T) {
	inNetwork(t)
	arrived := listen(t, "hosts")
	server := "203.0.113.9:443"
	result, err := Sender{openKernel(t)}.Send([]Flow{
		flow("192.168.1.10:1000", server), flow("192.168.1.10:1001", server), flow("10.1.2.3:1002", server),
		flow("192.168.1.11:1003", server), flow("192.168.1.1:1004", server), flow("203.0.113.1:1005", "192.168.1.10:80"),
		flow("[fd00::10]:1006", "[2001:db8::1]:443"),
	}, []string{"wan"})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Result{Challenged: 4, Own: 1, NotFound: 2}); result != want {
		t.Errorf("%+v, want %+v", result, want)
	}
	for _, want := range []string{"02000000000a 1000", "02000000000a 1001", "0200000000fe 1002", "02000000000a 1006"} {
		first, second := arrived(), arrived()
		if first.to != want || second.to != want {
			t.Errorf("packets to %q and %q, want two to %q", first.to, second.to, want)
		}
		if second.sequence-first.sequence != 1<<31 {
			t.Errorf("%s: sequence numbers %d and %d", want, first.sequence, second.sequence)
		}
	}
}

// packet is a TCP segment that arrived.
type packet struct {
	to       string // link address and port
	sequence uint32
}

// listen returns a function that waits for the next TCP segment at a device.
func listen(t *testing.T, device string) func() packet {
	t.Helper()
	everything := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(everything))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	timeout := unix.NsecToTimeval((10 * time.Second).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	index := deviceIndex(t, fd, device)
	return func() packet {
		buffer := make([]byte, 1<<16)
		for {
			n, from, err := unix.Recvfrom(fd, buffer, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				t.Fatalf("waiting for a packet: %v", err)
			}
			link, isLink := from.(*unix.SockaddrLinklayer)
			if !isLink || link.Ifindex != index || link.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			if p, isTCP := parse(buffer[:n]); isTCP {
				return p
			}
		}
	}
}

func deviceIndex(t *testing.T, fd int, device string) int {
	t.Helper()
	req, err := unix.NewIfreq(device)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		t.Fatal(err)
	}
	return int(req.Uint32())
}

// parse reads an Ethernet frame.
func parse(b []byte) (packet, bool) {
	const ethernet = 14
	header, protocol := ipv4Header, 9
	if len(b) > ethernet && b[ethernet]>>4 == 6 {
		header, protocol = ipv6Header, 6
	}
	if len(b) < ethernet+header+tcpHeader || b[ethernet+protocol] != unix.IPPROTO_TCP {
		return packet{}, false
	}
	tcp := b[ethernet+header:]
	return packet{
		to:       fmt.Sprintf("%x %d", b[:6], int(tcp[2])<<8|int(tcp[3])),
		sequence: uint32(tcp[4])<<24 | uint32(tcp[5])<<16 | uint32(tcp[6])<<8 | uint32(tcp[7]),
	}, true
}

// TestFailuresAreCounted: the first one is told, with how many there were.
func TestFailuresAreCounted(t *testing.T) {
	inNetwork(t)
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	nowhere := &unix.SockaddrLinklayer{Protocol: etherType(family.IPv4), Ifindex: 9999}
	if err = send(socket, nowhere, flow("192.168.1.10:1000", "203.0.113.9:443")); !errors.Is(err, unix.ENXIO) {
		t.Fatalf("to a device that is not there: %v", err)
	}
	k, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if _, err := k.Links(); err != nil { // the last time
		t.Fatal(err)
	}
	for _, command := range []string{"link add late type veth peer name later", "link set later up", "addr add 192.0.4.1/24 dev late", "link set late up"} {
		if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	var flows []Flow
	for _, client := range []string{"192.0.4.10:1000", "192.0.4.10:1001", "192.0.4.11:1000"} {
		flows = append(flows, flow(client, "203.0.113.9:443"))
	}
	result, err := Sender{k}.Send(flows, nil)
	if result != (Result{}) || !errors.Is(err, unix.ENODEV) || !strings.HasPrefix(err.Error(), "challenge: 3 connections: device ") {
		t.Errorf("%+v, %v", result, err)
	}
}

// BenchmarkSend serves 10,000 connections of 200 clients.
func BenchmarkSend(b *testing.B) {
	inNetwork(b)
	var flows []Flow
	for i := range 10_000 {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 200)}), uint16(1024+i))
		flows = append(flows, Flow{Client: client, Server: netip.MustParseAddrPort("203.0.113.9:443")})
	}
	k := openKernel(b)
	b.ResetTimer()
	for range b.N {
		if result, err := (Sender{k}).Send(flows, nil); err != nil || result.Challenged != len(flows) {
			b.Fatalf("%+v, %v", result, err)
		}
	}
}
