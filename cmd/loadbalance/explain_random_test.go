package main

import (
	"fmt"
	"math/rand"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"loadbalance/internal/netlab"
)

// generator makes random configurations and packets for a laboratory. The
// values come from small ranges, so that packets and rules meet often.
type generator struct {
	*rand.Rand
	lab      *netlab.Lab
	topology netlab.Topology
	// noPorts are the destinations that were sent to without ports. Two hosts
	// cannot share one behind an address translation: it has nothing to tell
	// their connections apart by.
	noPorts map[netip.Addr]bool
	// strangers says that other programs have ip rules. The router's own packets
	// meet these before they are marked, too, and may be refused there.
	strangers bool
}

func (g *generator) chance(percent int) bool { return g.Intn(100) < percent }

func pick[T any](g *generator, values ...T) T { return values[g.Intn(len(values))] }

// config is a whole configuration: members of which some are down, policies,
// sets and rules of all kinds.
func (g *generator) config() string {
	g.noPorts = map[netip.Addr]bool{}
	var text strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }
	line("config globals 'globals'\n\toption balance '%s'", g.balance())
	if g.chance(20) {
		line("\tlist bypass '%v/28'\n\tlist bypass '%v/124'", netlab.Server(16), netlab.Server6(16))
	}
	names := []string{}
	for i := 1; i <= g.lab.Uplinks(); i++ {
		name := fmt.Sprintf("wan%d", i)
		names = append(names, name)
		line("config member '%s'\n\toption weight '%d'\n\toption metric '%d'", name, 1+g.Intn(3), 1+g.Intn(5)/4)
		if g.topology == netlab.Campus {
			line("\toption gateway '%v'", g.lab.Uplink(i).Gateway)
		}
		if g.chance(15) {
			line("\toption device 'gone%d'", i)
			continue
		}
		line("\toption device '%s'", g.lab.UplinkDevice(i))
		if g.topology == netlab.Campus && g.lab.Uplink(i).Gateway6.IsValid() {
			line("\toption gateway6 '%v'", g.lab.Uplink(i).Gateway6)
		}
	}
	uses := append([]string{"balanced", "default", "unreachable", "blackhole"}, names...)
	for i := range g.Intn(4) {
		name := fmt.Sprintf("p%d", i)
		uses = append(uses, name, name)
		line("config policy '%s'\n\toption balance '%s'\n\toption last_resort '%s'", name, g.balance(),
			pick(g, "unreachable", "blackhole", "default"))
		percent := pick(g, 30, 80)
		for _, m := range names {
			if g.chance(percent) {
				line("\tlist use_member '%s weight=%d metric=%d'", m, 1+g.Intn(4), 1+g.Intn(2))
			}
		}
	}
	line("config ipset 'four'\n\toption family 'ipv4'\n\tlist entry '%v'\n\tlist entry '%v/29'", g.address4(false), netlab.Server(8))
	line("config ipset 'six'\n\toption family 'ipv6'\n\tlist entry '%v'\n\tlist entry '%v/125'", g.address6(false), netlab.Server6(8))
	line("config ipset 'hosts'\n\toption family 'ipv4'\n\tlist entry '10.20.1.0/29'\n\tlist entry '%v'", g.address4(true))
	for i := range 1 + g.Intn(8) {
		text.WriteString(g.rule(i, uses))
	}
	return text.String()
}

func (g *generator) balance() string { return pick(g, "nth", "nth", "random", "source") }

// rule is one rule. Its addresses are of one family, since a rule that cannot
// match is an error.
func (g *generator) rule(number int, uses []string) string {
	var text strings.Builder
	option := func(name, value string) { fmt.Fprintf(&text, "\toption %s '%s'\n", name, value) }
	ipv6, own := g.chance(40), false
	name := fmt.Sprintf(" 'r%d'", number)
	if g.chance(20) {
		name = ""
	}
	fmt.Fprintf(&text, "config rule%s\n", name)
	if g.chance(50) {
		option("family", map[bool]string{false: "ipv4", true: "ipv6"}[ipv6])
	}
	if g.chance(35) {
		text.WriteString(g.addresses("src_ip", ipv6, true))
	}
	if g.chance(45) {
		text.WriteString(g.addresses("dest_ip", ipv6, false))
	}
	if g.chance(12) {
		option("ipset", map[bool]string{false: pick(g, "four", "other"), true: "six"}[ipv6])
	}
	if !ipv6 && g.chance(10) {
		option("ipset_src", "hosts")
	}
	if g.chance(10) {
		option("dscp", pick(g, "EF", "CS1", "0x0a", "0"))
	}
	if g.chance(12) {
		option("src_device", pick(g, "lan", "guest"))
	} else if !ipv6 && g.chance(12) {
		option("src_iface", "router")
		own = true
	}
	if g.chance(12) {
		option("fwmark", pick(g, "0x41/0xff", "0x40/0xf0", "0/0xff", "0x1/0x1"))
	}
	if !own && g.chance(10) {
		fmt.Fprintf(&text, "\tlist src_mac '%s'\n", pick(g, macs...))
	}
	text.WriteString(g.protocol(ipv6))
	if g.chance(25) {
		option("sticky", "1")
		option("sticky_key", pick(g, "source", "source_dest"))
	}
	if g.chance(15) {
		option("log", "1")
	}
	option("use_policy", pick(g, uses...))
	return text.String()
}

// markedDSCP is the code point of packets that another program marks.
const markedDSCP = 48

// macs are senders' addresses; the empty one stands for the host's own.
var macs = []string{"02:00:5e:00:53:01", "02:00:5e:00:53:02"}

func (g *generator) addresses(option string, ipv6, source bool) string {
	var text strings.Builder
	for range 1 + g.Intn(3) {
		address := g.address4(source)
		length := pick(g, 32, 32, 30, 28, 25)
		if ipv6 {
			address = g.address6(source)
			length = pick(g, 128, 128, 126, 124, 64)
		}
		not := ""
		if g.chance(25) {
			not = "!"
		}
		if g.chance(15) {
			fmt.Fprintf(&text, "\tlist %s '%v/%s'\n", option, address, map[bool]string{false: "0.0.0.3", true: "::3"}[ipv6])
			continue
		}
		prefix, _ := address.Prefix(length)
		fmt.Fprintf(&text, "\tlist %s '%s%v'\n", option, not, prefix)
	}
	return text.String()
}

func (g *generator) protocol(ipv6 bool) string {
	switch g.Intn(10) {
	case 0:
		return "\toption proto 'tcp'\n"
	case 1, 2, 3:
		return fmt.Sprintf("\toption proto '%s'\n\toption dest_port '%s'\n", pick(g, "tcp", "udp", "tcp udp"),
			pick(g, "443", "80,443", "8000-8003", "53 80 8000-8001"))
	case 4:
		return fmt.Sprintf("\toption proto 'udp'\n\toption src_port '%s'\n", pick(g, "4000-4003", "4001"))
	case 5:
		if ipv6 {
			return fmt.Sprintf("\toption proto 'icmpv6'\n\toption icmp_type '%s'\n", pick(g, "echo-request", "128/0", "139"))
		}
		return fmt.Sprintf("\toption proto 'icmp'\n\toption icmp_type '%s'\n", pick(g, "echo-request", "8/0", "timestamp-request"))
	case 6:
		return fmt.Sprintf("\toption proto '%s'\n", pick(g, "50", "esp", "all", "udp 50"))
	}
	return ""
}

// address4 is a host's address, or a destination.
func (g *generator) address4(source bool) netip.Addr {
	if source {
		hosts := g.lab.LANHosts()
		return pick(g, hosts[g.Intn(16)], hosts[g.Intn(len(hosts))], hosts[g.Intn(len(hosts))])
	}
	return netlab.Server(1 + g.Intn(24))
}

func (g *generator) address6(source bool) netip.Addr {
	if source {
		hosts := g.lab.LANHosts6(g.Intn(g.lab.Uplinks() + 1))
		return hosts[g.Intn(len(hosts))]
	}
	return netlab.Server6(1 + g.Intn(24))
}

// frame is a random packet of a host.
func (g *generator) frame() frame {
	f := frame{from: g.lab.Client, dscp: pick(g, 0, 0, 0, 8, 10, 46, markedDSCP), sport: 4000 + g.Intn(6),
		dport: pick(g, 443, 80, 53, 8000, 8001, 8003, 9000)}
	f.mac = nil
	if i := g.Intn(4); i < len(macs) {
		f.mac, _ = net.ParseMAC(macs[i])
	}
	ipv6 := g.chance(40)
	f.source, f.destination = g.address4(true), g.address4(false)
	if ipv6 {
		f.source, f.destination = g.address6(true), g.address6(false)
	}
	switch g.Intn(20) {
	case 0: // another network that main knows
		f.destination = map[bool]netip.Addr{false: netlab.VPNHost, true: netlab.VPNHost6}[ipv6]
	case 1: // an uplink's own network
		if u := g.lab.Uplink(1 + g.Intn(g.lab.Uplinks())); !ipv6 && u.Gateway.IsValid() {
			f.destination = u.Gateway
		}
	case 2:
		if !ipv6 {
			f.from, f.source = g.lab.Guest, netlab.GuestHost
		}
	case 3:
		if !ipv6 {
			f.destination = netlab.GuestHost
		}
	case 4, 5:
		if !ipv6 && !g.strangers {
			f.from, f.source, f.mac, f.mark = g.lab.Router, netlab.RouterLAN, nil, pick(g, 0, 0x41, 0x140)
		}
	}
	g.transport(&f, ipv6)
	return f
}

func (g *generator) transport(f *frame, ipv6 bool) {
	switch g.Intn(8) {
	case 0, 1, 2:
		f.protocol = unix.IPPROTO_TCP
	case 3, 4, 5:
		f.protocol = unix.IPPROTO_UDP
	case 6:
		f.protocol, f.icmpType = unix.IPPROTO_ICMP, pick(g, 8, 8, 13)
		if ipv6 {
			// An echo reply that nobody asked for belongs to no connection.
			f.protocol, f.icmpType = unix.IPPROTO_ICMPV6, pick(g, 128, 128, 129)
		}
	case 7:
		f.protocol = unix.IPPROTO_ESP
		if g.noPorts[f.destination] {
			f.protocol = unix.IPPROTO_UDP
		}
		g.noPorts[f.destination] = true
	}
	if f.protocol != unix.IPPROTO_TCP && f.protocol != unix.IPPROTO_UDP {
		f.sport, f.dport = 0, 0
	}
}

// foreignRules are ip commands that give another program rules, and tables 50
// and 51 for them, without "add".
func (g *generator) foreignRules() []string {
	commands := []string{fmt.Sprintf("ip rule %%s priority 1 from %v to %v lookup main", g.lab.LANHosts()[0], netlab.VPNHost)}
	add := func(format string, args ...any) { commands = append(commands, fmt.Sprintf(format, args...)) }
	for _, ip := range []string{"ip", "ip -6"} {
		way, inside := g.lab.Uplink(1), fmt.Sprintf("%v/29", netlab.Server(16))
		to := "dev " + way.Device
		if ip == "ip -6" {
			inside = fmt.Sprintf("%v/125", netlab.Server6(16))
			if way.Gateway6.IsValid() {
				to = fmt.Sprintf("via %v dev %s onlink", way.Gateway6, way.Device)
			}
		} else if way.Gateway.IsValid() {
			to = fmt.Sprintf("via %v dev %s onlink", way.Gateway, way.Device)
		}
		add("%s route %%s default %s table 50", ip, to)
		add("%s route %%s %s %s table 51", ip, pick(g, "throw", "unreachable", "prohibit", "blackhole"), inside)
		for range 1 + g.Intn(3) {
			selectors := g.selectors(ip == "ip -6")
			action := pick(g, "lookup 50", "lookup 50", "lookup 51", "lookup main",
				"lookup 50 suppress_prefixlength 0", "goto 32766", "nop", "unreachable", "prohibit", "blackhole")
			if strings.Contains(selectors, "fwmark") {
				// One that goes by the draw refuses nothing: a packet that
				// may or may not leave would have to be waited for.
				action = "lookup 50"
			}
			add("%s rule %%s priority %d %s%s", ip, pick(g, 100, 901, 5000, 5980, 7500, 8900, 9300, 12000)+g.Intn(9), selectors, action)
		}
	}
	return commands
}

// selectors are what a rule of another program matches.
func (g *generator) selectors(ipv6 bool) string {
	not := pick(g, "", "", "", "not ")
	source, destination := g.address4(true), g.address4(false)
	if ipv6 {
		source, destination = g.address6(true), g.address6(false)
	}
	from, _ := source.Prefix(source.BitLen() - pick(g, 0, 4))
	to, _ := destination.Prefix(destination.BitLen() - pick(g, 0, 4))
	switch g.Intn(8) {
	case 0, 1:
		return fmt.Sprintf("%sfrom %v ", not, from)
	case 2:
		return fmt.Sprintf("%sto %v ", not, to)
	case 3:
		return fmt.Sprintf("%siif %s ", not, pick(g, netlab.LANDevice, netlab.GuestDevice))
	case 4:
		return fmt.Sprintf("%sfwmark %#x/0x3f000000 ", not, (1+g.Intn(g.lab.Uplinks()))<<24)
	case 5:
		return fmt.Sprintf("%sipproto %s dport %s ", not, pick(g, "tcp", "udp"), pick(g, "443", "80-8001"))
	case 6:
		return fmt.Sprintf("%stos %#x ", not, pick(g, 8, 10, 46)<<2)
	}
	return ""
}
