package ipset

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
	"loadbalance/internal/plan"
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

func run(t *testing.T, command string) string {
	t.Helper()
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

func read(t *testing.T, k *Netlink) []Set {
	t.Helper()
	sets, err := k.Read()
	if err != nil {
		t.Fatal(err)
	}
	return sets
}

func execAll(t *testing.T, k *Netlink, ops []Op) {
	t.Helper()
	for _, op := range ops {
		if err := op.Run(k); err != nil {
			t.Fatal(err)
		}
	}
}

func apply(t *testing.T, k *Netlink, ipv4, ipv6 []plan.Set) Changes {
	t.Helper()
	c := Diff(ipv4, ipv6, read(t, k))
	execAll(t, k, c.Update)
	execAll(t, k, c.Destroy)
	if again := Diff(ipv4, ipv6, read(t, k)); !again.Empty() {
		t.Fatalf("not as wanted after the changes: %q %q", texts(again.Update), texts(again.Destroy))
	}
	return c
}

var (
	local4 = plan.Set{Name: "lb_local", Entries: prefixes("0.0.0.0/1", "10.0.0.0/8", "10.1.2.3/32", "255.255.255.255/32")}
	local6 = plan.Set{Name: "lb_local6", Entries: prefixes("::/0", "2001:db8::1/128", "fe80::/10")}
)

func TestApplyAndRemove(t *testing.T) {
	k := freshNamespace(t)
	run(t, "ipset create other hash:ip,port comment counters skbinfo")
	before := run(t, "ipset list")
	apply(t, k, []plan.Set{local4}, []plan.Set{local6})
	listed := run(t, "ipset save")
	for _, line := range []string{
		"create lb_local hash:net family inet ", "add lb_local 10.1.2.3\n", "add lb_local 0.0.0.0/1\n",
		"create lb_local6 hash:net family inet6 ", "add lb_local6 ::/1\n", "add lb_local6 8000::/1\n", "add lb_local6 2001:db8::1\n",
	} {
		if !strings.Contains(listed, line) {
			t.Errorf("%q is missing in\n%s", line, listed)
		}
	}
	apply(t, k, nil, nil)
	if after := run(t, "ipset list"); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

// The commands that are printed do the same as the operations.
func TestPrintedCommands(t *testing.T) {
	k := freshNamespace(t)
	c := Diff([]plan.Set{local4}, []plan.Set{local6}, nil)
	for _, command := range texts(c.Update) {
		run(t, command)
	}
	if again := Diff([]plan.Set{local4}, []plan.Set{local6}, read(t, k)); !again.Empty() {
		t.Fatalf("the printed commands leave %q %q", texts(again.Update), texts(again.Destroy))
	}
	c = Diff([]plan.Set{{Name: "lb_local", Entries: numbered(40)}}, nil, read(t, k))
	for _, command := range texts(slices.Concat(c.Update, c.Destroy)) {
		run(t, command)
	}
	if sets := read(t, k); len(sets) != 1 || len(sets[0].Entries) != 40 {
		t.Errorf("the printed commands leave %v", sets)
	}
}

// A large set comes in many messages, of which only the first has its type.
func TestLargeSet(t *testing.T) {
	k := freshNamespace(t)
	apply(t, k, []plan.Set{{Name: "lb_big", Entries: numbered(5000)}, local4}, nil)
	sets := read(t, k)
	if len(sets) != 2 || len(sets[0].Entries) != 5000 || sets[0].Type != "hash:net" || sets[0].Family != family.IPv4 {
		t.Fatalf("%d sets, the first with %d entries of type %q", len(sets), len(sets[0].Entries), sets[0].Type)
	}
}

func TestUpdateWhileInUse(t *testing.T) {
	k := freshNamespace(t)
	apply(t, k, []plan.Set{local4}, nil)
	run(t, "iptables -t mangle -A PREROUTING -m set --match-set lb_local dst -j RETURN")
	c := apply(t, k, []plan.Set{{Name: "lb_local", Entries: numbered(100)}}, nil)
	if last := c.Update[len(c.Update)-2].String(); last != "ipset swap lb_tmp.new lb_local" {
		t.Errorf("no swap: %s", last)
	}
	c = apply(t, k, []plan.Set{{Name: "lb_local", Entries: numbered(101)}}, nil)
	if got := texts(c.Update); !slices.Equal(got, []string{"ipset add lb_local 10.0.0.100"}) {
		t.Errorf("one more entry: %q", got)
	}
	err := k.Destroy("lb_local")
	if err == nil || err.Error() != "ipset destroy lb_local: the set is in use by a rule" {
		t.Errorf("destroying a set in use: %v", err)
	}
	run(t, "iptables -t mangle -F")
	apply(t, k, nil, nil)
}

func TestOtherTypesAndLeftovers(t *testing.T) {
	k := freshNamespace(t)
	for _, command := range []string{
		"ipset create lb_local hash:ip",
		"ipset create lb_local hash:net family inet6",
		"ipset create lb_local hash:ip,port",
		"ipset create lb_local bitmap:port range 0-65535",
		"ipset create lb_local hash:net timeout 600",
		"ipset create lb_tmp.new hash:net family inet6",
		"ipset create lb_old list:set",
	} {
		run(t, command)
		apply(t, k, []plan.Set{local4}, nil)
		apply(t, k, nil, nil)
		if left := run(t, "ipset list -n"); left != "" {
			t.Errorf("%s: left behind: %s", command, left)
		}
	}
	run(t, "ipset create lb_local hash:net")
	apply(t, k, []plan.Set{local4}, nil)
	run(t, "ipset del lb_local 10.1.2.3")
	run(t, "ipset add lb_local 10.1.2.3 nomatch")
	if c := apply(t, k, []plan.Set{local4}, nil); c.Empty() {
		t.Error("an entry with nomatch passes for the wanted one")
	}
}

// TestPairs: packets enter their source and destination, whatever type the kernel
// has for pairs, and the next run keeps the set.
func TestPairs(t *testing.T) {
	k := freshNamespace(t)
	four, six := []plan.Set{{Name: "lb_p4", Timeout: 600, Pairs: true}}, []plan.Set{{Name: "lb_p6", Timeout: 600, Pairs: true}}
	apply(t, k, four, six)
	run(t, "ip link set lo up")
	for _, command := range []string{"iptables", "ip6tables"} {
		set := map[string]string{"iptables": "lb_p4", "ip6tables": "lb_p6"}[command]
		run(t, command+" -t mangle -A OUTPUT -j SET --add-set "+set+" src,dst,dst --exist --timeout 300")
		run(t, command+" -t mangle -A INPUT -m set --match-set "+set+" src,dst,dst")
	}
	for _, to := range []string{"127.0.0.1", "127.0.0.1", "127.0.0.2", "::1"} {
		socket, err := net.Dial("udp", net.JoinHostPort(to, "9"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = socket.Write([]byte("x")) // refused, if an answer has come
		socket.Close()
	}
	saved := run(t, "ipset save")
	for _, pair := range []string{"127.0.0.1,(udp:9,)?127.0.0.1 ", "127.0.0.1,(udp:9,)?127.0.0.2 ", "::1,(udp:9,)?::1 "} {
		if !regexp.MustCompile("(?m)^add lb_p[46] " + pair + "timeout (300|29[0-9])").MatchString(saved) {
			t.Errorf("no entry %s in\n%s", pair, saved)
		}
	}
	if counted := run(t, "iptables -t mangle -L INPUT -v -n -x"); !strings.Contains(counted, "       6 ") {
		t.Errorf("of 3 packets and 3 answers not all are in the set:\n%s", counted)
	}
	// Without a port, only sets of the first type can be asked.
	sets := read(t, k)
	for i, ends := range [][]netip.Addr{{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}, {netip.IPv6Loopback(), netip.IPv6Loopback()}} {
		if in, err := k.Contains(sets[i].Name, ends...); in != (sets[i].Type == pairs) || in != (err == nil) {
			t.Errorf("%v in a %s: %v, %v", ends, sets[i].Type, in, err)
		}
	}
	if in, err := k.Contains("lb_p4", netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")); in {
		t.Errorf("a pair that never was is in the set (%v)", err)
	}
	apply(t, k, four, six)
	if again := run(t, "ipset save"); strings.Count(again, "add ") != strings.Count(saved, "add ") {
		t.Errorf("the next run has changed the sets:\n%s", again)
	}
	run(t, "iptables -t mangle -F")
	run(t, "ip6tables -t mangle -F")
	apply(t, k, nil, nil)
}

func TestRepeatedAndRefused(t *testing.T) {
	k := freshNamespace(t)
	apply(t, k, []plan.Set{local4}, []plan.Set{local6})
	for range 2 {
		if err := k.Add("lb_local", prefixes("192.0.2.0/24")); err != nil {
			t.Errorf("adding again: %v", err)
		}
	}
	for range 2 {
		if err := k.Delete("lb_local", prefixes("192.0.2.0/24")); err != nil {
			t.Errorf("deleting again: %v", err)
		}
	}
	if err := k.Destroy("lb_none"); err != nil {
		t.Errorf("destroying what is not there: %v", err)
	}
	if err := k.Destroy("other"); err == nil {
		t.Error("a foreign set was given to destroy, and no error")
	}
	err := k.Swap("lb_local", "lb_local6")
	if err == nil || err.Error() != "ipset swap lb_local lb_local6: the sets have different types or families" {
		t.Errorf("swap of two families: %v", err)
	}
	if err := k.Create("lb_small", family.IPv4, Options{MaxElements: 1}); err != nil {
		t.Fatal(err)
	}
	if err := k.Add("lb_small", prefixes("10.0.0.0/8")); err != nil {
		t.Fatal(err)
	}
	err = k.Add("lb_small", prefixes("11.0.0.0/8"))
	if err == nil || err.Error() != "ipset add lb_small 11.0.0.0/8: the set is full" {
		t.Errorf("one entry too many: %v", err)
	}
	err = k.Add("lb_local", prefixes("192.0.2.0/24", "2001:db8::/32", "198.51.100.0/24"))
	if err == nil || !strings.HasPrefix(err.Error(), "ipset add lb_local 2001:db8::/32: ") {
		t.Errorf("an IPv6 entry for an IPv4 set, among others: %v", err)
	}
	if err := k.Add("lb_none", prefixes("10.0.0.0/8")); err == nil || !strings.Contains(err.Error(), "lb_none") {
		t.Errorf("adding to a set that is not there: %v", err)
	}
}

// BenchmarkLargeSet fills a set with 10,000 entries, as many as a country's
// networks are, and reads it.
func BenchmarkLargeSet(b *testing.B) {
	k := freshNamespace(b)
	entries := numbered(10_000)
	b.Run("fill", func(b *testing.B) {
		for range b.N {
			err := errors.Join(k.Destroy("lb_big"), k.Create("lb_big", family.IPv4, Options{MaxElements: defaultMaxElements}), k.Add("lb_big", entries))
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if sets, err := k.Read(); err != nil || len(sets) != 1 || len(sets[0].Entries) != len(entries) {
				b.Fatalf("%d sets, error %v", len(sets), err)
			}
		}
	})
}
