package probe

import (
	"net/netip"
	"testing"
)

func TestEchoRoundTrip(t *testing.T) {
	sent := echo{ID: 0xabcd, Sequence: 0x1234, Token: 0x0102030405060708, Round: 0x56781234, Target: 0x9abc}
	sent.Checksum = checksum(sent.message())
	b := make([]byte, 24+echoSize) // an IPv4 header with an option
	b[0] = 0x46
	copy(b[24:], sent.message())
	if got, ok := parseEcho4(b); !ok || got != sent {
		t.Errorf("%+v, %v: want %+v", got, ok, sent)
	}
	b[30]++
	if _, ok := parseEcho4(b); ok {
		t.Error("accepted with a wrong checksum")
	}
}

func TestChecksum(t *testing.T) {
	for _, test := range []struct {
		data []byte
		want uint16
	}{
		{nil, 0xffff},
		{[]byte{0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7}, ^uint16(0xddf2)}, // the example of RFC 1071
		{[]byte{0xff, 0xff, 0, 1}, 0xfffe},
		{[]byte{1}, ^uint16(0x0100)},
	} {
		if got := checksum(test.data); got != test.want {
			t.Errorf("checksum(%x) = %#x, want %#x", test.data, got, test.want)
		}
	}
}

func TestSolicitedNode(t *testing.T) {
	got := solicitedNode(netip.MustParseAddr("2001:db8::1:2345:6789"))
	if want := netip.MustParseAddr("ff02::1:ff45:6789"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSplitURL(t *testing.T) {
	for _, test := range []struct{ url, host, path string }{
		{"http://example.org", "example.org", "/"},
		{"http://example.org/", "example.org", "/"},
		{"http://example.org:8080/a/b?c=d", "example.org:8080", "/a/b?c=d"},
		{"http://example.org?c=/d", "example.org", "/?c=/d"},
		{"http://[2001:db8::1]:80/a#b", "[2001:db8::1]:80", "/a"},
		{"http://example.org#b", "example.org", "/"},
	} {
		if host, path := splitURL(test.url); host != test.host || path != test.path {
			t.Errorf("%s: %q and %q, want %q and %q", test.url, host, path, test.host, test.path)
		}
	}
}

func TestParseStatus(t *testing.T) {
	for _, test := range []struct {
		line   string
		status int
		ok     bool
	}{
		{"HTTP/1.1 204 No Content\r\n", 204, true},
		{"HTTP/1.0 511\r\n", 511, true},
		{"HTTP/1.1 204\n", 204, true},
		{"HTTP/1.1 2040\n", 0, false},
		{"HTTP/1.1 20\r\n", 0, false},
		{"HTTP/1.1 204", 0, false},
		{"HTTP/2.0 204 \r\n", 0, false},
		{"http/1.1 204 \r\n", 0, false},
		{"", 0, false},
	} {
		status, ok := parseStatus([]byte(test.line))
		if ok != test.ok || ok && status != test.status {
			t.Errorf("%q: %d, %v: want %d, %v", test.line, status, ok, test.status, test.ok)
		}
	}
}

// What comes from the network may be anything. A parser must not fail on it,
// and what it accepts must be of the right kind.
func FuzzParsers(f *testing.F) {
	b := make([]byte, 20+echoSize)
	b[0] = 0x45
	copy(b[20:], echo{ID: 1, Token: 2}.message())
	seal(b[20:])
	f.Add(b)
	arp := arpMessage(hardware{1}, [4]byte{2}, [4]byte{3})
	arp[7] = arpReply
	f.Add(arp)
	advertisement := make([]byte, advertisementSize)
	advertisement[0], advertisement[4] = neighbourAdvertisement, solicited
	f.Add(advertisement)
	f.Add([]byte("HTTP/1.1 204 No Content\r\n"))
	f.Add([]byte{0, 1, dnsResponse, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, ok := parseEcho4(b); ok {
			if got, ok := parseEcho(e.message(), echoReply4); !ok || got != e {
				t.Errorf("%+v reads as %+v", e, got)
			}
		}
		if mac, sender, receiver, ok := parseARP(b); ok {
			again := arpMessage(mac, sender.As4(), receiver.As4())
			again[7] = arpReply
			if m, s, r, ok := parseARP(again); !ok || m != mac || s != sender || r != receiver {
				t.Errorf("%v %v %v reads as %v %v %v", mac, sender, receiver, m, s, r)
			}
		}
		if wanted, ok := parseAdvertisement(b); ok && (!wanted.Is6() || b[0] != neighbourAdvertisement) {
			t.Errorf("advertisement of %v", wanted)
		}
		if isResponse(b, 1) && b[2] < dnsResponse {
			t.Errorf("not a response: %x", b)
		}
		if status, ok := parseStatus(b); ok && (status < 0 || status > 999) {
			t.Errorf("status %d", status)
		}
	})
}

// Control messages come from the kernel, but their parser reads what is left
// of the last datagram where there are none.
func FuzzArrival(f *testing.F) {
	f.Add(make([]byte, controlSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		packet{control: b[:min(len(b), controlSize)]}.arrival()
	})
}

// What a portal says goes into the environment of scripts.
func TestAbsolute(t *testing.T) {
	for reference, want := range map[string]string{
		"http://portal/":               "http://portal/",
		"HTTPS://portal:8443/a?b#c":    "HTTPS://portal:8443/a?b#c",
		"//portal/a":                   "http://portal/a",
		"/login?b=1":                   "http://example.org:81/login?b=1",
		"login.html":                   "http://example.org:81/login.html",
		"":                             "http://example.org:81/",
		"-K/etc/passwd":                "http://example.org:81/-K/etc/passwd",
		"javascript:alert(1)":          "http://example.org:81/javascript:alert(1)",
		"file:///etc/passwd":           "http://example.org:81/file:///etc/passwd",
		"http://a/ b\x00\x01\tä":       "http://a/%20b%00%01%09%C3%A4",
		"http://a/$(reboot)`b`\"'\\{}": "http://a/%24(reboot)%60b%60%22%27%5C%7B%7D",
	} {
		if got := absolute(reference, "example.org:81"); got != want {
			t.Errorf("%q: %q, want %q", reference, got, want)
		}
	}
}
