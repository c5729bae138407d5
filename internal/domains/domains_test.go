package domains

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// records are an answer section: name, type, data, time to live.
type records []struct {
	name, kind, data string
	ttl              uint32
}

// message is a DNS answer.
func message(t testing.TB, question string, section records) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{Response: true})
	b.EnableCompression()
	err := errors.Join(b.StartQuestions(),
		b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(question), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}),
		b.StartAnswers())
	for _, r := range section {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(r.name), Class: dnsmessage.ClassINET, TTL: r.ttl}
		switch r.kind {
		case "A":
			err = errors.Join(err, b.AResource(h, dnsmessage.AResource{A: netip.MustParseAddr(r.data).As4()}))
		case "AAAA":
			err = errors.Join(err, b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(r.data).As16()}))
		case "CNAME":
			err = errors.Join(err, b.CNAMEResource(h, dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(r.data)}))
		case "TXT":
			err = errors.Join(err, b.TXTResource(h, dnsmessage.TXTResource{TXT: []string{r.data}}))
		}
	}
	text, finish := b.Finish()
	if err = errors.Join(err, finish); err != nil {
		t.Fatal(err)
	}
	return text
}

func TestParseAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		question string
		section  records
		want     string // names: addresses
	}{
		"an address":  {"Films.EXAMPLE.", records{{"films.example.", "A", "203.0.113.1", 0}}, "films.example: 203.0.113.1/0"},
		"both kinds":  {"a.", records{{"a.", "A", "203.0.113.1", 1}, {"a.", "AAAA", "2001:db8::1", 2}}, "a: 203.0.113.1/1 2001:db8::1/2"},
		"no address":  {"a.", nil, "a:"},
		"a chain":     {"a.", records{{"a.", "CNAME", "B.", 1}, {"b.", "CNAME", "c.", 1}, {"c.", "A", "203.0.113.1", 1}}, "a b c: 203.0.113.1/1"},
		"in disorder": {"a.", records{{"c.", "A", "203.0.113.1", 1}, {"b.", "CNAME", "c.", 1}, {"a.", "CNAME", "b.", 1}}, "a b c: 203.0.113.1/1"},
		"a loop":      {"a.", records{{"a.", "CNAME", "a.", 1}, {"a.", "A", "203.0.113.1", 1}}, strings.Repeat("a ", maxChain+1)[:2*maxChain+1] + ": 203.0.113.1/1"},
		"something that nobody asked for": {"a.", records{{"b.", "A", "203.0.113.1", 1}, {"a.", "A", "203.0.113.2", 1}, {"b.", "CNAME", "a.", 1}},
			"a: 203.0.113.2/1"},
		"other types": {"a.", records{{"a.", "TXT", "203.0.113.1", 1}, {"a.", "A", "203.0.113.2", 1}}, "a: 203.0.113.2/1"},
	} {
		a, ok := parseAnswer(message(t, c.question, c.section))
		got := strings.Join(a.names, " ") + ":"
		for _, r := range a.addresses {
			got += fmt.Sprintf(" %s/%d", r.address, r.ttl)
		}
		if got != c.want || !ok {
			t.Errorf("%s: got %s, %v, want %s", name, got, ok, c.want)
		}
	}
}

// TestNoAnswer: what is no answer to a question teaches nothing.
func TestNoAnswer(t *testing.T) {
	right := message(t, "a.", records{{"a.", "A", "203.0.113.1", 1}})
	for name, change := range map[string]func([]byte) []byte{
		"a question":      func(b []byte) []byte { b[2] &^= 0x80; return b },
		"an update":       func(b []byte) []byte { b[2] |= 5 << 3; return b },
		"no such name":    func(b []byte) []byte { b[3] |= 3; return b },
		"without a name":  func(b []byte) []byte { b[5] = 0; return b[:12] },
		"another class":   func(b []byte) []byte { b[len(b)-4-2-4-1] = 3; return b },
		"a damaged type":  func(b []byte) []byte { b[len(b)-4-2-4-3] = 99; return b },
		"half a header":   func(b []byte) []byte { return b[:11] },
		"nothing":         func([]byte) []byte { return nil },
		"half a question": func(b []byte) []byte { return b[:14] },
		"half an address": func(b []byte) []byte { return b[:len(b)-2] },
	} {
		if a, _ := parseAnswer(change(slices.Clone(right))); len(a.addresses) > 0 {
			t.Errorf("%s: %v", name, a)
		}
	}
	// A truncated answer (TC) is as good as what it holds.
	right[2] |= 2
	if a, ok := parseAnswer(right); !ok || len(a.addresses) != 1 {
		t.Errorf("truncated: %v, %v", a, ok)
	}
}

// TestCutOff: the first fragment of a long answer has the first addresses.
func TestCutOff(t *testing.T) {
	var section records
	for i := range 250 {
		section = append(section, records{{"many.films.example.", "A", fmt.Sprintf("203.0.113.%d", i), 60}}...)
	}
	whole := message(t, "many.films.example.", section)
	if len(whole) < 4000 {
		t.Fatalf("%d bytes", len(whole))
	}
	if a, _ := parseAnswer(whole); len(a.addresses) != 250 {
		t.Errorf("%d addresses of 250", len(a.addresses))
	}
	a, ok := parseAnswer(whole[:1472])
	// 36 bytes come before the first record, each has 16.
	if want := (1472 - 36) / 16; len(a.addresses) != want || !ok {
		t.Errorf("%d addresses of the first fragment, want %d", len(a.addresses), want)
	}
}

func lessonTexts(all []lesson) []string {
	var texts []string
	for _, l := range all {
		texts = append(texts, fmt.Sprintf("%s %s %s", l.set.Name, l.domain, l.address))
	}
	return texts
}

func TestLessons(t *testing.T) {
	sets := []Set{
		{Set: plan.Set{Name: "films", Domains: []string{"films.example", "example.org"}, Entries: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}},
		{Set: plan.Set{Name: "live", Domains: []string{"live.example.org", "cdn.example"}}},
		{Set: plan.Set{Name: "both", Domains: []string{"example.org"}}},
		{Set: plan.Set{Name: "six", Domains: []string{"example.org"}}, Family: family.IPv6},
		{Set: plan.Set{Name: "top", Domains: []string{"org"}}},
	}
	m := newMatcher(sets)
	for name, c := range map[string]struct {
		names     string
		addresses string
		want      []string
	}{
		"the name itself":          {"films.example", "203.0.113.1", []string{"films films.example 203.0.113.1"}},
		"below it":                 {"a.b.films.example", "203.0.113.1", []string{"films films.example 203.0.113.1"}},
		"a name that ends alike":   {"myfilms.example", "203.0.113.1", nil},
		"above it":                 {"example", "203.0.113.1", nil},
		"of two sets":              {"www.example.org", "203.0.113.1", []string{"films example.org 203.0.113.1", "both example.org 203.0.113.1"}},
		"the longest counts":       {"x.live.example.org", "203.0.113.1", []string{"live live.example.org 203.0.113.1"}},
		"in each family by itself": {"x.live.example.org", "2001:db8::1", []string{"six example.org 2001:db8::1"}},
		"both families": {"example.org", "203.0.113.1 2001:db8::1", []string{
			"films example.org 203.0.113.1", "both example.org 203.0.113.1", "six example.org 2001:db8::1"}},
		"an unlisted network":     {"films.example x.elsewhere.example", "203.0.113.1", []string{"films films.example 203.0.113.1"}},
		"each name of the answer": {"films.example x.cdn.example", "203.0.113.1", []string{"films films.example 203.0.113.1", "live cdn.example 203.0.113.1"}},
		"two names, one domain":   {"a.films.example b.films.example", "203.0.113.1", []string{"films films.example 203.0.113.1"}},
		"listed already":          {"films.example", "198.51.100.7 203.0.113.1", []string{"films films.example 203.0.113.1"}},
		"blocked":                 {"films.example", "0.0.0.0 127.0.0.1 255.255.255.255 :: ::1", nil},
		"the shortest":            {"else.org", "203.0.113.1", []string{"top org 203.0.113.1"}},
		"nothing":                 {"", "203.0.113.1", nil},
	} {
		a := answer{names: strings.Fields(c.names)}
		if c.names == "" {
			a.names = []string{""}
		}
		for _, text := range strings.Fields(c.addresses) {
			a.addresses = append(a.addresses, record{address: netip.MustParseAddr(text)})
		}
		if got := lessonTexts(m.lessons(a)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// fakeSets are sets that keep what they are told.
type fakeSets struct {
	learnt []string
	fails  error
}

func (f *fakeSets) Learn(set string, entries ...ipset.Learnt) error {
	if f.fails != nil {
		return f.fails
	}
	for _, e := range entries {
		f.learnt = append(f.learnt, set+" "+e.String())
	}
	return nil
}

func (f *fakeSets) Learnt(string) ([]ipset.Learnt, error) { return nil, f.fails }

// TestEntries: each answer renews an entry, for what it says but for a day at
// least, and an address remembers all of the set's domains that had it.
func TestEntries(t *testing.T) {
	sets, told := &fakeSets{}, []string{}
	l := &Learner{Log: func(level, text string) { told = append(told, level+": "+text) }, sets: sets,
		matcher: newMatcher([]Set{{Set: plan.Set{Name: "films", Domains: []string{"films.example", "music.example"}}}, {Set: plan.Set{Name: "other", Domains: []string{"other.example"}}}}),
		known:   map[place][]string{}}
	address := netip.MustParseAddr("203.0.113.1")
	hear := func(name string, ttl uint32) {
		l.hear(answer{names: []string{name}, addresses: []record{{address, ttl}}})
	}
	for _, step := range []struct {
		name string
		ttl  uint32
		want string
	}{
		{"films.example", 0, "films 203.0.113.1 timeout 86400 comment 'films.example'"},
		{"films.example", 86401, "films 203.0.113.1 timeout 86401 comment 'films.example'"},
		{"music.example", 86400, "films 203.0.113.1 timeout 86400 comment 'films.example music.example'"},
		{"films.example", 1<<32 - 1, "films 203.0.113.1 timeout 2147483 comment 'music.example films.example'"},
		{"other.example", 60, "other 203.0.113.1 timeout 86400 comment 'other.example'"},
	} {
		sets.learnt = nil
		hear(step.name, step.ttl)
		if got := strings.Join(sets.learnt, ", "); got != step.want {
			t.Errorf("%s %d: %q, want %q", step.name, step.ttl, got, step.want)
		}
	}
	// What fails is told once, and not taken for done.
	for _, err := range []error{errors.New("full"), errors.New("full"), unix.ENOENT, errors.New("full"), errors.New("else")} {
		sets.fails = err
		hear("music.example", 0)
	}
	if want := []string{"warning: domains: full", "warning: domains: else"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if known := l.known[place{"films", address}]; !slices.Equal(known, []string{"music.example", "films.example"}) {
		t.Errorf("known are %q", known)
	}
}

// TestFragments: of the fragments of a message only the first one has a part of it.
func TestFragments(t *testing.T) {
	ipv4 := func(offset uint16) []byte {
		b := append([]byte{0x45, 0, 0, 0, 0, 0, byte(offset >> 8), byte(offset), 0, 17}, make([]byte, 10)...)
		return append(b, 0, 53, 0, 1, 0, 11, 0, 0, 'a', 'b', 'c', 'd')
	}
	ipv6 := func(next, inner byte, offset uint16) []byte {
		b := append([]byte{0x60, 0, 0, 0, 0, 0, next, 64}, make([]byte, 32)...)
		if next == 44 {
			b = append(b, inner, 0, byte(offset>>8), byte(offset), 0, 0, 0, 0)
		}
		return append(b, 0, 53, 0, 1, 0, 11, 0, 0, 'a', 'b', 'c', 'd')
	}
	for name, c := range map[string]struct {
		packet []byte
		want   string
	}{
		"whole": {ipv4(0x4000), "abc"}, "first": {ipv4(0x2000), "abc"}, "second": {ipv4(0x20b9), ""}, "last": {ipv4(0xb9), ""},
		"whole, IPv6": {ipv6(17, 0, 0), "abc"}, "first, IPv6": {ipv6(44, 17, 1), "abc"}, "second, IPv6": {ipv6(44, 17, 0x5a9), ""},
		"cut off": {ipv4(0)[:27], ""}, "shorter than it says": {ipv4(0)[:30], "ab"}, "nothing": {nil, ""},
		"half a header, IPv6": {ipv6(17, 0, 0)[:40], ""}, "half a header of a fragment": {ipv6(44, 17, 1)[:50], ""},
	} {
		if got := payload(c.packet); string(got) != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// FuzzDNSAnswer: whatever is sent, addresses are those of a chain of names that
// begins with the question, and a packet never gives more than it holds.
func FuzzDNSAnswer(f *testing.F) {
	header := func(b []byte) []byte {
		packet := make([]byte, ipv4Header+udpHeader)
		packet[0] = 0x45
		binary.BigEndian.PutUint16(packet[24:], uint16(udpHeader+len(b)))
		return append(packet, b...)
	}
	f.Add(header(message(f, "a.films.example.", records{{"a.films.example.", "CNAME", "b.example.", 1}, {"b.example.", "A", "203.0.113.1", 1}})))
	f.Add(header(message(f, "films.example.", records{{"films.example.", "AAAA", "2001:db8::1", 1}, {"films.example.", "TXT", "x", 1}})))
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 0, 44}, make([]byte, 60)...))
	m := newMatcher([]Set{{Set: plan.Set{Name: "films", Domains: []string{"films.example"}}}, {Set: plan.Set{Name: "six", Domains: []string{"example"}}, Family: family.IPv6}})
	f.Fuzz(func(t *testing.T, packet []byte) {
		body := payload(packet)
		if len(body) > max(0, len(packet)-ipv4Header-udpHeader) {
			t.Fatalf("%d bytes of %d", len(body), len(packet))
		}
		a, ok := parseAnswer(body)
		if !ok {
			if len(a.names)+len(a.addresses) > 0 {
				t.Errorf("no answer, and %v", a)
			}
			return
		}
		if len(a.names) < 1 || len(a.names) > maxChain+1 || len(a.addresses) > len(body)/15 {
			t.Errorf("%d names, %d addresses in %d bytes", len(a.names), len(a.addresses), len(body))
		}
		for _, name := range a.names {
			if len(name) > 254 || name != strings.ToLower(name) {
				t.Errorf("name %q", name)
			}
		}
		for _, l := range m.lessons(a) {
			below := slices.ContainsFunc(a.names, func(n string) bool { return strings.HasSuffix("."+n, "."+l.domain) })
			if !below || family.Of(l.address) != l.set.Family || !slices.Contains(l.set.Domains, l.domain) {
				t.Errorf("%v learns %v for %s", a.names, l.address, l.domain)
			}
		}
	})
}
