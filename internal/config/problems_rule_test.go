package config

// ruleProblemCases are those of rules and sets.
var ruleProblemCases = []problemCase{
	// Rules.
	{"family", rule("option family ipv5"), []string{
		`error loadbalance:2: rule 'r': option 'family': 'ipv5' is not one of ipv4, ipv6, any (did you mean 'ipv4'?)`,
	}},
	{"families of addresses", rule("list src_ip 10.0.0.1", "list dest_ip 2001:db8::1"), []string{
		`error loadbalance:3: rule 'r': option 'dest_ip' is ipv6, but option 'src_ip' is ipv4`,
	}},
	{"family of an address", rule("option family ipv6", "list src_ip 10.0.0.1"), []string{
		`error loadbalance:3: rule 'r': option 'src_ip' is ipv4, but option 'family' is ipv6`,
	}},
	{"family of a negated address", rule("option family ipv6", "list src_ip !10.0.0.1"), []string{
		`error loadbalance:3: rule 'r': option 'src_ip' is ipv4, but option 'family' is ipv6`,
	}},
	{"family of a set", set("option family ipv6") + rule("list dest_ip 10.0.0.1", "option ipset s"), []string{
		`error loadbalance:5: rule 'r': option 'ipset' is ipv6, but option 'dest_ip' is ipv4`,
	}},
	{"family of a source set", set("option family ipv6") + rule("option family ipv4", "option ipset_src s"), []string{
		`error loadbalance:5: rule 'r': option 'ipset_src' is ipv6, but option 'family' is ipv4`,
	}},
	{"family of icmp", rule("option family ipv6", "option proto icmp"), []string{
		`error loadbalance:3: rule 'r': option 'proto' is ipv4, but option 'family' is ipv6`,
	}},
	{"family of ah", rule("option family ipv6", "option proto ah"), []string{
		`error loadbalance:3: rule 'r': option 'proto' is ipv4, but option 'family' is ipv6`,
	}},
	{"family of extension headers", rule("list src_ip 2001:db8::1", "list proto 43", "list proto '44 51 60'"), []string{
		`error loadbalance:3: rule 'r': option 'proto' is ipv4, but option 'src_ip' is ipv6`,
	}},
	{"useless addresses", rule("list src_ip '10.0.0.1 2001:db8::1'", "list dest_ip 10.0.0.2"), []string{
		`warning loadbalance:2: rule 'r': option 'src_ip': the ipv6 addresses have no effect, the rule is ipv4`,
	}},
	{"useless destinations", rule("list dest_ip '10.0.0.1 2001:db8::1'", "option proto icmp"), []string{
		`warning loadbalance:2: rule 'r': option 'dest_ip': the ipv6 addresses have no effect, the rule is ipv4`,
	}},
	{"host name", rule("list dest_ip bank.example.org"), []string{
		`error loadbalance:2: rule 'r': option 'dest_ip': 'bank.example.org' is a host name; an address is needed; for host names use 'list domain' of a config ipset`,
	}},
	{"negation alone", rule("list dest_ip '! 10.0.0.0/8'"), []string{
		`error loadbalance:2: rule 'r': option 'dest_ip': '!' must directly precede an address`,
	}},
	{"host bits", rule("list dest_ip 10.0.0.1/24"), []string{
		`warning loadbalance:2: rule 'r': option 'dest_ip': '10.0.0.1/24' has host bits set, 10.0.0.0/24 is used`,
	}},
	{"MAC", rule("list src_mac 02:00:5e:00:53"), []string{
		`error loadbalance:2: rule 'r': option 'src_mac': '02:00:5e:00:53' is not a MAC address, such as 02:00:5e:00:53:01`,
	}},
	{"MAC of eight bytes", rule("list src_mac 02:00:5e:10:00:00:00:01"), []string{
		`error loadbalance:2: rule 'r': option 'src_mac': '02:00:5e:10:00:00:00:01' is not a MAC address, such as 02:00:5e:00:53:01`,
	}},
	{"src_iface and src_device", rule("option src_iface lan", "option src_device br-lan"), []string{
		`error loadbalance:3: rule 'r': options 'src_iface' and 'src_device' exclude each other`,
	}},
	{"router in IPv6", rule("option src_iface router", "option family ipv6"), []string{
		`error loadbalance:2: rule 'r': option 'src_iface' is ipv4, but option 'family' is ipv6`,
	}},
	{"router with a MAC", rule("option src_iface router", "option src_mac 02:00:5e:00:53:01"), []string{
		`error loadbalance:3: rule 'r': option 'src_mac': with src_iface 'router' no packet has one; leave one of the two out`,
	}},
	{"router without router_traffic", "config globals globals\n\toption router_traffic 0\n" + rule("option src_iface router"), []string{
		`warning loadbalance:4: rule 'r': option 'src_iface': the rule has no effect, since router_traffic is '0' in the globals`,
	}},
	{"router alone", rule("option src_iface router", "option fwmark 0/0xff", "option sticky 1", "option sticky_key source"), nil},
	{"fwmark without a mask", rule("option fwmark 0x1"), []string{
		`error loadbalance:2: rule 'r': option 'fwmark': '0x1' needs a mask of the bits that the other program sets, such as 0x1/0xff`,
	}},
	{"fwmark of ours", rule("option fwmark 0x1000000/0x01ff0000"), []string{
		`error loadbalance:2: rule 'r': option 'fwmark': '0x1000000/0x01ff0000' overlaps mark_mask 0x3f000000, the bits of this program: leave these out of its mask, or choose another mark_mask`,
	}},
	{"fwmark of another mask's", rule("option fwmark 0x100/0xff00") + "config globals globals\n\toption mark_mask 0x3f00\n", []string{
		`error loadbalance:2: rule 'r': option 'fwmark': '0x100/0xff00' overlaps mark_mask 0x3f00, the bits of this program: leave these out of its mask, or choose another mark_mask`,
	}},
	{"fwmark beside its mask", rule("option fwmark 256/255"), []string{
		`error loadbalance:2: rule 'r': option 'fwmark': '256/255' matches nothing or everything: the mask must have all bits of the mark, and not be 0`,
	}},
	{"fwmark with no bit", rule("option fwmark 0/0"), []string{
		`error loadbalance:2: rule 'r': option 'fwmark': '0/0' matches nothing or everything: the mask must have all bits of the mark, and not be 0`,
	}},
	{"fwmark of a word", rule("option fwmark vpn/0xff"), []string{
		`error loadbalance:2: rule 'r': option 'fwmark': 'vpn' is not a number, such as 0x3f000000`,
	}},
	{"fwmark's mask", rule("option fwmark 1/0x1ffffffff"), []string{
		`error loadbalance:2: rule 'r': option 'fwmark': '0x1ffffffff' has more than 32 bits`,
	}},
	{"sticky_key", rule("option sticky 1", "option sticky_key source_desk"), []string{
		`error loadbalance:3: rule 'r': option 'sticky_key': 'source_desk' is not one of source, source_dest (did you mean 'source_dest'?)`,
	}},
	{"sticky_key without sticky", rule("option sticky_key source_dest"), []string{
		`warning loadbalance:2: rule 'r': option 'sticky_key' has no effect without sticky '1'`,
	}},
	{"failback of a policy", policy("option failback nevver"), []string{
		`error loadbalance:4: policy 'p': option 'failback': 'nevver' is not one of new, all, never (did you mean 'never'?)`,
	}},
	{"proto", rule("option proto tpc"), []string{
		`error loadbalance:2: rule 'r': option 'proto': 'tpc' is not a protocol (did you mean 'tcp'?)`,
	}},
	{"proto number", rule("option proto 256"), []string{
		`error loadbalance:2: rule 'r': option 'proto': '256' is not a protocol`,
	}},
	{"all and tcp", rule("option proto 'all tcp'"), []string{
		`error loadbalance:2: rule 'r': option 'proto': 'all' cannot stand beside other protocols`,
	}},
	{"all and tcp, with a port", rule("option proto 'all tcp icmp'", "option dest_port 80"), []string{
		`error loadbalance:2: rule 'r': option 'proto': 'all' cannot stand beside other protocols`,
	}},
	{"port without proto", rule("option dest_port 80"), []string{
		`error loadbalance:2: rule 'r': option 'dest_port' needs option 'proto' with protocols that have ports, such as 'tcp udp'`,
	}},
	{"port with all", rule("option proto all", "option dest_port 80"), []string{
		`error loadbalance:3: rule 'r': option 'dest_port' needs option 'proto' with protocols that have ports, such as 'tcp udp'`,
	}},
	{"port with icmp", rule("option proto 'tcp icmp'", "option src_port 80"), []string{
		`error loadbalance:3: rule 'r': option 'src_port': protocol 'icmp' has no ports`,
	}},
	{"port zero", rule("option proto tcp", "option dest_port 0"), []string{
		`error loadbalance:3: rule 'r': option 'dest_port': '0' is not a port (1 to 65535)`,
	}},
	{"port range", rule("option proto tcp", "option dest_port 1-70000"), []string{
		`error loadbalance:3: rule 'r': option 'dest_port': '1-70000' is not a range of ports (1 to 65535)`,
	}},
	{"port range, first is none", rule("option proto tcp", "option dest_port http-80"), []string{
		`error loadbalance:3: rule 'r': option 'dest_port': 'http-80' is not a range of ports (1 to 65535)`,
	}},
	{"port range reversed", rule("option proto tcp", "option dest_port 90:80"), []string{
		`error loadbalance:3: rule 'r': option 'dest_port': range '90:80' ends before it begins`,
	}},
	{"port name", rule("option proto tcp", "option dest_port http"), []string{
		`error loadbalance:3: rule 'r': option 'dest_port': 'http' is not a port (1 to 65535)`,
	}},
	{"icmp_type without icmp", rule("option icmp_type echo-request"), []string{
		`error loadbalance:2: rule 'r': option 'icmp_type' needs option 'proto' with 'icmp' or 'icmpv6' and nothing else`,
	}},
	{"icmp_type with tcp", rule("option proto tcp", "option icmp_type echo-request"), []string{
		`error loadbalance:3: rule 'r': option 'icmp_type' needs option 'proto' with 'icmp' or 'icmpv6' and nothing else`,
	}},
	{"icmp_type with icmp and tcp", rule("option proto 'tcp icmp'", "option icmp_type echo-request"), []string{
		`error loadbalance:3: rule 'r': option 'icmp_type' needs option 'proto' with 'icmp' or 'icmpv6' and nothing else`,
	}},
	{"icmp_type with a second code", rule("option proto icmp", "option icmp_type 3/1/1"), []string{
		`error loadbalance:3: rule 'r': option 'icmp_type': '3/1/1' is not an ICMP type`,
	}},
	{"icmp_type unknown", rule("option proto icmp", "option icmp_type echo-requets"), []string{
		`error loadbalance:3: rule 'r': option 'icmp_type': 'echo-requets' is not an ICMP type (did you mean 'echo-request'?)`,
	}},
	{"icmp_type number", rule("option proto icmp", "option icmp_type 256"), []string{
		`error loadbalance:3: rule 'r': option 'icmp_type': '256' is not an ICMP type`,
	}},
	{"icmp_type of all", rule("option proto icmp", "option icmp_type 255"), []string{
		`error loadbalance:3: rule 'r': option 'icmp_type': '255' is not an ICMP type: iptables would match every type, as option 'proto' alone does`,
	}},
	{"icmp_type family", rule("option proto icmp", "option icmp_type packet-too-big"), []string{
		`error loadbalance:3: rule 'r': option 'icmp_type' is ipv6, but option 'proto' is ipv4`,
	}},
	{"set name", rule("option ipset 'a b'"), []string{
		`error loadbalance:2: rule 'r': option 'ipset': 'a b' is not the name of a set (1 to 31 letters, digits, '_', '-', '.' or ':')`,
	}},
	{"set near ours", "config ipset streaming\n" + rule("option ipset streeming"), []string{
		`warning loadbalance:3: rule 'r': option 'ipset': there is no set 'streeming' in this file (did you mean 'streaming'?), another program has to create it`,
	}},
	{"two sets of ours with names alike", "config ipset films1\nconfig ipset films2\n" + rule("option ipset films1", "option ipset_src films2"), nil},
	{"set faulty", set("list entry x") + rule("option ipset s"), []string{
		`error loadbalance:2: ipset 's': option 'entry': 'x' is a host name; an address is needed`,
		`warning loadbalance:4: rule 'r': left out, because ipset 's' is faulty (line 1)`,
	}},
	{"dscp", rule("option dscp AF44"), []string{
		`error loadbalance:2: rule 'r': option 'dscp': 'AF44' is not a DSCP class (CS0 to CS7, AF11 to AF43, EF, BE, VA, LE) or number (0 to 63)`,
	}},
	{"dscp number", rule("option dscp 64"), []string{
		`error loadbalance:2: rule 'r': option 'dscp': '64' is not a DSCP class (CS0 to CS7, AF11 to AF43, EF, BE, VA, LE) or number (0 to 63)`,
	}},
	{"timeout", rule("option timeout 2147484"), []string{
		`error loadbalance:2: rule 'r': option 'timeout': '2147484' is out of range (1s to 2147483s)`,
	}},
	{"timeout of hours", rule("option timeout 597h"), []string{
		`error loadbalance:2: rule 'r': option 'timeout': '597h' is out of range (1s to 2147483s)`,
	}},
	{"timeout fraction", rule("option timeout 1500ms"), []string{
		`error loadbalance:2: rule 'r': option 'timeout': '1500ms' is not a whole number of seconds`,
	}},
	{"use_policy", "config policy video\n" + rule("option use_policy vidoe"), []string{
		`error loadbalance:3: rule 'r': option 'use_policy': there is no policy or member 'vidoe' (did you mean 'video'?)`,
	}},
	{"use_policy reserved word", rule("option use_policy unreachabel"), []string{
		`error loadbalance:2: rule 'r': option 'use_policy': there is no policy or member 'unreachabel' (did you mean 'unreachable'?)`,
	}},
	{"use_policy hostile", rule("option use_policy '\x1b[2J-j ACCEPT'"), []string{
		`error loadbalance:2: rule 'r': option 'use_policy': there is no policy or member '\x1b[2J-j ACCEPT'`,
	}},
	{"use_policy disabled member", "config member wan1\n\toption enabled 0\n" + rule("option use_policy wan1"), []string{
		`warning loadbalance:4: rule 'r': left out, because member 'wan1' is disabled (line 1)`,
	}},
	{"anonymous rule", "config rule\nconfig rule\n\toption log often\n", []string{
		`error loadbalance:3: rule '@rule[1]': option 'log': 'often' is neither 1 (on, true, yes, enabled) nor 0 (off, false, no, disabled)`,
	}},

	// Sets.
	{"set family", set("option family any"), []string{
		`error loadbalance:2: ipset 's': option 'family': 'any' is neither ipv4 nor ipv6`,
	}},
	{"entry family", set("list entry 2001:db8::/32"), []string{
		`error loadbalance:2: ipset 's': option 'entry': '2001:db8::/32' does not match the set's family ipv4`,
	}},
	{"entry everything", set("option family ipv6", "list entry ::/0"), []string{
		`error loadbalance:3: ipset 's': option 'entry': '::/0' matches every address, which a set cannot hold`,
	}},
	{"entry host bits", set("list entry 10.0.0.1/24"), []string{
		`warning loadbalance:2: ipset 's': option 'entry': '10.0.0.1/24' has host bits set, 10.0.0.0/24 is used`,
	}},
	{"loadfile relative", set("option loadfile list.txt"), []string{
		`error loadbalance:2: ipset 's': option 'loadfile': 'list.txt' is not the absolute path of a file`,
	}},
	{"loadfile newline", "config ipset s\n\toption loadfile '/a\n/b'\n", []string{
		`error loadbalance:2: ipset 's': option 'loadfile': '/a\n/b' is not the absolute path of a file`,
	}},
	{"domain", set("list domain ..example.org", "list domain example..org"), []string{
		`error loadbalance:2: ipset 's': option 'domain': '..example.org' is not a domain name`,
		`error loadbalance:3: ipset 's': option 'domain': 'example..org' is not a domain name`,
	}},
	{"domain pattern", set("list domain *.Example.org", "list domain 'www*.example.org'"), []string{
		`error loadbalance:2: ipset 's': option 'domain': '*.Example.org' is not a domain name; write example.org, which includes all names below it`,
		`error loadbalance:3: ipset 's': option 'domain': 'www*.example.org' is not a domain name`,
	}},
	{"domain address", set("list domain 192.0.2.1"), []string{
		`error loadbalance:2: ipset 's': option 'domain': '192.0.2.1' is not a domain name`,
	}},
	{"domain hostile", set("list domain 'example.org/x#'"), []string{
		`error loadbalance:2: ipset 's': option 'domain': 'example.org/x#' is not a domain name`,
	}},
	{"domain hyphen", set("list domain -x.example.org"), []string{
		`error loadbalance:2: ipset 's': option 'domain': '-x.example.org' is not a domain name`,
	}},
}
