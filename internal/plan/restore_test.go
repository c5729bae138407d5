package plan_test

import (
	"errors"
	"fmt"
	"math/rand"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"loadbalance/internal/apply"
	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

// FuzzConfigToRestore: whatever configuration is accepted, every line that
// iptables-restore is fed has one of our own forms. Nothing in the file can
// add a rule, a table or an option.
func FuzzConfigToRestore(f *testing.F) {
	random := rand.New(rand.NewSource(1))
	for range 20 {
		f.Add(randomConfig(random))
	}
	f.Add("config member 'wan1'\n\toption device 'a -j ACCEPT'\n")
	f.Add("config member 'wan1'\n\toption device 'a\n-A INPUT -j DROP'\n")
	f.Add("config member 'wan1'\n\toption device 'eth0.1@x'\n\nconfig policy 'p'\n\tlist use_member 'wan1 weight=3'\n")
	f.Fuzz(func(t *testing.T, text string) {
		cfg := accepted(text)
		if cfg == nil {
			return
		}
		changes := pipeline.FromNothing(cfg, worldOf(cfg)).Changes()
		for _, f := range family.All {
			if change := changes.Families[f].Mangle; !change.Empty() {
				checkRestore(t, change.Input())
			}
		}
	})
}

// accepted returns a configuration that apply would take, or nil.
func accepted(text string) *config.Config {
	file, err := uci.Parse("loadbalance", []byte(text))
	if err != nil {
		return nil
	}
	cfg, problems := config.Read(file)
	if problems.HasErrors() {
		return nil
	}
	return cfg
}

// worldOf gives every member of a configuration a place in the world: most are
// up, in networks of their own or a shared one, some with IPv6.
func worldOf(cfg *config.Config) uplink.State {
	world := uplink.State{IPv4: uplink.Main{Enabled: true}, IPv6: uplink.Main{Enabled: true}}
	for i, m := range cfg.Members {
		device := m.Device
		if device == "" && len(m.Interface) <= 15 {
			device = m.Interface
		}
		n := i % 250
		address := netip.AddrFrom4([4]byte{10, byte(i % 3), byte(n), 2})
		path := &uplink.Path{
			Device: device, Up: i%7 != 6,
			Gateway:   netip.AddrFrom4([4]byte{10, byte(i % 3), byte(n), 1}),
			Addresses: []netip.Addr{address},
			Networks:  []uplink.Network{{Prefix: netip.PrefixFrom(address, 16+i%3*8).Masked(), Source: address}},
			DNS:       []netip.Addr{netip.AddrFrom4([4]byte{9, 9, 9, byte(n)})},
		}
		world.IPv4.Addresses = append(world.IPv4.Addresses, uplink.Address{Device: device, Prefix: netip.PrefixFrom(address, 24)})
		member := uplink.Member{Name: m.Name, IPv4: path}
		if i%2 == 0 {
			prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(n), 1}), 56)
			member.IPv6 = &uplink.Path{
				Device: device, Up: i%4 == 0, Gateway: netip.MustParseAddr("fe80::1"),
				Addresses: []netip.Addr{prefix.Addr().Next()},
				Networks:  []uplink.Network{{Prefix: netip.PrefixFrom(prefix.Addr(), 64), Source: prefix.Addr().Next()}},
				Prefixes:  append([]netip.Prefix{prefix}, m.Prefix6...),
				DNS:       []netip.Addr{netip.MustParseAddr("2001:db8:53::53")},
			}
		}
		world.Members = append(world.Members, member)
	}
	return world
}

// The forms of lines, written apart from the code that they check.
var (
	chainName  = `lb_[A-Za-z0-9_-]{1,25}(?:\.[0-9]{1,2})?`
	prefix     = `[0-9a-f.:]+/[0-9a-f.:]+`
	mark       = `0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8}`
	chainLine  = regexp.MustCompile(`^:(` + chainName + `) - \[0:0\]$`)
	jumpLine   = regexp.MustCompile(`^-A (PREROUTING -j lb_hook|OUTPUT ! -o lo -j lb_out)$`)
	connmark   = `CONNMARK --(save|restore)-mark --nfmask (0x[0-9a-f]{1,8}) --ctmask (0x[0-9a-f]{1,8})`
	oneMatch   = `(-i [^-!\s"'` + "`" + `\\/:][^\s"'` + "`" + `\\/:]{0,14}|-m mark (! )?--mark ` + mark + `|(! )?-[sd] ` + prefix + `|-m set (! )?--match-set lb_[A-Za-z0-9_.-]{1,28} (src|dst|src,dst,dst)|-m mac --mac-source ([0-9A-F]{2}:){5}[0-9A-F]{2}|-p [0-9]{1,3}|-m multiport --[sd]ports [0-9:,]{1,100}|-m icmp --icmp-type [a-z0-9/-]{1,30}|-m icmp6 --icmpv6-type [a-z0-9/-]{1,30}|-m dscp --dscp 0x[0-9a-f]{2}|-m cluster --cluster-total-nodes 32 --cluster-local-node [0-9]{1,2} --cluster-hash-seed 1|-m conntrack --ctstate INVALID,UNTRACKED,ESTABLISHED|-m conntrack --ctdir ORIGINAL|-p ipv6-icmp -m icmp6 --icmpv6-type 13[3-7]|-m statistic --mode nth --every [0-9]+ --packet 0|-m statistic --mode random --probability [01]\.[0-9]{11}) `
	appendLine = regexp.MustCompile(`^-A (` + chainName + `) (` + oneMatch + `)*-m comment --comment lb:[0-9a-f]{12,16} (-g (` + chainName + `)|-j RETURN|-j MARK --set-xmark ` + mark + `|-j ` + connmark + `|-j LOG --log-prefix "lb [A-Za-z0-9_@\[\]]{1,24}: "|-j SET --add-set lb_[A-Za-z0-9_.-]{1,28} src(,dst,dst)? --exist --timeout [0-9]{1,7})$`)
	gotoOfLine = regexp.MustCompile(`-[gj] (` + chainName + `)$`)
)

// maxChainLen is the kernel's.
const maxChainLen = 28

func checkRestore(t *testing.T, input string) {
	t.Helper()
	lines := strings.Split(input, "\n")
	if n := len(lines); n < 3 || lines[0] != "*mangle" || lines[n-2] != "COMMIT" || lines[n-1] != "" {
		t.Fatalf("not one transaction:\n%s", input)
	}
	declared := map[string]bool{}
	for _, line := range lines[1 : len(lines)-2] {
		if m := chainLine.FindStringSubmatch(line); m != nil {
			if declared[m[1]] || len(m[1]) > maxChainLen {
				t.Errorf("chain %q is declared twice, or too long", m[1])
			}
			declared[m[1]] = true
			continue
		}
		m := appendLine.FindStringSubmatch(line)
		if m == nil && !jumpLine.MatchString(line) {
			t.Errorf("strange line %q", line)
			continue
		}
		if m != nil && !declared[m[1]] {
			t.Errorf("%q: no such chain", line)
		}
		if to := gotoOfLine.FindStringSubmatch(line); to != nil && !declared[to[1]] {
			t.Errorf("%q leads nowhere", line)
		}
	}
}

// TestKernelTakesEveryPlan loads the sets and chains of many configurations
// with both back ends, each into a network namespace of its own.
func TestKernelTakesEveryPlan(t *testing.T) {
	const configurations = 100
	for _, backend := range []iptables.Backend{iptables.NFT, iptables.Legacy} {
		t.Run(string(backend), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewSource(2))
			for n := 0; n < configurations; n++ {
				text := randomConfig(random)
				cfg := accepted(text)
				if cfg == nil {
					t.Fatalf("the configuration is not accepted:\n%s", text)
				}
				changes := pipeline.FromNothing(cfg, worldOf(cfg)).Changes()
				// Reading back costs as many programs again.
				if err := rehearse(t, backend, changes, n%5 == 0); err != nil {
					var refused *iptables.InputError
					if errors.As(err, &refused) {
						t.Log(refused.Numbered())
					}
					t.Fatalf("%v\n%s", err, text)
				}
			}
		})
	}
}

// rehearse loads a plan in a new network namespace and, if wanted, reads it
// back.
func rehearse(t *testing.T, backend iptables.Backend, changes *apply.Changes, back bool) error {
	t.Helper()
	netlab.FreshNamespace(t)
	k, err := kernel.Open()
	if err != nil {
		return err
	}
	defer k.Close()
	tool := iptables.Tool{Backend: backend}
	engine := &apply.Engine{Mangle: tool, Sets: ipset.New(k)}
	if err := engine.Rehearse(changes); err != nil || !back {
		return err
	}
	return readBack(tool, changes)
}

// readBack reports whether the kernel's chains count as the planned ones.
func readBack(tool iptables.Tool, changes *apply.Changes) error {
	for _, f := range family.All {
		table, err := tool.Read(f)
		if err != nil {
			return err
		}
		if again := iptables.Diff(*changes.Plan.Family(f), table, nil); !again.Empty() {
			return fmt.Errorf("%s: what was just written would be written again:\n%s", f, again.Input())
		}
	}
	return nil
}

// randomConfig writes a configuration that must be accepted.
func randomConfig(random *rand.Rand) string {
	var text strings.Builder
	pick := func(from ...string) string { return from[random.Intn(len(from))] }
	mask := pick("0x3f000000", "0x3f00", "0xff0000", "0x0f0f0000", "0x80808080", "0xffffffff", "63")
	fmt.Fprintf(&text, "config globals 'globals'\n\toption mark_mask '%s'\n\toption balance '%s'\n", mask, pick("nth", "nth", "random", "source"))
	fmt.Fprintf(&text, "\toption router_traffic '%d'\n\toption ignore_split_default '%d'\n", random.Intn(2), random.Intn(2))
	for range random.Intn(4) {
		fmt.Fprintf(&text, "\tlist bypass '%s'\n", pick("10.0.0.0/8", "203.0.113.7", "2001:db8:77::/48", "::/1", "0.0.0.0/1", "10.1.2.3/9"))
	}
	count := 1 + random.Intn(12) // as many as the smallest of these masks holds
	if random.Intn(25) == 0 && mask == "0x3f000000" {
		count = 60
	}
	var names []string
	for i := range count {
		name := pick("wan", "a_very_long_name_of_an_uplink_x", "L", "lb_hook", "member_default_", "x_") + fmt.Sprint(i)
		if len(name) > 32 {
			name = name[len(name)-32:]
		}
		names = append(names, name)
		fmt.Fprintf(&text, "\nconfig member '%s'\n\toption weight '%s'\n\toption metric '%d'\n", name, pick("1", "1", "1", "2", "3", "7", "999", "1000"), 1+random.Intn(3)/2)
		switch random.Intn(3) {
		case 0:
			fmt.Fprintf(&text, "\toption device '%s%d'\n", pick("eth0.", "wan-", "@x#", "a$(b)", "~", "a;b", "p%d", "a!+b", "[0-0]"), i)
		case 1:
			fmt.Fprintf(&text, "\toption interface 'net_%d'\n", i)
		}
		if random.Intn(4) == 0 {
			fmt.Fprint(&text, "\toption router_traffic '0'\n")
		}
		if random.Intn(3) == 0 {
			fmt.Fprintf(&text, "\tlist prefix6 '2001:db8:%x00::/%d'\n", i+0xa0, 40+random.Intn(24))
		}
	}
	for i := range random.Intn(4) {
		fmt.Fprintf(&text, "\nconfig policy '%s%d'\n\toption last_resort '%s'\n", pick("work", "hook", "this_is_a_long_name_of_a_policy"), i, pick("unreachable", "blackhole", "default"))
		for _, j := range random.Perm(len(names))[:1+random.Intn(len(names))] {
			fmt.Fprintf(&text, "\tlist use_member '%s weight=%d metric=%d'\n", names[j], 1+random.Intn(9), 1+random.Intn(3))
		}
	}
	writeRules(&text, random, pick, names)
	return text.String()
}

// writeRules adds named sets and rules of all kinds.
func writeRules(text *strings.Builder, random *rand.Rand, pick func(...string) string, names []string) {
	fmt.Fprint(text, "\nconfig ipset 'four'\n\tlist entry '203.0.113.0/24'\n\tlist entry '198.51.100.7'\n"+
		"\nconfig ipset 'a_long_name_of_a_set_for_ipv6_x'\n\toption family 'ipv6'\n\tlist entry '2001:db8:9::/48'\n")
	for i := range random.Intn(8) {
		fmt.Fprintf(text, "\nconfig rule %s\n", pick("", fmt.Sprintf("'r%d'", i), fmt.Sprintf("'this_is_a_long_name_of_a_rule_%d'", i)))
		maybe := func(chance int, option string) {
			if random.Intn(chance) == 0 {
				fmt.Fprintf(text, "\t%s\n", option)
			}
		}
		v6 := random.Intn(3) == 0
		address := func() string {
			if v6 {
				return pick("2001:db8:1::/48", "2001:db8::5", "!2001:db8:2::/64", "fd00::/8", "::5/::f")
			}
			return pick("10.20.0.0/16", "10.20.1.7", "!10.20.9.0/24", "192.0.2.0/24", "0.0.0.1/0.0.0.1")
		}
		for range random.Intn(4) {
			fmt.Fprintf(text, "\tlist %s '%s'\n", pick("src_ip", "dest_ip"), address())
		}
		switch random.Intn(4) {
		case 0:
			fmt.Fprintf(text, "\toption proto '%s'\n", pick("tcp", "udp", "tcp udp", "6 17 132"))
			maybe(2, "option dest_port '80,443,8000-8100'")
			maybe(3, "option src_port '1 2 3 4 5 6 7 8 9 10:11 12 13 14 15 16 17 18 19-20'")
		case 1:
			fmt.Fprintf(text, "\toption proto '%s'\n", pick("gre", "esp ah", "all", "47"))
		case 2:
			if v6 {
				fmt.Fprint(text, "\toption proto 'icmpv6'\n\toption icmp_type 'echo-request'\n")
			} else {
				fmt.Fprint(text, "\toption proto 'icmp'\n\toption icmp_type '8'\n")
			}
		}
		maybe(5, "list src_mac '02:00:5e:00:53:01'\n\tlist src_mac '02:00:5e:00:53:02'")
		maybe(5, "option src_device 'br-lan.20'")
		maybe(5, "option dscp '"+pick("EF", "CS1", "0", "AF41", "63")+"'")
		if v6 {
			maybe(4, "option ipset 'a_long_name_of_a_set_for_ipv6_x'")
		} else {
			maybe(4, "option "+pick("ipset", "ipset_src")+" 'four'")
		}
		if !strings.Contains(text.String(), "'0xffffffff'") { // of the other masks, none has this bit
			maybe(4, "option fwmark '"+pick("0x40000000/0x40000000", "0/0x40000000")+"'")
		}
		maybe(3, "option sticky '1'\n\toption sticky_key '"+pick("source", "source_dest")+"'\n\toption timeout '"+pick("1", "600", "2147483")+"'")
		maybe(3, "option log '1'")
		fmt.Fprintf(text, "\toption use_policy '%s'\n", pick("balanced", "default", "unreachable", "blackhole", names[0]))
	}
}
