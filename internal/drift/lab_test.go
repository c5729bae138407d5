package drift

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"loadbalance/internal/netlab"
)

// patience is how long a test waits for what must come; a loaded machine gets
// a hundred times what an idle one needs.
const patience = 30 * time.Second

// freshNamespace moves the test into a network namespace of its own.
func freshNamespace(t testing.TB) {
	t.Helper()
	netlab.FreshNamespace(t)
	// Link-local addresses come by themselves and become usable some time
	// later, which no test could tell from an event of its own.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/addr_gen_mode", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	run(t, "ip link set lo up")
}

// run runs commands, one in a line, in the test's namespace.
func run(t testing.TB, commands string) {
	t.Helper()
	for _, command := range strings.Split(commands, "\n") {
		words := strings.Fields(command)
		if len(words) == 0 {
			continue
		}
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
}

// batch gives a program its input, in the test's namespace.
func batch(t testing.TB, input string, words ...string) {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
}

// router makes a namespace with so many members on one cable, and with what an
// apply leaves for them.
func router(t testing.TB, members int) {
	t.Helper()
	freshNamespace(t)
	batch(t, cable+ipv4(members), "ip", "-batch", "-")
	batch(t, ipv6(members), "ip", "-6", "-batch", "-")
	batch(t, `create lb_local hash:net
add lb_local 192.168.0.0/16
add lb_local 172.16.0.0/12
create lb_local6 hash:net family inet6
add lb_local6 fc00::/7
create lb_films hash:net
create lb_sticky hash:ip timeout 600
`, "ipset", "restore")
	awaitCarriers(t)
}

const cable = `link add eth0 type veth peer name far
link add spare type veth peer name spare2
link set eth0 up
link set far up
link set spare up
link set spare2 up
addr add 192.168.1.1/24 dev spare
`

func ipv4(members int) string {
	var text strings.Builder
	for i := 1; i <= members; i++ {
		fmt.Fprintf(&text, `link add wan%[1]d link eth0 type macvlan mode bridge
link set wan%[1]d up
addr add 10.0.%[1]d.1/24 dev wan%[1]d
route add 10.0.%[1]d.0/24 dev wan%[1]d src 10.0.%[1]d.1 table %[2]d protocol 108
route add default via 10.0.%[1]d.254 dev wan%[1]d onlink table %[2]d protocol 108
route add default via 10.0.%[1]d.254 dev wan%[1]d metric %[1]d
`, i, 300+i)
		writeRules(&text, i)
	}
	return text.String()
}

func ipv6(members int) string {
	var text strings.Builder
	for i := 1; i <= members; i++ {
		fmt.Fprintf(&text, `addr add 2001:db8:%[1]x::1/64 dev wan%[1]d nodad
route add default via 2001:db8:%[1]x::ff dev wan%[1]d onlink table %[2]d protocol 108
route add default via 2001:db8:%[1]x::ff dev wan%[1]d metric %[1]d
`, i, 300+i)
		writeRules(&text, i)
	}
	return text.String()
}

func writeRules(text *strings.Builder, i int) {
	fmt.Fprintf(text, `rule add fwmark 0x%[1]x/0x3f00 lookup %[2]d suppress_prefixlength 0 priority %[3]d protocol 108
rule add oif wan%[4]d lookup %[2]d priority %[5]d protocol 108
rule add fwmark 0x%[1]x/0x3f00 lookup %[2]d priority %[6]d protocol 108
rule add fwmark 0x%[1]x/0x3f00 lookup 361 priority %[7]d protocol 108
`, i<<8, 300+i, 6000+i, i, 8000+i, 9000+i, 9200+i)
}

// awaitCarriers waits until every device runs: the kernel announces that some
// time after it was switched on.
func awaitCarriers(t testing.TB) {
	t.Helper()
	await(t, "every device runs", func() bool {
		links, err := netlink.LinkList()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			if l.Attrs().Name != "lo" && l.Attrs().OperState != netlink.OperUp {
				return false
			}
		}
		return true
	})
}

func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func open(t testing.TB) *Watcher {
	t.Helper()
	w, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func look(t testing.TB, w *Watcher, what Scope) Fingerprint {
	t.Helper()
	f, err := w.Look(what)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
