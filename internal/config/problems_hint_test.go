package config

// hintProblemCases are those of slips that are easy to make: words of other
// programs, units, and options that do nothing.
var hintProblemCases = []problemCase{
	// Unknown options of rules.
	{"rule option, near", rule("option dst_ip 192.0.2.1"), []string{
		`error loadbalance:2: rule 'r': option 'dst_ip' is unknown (did you mean 'dest_ip'?), without it the rule might match too much`,
	}},
	{"rule option, nothing near", rule("option colour red"), []string{
		`error loadbalance:2: rule 'r': option 'colour' is unknown, without it the rule might match too much`,
	}},
	{"rule option, another word", rule("option src_interface guest", "option use_policy unreachable"), []string{
		`error loadbalance:2: rule 'r': option 'src_interface' is unknown (did you mean 'src_iface'?), without it the rule might match too much`,
	}},
	{"rule options for use_policy", rule("option policy default", "list use_member wan1"), []string{
		`error loadbalance:2: rule 'r': option 'policy' is unknown (did you mean 'use_policy'?), without it the rule might match too much`,
		`error loadbalance:3: rule 'r': option 'use_member' is unknown (did you mean 'use_policy'?), without it the rule might match too much`,
	}},
	{"unknown option elsewhere", globals("option logleevl info") + policy("option last_resrot default"), []string{
		`warning loadbalance:2: globals 'globals': option 'logleevl' is unknown (did you mean 'loglevel'?)`,
		`warning loadbalance:6: policy 'p': option 'last_resrot' is unknown (did you mean 'last_resort'?)`,
	}},
	{"unknown option of a set", set("option famliy ipv6"), []string{
		`warning loadbalance:2: ipset 's': option 'famliy' is unknown (did you mean 'family'?)`,
	}},
	{"mwan3's options", globals("option mmx_mask 0x3f00") + member("list flush_conntrack ifdown"), []string{
		`warning loadbalance:2: globals 'globals': option 'mmx_mask' is unknown (did you mean 'mark_mask'?)`,
		`warning loadbalance:4: member 'wan1': option 'flush_conntrack' is unknown (did you mean 'on_dead'?)`,
	}},
	{"an alias of another section's option", member("option policy x"), []string{
		`warning loadbalance:2: member 'wan1': option 'policy' is unknown`,
	}},

	// Units.
	{"interval in milliseconds", member("list track_ip 1.1.1.1", "option interval 500"), []string{
		`warning loadbalance:3: member 'wan1': option 'interval': '500' is in seconds, for milliseconds write '500ms'`,
	}},
	{"timeout in milliseconds", member("list track_ip 1.1.1.1", "option timeout 800"), []string{
		`warning loadbalance:3: member 'wan1': option 'timeout': '800' is in seconds, for milliseconds write '800ms'`,
		`error loadbalance:3: member 'wan1': option 'timeout': '800' is out of range (10ms to 1m)`,
	}},
	{"timeout in milliseconds, whole minutes", member("list track_ip 1.1.1.1", "option timeout 300"), []string{
		`warning loadbalance:3: member 'wan1': option 'timeout': '300' is in seconds, for milliseconds write '300ms'`,
		`error loadbalance:3: member 'wan1': option 'timeout': '300' is out of range (10ms to 1m)`,
	}},
	{"interval of whole minutes", member("list track_ip 1.1.1.1", "option interval 300"), nil},
	{"interval of a hundred", member("list track_ip 1.1.1.1", "option interval 100"), []string{
		`warning loadbalance:3: member 'wan1': option 'interval': '100' is in seconds, for milliseconds write '100ms'`,
	}},
	{"interval of few seconds", member("list track_ip 1.1.1.1", "option interval 99"), nil},
	{"interval with a unit", member("list track_ip 1.1.1.1", "option interval 500s"), nil},

	// Options that do nothing.
	{"health without targets", member("option interval 1", "option down 2", "option reliability 1", "option track_status 200",
		"option initial_state offline", "option on_dead none", "option failback all"), []string{
		`warning loadbalance:2: member 'wan1': option 'interval' has no effect without 'track_ip'`,
		`warning loadbalance:3: member 'wan1': option 'down' has no effect without 'track_ip'`,
		`warning loadbalance:4: member 'wan1': option 'reliability' has no effect without 'track_ip'`,
		`warning loadbalance:5: member 'wan1': option 'track_status' has no effect without 'track_ip'`,
		`warning loadbalance:6: member 'wan1': option 'initial_state' has no effect without 'track_ip'`,
	}},
	{"http without targets", member("option track_method http"), []string{
		`warning loadbalance:2: member 'wan1': option 'track_method' has no effect without 'track_ip'`,
	}},
	{"port without targets", member("option track_method http", "option track_port 80"), []string{
		`warning loadbalance:2: member 'wan1': option 'track_method' has no effect without 'track_ip'`,
		`warning loadbalance:3: member 'wan1': option 'track_port' has no effect without 'track_ip'`,
	}},
	{"port beside a URL", member("list track_ip 1.1.1.1", "option track_method http", "option track_url http://example.org/", "option track_port 80"), []string{
		`warning loadbalance:5: member 'wan1': option 'track_port' has no effect with track_method 'http', the port is part of track_url`,
	}},
	{"recovery_latency alone", member("list track_ip 1.1.1.1", "option recovery_latency 100"), []string{
		`warning loadbalance:3: member 'wan1': option 'recovery_latency' has no effect without 'failure_latency'`,
	}},
	{"recovery_latency and a limit that is off", member("list track_ip 1.1.1.1", "option failure_latency 0", "option recovery_latency 100"), nil},

	{"targets without a monitor", globals("option monitor 0") + member("list track_ip 1.1.1.1"), []string{
		`warning loadbalance:4: member 'wan1': option 'track_ip' has no effect with monitor '0'`,
	}},
	{"targets of a disabled member without a monitor", globals("option monitor 0") + member("option enabled 0", "list track_ip 1.1.1.1"), nil},

	{"quota without a monitor", globals("option monitor 0") + member("option quota 50GB"), []string{
		`warning loadbalance:4: member 'wan1': option 'quota' has no effect with monitor '0': the monitor counts`,
	}},
	{"no quota", member("option quota_day 2", "option quota_action off"), []string{
		`warning loadbalance:2: member 'wan1': option 'quota_day' has no effect without 'quota'`,
		`warning loadbalance:3: member 'wan1': option 'quota_action' has no effect without 'quota'`,
	}},
	{"quota without its unit", member("option quota 50"), []string{
		`error loadbalance:2: member 'wan1': option 'quota': '50' is neither 0 nor an amount of bytes from 1MB to 1000TB, such as 50GB`,
	}},
	{"quota in another unit", member("option quota 50GiB"), []string{
		`error loadbalance:2: member 'wan1': option 'quota': '50GiB' is neither 0 nor an amount of bytes from 1MB to 1000TB, such as 50GB`,
	}},
	{"quota without end", member("option quota '999999999999999999999999999999999999999999999999999999999999999GB'"), []string{
		`error loadbalance:2: member 'wan1': option 'quota': '999999999999999999999999999999999999999999999999999999999999...' is neither 0 nor an amount of bytes from 1MB to 1000TB, such as 50GB`,
	}},
	{"quota_action", member("option quota 50GB", "option quota_action stop"), []string{
		`error loadbalance:3: member 'wan1': option 'quota_action': 'stop' is not one of last, off`,
	}},

	// Words of other programs.
	{"boolean in capitals", globals("option enabled Yes"), []string{
		`error loadbalance:2: globals 'globals': option 'enabled': 'Yes' is neither 1 (on, true, yes, enabled) nor 0 (off, false, no, disabled)`,
	}},
	{"track_method arping", member("list track_ip 1.1.1.1", "option track_method arping"), []string{
		`error loadbalance:3: member 'wan1': option 'track_method': 'arping' is not one of ping, arp, tcp, dns, http (did you mean 'arp'?)`,
	}},
	{"track_method icmp", member("list track_ip 1.1.1.1", "option track_method icmp"), []string{
		`error loadbalance:3: member 'wan1': option 'track_method': 'icmp' is not one of ping, arp, tcp, dns, http (did you mean 'ping'?)`,
	}},
	{"track_method nslookup", member("list track_ip 1.1.1.1", "option track_method nslookup"), []string{
		`error loadbalance:3: member 'wan1': option 'track_method': 'nslookup' is not one of ping, arp, tcp, dns, http (did you mean 'dns'?)`,
	}},
	{"track_method httping", member("list track_ip 1.1.1.1", "option track_method httping"), []string{
		`error loadbalance:3: member 'wan1': option 'track_method': 'httping' is not one of ping, arp, tcp, dns, http (did you mean 'http'?)`,
	}},
	{"track_method https", member("list track_ip 1.1.1.1", "option track_method https"), []string{
		`error loadbalance:3: member 'wan1': option 'track_method': 'https' is not one of ping, arp, tcp, dns, http (did you mean 'http'?)`,
	}},
	{"track_ip in capitals", member("list track_ip Gateway"), []string{
		`error loadbalance:2: member 'wan1': option 'track_ip': 'Gateway' is a host name; an address is needed (did you mean 'gateway'?)`,
	}},
	{"proto of the firewall", rule("option proto tcpudp", "option dest_port 80"), []string{
		`error loadbalance:2: rule 'r': option 'proto': 'tcpudp' is not a protocol (did you mean 'tcp udp'?)`,
	}},
	{"mask", rule("list dest_ip 10.0.0.0/255.255.255.256"), []string{
		`error loadbalance:2: rule 'r': option 'dest_ip': '10.0.0.0/255.255.255.256' is not an IP prefix with a length, such as /24`,
	}},
	{"mask of the other family", rule("list dest_ip 10.0.0.0/::1"), []string{
		`error loadbalance:2: rule 'r': option 'dest_ip': '10.0.0.0/::1' is not an IP prefix with a length, such as /24`,
	}},
	{"mask in another list", globals("list bypass 10.0.0.0/255.0.255.0"), []string{
		`error loadbalance:2: globals 'globals': option 'bypass': '10.0.0.0/255.0.255.0' is not an IP prefix with a length, such as /24`,
	}},
	{"negated mask", rule("list src_ip !0.0.0.1/0.0.0.1", "list src_ip 10.0.0.0/8"), []string{
		`error loadbalance:2: rule 'r': option 'src_ip': '!' before a mask such as 0.0.0.1 needs a rule of its own`,
	}},
	{"family of a mask", rule("list src_ip 0.0.0.1/0.0.0.1", "list dest_ip 2001:db8::1"), []string{
		`error loadbalance:3: rule 'r': option 'dest_ip' is ipv6, but option 'src_ip' is ipv4`,
	}},
	{"useless mask", rule("list src_ip ::1/::1,10.0.0.0/8", "option proto icmp"), []string{
		`warning loadbalance:2: rule 'r': option 'src_ip': the ipv6 addresses have no effect, the rule is ipv4`,
	}},
	{"source name", rule("list src_ip host.example.org"), []string{
		`error loadbalance:2: rule 'r': option 'src_ip': 'host.example.org' is a host name; an address is needed`,
	}},
	{"use_member two words", policy("list use_member 'wan1 weight 3'"), []string{
		`error loadbalance:4: policy 'p': option 'use_member': 'weight' is neither weight=N nor metric=N (each member needs its own 'list use_member')`,
	}},
}
