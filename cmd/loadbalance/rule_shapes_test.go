package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// shape is one way to write a rule, with packets that it must match and others
// that it must not.
type shape struct {
	name string
	// rule are the options of `config rule`, divided by "; ". A rule that does
	// not say otherwise uses wan2.
	rule string
	// more are sections behind the rule.
	more string
	// only is the family in which the rule can match; "" is both.
	only  string
	match []packet
	other []packet
	// via is where matching packets go, if not over uplink 2.
	via int
}

// matches says whether the shape's rule can match in a family.
func (s shape) matches(f family.Family) bool { return s.only == "" || s.only == f.String() }

// config is the configuration of the shape. A line with an address in braces is
// written once per family.
func (s shape) config(mac string) string {
	options := strings.Split(s.rule, "; ")
	if !strings.Contains(s.rule, "use_policy") {
		options = append(options, "option use_policy wan2")
	}
	text := "config rule 'shape'\n\t" + strings.Join(options, "\n\t") + "\n" + s.more
	text = strings.ReplaceAll(text, "{mac}", mac)
	text = strings.ReplaceAll(text, "{MAC}", strings.ToUpper(strings.ReplaceAll(mac, ":", "-")))
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if !address.MatchString(line) {
			lines = append(lines, line)
			continue
		}
		for _, f := range family.All {
			lines = append(lines, address.ReplaceAllStringFunc(line, func(a string) string { return addressText(a, f) }))
		}
	}
	return strings.Join(lines, "\n")
}

// address is {h3} for LAN host 3, {s10} for server 10, {s16/28} for servers 16
// to 31 (in IPv6 the prefix has as many addresses), {hosts} for the LAN hosts
// 1 to 15, {odd} for hosts with an odd number, {all} for every address.
var address = regexp.MustCompile(`\{(?:([hs])([0-9]+)(?:/([0-9]+))?|hosts|odd|all)\}`)

func addressText(text string, f family.Family) string {
	ipv6 := f == family.IPv6
	switch {
	case text == "{all}" && ipv6:
		return "::/0"
	case text == "{all}":
		return "0.0.0.0/0"
	case text == "{odd}" && ipv6:
		return "::/::1" // host 1 is fd00::10
	case text == "{odd}":
		return "0.0.0.1/0.0.0.1"
	case text == "{hosts}" && ipv6:
		return "fd00::10/124"
	case text == "{hosts}":
		return "10.20.1.0/28"
	}
	parts := address.FindStringSubmatch(text)
	number, _ := strconv.Atoi(parts[2]) // digits, says the pattern
	var a netip.Addr
	switch {
	case parts[1] == "s" && ipv6:
		a = netlab.Server6(number)
	case parts[1] == "s":
		a = netlab.Server(number)
	case ipv6: // netlab's hosts are fd00::10 and up, and 10.20.1.1 and up
		a = netip.MustParseAddr(fmt.Sprintf("fd00::%x", 0x0f+number))
	default:
		a = netip.MustParseAddr(fmt.Sprintf("10.20.1.%d", number))
	}
	if parts[3] == "" {
		return a.String()
	}
	length, _ := strconv.Atoi(parts[3])
	if ipv6 {
		length += 128 - 32
	}
	return fmt.Sprintf("%v/%d", a, length)
}

// to is a connection to each of the servers, from host 1.
func to(servers ...int) (packets []packet) {
	for _, server := range servers {
		packets = append(packets, tcp(1, server, 80))
	}
	return packets
}

// by is a connection by each of the hosts, to server 5.
func by(hosts ...int) (packets []packet) {
	for _, host := range hosts {
		packets = append(packets, tcp(host, 5, 80))
	}
	return packets
}

// tcpTo is a TCP connection to each of the ports.
func tcpTo(ports ...uint16) (packets []packet) {
	for _, port := range ports {
		packets = append(packets, tcp(1, 5, port))
	}
	return packets
}

// tcpFrom is a TCP connection from each of the ports.
func tcpFrom(ports ...uint16) (packets []packet) {
	for _, port := range ports {
		packets = append(packets, tcp(1, 5, 80).from(port))
	}
	return packets
}

func both(a, b []packet) []packet { return append(append([]packet(nil), a...), b...) }

// several are packets of different kinds.
var several = []packet{tcp(1, 5, 80), udp(2, 6, 53), ping(3, 7), ip(greProto, 4, 8), tcp(0, 9, 443)}

// Numbers of protocols (IANA) that have no constant for all systems.
const (
	greProto      = 47
	espProto      = 50
	ahProto       = 51
	ospfProto     = 89
	l2tpProto     = 115
	sctpProto     = 132
	udpLiteProto  = 136
	testProto     = 253 // RFC 3692: for experiments
	icmpTimestamp = 13  // RFC 792
	icmpv6Query   = 139 // RFC 4620: node information
)

// manyServers are list lines for the servers first to last.
func manyServers(first, last int) string {
	var lines []string
	for n := first; n <= last; n++ {
		lines = append(lines, fmt.Sprintf("list dest_ip {s%d}", n))
	}
	return strings.Join(lines, "; ")
}

// evenPorts are so many even ports from 1000 on.
func evenPorts(n int) string {
	var ports []string
	for i := range n {
		ports = append(ports, strconv.Itoa(1000+2*i))
	}
	return strings.Join(ports, ",")
}

// portRanges are so many ranges of three ports each, 1000-1002, 1010-1012 and on.
func portRanges(n int) string {
	var ranges []string
	for i := range n {
		ranges = append(ranges, fmt.Sprintf("%d-%d", 1000+10*i, 1002+10*i))
	}
	return strings.Join(ranges, " ")
}

var shapes = concat(addressShapes, linkShapes, protocolShapes, portShapes, icmpShapes, setShapes, dscpShapes, markShapes, ownShapes, otherShapes)

func concat(groups ...[]shape) (all []shape) {
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

var addressShapes = []shape{
	{name: "no condition", rule: "option enabled 1", match: several},
	{name: "destination", rule: "list dest_ip {s10}", match: []packet{tcp(1, 10, 80), udp(2, 10, 53), ping(3, 10), ip(greProto, 4, 10)}, other: to(9, 11)},
	{name: "destination prefix", rule: "list dest_ip {s16/28}", match: to(16, 31), other: to(15, 32)},
	{name: "two destinations", rule: "list dest_ip {s10}; list dest_ip {s20}", match: to(10, 20), other: to(11, 19)},
	{name: "destination and prefix", rule: "list dest_ip {s10}; list dest_ip {s16/28}", match: to(10, 16, 31), other: to(11, 32)},
	{name: "overlapping prefixes", rule: "list dest_ip {s16/28}; list dest_ip {s20/30}; list dest_ip {s20}", match: to(16, 20, 31), other: to(15, 32)},
	{name: "forty destinations", rule: manyServers(40, 79), match: to(40, 60, 79), other: to(39, 80)},
	{name: "host bits in a prefix", rule: "list dest_ip {s19/28}", match: to(16, 31), other: to(15, 32)},
	{name: "not a destination", rule: "list dest_ip !{s10}", match: to(9, 11), other: to(10)},
	{name: "not a prefix", rule: "list dest_ip !{s16/28}", match: to(15, 32), other: to(16, 31)},
	{name: "none of two destinations", rule: "list dest_ip !{s10}; list dest_ip !{s20}", match: to(11), other: to(10, 20)},
	{name: "prefix without a destination", rule: "list dest_ip {s16/28}; list dest_ip !{s20}", match: to(16, 21), other: to(20, 40)},
	{name: "destinations without others", rule: "list dest_ip {s16/28}; list dest_ip {s40}; list dest_ip !{s20}; list dest_ip !{s24/30}",
		match: to(16, 23, 28, 40), other: to(20, 24, 27, 50)},
	{name: "every destination", rule: "list dest_ip {all}", match: several},
	{name: "every destination but one", rule: "list dest_ip {all}; list dest_ip {s16/28}; list dest_ip !{s10}", match: to(11, 16), other: to(10)},
	{name: "source", rule: "list src_ip {h1}", match: by(1), other: by(2, 0)},
	{name: "source prefix", rule: "list src_ip {hosts}", match: by(1, 15), other: by(17, 0)},
	{name: "odd sources", rule: "list src_ip {odd}", match: by(1, 3, 17), other: by(2, 4)},
	{name: "even sources", rule: "list src_ip !0.0.0.1/0.0.0.1", match: by(2, 4, 16), other: by(1, 3), only: "ipv4"},
	{name: "odd sources, some others, and one not", rule: "list src_ip {odd}; list src_ip {h2}; list src_ip {h4}; list src_ip !{h3}",
		match: by(1, 2, 4, 5), other: by(3, 6)},
	{name: "odd source and destination", rule: "option src_ip 0.0.0.1/0.0.0.1; option dest_ip 0.0.0.1/0.0.0.1", match: []packet{tcp(1, 11, 80), udp(3, 13, 53)},
		other: []packet{tcp(1, 10, 80), tcp(2, 11, 80)}, only: "ipv4"},
	{name: "two sources", rule: "list src_ip {h1}; list src_ip {h3}", match: by(1, 3), other: by(2, 0)},
	{name: "sources in one option", rule: "option src_ip '10.20.1.1 fd00::10 10.20.1.3 fd00::12'", match: by(1, 3), other: by(2, 0)},
	{name: "not a source", rule: "list src_ip !{h1}", match: by(2, 0), other: by(1)},
	{name: "none of two sources", rule: "list src_ip !{h1}; list src_ip !{h2}", match: by(3, 0), other: by(1, 2)},
	{name: "source prefix without a host", rule: "list src_ip {hosts}; list src_ip !{h3}", match: by(1, 15), other: by(3, 17)},
	{name: "source and destination", rule: "list src_ip {h1}; list dest_ip {s10}", match: []packet{tcp(1, 10, 80)}, other: []packet{tcp(1, 11, 80), tcp(2, 10, 80)}},
	{name: "lists on both sides", rule: "list src_ip {h1}; list src_ip {h2}; list dest_ip {s10}; list dest_ip {s20}",
		match: both(to(10, 20), []packet{tcp(2, 20, 80)}), other: []packet{tcp(1, 11, 80), tcp(3, 10, 80)}},
	{name: "neither source nor destination", rule: "list src_ip !{h1}; list dest_ip !{s10}",
		match: []packet{tcp(2, 11, 80)}, other: []packet{tcp(1, 11, 80), tcp(2, 10, 80), tcp(1, 10, 80)}},
	{name: "IPv4 addresses", rule: "list dest_ip 203.0.113.10", only: "ipv4", match: to(10), other: to(11)},
	{name: "IPv6 addresses", rule: "list dest_ip 2001:db8:ffff::a", only: "ipv6", match: to(10), other: to(11)},
}

var linkShapes = []shape{
	{name: "MAC", rule: "option src_mac {mac}", match: by(1, 2), other: by(0)},
	{name: "MAC in capitals and dashes", rule: "option src_mac {MAC}", match: by(1), other: by(0)},
	{name: "another MAC", rule: "option src_mac 02:00:5e:00:53:99", other: by(1, 0)},
	{name: "two MACs", rule: "list src_mac 02:00:5e:00:53:99; list src_mac {mac}", match: by(1), other: by(0)},
	{name: "MAC, protocols and ports", rule: "list src_mac {mac}; list src_mac 02:00:5e:00:53:99; option proto 'tcp udp'; option dest_port 443",
		match: []packet{tcp(1, 5, 443), udp(1, 5, 443)}, other: []packet{tcp(1, 5, 80), tcp(0, 5, 443)}},
	{name: "device of the LAN", rule: "option src_device lan", match: by(1, 2), other: by(0)},
	{name: "device of the guests", rule: "option src_device guest", match: by(0), other: by(1)},
	{name: "interface without netifd", rule: "option src_iface guest", match: by(0), other: by(1)},
	{name: "device that is not there", rule: "option src_device nothere0", other: by(1, 0)},
	{name: "device and destination", rule: "option src_device lan; list dest_ip {s10}", match: to(10), other: []packet{tcp(1, 11, 80), tcp(0, 10, 80)}},
}

var protocolShapes = []shape{
	{name: "tcp", rule: "option proto tcp", match: tcpTo(80, 443), other: []packet{udp(1, 5, 80), ping(1, 5), ip(greProto, 1, 5)}},
	{name: "udp", rule: "option proto udp", match: []packet{udp(1, 5, 53)}, other: []packet{tcp(1, 5, 53), ping(1, 5)}},
	{name: "capitals", rule: "option proto TCP", match: tcpTo(80), other: []packet{udp(1, 5, 80)}},
	{name: "tcp and udp", rule: "option proto 'tcp udp'", match: []packet{tcp(1, 5, 80), udp(1, 5, 80)}, other: []packet{ping(1, 5), ip(greProto, 1, 5)}},
	{name: "list of protocols", rule: "list proto tcp; list proto gre; list proto esp", match: []packet{tcp(1, 5, 80), ip(greProto, 1, 5), ip(espProto, 1, 5)}, other: []packet{udp(1, 5, 80), ping(1, 5)}},
	{name: "number of tcp", rule: "option proto 6", match: tcpTo(80), other: []packet{udp(1, 5, 80)}},
	{name: "protocol all", rule: "option proto all", match: several},
	{name: "protocol any", rule: "option proto any", match: several},
	{name: "gre", rule: "option proto gre", match: []packet{ip(greProto, 1, 5)}, other: []packet{ip(espProto, 1, 5), tcp(1, 5, 80)}},
	{name: "esp", rule: "option proto esp", match: []packet{ip(espProto, 1, 5)}, other: []packet{ip(greProto, 1, 5)}},
	{name: "ah", rule: "option proto ah; option family ipv4", only: "ipv4", match: []packet{ip(ahProto, 1, 5)}, other: []packet{ip(espProto, 1, 5)}},
	{name: "ospf", rule: "option proto ospf", match: []packet{ip(ospfProto, 1, 5)}, other: []packet{ip(greProto, 1, 5)}},
	{name: "l2tp", rule: "option proto l2tp", match: []packet{ip(l2tpProto, 1, 5)}, other: []packet{ip(greProto, 1, 5)}},
	{name: "sctp", rule: "option proto sctp", match: []packet{ip(sctpProto, 1, 5)}, other: tcpTo(80)},
	{name: "udplite", rule: "option proto udplite", match: []packet{ip(udpLiteProto, 1, 5)}, other: []packet{udp(1, 5, 80)}},
	{name: "number without a name", rule: "option proto 253", match: []packet{ip(testProto, 1, 5)}, other: []packet{ip(testProto+1, 1, 5)}},
	{name: "icmp", rule: "option proto icmp", only: "ipv4", match: []packet{ping(1, 5)}, other: tcpTo(80)},
	{name: "icmpv6", rule: "option proto icmpv6", only: "ipv6", match: []packet{ping(1, 5)}, other: tcpTo(80)},
	{name: "both kinds of icmp", rule: "option proto 'icmp icmpv6'", match: []packet{ping(1, 5)}, other: tcpTo(80)},
	{name: "icmpv6 and tcp", rule: "option proto 'ipv6-icmp tcp'; option family ipv6", only: "ipv6", match: []packet{ping(1, 5), tcp(1, 5, 80)}, other: []packet{udp(1, 5, 80)}},
}

var portShapes = []shape{
	{name: "port", rule: "option proto tcp; option dest_port 443", match: tcpTo(443), other: both(tcpTo(80, 442, 444), []packet{udp(1, 5, 443)})},
	{name: "first and last port", rule: "option proto tcp; option dest_port '1 65535'", match: tcpTo(1, 65535), other: tcpTo(2, 65534)},
	{name: "list of ports", rule: "option proto tcp; option dest_port 80,443", match: tcpTo(80, 443), other: tcpTo(79, 81, 442, 444)},
	{name: "ports with blanks", rule: "option proto udp; option dest_port '53 123'", match: []packet{udp(1, 5, 53), udp(1, 5, 123)}, other: []packet{udp(1, 5, 54), tcp(1, 5, 53)}},
	{name: "range with a dash", rule: "option proto tcp; option dest_port 8000-8100", match: tcpTo(8000, 8050, 8100), other: tcpTo(7999, 8101)},
	{name: "range with a colon", rule: "option proto tcp; option dest_port 8000:8100", match: tcpTo(8000, 8050, 8100), other: tcpTo(7999, 8101)},
	{name: "ports and ranges", rule: "option proto tcp; option dest_port '80, 443 8000-8100,9000:9001'", match: tcpTo(80, 443, 8100, 9001), other: tcpTo(81, 8101, 9002)},
	{name: "every port", rule: "option proto tcp; option dest_port 1-65535", match: tcpTo(1, 65535), other: []packet{udp(1, 5, 80)}},
	{name: "fifteen ports", rule: "option proto tcp; option dest_port " + evenPorts(15), match: tcpTo(1000, 1028), other: tcpTo(1001, 1030)},
	{name: "forty ports", rule: "option proto tcp; option dest_port " + evenPorts(40), match: tcpTo(1000, 1028, 1030, 1058, 1060, 1078), other: tcpTo(999, 1029, 1031, 1080)},
	{name: "twenty ranges", rule: "option proto tcp; option dest_port '" + portRanges(20) + "'", match: tcpTo(1000, 1062, 1071, 1140, 1192), other: tcpTo(1003, 1063, 1069, 1200)},
	{name: "ports of two protocols", rule: "option proto 'tcp udp'; option dest_port 80,443", match: []packet{tcp(1, 5, 443), udp(1, 5, 80)}, other: []packet{tcp(1, 5, 81), udp(1, 5, 81)}},
	{name: "ports of sctp and udplite", rule: "option proto 'sctp udplite'; option dest_port 40001", match: []packet{ip(sctpProto, 1, 5), ip(udpLiteProto, 1, 5)},
		other: []packet{tcp(1, 5, 40001), udp(1, 5, 40001)}},
	{name: "source port", rule: "option proto tcp; option src_port 5060", match: tcpFrom(5060), other: both(tcpFrom(5059, 5061), tcpTo(5060))},
	{name: "source ports", rule: "option proto tcp; option src_port '5060,6000-6010'", match: tcpFrom(5060, 6000, 6010), other: tcpFrom(5061, 6011)},
	{name: "forty source ports", rule: "option proto tcp; option src_port " + evenPorts(40), match: tcpFrom(1000, 1030, 1078), other: tcpFrom(1001, 1080)},
	{name: "ports on both sides", rule: "option proto udp; option src_port 5060; option dest_port 53",
		match: []packet{udp(1, 5, 53).from(5060)}, other: []packet{udp(1, 5, 53), udp(1, 5, 54).from(5060)}},
	{name: "many ports on both sides", rule: "option proto tcp; option src_port " + evenPorts(20) + "; option dest_port '" + portRanges(10) + "'",
		match: []packet{tcp(1, 5, 1000).from(1000), tcp(1, 5, 1092).from(1038), tcp(1, 5, 1002).from(1038), tcp(1, 5, 1092).from(1000)},
		other: []packet{tcp(1, 5, 1003).from(1000), tcp(1, 5, 1092).from(1039)}},
}

var icmpShapes = []shape{
	{name: "echo request of both", rule: "option proto 'icmp icmpv6'; option icmp_type echo-request", match: []packet{ping(1, 5)}, other: tcpTo(80)},
	{name: "echo request", rule: "option proto icmp; option icmp_type echo-request", only: "ipv4", match: []packet{ping(1, 5)}, other: tcpTo(80)},
	{name: "echo request, IPv6", rule: "option proto icmpv6; option icmp_type echo-request", only: "ipv6", match: []packet{ping(1, 5)}, other: tcpTo(80)},
	{name: "type by number", rule: "option proto icmp; option icmp_type 8", only: "ipv4", match: []packet{ping(1, 5)}, other: tcpTo(80)},
	{name: "type and code", rule: "option proto icmp; option icmp_type 8/0", only: "ipv4", match: []packet{ping(1, 5)}, other: tcpTo(80)},
	{name: "another code", rule: "option proto icmp; option icmp_type 8/1", other: []packet{ping(1, 5)}},
	{name: "timestamp request", rule: "option proto icmp; option icmp_type timestamp-request; option family ipv4", only: "ipv4",
		match: []packet{ping(1, 5).ofType(icmpTimestamp, 0)}, other: []packet{ping(1, 5)}},
	{name: "IPv6 type by number", rule: "option proto icmpv6; option icmp_type 128", only: "ipv6", match: []packet{ping(1, 5)}, other: tcpTo(80)},
	{name: "IPv6 type and code", rule: "option proto icmpv6; option icmp_type 128/0", only: "ipv6", match: []packet{ping(1, 5)}, other: tcpTo(80)},
	{name: "node information query", rule: "option proto icmpv6; option icmp_type 139", only: "ipv6",
		match: []packet{ping(1, 5).ofType(icmpv6Query, 0)}, other: []packet{ping(1, 5)}},
}

const ourSets = `
config ipset 'streaming'
	list entry '203.0.113.30'
	list entry '203.0.113.32/28'

config ipset 'streaming_six'
	option family 'ipv6'
	list entry '2001:db8:ffff::1e'
	list entry '2001:db8:ffff::20/124'

config ipset 'phones'
	list entry '10.20.1.1'
	list entry '10.20.1.3'

config ipset 'phones_six'
	option family 'ipv6'
	list entry 'fd00::10'
	list entry 'fd00::12'
`

// foreignSets makes what ourSets has as another program would.
const foreignSets = `
ipset create nets hash:net && ipset add nets 203.0.113.30 && ipset add nets 203.0.113.32/28
ipset create nets6 hash:net family inet6 && ipset add nets6 2001:db8:ffff::1e && ipset add nets6 2001:db8:ffff::20/124
ipset create hosts hash:ip && ipset add hosts 10.20.1.1 && ipset add hosts 10.20.1.3
ipset create hosts6 hash:ip family inet6 && ipset add hosts6 fd00::10 && ipset add hosts6 fd00::12
ipset create map bitmap:ip range 203.0.113.0/24 && ipset add map 203.0.113.30`

var (
	inSet, outsideSet = to(30, 32, 47), to(29, 31, 48)
	phones, notPhones = by(1, 3), by(2, 0)
)

var setShapes = []shape{
	{name: "our set", rule: "option ipset streaming", more: ourSets, only: "ipv4", match: inSet, other: outsideSet},
	{name: "our set, IPv6", rule: "option ipset streaming_six", more: ourSets, only: "ipv6", match: inSet, other: outsideSet},
	{name: "our set of sources", rule: "option ipset_src phones", more: ourSets, only: "ipv4", match: phones, other: notPhones},
	{name: "our set of sources, IPv6", rule: "option ipset_src phones_six", more: ourSets, only: "ipv6", match: phones, other: notPhones},
	{name: "sets on both sides", rule: "option ipset streaming; option ipset_src phones", more: ourSets, only: "ipv4",
		match: []packet{tcp(1, 30, 80), tcp(3, 32, 80)}, other: []packet{tcp(2, 30, 80), tcp(1, 31, 80)}},
	{name: "set, hosts and ports", rule: "option ipset streaming; list src_ip 10.20.1.1; list src_ip 10.20.1.2; option proto tcp; option dest_port 443", more: ourSets, only: "ipv4",
		match: []packet{tcp(1, 30, 443), tcp(2, 40, 443)}, other: []packet{tcp(3, 30, 443), tcp(1, 30, 80), tcp(1, 29, 443)}},
	{name: "set without a destination", rule: "option ipset streaming_six; list dest_ip !2001:db8:ffff::20", more: ourSets, only: "ipv6", match: to(30, 33), other: to(32)},
	{name: "foreign set", rule: "option ipset nets", only: "ipv4", match: inSet, other: outsideSet},
	{name: "foreign set, IPv6", rule: "option ipset nets6", only: "ipv6", match: inSet, other: outsideSet},
	{name: "foreign set of sources", rule: "option ipset_src hosts", only: "ipv4", match: phones, other: notPhones},
	{name: "foreign set of sources, IPv6", rule: "option ipset_src hosts6", only: "ipv6", match: phones, other: notPhones},
	{name: "foreign bitmap", rule: "option ipset map", only: "ipv4", match: to(30), other: to(29, 32)},
}

var dscpShapes = []shape{
	{name: "class EF", rule: "option dscp EF", match: []packet{udp(1, 5, 80).withDSCP(46), tcp(1, 5, 80).withDSCP(46)},
		other: []packet{udp(1, 5, 80), udp(1, 5, 80).withDSCP(45), udp(1, 5, 80).withDSCP(47)}},
	{name: "DSCP by number", rule: "option dscp 46", match: []packet{udp(1, 5, 80).withDSCP(46)}, other: []packet{udp(1, 5, 80)}},
	{name: "DSCP in hexadecimal", rule: "option dscp 0x2e", match: []packet{udp(1, 5, 80).withDSCP(46)}, other: []packet{udp(1, 5, 80)}},
	{name: "class AF41 to one server", rule: "option dscp AF41; list dest_ip {s10}", match: []packet{tcp(1, 10, 80).withDSCP(34)},
		other: []packet{tcp(1, 10, 80), tcp(1, 11, 80).withDSCP(34)}},
	{name: "class CS1 of udp", rule: "option dscp CS1; option proto udp", match: []packet{udp(1, 5, 80).withDSCP(8)}, other: []packet{udp(1, 5, 80), tcp(1, 5, 80).withDSCP(8)}},
	{name: "best effort", rule: "option dscp BE", match: tcpTo(80), other: []packet{tcp(1, 5, 80).withDSCP(46)}},
}

// What has DSCP 48 gets the mark 0x41 from another program.
var (
	markShapes = []shape{
		{name: "mark of another program", rule: "option fwmark 0x41/0xff", match: []packet{tcp(1, 5, 80).withDSCP(48), udp(0, 6, 53).withDSCP(48), ping(3, 7).withDSCP(48),
			tcp(own, 5, 80).marked(0x41), udp(own, 6, 53).marked(0x12341)}, other: both(several, []packet{tcp(1, 5, 80).withDSCP(46), tcp(own, 5, 80), udp(own, 5, 80).marked(0x42)})},
		{name: "some bits of a mark, in decimals", rule: "option fwmark 64/240", match: []packet{tcp(2, 5, 80).withDSCP(48), tcp(own, 5, 80).marked(0x4f)},
			other: []packet{tcp(2, 5, 80), tcp(own, 5, 80).marked(0x51)}},
		{name: "no mark of another program", rule: "option fwmark 0/0xff", match: both(several, []packet{tcp(own, 5, 80), tcp(own, 5, 80).marked(0x4100)}),
			other: []packet{tcp(1, 5, 80).withDSCP(48), tcp(own, 5, 80).marked(1)}},
		{name: "mark, protocols and ports", rule: "option fwmark 0x41/0xff; option proto 'tcp udp'; option dest_port 443,8000-8010",
			match: []packet{tcp(1, 5, 443).withDSCP(48), udp(1, 5, 8005).withDSCP(48)}, other: []packet{tcp(1, 5, 80).withDSCP(48), tcp(1, 5, 443)}},
	}
	ownShapes = []shape{
		{name: "the router's own", rule: "option src_iface router", match: []packet{tcp(own, 5, 80), udp(own, 6, 53), ping(own, 7), tcp(own, 8, 80).marked(0x41)}, other: several},
		{name: "the router's own to a destination", rule: "option src_iface router; list dest_ip 203.0.113.10", match: []packet{tcp(own, 10, 80)},
			other: []packet{tcp(own, 11, 80), tcp(1, 10, 80), tcp(0, 10, 80)}},
		{name: "the router's own by mark and protocol, logged and sticky", rule: "option src_iface router; option fwmark 0x41/0xff; option proto udp; option log 1; option sticky 1; option use_policy two",
			match: []packet{udp(own, 5, 80).marked(0x41)}, other: []packet{udp(own, 5, 80), tcp(own, 5, 80).marked(0x41), udp(1, 5, 80).withDSCP(48)}},
		{name: "the router's own beside a MAC", rule: "option src_iface router", more: "config rule 'mac'\n\toption src_mac 02:00:5e:00:53:99\n\toption use_policy wan1\n",
			match: []packet{tcp(own, 5, 80)}, other: several},
		{name: "what is for all, and what is not for the router", rule: "option src_device lan; list dest_ip {s10}", more: "config rule 'second'\n\toption use_policy wan2\n\tlist dest_ip {s11}\n\tlist dest_ip {s12}\n",
			match: []packet{tcp(1, 10, 80), tcp(1, 11, 80), tcp(own, 11, 80)}, other: []packet{tcp(own, 10, 80), tcp(own, 13, 80)}},
	}
)

var otherShapes = []shape{
	{name: "disabled", rule: "option enabled 0", other: several},
	{name: "logged", rule: "option log 1; list dest_ip {s10}", match: to(10), other: to(11)},
	{name: "family ipv4", rule: "option family ipv4", only: "ipv4", match: several},
	{name: "family ipv6", rule: "option family ipv6", only: "ipv6", match: several},
	{name: "family any", rule: "option family any; option proto tcp", match: tcpTo(80), other: []packet{udp(1, 5, 80)}},
	{name: "policy", rule: "option use_policy two; list dest_ip {s10}", match: to(10), other: to(11)},
	{name: "policy by source", rule: "option use_policy hash; list dest_ip {s10}", match: to(10), other: to(11)},
	{name: "policy by chance", rule: "option use_policy dice; list dest_ip {s10}", match: to(10), other: to(11)},
	{name: "policy, logged and sticky", rule: "option use_policy two; option sticky 1; option log 1; list dest_ip {s10}", match: both(to(10), to(10)), other: to(11)},
	{name: "policy, sticky by pairs", rule: "option use_policy two; option sticky 1; option sticky_key source_dest; list dest_ip {s10}; list dest_ip {s12}",
		match: both(to(10, 12), to(10)), other: to(11)},
	{name: "default", rule: "option use_policy default; list dest_ip {s10}", via: 1, match: to(10), other: to(11)},
	{name: "first match", rule: "list dest_ip {s10}", more: "config rule 'second'\n\toption use_policy wan1\n\tlist dest_ip {s10}\n", match: to(10), other: to(11)},
	{name: "first match is the wider one", rule: "list dest_ip {s16/28}", more: "config rule 'second'\n\toption use_policy wan1\n\tlist dest_ip {s20}\n", match: to(16, 20), other: to(32)},
	{name: "second after a disabled one", rule: "option enabled 0; list dest_ip {s10}", more: "config rule\n\toption use_policy wan2\n\tlist dest_ip {s11}\n\tlist dest_ip {s12}\n", match: to(11, 12), other: to(10)},
	{name: "anonymous beside its number", rule: "list dest_ip {s10}", more: "config rule\n\toption use_policy wan2\n\tlist dest_ip {s20}\n\tlist dest_ip {s21}\n" +
		"config rule '1'\n\toption use_policy wan2\n\tlist dest_ip {s30}\n\tlist dest_ip {s31}\n", match: to(10, 20, 21, 30, 31), other: to(11, 22, 32)},
	{name: "two long names", rule: "list dest_ip {s10}", more: "config rule 'a23456789012345678901234567890_1'\n\toption log 1\n\toption use_policy wan2\n\tlist dest_ip {s20}\n\tlist dest_ip {s21}\n" +
		"config rule 'a23456789012345678901234567890_2'\n\toption log 1\n\toption use_policy wan2\n\tlist dest_ip {s30}\n\tlist dest_ip {s31}\n", match: to(10, 20, 21, 30, 31), other: to(22, 32)},
}
