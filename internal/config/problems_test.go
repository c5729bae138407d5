package config

import (
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/uci"
)

func parse(t *testing.T, text string) *uci.File {
	t.Helper()
	file, err := uci.Parse("loadbalance", []byte(text))
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return file
}

// Texts to which the cases below add: a member, and a second one.
const (
	twoMembers = "config member wan1\nconfig member wan2\n"
	pinned     = "config member wan1\n\toption mark 0x5000000\n\toption table 900\n\toption device eth1\n"
)

// TestProblems holds the exact text of every message.
func TestProblems(t *testing.T) {
	for _, c := range allProblemCases() {
		t.Run(c.name, func(t *testing.T) {
			_, problems := Read(parse(t, c.text))
			var got []string
			for _, p := range problems {
				got = append(got, p.Severity.String()+" "+p.String())
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func globals(option string) string { return "config globals globals\n\t" + option + "\n" }
func member(options ...string) string {
	return "config member wan1\n\t" + strings.Join(options, "\n\t") + "\n"
}
func policy(options ...string) string {
	return twoMembers + "config policy p\n\t" + strings.Join(options, "\n\t") + "\n"
}
func rule(options ...string) string {
	return "config rule r\n\t" + strings.Join(options, "\n\t") + "\n"
}
func set(options ...string) string {
	return "config ipset s\n\t" + strings.Join(options, "\n\t") + "\n"
}

type problemCase struct {
	name string
	text string
	want []string
}

func allProblemCases() []problemCase {
	return slices.Concat(problemCases, ruleProblemCases, hintProblemCases)
}

var problemCases = []problemCase{
	// Sections and names.
	{"section type", "config membr wan1\n", []string{
		`warning loadbalance:1: membr 'wan1': section type 'membr' is unknown (did you mean 'member'?)`,
	}},
	{"mwan3 interface", "config interface wan1\n", []string{
		`warning loadbalance:1: interface 'wan1': section type 'interface' is mwan3's; here an uplink is a 'member' (loadbalance import-mwan3 converts a whole file)`,
	}},
	{"hostile section type", "config 'a;b' x\n", []string{
		`warning loadbalance:1: 'a;b' 'x': section type 'a;b' is unknown`,
	}},
	{"anonymous member", "config member\n", []string{
		`error loadbalance:1: member '@member[0]': has no name (config member 'NAME')`,
	}},
	{"anonymous policy", "config policy\n", []string{
		`error loadbalance:1: policy '@policy[0]': has no name (config policy 'NAME')`,
	}},
	{"anonymous ipset", "config ipset\n", []string{
		`error loadbalance:1: ipset '@ipset[0]': has no name (config ipset 'NAME')`,
	}},
	{"long name", "config member " + strings.Repeat("a", 33) + "\n", []string{
		`error loadbalance:1: member 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa': the name must be 1 to 32 letters, digits or '_'`,
	}},
	{"long rule name", "config rule " + strings.Repeat("a", 33) + "\n", []string{
		`error loadbalance:1: rule 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa': the name must be 1 to 32 letters, digits or '_'`,
	}},
	{"reserved name", "config member main\n", []string{
		`error loadbalance:1: member 'main': the name 'main' is reserved`,
	}},
	{"member balanced", "config member balanced\n", []string{
		`error loadbalance:1: member 'balanced': the name 'balanced' is reserved for the policy of unmatched traffic`,
	}},
	{"two globals", "config globals globals\nconfig globals more\n", []string{
		`error loadbalance:2: globals 'more': section 'globals' already exists (line 1)`,
	}},
	{"unknown option", member("option wieght 3"), []string{
		`warning loadbalance:2: member 'wan1': option 'wieght' is unknown (did you mean 'weight'?)`,
	}},
	{"unknown option, nothing near", member("option colour red"), []string{
		`warning loadbalance:2: member 'wan1': option 'colour' is unknown`,
	}},
	{"unknown option, hostile", member("option 'a_very_long_option_name_that_nobody_would_ever_write_into_a_file_by_hand' 1"), []string{
		`warning loadbalance:2: member 'wan1': option 'a_very_long_option_name_that_nobody_would_ever_write_into_a_...' is unknown`,
	}},
	{"list for one value", member("list weight 1", "list weight 2"), []string{
		`error loadbalance:3: member 'wan1': option 'weight' takes one value, not a list of 2`,
	}},

	// Globals.
	{"boolean", globals("option enabled maybe"), []string{
		`error loadbalance:2: globals 'globals': option 'enabled': 'maybe' is neither 1 (on, true, yes, enabled) nor 0 (off, false, no, disabled)`,
	}},
	{"mask no number", globals("option mark_mask 0xzz"), []string{
		`error loadbalance:2: globals 'globals': option 'mark_mask': '0xzz' is not a number, such as 0x3f000000`,
	}},
	{"mask underscore", globals("option mark_mask 0x3_f00"), []string{
		`error loadbalance:2: globals 'globals': option 'mark_mask': '0x3_f00' is not a number, such as 0x3f000000`,
	}},
	{"mask zero", globals("option mark_mask 0"), []string{
		`error loadbalance:2: globals 'globals': option 'mark_mask': '0' has fewer than 3 bits`,
	}},
	{"mask too small", globals("option mark_mask 0x3000000"), []string{
		`error loadbalance:2: globals 'globals': option 'mark_mask': '0x3000000' has fewer than 3 bits`,
	}},
	{"mask too large", globals("option mark_mask 0x1ffffffff"), []string{
		`error loadbalance:2: globals 'globals': option 'mark_mask': '0x1ffffffff' has more than 32 bits`,
	}},
	{"balance", globals("option balance randm"), []string{
		`error loadbalance:2: globals 'globals': option 'balance': 'randm' is not one of nth, random, source (did you mean 'random'?)`,
	}},
	{"loglevel", globals("option loglevel loud"), []string{
		`error loadbalance:2: globals 'globals': option 'loglevel': 'loud' is not one of error, warning, notice, info, debug`,
	}},
	{"bypass host bits", globals("list bypass 10.1.2.3/8"), []string{
		`warning loadbalance:2: globals 'globals': option 'bypass': '10.1.2.3/8' has host bits set, 10.0.0.0/8 is used`,
	}},
	{"bypass everything", globals("list bypass 0.0.0.0/0"), []string{
		`error loadbalance:2: globals 'globals': option 'bypass': '0.0.0.0/0' matches every address, which a set cannot hold`,
	}},
	{"bypass host name", globals("list bypass example.org"), []string{
		`error loadbalance:2: globals 'globals': option 'bypass': 'example.org' is a host name; an address is needed`,
	}},
	{"bypass mapped", globals("list bypass ::ffff:10.0.0.0/104"), []string{
		`error loadbalance:2: globals 'globals': option 'bypass': '::ffff:10.0.0.0/104' is an IPv4 prefix, write it as IPv4`,
	}},

	// Members.
	{"device and interface", member("option device eth1", "option interface wan"), []string{
		`error loadbalance:3: member 'wan1': options 'device' and 'interface' exclude each other`,
	}},
	{"device and interface6", member("option device eth1", "option interface6 wan6"), []string{
		`error loadbalance:3: member 'wan1': options 'device' and 'interface6' exclude each other`,
	}},
	{"device wildcard", member("option device eth+"), []string{
		`error loadbalance:2: member 'wan1': option 'device': 'eth+' is not a device name (1 to 15 characters, no spaces, quotes, slashes or wildcards)`,
	}},
	{"device option", member("option device -jACCEPT"), []string{
		`error loadbalance:2: member 'wan1': option 'device': '-jACCEPT' is not a device name (1 to 15 characters, no spaces, quotes, slashes or wildcards)`,
	}},
	{"device quotes and newline", "config member wan1\n\toption device 'a\"b\n-j ACCEPT'\n", []string{
		`error loadbalance:2: member 'wan1': option 'device': 'a"b\n-j ACCEPT' is not a device name (1 to 15 characters, no spaces, quotes, slashes or wildcards)`,
	}},
	{"device long", member("option device abcdefghijklmnop"), []string{
		`error loadbalance:2: member 'wan1': option 'device': 'abcdefghijklmnop' is not a device name (1 to 15 characters, no spaces, quotes, slashes or wildcards)`,
	}},
	{"device lo", member("option device lo"), []string{
		`error loadbalance:2: member 'wan1': option 'device': 'lo' is the router itself, not an uplink`,
	}},
	{"device all", member("option device all"), []string{
		`error loadbalance:2: member 'wan1': option 'device': 'all' is not a device name (1 to 15 characters, no spaces, quotes, slashes or wildcards)`,
	}},
	{"device huge", member("option device '" + strings.Repeat("x", 1<<20) + "'"), []string{
		`error loadbalance:2: member 'wan1': option 'device': 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' is not a device name (1 to 15 characters, no spaces, quotes, slashes or wildcards)`,
	}},
	{"interface", member("option interface 'wan 1'"), []string{
		`error loadbalance:2: member 'wan1': option 'interface': 'wan 1' is not an interface name (1 to 32 letters, digits, '_', '-' or '.')`,
	}},
	{"interface6", member("option interface6 -wan"), []string{
		`error loadbalance:2: member 'wan1': option 'interface6': '-wan' is not an interface name (1 to 32 letters, digits, '_', '-' or '.')`,
	}},
	{"gateway", member("option gateway 10.0.0.256"), []string{
		`error loadbalance:2: member 'wan1': option 'gateway': '10.0.0.256' is not an IP address`,
	}},
	{"gateway of the wrong family", member("option gateway 2001:db8::1"), []string{
		`error loadbalance:2: member 'wan1': option 'gateway': '2001:db8::1' is not an IPv4 address`,
	}},
	{"gateway6 of the wrong family", member("option gateway6 10.0.0.1"), []string{
		`error loadbalance:2: member 'wan1': option 'gateway6': '10.0.0.1' is not an IPv6 address`,
	}},
	{"gateway multicast", member("option gateway 224.0.0.1"), []string{
		`error loadbalance:2: member 'wan1': option 'gateway': '224.0.0.1' cannot be the address of a host`,
	}},
	{"gateway broadcast", member("option gateway 255.255.255.255"), []string{
		`error loadbalance:2: member 'wan1': option 'gateway': '255.255.255.255' cannot be the address of a host`,
	}},
	{"gateway6 zone", member("option gateway6 fe80::1%eth1"), []string{
		`error loadbalance:2: member 'wan1': option 'gateway6': 'fe80::1%eth1': leave out the part after '%', the device is known`,
	}},
	{"gateway6 mapped", member("option gateway6 ::ffff:10.0.0.1"), []string{
		`error loadbalance:2: member 'wan1': option 'gateway6': '::ffff:10.0.0.1' is an IPv4 address, write it as 10.0.0.1`,
	}},
	{"gateway host name", member("option gateway modem.lan"), []string{
		`error loadbalance:2: member 'wan1': option 'gateway': 'modem.lan' is a host name; an address is needed`,
	}},
	{"prefix6 host bits", member("list prefix6 2001:db8::1/56"), []string{
		`warning loadbalance:2: member 'wan1': option 'prefix6': '2001:db8::1/56' has host bits set, 2001:db8::/56 is used`,
	}},
	{"prefix6 length", member("list prefix6 2001:db8::"), []string{
		`error loadbalance:2: member 'wan1': option 'prefix6': '2001:db8::' has no prefix length, such as /56`,
	}},
	{"prefix6 IPv4", member("list prefix6 10.0.0.0/8"), []string{
		`error loadbalance:2: member 'wan1': option 'prefix6': '10.0.0.0/8' is not a routable IPv6 prefix`,
	}},
	{"prefix6 multicast", member("list prefix6 ff02::/16"), []string{
		`error loadbalance:2: member 'wan1': option 'prefix6': 'ff02::/16' is not a routable IPv6 prefix`,
	}},
	{"prefix6 everything", member("list prefix6 ::/0"), []string{
		`error loadbalance:2: member 'wan1': option 'prefix6': '::/0' is not a routable IPv6 prefix`,
	}},
	{"prefix6 link-local", member("list prefix6 fe80::/64"), []string{
		`error loadbalance:2: member 'wan1': option 'prefix6': 'fe80::/64' is not a routable IPv6 prefix`,
	}},
	{"weight text", member("option weight heavy"), []string{
		`error loadbalance:2: member 'wan1': option 'weight': 'heavy' is not a whole number`,
	}},
	{"weight zero", member("option weight 0"), []string{
		`error loadbalance:2: member 'wan1': option 'weight': '0' is out of range (1 to 1000)`,
	}},
	{"weight huge", member("option weight 99999999999999999999"), []string{
		`error loadbalance:2: member 'wan1': option 'weight': '99999999999999999999' is out of range (1 to 1000)`,
	}},
	{"metric", member("option metric 257"), []string{
		`error loadbalance:2: member 'wan1': option 'metric': '257' is out of range (1 to 256)`,
	}},
	{"mark text", member("option mark five"), []string{
		`error loadbalance:2: member 'wan1': option 'mark': 'five' is not a number, such as 0x3f000000`,
	}},
	{"mark zero", member("option mark 0"), []string{
		`error loadbalance:2: member 'wan1': option 'mark': '0' is the mark of unmarked packets`,
	}},
	{"mark outside", member("option mark 0x80000"), []string{
		`error loadbalance:2: member 'wan1': option 'mark': 0x80000 lies outside mark_mask 0x3f000000`,
	}},
	{"mark reserved", member("option mark 0x3f000000"), []string{
		`error loadbalance:2: member 'wan1': option 'mark': 0x3f000000 is reserved, members can have 0x1000000 to 0x3c000000`,
	}},
	{"mark wide mask", globals("option mark_mask 0xffff") + member("option mark 200"), []string{
		`error loadbalance:4: member 'wan1': option 'mark': 0xc8 is reserved, members can have 0x1 to 0xc7`,
	}},
	{"table of the system", member("option table 254"), []string{
		`error loadbalance:2: member 'wan1': option 'table': 254 is one of the kernel's own tables (default 253, main 254, local 255)`,
	}},
	{"table zero", member("option table 0"), []string{
		`error loadbalance:2: member 'wan1': option 'table': '0' is out of range (1 to 2147483647)`,
	}},
	{"table of another index", member("option table 305"), []string{
		`error loadbalance:2: member 'wan1': option 'table': 305 is in the range that is assigned automatically, choose one outside 300 to 363`,
	}},
	{"table of another mark", member("option mark 0x5000000", "option table 306"), []string{
		`error loadbalance:3: member 'wan1': option 'table': 306 is in the range that is assigned automatically, choose one outside 300 to 363`,
	}},
	{"table too large", member("option table 2147483648"), []string{
		`error loadbalance:2: member 'wan1': option 'table': '2147483648' is out of range (1 to 2147483647)`,
	}},
	{"same mark", pinned + "config member wan2\n\toption mark 0x5000000\n", []string{
		`error loadbalance:6: member 'wan2': mark 0x5000000 already belongs to member 'wan1' (line 1)`,
	}},
	{"same table", pinned + "config member wan2\n\toption table 900\n", []string{
		`error loadbalance:6: member 'wan2': table 900 already belongs to member 'wan1' (line 1)`,
	}},
	{"same device", pinned + "config member wan2\n\toption device eth1\n", []string{
		`error loadbalance:6: member 'wan2': device 'eth1' already belongs to member 'wan1' (line 1)`,
	}},
	{"same device and gateway", "config member wan1\n\toption device eth1\n\toption gateway 10.0.0.1\n" +
		"config member wan2\n\toption device eth1\n\toption gateway 10.0.0.1\n", []string{
		`error loadbalance:5: member 'wan2': device 'eth1' with gateway 10.0.0.1 already belongs to member 'wan1' (line 1)`,
	}},
	{"same device, another gateway", "config member wan1\n\toption device eth1\n" +
		"config member wan2\n\toption device eth1\n\toption gateway 10.0.0.2\n", nil},
	{"same interface", "config member wan1\nconfig member wan2\n\toption interface wan1\n", []string{
		`error loadbalance:3: member 'wan2': interface 'wan1' already belongs to member 'wan1' (line 1)`,
	}},
	{"same interface6", "config member wan1\n\toption interface6 wan6\nconfig member wan6\n", []string{
		`error loadbalance:3: member 'wan6': interface 'wan6' already belongs to member 'wan1' (line 1)`,
	}},
	{"disabled shares nothing", pinned + "config member wan2\n\toption device eth1\n\toption enabled 0\n", nil},
	{"interface is its own interface6", member("option interface wan", "option interface6 wan"), nil},
	{"mask full", globals("option mark_mask 0x7000000") + "config member a\nconfig member b\nconfig member c\nconfig member d\nconfig member e\n", []string{
		`error loadbalance:7: member 'e': mark_mask 0x7000000 has room for 4 enabled members, this is number 5`,
	}},
	{"faulty mask hides pins", globals("option mark_mask 0x1000000") + member("option mark 0x80000"), []string{
		`error loadbalance:2: globals 'globals': option 'mark_mask': '0x1000000' has fewer than 3 bits`,
	}},

	// Health.
	{"track_ip host name", member("list track_ip one.one.one.one"), []string{
		`error loadbalance:2: member 'wan1': option 'track_ip': 'one.one.one.one' is a host name; an address is needed`,
	}},
	{"track_ip prefix", member("list track_ip 1.1.1.0/24"), []string{
		`error loadbalance:2: member 'wan1': option 'track_ip': '1.1.1.0/24' is not an IP address`,
	}},
	{"track_ip loopback", member("list track_ip 127.0.0.1"), []string{
		`error loadbalance:2: member 'wan1': option 'track_ip': '127.0.0.1' cannot be the address of a host`,
	}},
	{"track_ip twice", member("list track_ip 1.1.1.1", "list track_ip 1.1.1.1"), []string{
		`warning loadbalance:3: member 'wan1': option 'track_ip': '1.1.1.1' is listed twice`,
	}},
	{"track_method", member("list track_ip 1.1.1.1", "option track_method png"), []string{
		`error loadbalance:3: member 'wan1': option 'track_method': 'png' is not one of ping, arp, tcp, dns, http (did you mean 'ping'?)`,
	}},
	{"track_method alone", member("option track_method ping"), []string{
		`warning loadbalance:2: member 'wan1': option 'track_method' has no effect without 'track_ip'`,
	}},
	{"track_port without use", member("list track_ip 1.1.1.1", "option track_port 80"), []string{
		`warning loadbalance:3: member 'wan1': option 'track_port' has no effect with track_method 'ping'`,
	}},
	{"track_port", member("list track_ip 1.1.1.1", "option track_method tcp", "option track_port 0"), []string{
		`error loadbalance:4: member 'wan1': option 'track_port': '0' is out of range (1 to 65535)`,
	}},
	{"http without URL", member("list track_ip 1.1.1.1", "option track_method http"), []string{
		`error loadbalance:3: member 'wan1': track_method 'http' needs option 'track_url'`,
	}},
	{"URL without http", member("list track_ip 1.1.1.1", "option track_url http://example.org/"), []string{
		`warning loadbalance:3: member 'wan1': option 'track_url' has no effect with track_method 'ping'`,
	}},
	{"URL https", member("list track_ip 1.1.1.1", "option track_method http", "option track_url https://example.org/"), []string{
		`error loadbalance:4: member 'wan1': option 'track_url': 'https://example.org/' does not begin with http:// (for https use track_method 'tcp')`,
	}},
	{"URL blank", member("list track_ip 1.1.1.1", "option track_method http", "option track_url 'http://example.org/a b'"), []string{
		`error loadbalance:4: member 'wan1': option 'track_url': 'http://example.org/a b' is not a URL`,
	}},
	{"URL host", member("list track_ip 1.1.1.1", "option track_method http", "option track_url http:///x"), []string{
		`error loadbalance:4: member 'wan1': option 'track_url': 'http:///x' is not a URL: no valid host`,
	}},
	{"URL port", member("list track_ip 1.1.1.1", "option track_method http", "option track_url http://example.org:0/x"), []string{
		`error loadbalance:4: member 'wan1': option 'track_url': 'http://example.org:0/x' is not a URL: no valid port`,
	}},
	{"track_status", member("list track_ip 1.1.1.1", "option track_status 600"), []string{
		`error loadbalance:3: member 'wan1': option 'track_status': '600' is out of range (100 to 599)`,
		`warning loadbalance:3: member 'wan1': option 'track_status' has no effect with track_method 'ping'`,
	}},
	{"portal_retry", member("list track_ip 1.1.1.1", "option portal_retry 0"), []string{
		`error loadbalance:3: member 'wan1': option 'portal_retry': '0' is out of range (1s to 24h)`,
		`warning loadbalance:3: member 'wan1': option 'portal_retry' has no effect with track_method 'ping'`,
	}},
	{"reliability without targets", member("option reliability 2"), []string{
		`warning loadbalance:2: member 'wan1': option 'reliability' has no effect without 'track_ip'`,
	}},
	{"recovery_latency without targets", member("option recovery_latency 100"), []string{
		`warning loadbalance:2: member 'wan1': option 'recovery_latency' has no effect without 'track_ip'`,
	}},
	{"reliability", member("list track_ip 1.1.1.1", "option reliability 2"), []string{
		`error loadbalance:3: member 'wan1': option 'reliability': 2 must answer, but track_ip lists only 1`,
	}},
	{"interval", member("list track_ip 1.1.1.1", "option interval -1"), []string{
		`error loadbalance:3: member 'wan1': option 'interval': '-1' is not a time, such as 500ms, 2s or 1m`,
	}},
	{"interval zero", member("list track_ip 1.1.1.1", "option interval 0"), []string{
		`error loadbalance:3: member 'wan1': option 'interval': '0' is out of range (50ms to 1h)`,
	}},
	{"interval unit", member("list track_ip 1.1.1.1", "option interval 5d"), []string{
		`error loadbalance:3: member 'wan1': option 'interval': '5d' is not a time, such as 500ms, 2s or 1m`,
	}},
	{"interval of hours", member("list track_ip 1.1.1.1", "option interval 5h"), []string{
		`error loadbalance:3: member 'wan1': option 'interval': '5h' is out of range (50ms to 1h)`,
	}},
	{"timeout of a probe", member("list track_ip 1.1.1.1", "option timeout 2m"), []string{
		`error loadbalance:3: member 'wan1': option 'timeout': '2m' is out of range (10ms to 1m)`,
	}},
	{"down", member("list track_ip 1.1.1.1", "option down 0"), []string{
		`error loadbalance:3: member 'wan1': option 'down': '0' is out of range (1 to 1000)`,
	}},
	{"loss", member("list track_ip 1.1.1.1", "option failure_loss 101"), []string{
		`error loadbalance:3: member 'wan1': option 'failure_loss': '101' is out of range (0 to 100)`,
	}},
	{"loss upside down", member("list track_ip 1.1.1.1", "option failure_loss 10", "option recovery_loss 20"), []string{
		`error loadbalance:4: member 'wan1': option 'recovery_loss': 20 is more than failure_loss 10`,
	}},
	{"latency upside down", member("list track_ip 1.1.1.1", "option failure_latency 100", "option recovery_latency 1s"), []string{
		`error loadbalance:4: member 'wan1': option 'recovery_latency': 1s is more than failure_latency 100ms`,
	}},
	{"latency range", member("list track_ip 1.1.1.1", "option failure_latency 2m"), []string{
		`error loadbalance:3: member 'wan1': option 'failure_latency': '2m' is out of range (0s to 1m)`,
	}},
	{"initial_state", member("list track_ip 1.1.1.1", "option initial_state up"), []string{
		`error loadbalance:3: member 'wan1': option 'initial_state': 'up' is not one of online, offline`,
	}},
	{"on_dead", member("option on_dead flush"), []string{
		`error loadbalance:2: member 'wan1': option 'on_dead': 'flush' is not one of reset, clear, none`,
	}},
	{"failback", member("option failback nwe"), []string{
		`error loadbalance:2: member 'wan1': option 'failback': 'nwe' is not one of new, all, never (did you mean 'new'?)`,
	}},

	// Policies.
	{"unknown member", policy("list use_member wan3"), []string{
		`error loadbalance:4: policy 'p': option 'use_member': there is no member 'wan3' (did you mean 'wan1'?)`,
	}},
	{"suggestion of a policy", twoMembers + "config policy video\nconfig policy p\n\tlist use_member vidoe\n", []string{
		`error loadbalance:5: policy 'p': option 'use_member': there is no member 'vidoe'`,
	}},
	{"policy is no member", twoMembers + "config policy wan\nconfig policy p\n\tlist use_member wan\n", []string{
		`error loadbalance:5: policy 'p': option 'use_member': there is no member 'wan' (did you mean 'wan1'?)`,
	}},
	{"member twice", policy("list use_member wan1", "list use_member 'wan1 weight=2'"), []string{
		`error loadbalance:5: policy 'p': option 'use_member': member 'wan1' is already listed (line 4)`,
	}},
	{"use_member key", policy("list use_member 'wan1 wieght=2'"), []string{
		`error loadbalance:4: policy 'p': option 'use_member': 'wieght=2' is neither weight=N nor metric=N (each member needs its own 'list use_member')`,
	}},
	{"use_member two names", policy("option use_member 'wan1 wan2'"), []string{
		`error loadbalance:4: policy 'p': option 'use_member': 'wan2' is neither weight=N nor metric=N (each member needs its own 'list use_member')`,
	}},
	{"use_member range", policy("list use_member 'wan1 weight=0'"), []string{
		`error loadbalance:4: policy 'p': option 'use_member': weight: '0' is out of range (1 to 1000)`,
	}},
	{"use_member key twice", policy("list use_member 'wan1 metric=1 metric=2'"), []string{
		`error loadbalance:4: policy 'p': option 'use_member': metric is given twice`,
	}},
	{"use_member blank", policy("list use_member ' '"), []string{
		`error loadbalance:4: policy 'p': option 'use_member': ' ' names no member`,
	}},
	{"disabled members", "config member wan1\n\toption enabled 0\nconfig policy p\n\tlist use_member wan1\n" +
		"config rule r\n\toption use_policy p\nconfig rule off\n\toption enabled 0\n\toption use_policy p\n", []string{
		`warning loadbalance:6: rule 'r': all members of policy 'p' are disabled: its last_resort applies`,
	}},
	{"one disabled member", "config member wan1\n\toption enabled 0\nconfig member wan2\nconfig policy p\n\tlist use_member wan1\n\tlist use_member wan2\n" +
		"config rule r\n\toption use_policy p\n", nil},
	{"faulty member", "config member wan1\n\toption weight 0\nconfig policy p\n\tlist use_member wan1\nconfig rule r\n\toption use_policy p\n", []string{
		`error loadbalance:2: member 'wan1': option 'weight': '0' is out of range (1 to 1000)`,
		`warning loadbalance:4: policy 'p': option 'use_member': member 'wan1' is faulty (line 1)`,
		`warning loadbalance:6: rule 'r': left out, because policy 'p' is faulty (line 3)`,
	}},
	{"last_resort", policy("option last_resort drop"), []string{
		`error loadbalance:4: policy 'p': option 'last_resort': 'drop' is not one of unreachable, blackhole, default`,
	}},
	{"policy balance", policy("option balance rr"), []string{
		`error loadbalance:4: policy 'p': option 'balance': 'rr' is not one of nth, random, source`,
	}},
}
