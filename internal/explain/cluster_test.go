package explain

import (
	"fmt"
	"math/rand"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
	"loadbalance/internal/plan"
)

// TestSlotIsTheKernels lets the kernel hash 400 addresses of each family, in a
// network namespace of the test's own: each slot's rule writes its number into
// the mark of the connection.
func TestSlotIsTheKernels(t *testing.T) {
	const slots = 32
	random := rand.New(rand.NewSource(1))
	addresses := map[family.Family][]netip.Addr{}
	var setup strings.Builder
	setup.WriteString("link set lo up\n")
	for range 400 {
		var b [16]byte
		random.Read(b[:])
		b[0] = 0x20 // a global address
		ipv4 := netip.AddrFrom4([4]byte{10, b[1], b[2], b[3]})
		ipv6 := netip.AddrFrom16(b)
		addresses[family.IPv4] = append(addresses[family.IPv4], ipv4)
		addresses[family.IPv6] = append(addresses[family.IPv6], ipv6)
		fmt.Fprintf(&setup, "addr add %v/32 dev lo\naddr add %v/128 dev lo nodad\n", ipv4, ipv6)
	}
	var rules strings.Builder
	rules.WriteString("*mangle\n")
	for n := 1; n <= slots; n++ {
		fmt.Fprintf(&rules, "-A OUTPUT %s -j CONNMARK --set-mark %d\n", plan.Slot{Number: n, Total: slots}.Args(), n)
	}
	rules.WriteString("COMMIT\n")
	got := map[netip.Addr]uint32{}
	netlab.FreshNamespace(t)
	for _, step := range []struct{ input, program string }{
		{setup.String(), "ip -batch -"}, {rules.String(), "iptables-restore"}, {rules.String(), "ip6tables-restore"},
	} {
		words := strings.Fields(step.program)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Stdin = strings.NewReader(step.input)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", step.program, err, out)
		}
	}
	awaitLocalRoutes(t, len(addresses[family.IPv6]))
	for _, f := range family.All {
		for _, a := range addresses[f] {
			if err := sendFrom(a); err != nil {
				t.Fatal(err)
			}
		}
	}
	k, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	table := conntrack.New(k)
	for _, f := range family.All {
		err := table.Each(f, func(e conntrack.Entry) bool {
			got[e.Original.Source] = e.Mark
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range family.All {
		for _, a := range addresses[f] {
			if want := slotOf(a, slots, plan.ClusterSeed); got[a] != uint32(want) {
				t.Errorf("%v: slot %d, the kernel says %d", a, want, got[a])
			}
		}
	}
}

// awaitLocalRoutes waits until the router receives packets to all of its IPv6
// addresses: the kernel adds their routes in its own time.
func awaitLocalRoutes(t *testing.T, addresses int) {
	t.Helper()
	for end := time.Now().Add(netlab.SettleTimeout); ; time.Sleep(time.Millisecond) {
		out, err := exec.Command("ip", "-6", "route", "show", "table", "local").CombinedOutput()
		if err != nil {
			t.Fatalf("local routes: %v: %s", err, out)
		}
		if strings.Count(string(out), "local 20") == addresses {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not all of %d addresses have local routes:\n%s", addresses, out)
		}
	}
}

// sendFrom sends one UDP packet from an address to itself.
func sendFrom(a netip.Addr) error {
	const port = 9
	number := unix.AF_INET
	var here, there unix.Sockaddr
	if a.Is4() {
		here, there = &unix.SockaddrInet4{Addr: a.As4()}, &unix.SockaddrInet4{Addr: a.As4(), Port: port}
	} else {
		number = unix.AF_INET6
		here, there = &unix.SockaddrInet6{Addr: a.As16()}, &unix.SockaddrInet6{Addr: a.As16(), Port: port}
	}
	fd, err := unix.Socket(number, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, here); err != nil {
		return fmt.Errorf("bind %v: %w", a, err)
	}
	return unix.Sendto(fd, []byte("x"), 0, there)
}
