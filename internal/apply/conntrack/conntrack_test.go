package conntrack

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
)

// freshNamespace moves the test into a network namespace of its own and opens
// a socket to its kernel.
func freshNamespace(t testing.TB) *Netlink {
	t.Helper()
	netlab.FreshNamespace(t)
	k, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return New(k)
}

func run(t testing.TB, command string) {
	t.Helper()
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

func list(t testing.TB, n *Netlink, f family.Family) []Entry {
	t.Helper()
	var entries []Entry
	err := n.Each(f, func(e Entry) bool {
		entries = append(entries, e)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// tracked gives the namespace a loopback device on which everything that is
// sent gets an entry: ICMP mark 0x100, UDP 0x80200, TCP 0x300 and zone 7.
func tracked(t *testing.T) *Netlink {
	t.Helper()
	n := freshNamespace(t)
	run(t, "ip link set lo up")
	for _, tool := range []string{"iptables", "ip6tables"} {
		run(t, tool+" -t raw -A OUTPUT -p tcp -j CT --zone 7")
		run(t, tool+" -t raw -A PREROUTING -p tcp -j CT --zone 7")
		icmp := map[string]string{"iptables": "icmp", "ip6tables": "icmpv6"}[tool]
		run(t, tool+" -t mangle -A OUTPUT -m conntrack --ctstate NEW -p "+icmp+" -j CONNMARK --set-mark 0x100")
		run(t, tool+" -t mangle -A OUTPUT -m conntrack --ctstate NEW -p udp -j CONNMARK --set-mark 0x80200")
		run(t, tool+" -t mangle -A OUTPUT -m conntrack --ctstate NEW -p tcp -j CONNMARK --set-mark 0x300")
	}
	return n
}

// talk sends one ping, one datagram and opens one connection on the loopback
// device, and returns the local ports of the last two.
func talk(t *testing.T, host string) (udp, tcp uint16) {
	t.Helper()
	ping(t, host)
	d, err := net.Dial("udp", net.JoinHostPort(host, "4242"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "4243"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return uint16(d.LocalAddr().(*net.UDPAddr).Port), uint16(c.LocalAddr().(*net.TCPAddr).Port)
}

// ping sends an echo request and waits for the answer.
func ping(t *testing.T, host string) {
	t.Helper()
	network, request := "ip4:icmp", []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1}
	if strings.Contains(host, ":") {
		network, request = "ip6:ipv6-icmp", []byte{128, 0, 0, 0, 0, 1, 0, 1} // the kernel adds the checksum
	}
	c, err := net.Dial(network, host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 64)
	for range 2 { // on the loopback device the request itself comes first
		if _, err := c.Read(answer); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRealEntries(t *testing.T) {
	n := tracked(t)
	for _, tt := range []struct {
		f    family.Family
		host string
		icmp uint8
	}{{family.IPv4, "127.0.0.1", unix.IPPROTO_ICMP}, {family.IPv6, "::1", unix.IPPROTO_ICMPV6}} {
		udp, tcp := talk(t, tt.host)
		host := netip.MustParseAddr(tt.host)
		found := map[string]bool{}
		for _, e := range list(t, n, tt.f) {
			found[fmt.Sprintf("%d %#x %v %v", e.Protocol, e.Mark, e.Original, e.Reply)] = true
			if e.Family != tt.f {
				t.Errorf("an entry of %s in the list of %s", e.Family, tt.f)
			}
		}
		for _, want := range []Entry{
			{Protocol: tt.icmp, Mark: 0x100, Original: Tuple{host, host, 0, 0}, Reply: Tuple{host, host, 0, 0}},
			{Protocol: unix.IPPROTO_UDP, Mark: 0x80200, Original: Tuple{host, host, udp, 4242}, Reply: Tuple{host, host, 4242, udp}},
			{Protocol: unix.IPPROTO_TCP, Mark: 0x300, Original: Tuple{host, host, tcp, 4243}, Reply: Tuple{host, host, 4243, tcp}},
		} {
			if key := fmt.Sprintf("%d %#x %v %v", want.Protocol, want.Mark, want.Original, want.Reply); !found[key] {
				t.Errorf("%s: %s is missing in %v", tt.f, key, found)
			}
		}
		counts, err := n.CountByMark(tt.f, 0x3f00)
		if err != nil {
			t.Fatal(err)
		}
		// A datagram to a port where nobody listens gets an ICMP error, which
		// is no answer.
		if want := map[uint32]Count{0x100: {1, 0}, 0x200: {1, 1}, 0x300: {1, 0}}; !maps.Equal(counts, want) {
			t.Errorf("%s: counted %v, want %v", tt.f, counts, want)
		}
		for _, mark := range []uint32{0x100, 0x200, 0x300} {
			before := len(list(t, n, tt.f))
			deleted, err := n.Delete(tt.f, func(e Entry) bool { return e.Mark&0x3f00 == mark })
			if err != nil || deleted != 1 {
				t.Errorf("%s: mark %#x: %d deleted, error %v; want 1", tt.f, mark, deleted, err)
			}
			if after := list(t, n, tt.f); len(after) != before-1 {
				t.Errorf("%s: mark %#x: %d entries of %d are left: %v", tt.f, mark, len(after), before, after)
			}
		}
	}
}

func TestDeleteByPredicate(t *testing.T) {
	n := freshNamespace(t)
	insert(t, 300)
	deleted, err := n.Delete(family.IPv4, func(e Entry) bool {
		return e.Mark == 0x80200 && e.Original.DestinationPort == 80
	})
	if err != nil || deleted != 50 {
		t.Errorf("%d deleted, error %v, want 50", deleted, err)
	}
	left := list(t, n, family.IPv4)
	for _, e := range left {
		if e.Mark == 0x80200 && e.Original.DestinationPort == 80 {
			t.Errorf("left behind: %v", e)
		}
	}
	if len(left) != 250 {
		t.Errorf("%d entries are left, want 250", len(left))
	}
	if deleted, err := n.Delete(family.IPv6, func(Entry) bool { return true }); deleted != 0 || err != nil {
		t.Errorf("IPv6: %d deleted, error %v, want none", deleted, err)
	}
	if again := list(t, n, family.IPv4); len(again) != 250 {
		t.Errorf("%d IPv4 entries are left after a deletion in IPv6, want 250", len(again))
	}
}

// TestMark sets bits of marks, in both families and in a zone, and of the entries
// that are chosen only.
func TestMark(t *testing.T) {
	n := tracked(t)
	for f, host := range map[family.Family]string{family.IPv4: "127.0.0.1", family.IPv6: "::1"} {
		talk(t, host)
		err := n.Mark(f, 0x3f000000, func(e Entry) uint32 {
			if e.Protocol == unix.IPPROTO_UDP {
				return e.Mark
			}
			return 0xffff0000 // as far as the mask goes
		})
		if err != nil {
			t.Fatal(err)
		}
		got := map[uint8]uint32{}
		for _, e := range list(t, n, f) {
			if e.Original.DestinationPort == 4242 || e.Original.DestinationPort == 4243 || e.Original.DestinationPort == 0 {
				got[e.Protocol] = e.Mark
			}
		}
		icmp := map[family.Family]uint8{family.IPv4: unix.IPPROTO_ICMP, family.IPv6: unix.IPPROTO_ICMPV6}[f]
		want := map[uint8]uint32{icmp: 0x3f000100, unix.IPPROTO_UDP: 0x80200, unix.IPPROTO_TCP: 0x3f000300}
		if !maps.Equal(got, want) {
			t.Errorf("%s: marks by protocol %#x, want %#x", f, got, want)
		}
	}
	if err := n.Mark(family.IPv4, 1, func(Entry) uint32 { flush(t, library(t)); return 1 }); err != nil {
		t.Errorf("entries that have ended meanwhile: %v", err)
	}
}

func TestDeleteOne(t *testing.T) {
	n := freshNamespace(t)
	run(t, "ip link set lo up")
	for _, tool := range []string{"iptables", "ip6tables"} {
		run(t, tool+" -t mangle -A OUTPUT -m conntrack --ctstate NEW -j CONNMARK --set-mark 0x300")
	}
	for _, f := range family.All {
		host := map[family.Family]string{family.IPv4: "127.0.0.1", family.IPv6: "::1"}[f]
		_, port := talk(t, host)
		before := len(list(t, n, f))
		own := netip.AddrPortFrom(netip.MustParseAddr(host), port)
		server := netip.AddrPortFrom(own.Addr(), 4243)
		for _, step := range []struct {
			name                string
			source, destination netip.AddrPort
			gone                int
		}{
			{"another port", own, netip.AddrPortFrom(own.Addr(), 4244), 0},
			{"the connection", own, server, 1},
			{"again", own, server, 1},
		} {
			if err := n.DeleteOne(unix.IPPROTO_TCP, step.source, step.destination); err != nil {
				t.Errorf("%s: %s: %v", f, step.name, err)
			}
			if left := list(t, n, f); len(left) != before-step.gone {
				t.Errorf("%s: %s: %d entries of %d are left, want %d gone: %v", f, step.name, len(left), before, step.gone, left)
			}
		}
	}
}

// TestDeleteWhatIsGone: an entry that ended by itself while the table was read
// counts as deleted.
func TestDeleteWhatIsGone(t *testing.T) {
	n := freshNamespace(t)
	other := library(t)
	create(t, other, udp(1), udp(2))
	deleted, err := n.Delete(family.IPv4, func(Entry) bool { flush(t, other); return true })
	if err != nil || deleted == 0 {
		t.Errorf("%d deleted, error %v", deleted, err)
	}
	if left := list(t, n, family.IPv4); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestDeleteSparesSuccessors: a connection that took the place of one that was
// to be deleted stays.
func TestDeleteSparesSuccessors(t *testing.T) {
	n := freshNamespace(t)
	other := library(t)
	create(t, other, udp(1))
	before := idOf(t, n, udp(1))
	deleted, err := n.Delete(family.IPv4, func(Entry) bool {
		flush(t, other)
		// The kernel makes the number of an entry from where it lies in memory:
		// something else has to lie there.
		create(t, other, udp(2), udp(3), udp(4), udp(1))
		return true
	})
	if deleted != 1 || err != nil {
		t.Errorf("%d deleted, error %v", deleted, err)
	}
	if after := idOf(t, n, udp(1)); bytes.Equal(after, before) {
		t.Fatal("the successor has the number of the entry before it")
	}
}

// idOf returns what identifies the entry of a flow.
func idOf(t *testing.T, n *Netlink, flow *netlink.ConntrackFlow) (id []byte) {
	t.Helper()
	err := n.each(family.IPv4, func(e Entry, m []byte) bool {
		if e.Original.DestinationPort == flow.Forward.DstPort {
			id = identity(m)
		}
		return true
	})
	if err != nil || id == nil {
		t.Fatalf("port %d: no entry, error %v", flow.Forward.DstPort, err)
	}
	return id
}

// TestStates of TCP connections: a client whose connection is being opened
// repeats its SYN, and one whose connection is over expects nothing more.
func TestStates(t *testing.T) {
	n := freshNamespace(t)
	other := library(t)
	for state, want := range map[uint8]Entry{
		nl.TCP_CONNTRACK_SYN_SENT:    {Opening: true},
		nl.TCP_CONNTRACK_SYN_RECV:    {},
		nl.TCP_CONNTRACK_ESTABLISHED: {},
		nl.TCP_CONNTRACK_FIN_WAIT:    {},
		nl.TCP_CONNTRACK_CLOSE_WAIT:  {},
		nl.TCP_CONNTRACK_LAST_ACK:    {},
		nl.TCP_CONNTRACK_TIME_WAIT:   {Ended: true},
		nl.TCP_CONNTRACK_CLOSE:       {Ended: true},
		nl.TCP_CONNTRACK_SYN_SENT2:   {}, // both have sent a SYN
	} {
		flow := udp(443)
		flow.Forward.Protocol, flow.Reverse.Protocol = unix.IPPROTO_TCP, unix.IPPROTO_TCP
		flow.ProtoInfo = &netlink.ProtoInfoTCP{State: state}
		create(t, other, flow)
		entries := list(t, n, family.IPv4)
		if len(entries) != 1 || entries[0].Opening != want.Opening || entries[0].Ended != want.Ended {
			t.Errorf("state %d: %+v", state, entries)
		}
		flush(t, other)
	}
}

func TestEachEnds(t *testing.T) {
	n := freshNamespace(t)
	insert(t, 2000)
	seen := 0
	if err := n.Each(family.IPv4, func(Entry) bool { seen++; return seen < 10 }); err != nil {
		t.Fatal(err)
	}
	if seen != 10 {
		t.Errorf("%d entries were visited after an end at 10", seen)
	}
	if all := list(t, n, family.IPv4); len(all) != 2000 {
		t.Errorf("%d entries in the next list, want 2000", len(all))
	}
}

// A message without a tuple must never become a deletion: the kernel would
// empty the whole table.
func TestParseRefuses(t *testing.T) {
	for _, m := range [][]byte{nil, {2}, {2, 0, 0, 0}, {2, 0, 0, 0, 8, 0, 8, 0, 1, 2, 3, 4}, {10, 0, 0, 0, 255, 255, 1, 0},
		{2, 0, 0, 0, 8, 0, 1, 128, 4, 0, 1, 0}, {99, 0, 0, 0}} {
		if e, ok := parse(m); ok {
			t.Errorf("%v was read as %v", m, e)
		}
	}
}

// insert makes count entries with the marks 0x80100 and 0x80200 in turn, to
// the ports 80, 81 and 82.
func insert(t testing.TB, count int) {
	t.Helper()
	h := library(t)
	for i := range count {
		flow := udp(uint16(80 + i%3))
		flow.Forward.SrcIP = net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)).To4()
		flow.Reverse.DstIP = flow.Forward.SrcIP
		flow.Mark = 0x80000 | uint32(1+i%2)<<8
		create(t, h, flow)
	}
}

// library is the library's access to the same table.
func library(t testing.TB) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// udp is a flow from 10.0.0.0 to a port of 192.0.2.1.
func udp(port uint16) *netlink.ConntrackFlow {
	client, server := net.IPv4(10, 0, 0, 0).To4(), net.IPv4(192, 0, 2, 1).To4()
	return &netlink.ConntrackFlow{
		FamilyType: unix.AF_INET,
		Forward:    netlink.IPTuple{SrcIP: client, DstIP: server, SrcPort: 1024, DstPort: port, Protocol: unix.IPPROTO_UDP},
		Reverse:    netlink.IPTuple{SrcIP: server, DstIP: client, SrcPort: port, DstPort: 1024, Protocol: unix.IPPROTO_UDP},
		TimeOut:    600,
	}
}

func create(t testing.TB, h *netlink.Handle, flows ...*netlink.ConntrackFlow) {
	t.Helper()
	for _, flow := range flows {
		if err := h.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, flow); err != nil {
			t.Fatal(err)
		}
	}
}

func flush(t testing.TB, h *netlink.Handle) {
	t.Helper()
	if err := h.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkCountByMark(b *testing.B) {
	n := freshNamespace(b)
	insert(b, 100_000)
	b.ResetTimer()
	for range b.N {
		counts, err := n.CountByMark(family.IPv4, 0x3f00)
		if err != nil || counts[0x100].Total != 50_000 {
			b.Fatalf("%v, %v", counts, err)
		}
	}
	b.StopTimer()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/1e6, "MB-from-system")
}
