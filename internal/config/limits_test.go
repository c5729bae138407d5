package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestRanges: the lowest and the highest value of a range are taken, and those
// beyond them are refused.
func TestRanges(t *testing.T) {
	tracked := func(with ...string) func(string) string {
		return func(option string) string {
			return member(append([]string{option, "list track_ip 1.1.1.1"}, with...)...)
		}
	}
	with := func(first string) func(string) string {
		return func(option string) string { return rule(first, option) }
	}
	const http = "option track_method http\n\toption track_url http://example.org/"
	for _, c := range []struct {
		name, option, under, lowest, highest, over string
		file                                       func(option string) string
	}{
		{"weight", "option weight ", "0", "1", "1000", "1001", tracked()},
		{"metric", "option metric ", "0", "1", "256", "257", tracked()},
		{"table", "option table ", "0", "1", "2147483647", "2147483648", tracked()},
		{"quota", "option quota ", "999999", "1MB", "1000TB", "1000.1TB", tracked()},
		{"quota_day", "option quota_day ", "0", "1", "28", "29", tracked("option quota 50GB")},
		{"port of a probe", "option track_port ", "0", "1", "65535", "65536", tracked("option track_method tcp")},
		{"status of a probe", "option track_status ", "99", "100", "599", "600", tracked(http)},
		{"portal_retry", "option portal_retry ", "999ms", "1", "24h", "86401", tracked(http)},
		{"reliability", "option reliability ", "0", "1", "3", "4", tracked("list track_ip 9.9.9.9", "list track_ip gateway")},
		{"interval", "option interval ", "49ms", "50ms", "1h", "3600001ms", tracked()},
		{"timeout of a probe", "option timeout ", "9ms", "10ms", "1m", "60001ms", tracked()},
		{"down", "option down ", "0", "1", "1000", "1001", tracked()},
		{"up", "option up ", "0", "1", "1000", "1001", tracked()},
		{"window", "option window ", "0", "1", "1000", "1001", tracked()},
		{"failure_loss", "option failure_loss ", "-1", "0", "100", "101", tracked()},
		{"recovery_loss", "option recovery_loss ", "-1", "0", "100", "101", tracked("option failure_loss 100")},
		{"failure_latency", "option failure_latency ", "-1", "0", "60000", "60001", tracked()},
		{"recovery_latency", "option recovery_latency ", "-1", "0", "60000", "60001", tracked("option failure_latency 1m")},
		{"weight in a policy", "list use_member wan1 weight=", "0", "1", "1000", "1001", quotedUse},
		{"metric in a policy", "list use_member wan1 metric=", "0", "1", "256", "257", quotedUse},
		{"port", "option dest_port ", "0", "1", "65535", "65536", with("option proto tcp")},
		{"first port of a range", "option dest_port ", "0-9", "1-9", "9-9", "10-9", with("option proto tcp")},
		{"last port of a range", "option src_port ", "9-8", "9-9", "9-65535", "9-65536", with("option proto sctp")},
		{"protocol", "option proto ", "-1", "0", "255", "256", with("option log 0")},
		{"dscp", "option dscp ", "-1", "0", "63", "64", with("option log 0")},
		{"icmp_type", "option icmp_type ", "-1", "0", "254", "255", with("option proto icmp")},
		{"icmp code", "option icmp_type ", "3/-1", "3/0", "3/255", "3/256", with("option proto icmp")},
		{"timeout of a sticky rule", "option timeout ", "0", "1s", "2147483s", "2147484s", with("option log 0")},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, value := range []string{c.lowest, c.highest} {
				if _, problems := Read(parse(t, c.file(c.option+value))); len(problems) > 0 {
					t.Errorf("%s: %v", value, problems)
				}
			}
			for _, value := range []string{c.under, c.over} {
				if _, problems := Read(parse(t, c.file(c.option+value))); !problems.HasErrors() {
					t.Errorf("%s is taken", value)
				}
			}
		})
	}
}

// quotedUse is a policy with one use_member, whose text has a blank.
func quotedUse(option string) string {
	return policy(strings.Replace(option, "wan1", "'wan1", 1) + "'")
}

// TestUnicast: what a single machine can have as its address, as a gateway and
// as a target.
func TestUnicast(t *testing.T) {
	for text, want := range map[string]bool{
		"1.0.0.0": true, "10.0.0.1": true, "169.254.1.1": true, "223.255.255.255": true,
		"2001:db8::1": true, "fe80::1": true, "fd00::1": true,
		"0.0.0.0": false, "0.1.2.3": false, "127.0.0.1": false, "224.0.0.1": false,
		"240.0.0.0": false, "240.1.2.3": false, "255.255.255.255": false,
		"::": false, "::1": false, "ff02::1": false,
	} {
		if got := IsUnicast(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
		_, problems := Read(parse(t, member("list track_ip "+text)))
		if problems.HasErrors() == want {
			t.Errorf("track_ip %s: %v", text, problems)
		}
	}
}

// TestNames: which names are taken. What iptables, ipset and the kernel would
// read in another way must not get to them.
func TestNames(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	refuses := func(parse func(string) (string, error)) func(string) bool {
		return func(text string) bool { _, err := parse(text); return err == nil }
	}
	for _, c := range []struct {
		name            string
		valid           func(string) bool
		accept, refused []string
	}{
		{"section", validSectionName,
			[]string{"a", "azAZ09_", long(32)},
			[]string{"", "a-b", "a.b", "a b", "@", "[", "`", "{", "/", ":", "ä", long(33)}},
		{"device", ValidDevice,
			[]string{"a", "eth0.100", "br-lan", "wlan0~1", "a!", "a-", "+a", "@x", long(15)},
			[]string{"", ".", "..", "all", "default", "-j", "!eth0", "eth+", "a b", "a\tb", "a/b", "a:1", `a"b`, "a'b", "a`b", `a\b`, "a\x7f", "ä", long(16)}},
		{"interface", ValidInterface,
			[]string{"a", "wan_6", "wan-b.1", "_", "a-", long(32)},
			[]string{"", "-a", ".a", "a b", "a:b", "a/b", long(33)}},
		{"set", refuses(parseSetName),
			[]string{"a", "a.b-c:d_e", "_", "." + long(30), long(32)},
			[]string{"", "-a", "a b", "a,b", "a!", "." + long(31), long(33)}},
		{"domain", refuses(ParseDomain),
			[]string{"org", "example.org", "_dmarc.example.org", "1.example", "a-b.example", long(63) + ".org",
				strings.Repeat("a.", 125) + "abc", "." + strings.Repeat("a.", 125) + "abc.", strings.Repeat("ä", 57) + ".org"},
			[]string{"", ".", "..", "example..", "..example", "a..b", "ä\xff.org", "ä b.org", "\u2026.org", strings.Repeat("ä", 58) + ".org", "-a.org", "a-.org", "a.org-", "1.2", "a b.org", "a/b.org", long(64) + ".org",
				strings.Repeat("a.", 125) + "abcd"}},
		{"file", refuses(parsePath),
			[]string{"/a", "/etc/loadbalance.d/a b", "/" + long(4094)},
			[]string{"", "/", "a", "/etc/", "/a\x7f", "/a\xff", "/" + long(4095)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, text := range c.accept {
				if !c.valid(text) {
					t.Errorf("%q is refused", text)
				}
			}
			for _, text := range c.refused {
				if c.valid(text) {
					t.Errorf("%q is taken", text)
				}
			}
		})
	}
}

// TestProbeURL: which URLs a probe takes, and which port it asks.
func TestProbeURL(t *testing.T) {
	for text, port := range map[string]uint16{
		"http://example.org": 80, "http://example.org/": 80, "http://example.org:8080": 8080, "http://example.org:65535/x": 65535,
		"http://example.org?a:1": 80, "http://example.org#a:1": 80, "http://192.0.2.1/x": 80, "http://192.0.2.1:81/x": 81,
		"http://[2001:db8::1]": 80, "http://[2001:db8::1]:81/x": 81, "http://1.example.org/a?b=[c]": 80,
		"http://example.org/" + strings.Repeat("a", maxURL-len("http://example.org/")): 80,
	} {
		if got, err := parseProbeURL(text); err != nil || got != port {
			t.Errorf("%s: port %d, %v; want port %d", text, got, err, port)
		}
	}
	for _, text := range []string{
		"", "example.org", "https://example.org/", "HTTP://example.org/", "http://", "http:///x", "http://:80/", "http://a b/",
		"http://example.org:0/", "http://example.org:65536/", "http://example.org:/", "http://example.org:a/", "http://user@example.org/",
		"http://2001:db8::1/", "http://[2001:db8::1/", "http://[2001:db8::1]x/", "http://[2001:db8::1:80/", "http://2001:db8::1:80/", "http://[192.0.2.1]/", "http://[fe80::1%25eth1]/",
		"http://[fe80::1%eth1]/", "http://[x]/", "http://192.0.2.256/", "http://example.org/\"", "http://example.org/'", "http://example.org/ä",
		"http://example.org/" + strings.Repeat("a", maxURL),
	} {
		if got, err := parseProbeURL(text); err == nil {
			t.Errorf("%.60s is taken, port %d", text, got)
		}
	}
}

// TestProtocols holds the numbers of all names (IANA "Assigned Internet
// Protocol Numbers"), and which protocols have ports.
func TestProtocols(t *testing.T) {
	numbers := map[string]uint8{
		"all": 0, "any": 0, "icmp": 1, "igmp": 2, "ipip": 4, "ipencap": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47,
		"esp": 50, "ah": 51, "icmpv6": 58, "ipv6-icmp": 58, "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
	}
	if len(protoNumbers) != len(numbers) {
		t.Errorf("%d names, want %d", len(protoNumbers), len(numbers))
	}
	for name, want := range numbers {
		if p, err := ParseProto(name); err != nil || p.Number != want || p.Name != name {
			t.Errorf("%s: %+v, %v; want %d", name, p, err, want)
		}
	}
	for number := range 256 {
		want := slices.Contains([]int{6, 17, 33, 132, 136}, number)
		if got := (Proto{Number: uint8(number)}).hasPorts(); got != want {
			t.Errorf("protocol %d has ports: %v, want %v", number, got, want)
		}
	}
}

// TestDSCP holds the numbers of all classes, as the RFCs of dscpClasses have
// them: CS n is 8 n, AF n m is 8 n + 2 m.
func TestDSCP(t *testing.T) {
	want := map[string]int{"BE": 0, "LE": 1, "EF": 46, "VA": 44}
	for n := range 8 {
		want["CS"+string(rune('0'+n))] = 8 * n
	}
	for n := 1; n <= 4; n++ {
		for m := 1; m <= 3; m++ {
			want["AF"+string(rune('0'+n))+string(rune('0'+m))] = 8*n + 2*m
		}
	}
	if len(dscpClasses) != len(want) {
		t.Errorf("%d classes, want %d", len(dscpClasses), len(want))
	}
	for name, number := range want {
		if got, err := ParseDSCP(strings.ToLower(name)); err != nil || got != number {
			t.Errorf("%s: %d, %v; want %d", name, got, err, number)
		}
	}
}

// TestICMPTypeFamilies holds in which families the names of ICMP types exist:
// in the other one the rule would be refused by iptables, or left out.
func TestICMPTypeFamilies(t *testing.T) {
	want := map[families][]string{
		onlyIPv4: {"address-mask-reply", "address-mask-request", "fragmentation-needed", "host-prohibited", "host-unknown",
			"host-unreachable", "ip-header-bad", "network-prohibited", "network-unknown", "network-unreachable",
			"protocol-unreachable", "required-option-missing", "source-quench", "source-route-failed", "timestamp-reply", "timestamp-request"},
		onlyIPv6: {"address-unreachable", "bad-header", "neighbor-advertisement", "neighbor-solicitation", "neighbour-advertisement",
			"neighbour-solicitation", "no-route", "packet-too-big", "unknown-header-type", "unknown-option"},
		bothFamilies: {"communication-prohibited", "destination-unreachable", "echo-reply", "echo-request", "parameter-problem",
			"port-unreachable", "redirect", "router-advertisement", "router-solicitation", "time-exceeded",
			"ttl-zero-during-reassembly", "ttl-zero-during-transit"},
	}
	names := 0
	for in, list := range want {
		names += len(list)
		for _, name := range list {
			if got := icmpFamilies(name); got != in {
				t.Errorf("%s exists in %s, want %s", name, got, in)
			}
		}
	}
	if names != len(ICMPTypes) {
		t.Errorf("%d names, want %d", len(ICMPTypes), names)
	}
}
