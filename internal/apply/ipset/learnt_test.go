package ipset

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

func learnt(address string, left int, domains ...string) Learnt {
	return Learnt{Address: netip.MustParseAddr(address), Domains: domains, Lifetime: MinLifetime, Left: left}
}

func learntTexts(list []Learnt) []string {
	var texts []string
	for _, l := range list {
		texts = append(texts, l.String())
	}
	return texts
}

func TestNewLearnt(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	long := strings.Repeat(strings.Repeat("a", 59)+".", 4) + "example" // 247
	for _, c := range []struct {
		domain  string
		ttl     uint32
		earlier Learnt
		want    string
	}{
		{"a.example", 0, Learnt{}, "192.0.2.1 timeout 86400 comment 'a.example'"},
		{"a.example", 86400, Learnt{}, "192.0.2.1 timeout 86400 comment 'a.example'"},
		{"a.example", 86401, Learnt{}, "192.0.2.1 timeout 86401 comment 'a.example 86401'"},
		{"a.example", 1<<32 - 1, Learnt{}, "192.0.2.1 timeout 2147483 comment 'a.example 2147483'"},
		{"a.example", 60, learnt("192.0.2.1", 5, "a.example", "b.example"), "192.0.2.1 timeout 86400 comment 'b.example a.example'"},
		// The oldest goes where the comment is too long.
		{"a.example", 60, learnt("192.0.2.1", 5, long), "192.0.2.1 timeout 86400 comment 'a.example'"},
		{long, 60, learnt("192.0.2.1", 5, "a.example"), "192.0.2.1 timeout 86400 comment '" + long + "'"},
	} {
		l := NewLearnt(a, c.domain, c.ttl, c.earlier)
		if got := l.String(); got != c.want {
			t.Errorf("%s %d %v: got %s, want %s", c.domain, c.ttl, c.earlier, got, c.want)
		}
		var back Learnt
		if back.parseComment(l.comment()); !slices.Equal(back.Domains, l.Domains) || back.Lifetime != l.Lifetime {
			t.Errorf("%q reads back as %v", l.comment(), back)
		}
	}
}

func TestDiffLearnt(t *testing.T) {
	of := func(domains ...string) []plan.Set {
		return []plan.Set{{Name: "lb_a", Entries: prefixes("192.0.2.9/32"), Domains: domains}}
	}
	have := func(learnt ...Learnt) []Set {
		s := set("lb_a", family.IPv4, "192.0.2.9/32")
		s.MaxElements, s.Learns, s.Learnt = 2*defaultMaxElements, true, learnt
		return []Set{s}
	}
	many := make([]Learnt, fewChanges+1)
	for i := range many {
		many[i] = Learnt{Address: numbered(len(many))[i].Addr(), Domains: []string{"old.example"}, Lifetime: MinLifetime, Left: 9}
	}
	plain := set("lb_a", family.IPv4, "192.0.2.9/32")
	create := "create lb_tmp.new hash:net family inet"
	for name, c := range map[string]struct {
		want []plan.Set
		have []Set
		ops  []string
	}{
		"new": {of("a.example"), nil, []string{
			"ipset create lb_a hash:net family inet timeout 0 comment", "ipset add lb_a 192.0.2.9"}},
		"as wanted": {of("a.example"), have(learnt("192.0.2.1", 7, "a.example")), nil},
		"a domain goes": {of("a.example"), have(learnt("192.0.2.1", 7, "b.example"), learnt("192.0.2.2", 8, "a.example")), []string{
			"ipset del lb_a 192.0.2.1"}},
		"one of two domains goes": {of("a.example"), have(learnt("192.0.2.1", 7, "b.example", "a.example")), []string{
			"ipset -exist add lb_a 192.0.2.1 timeout 7 comment 'a.example'"}},
		"somebody else's": {of("a.example"), have(learnt("192.0.2.1", 7)), []string{"ipset del lb_a 192.0.2.1"}},
		// It is made lasting, and must not be deleted then.
		"listed from now on": {[]plan.Set{{Name: "lb_a", Entries: prefixes("192.0.2.9/32", "192.0.2.1/32"), Domains: []string{"a.example"}}},
			have(learnt("192.0.2.1", 7, "b.example")), []string{"ipset add lb_a 192.0.2.1"}},
		"the first domain": {of("a.example"), []Set{plain}, []string{
			"ipset " + create + " timeout 0 comment", "ipset add lb_tmp.new 192.0.2.9",
			"ipset swap lb_tmp.new lb_a", "ipset destroy lb_tmp.new"}},
		"no domain any more": {of(), have(learnt("192.0.2.1", 7, "a.example")), []string{
			"ipset " + create, "ipset add lb_tmp.new 192.0.2.9",
			"ipset swap lb_tmp.new lb_a", "ipset destroy lb_tmp.new"}},
		"many go at once": {of("a.example"), have(append(many, learnt("192.0.2.1", 7, "a.example"))...), []string{
			"ipset " + create + " timeout 0 comment", "ipset add lb_tmp.new 192.0.2.9",
			"ipset -exist add lb_tmp.new 192.0.2.1 timeout 7 comment 'a.example'",
			"ipset swap lb_tmp.new lb_a", "ipset destroy lb_tmp.new"}},
	} {
		if got := texts(Diff(c.want, nil, c.have).Update); !slices.Equal(got, c.ops) {
			t.Errorf("%s:\n%q\nwant:\n%q", name, got, c.ops)
		}
	}
}

// TestLearn: the kernel keeps what was learnt, through changes of the set too.
func TestLearn(t *testing.T) {
	k := freshNamespace(t)
	four := plan.Set{Name: "lb_a", Entries: prefixes("192.0.2.9/32"), Domains: []string{"a.example", "b.example"}}
	six := plan.Set{Name: "lb_b.6", Domains: []string{"a.example"}}
	apply(t, k, []plan.Set{four}, []plan.Set{six})
	run(t, "iptables -t mangle -A PREROUTING -m set --match-set lb_a dst -j RETURN")
	first := NewLearnt(netip.MustParseAddr("192.0.2.1"), "a.example", 60, Learnt{})
	list := []Learnt{first, NewLearnt(netip.MustParseAddr("192.0.2.2"), "b.example", 100000, Learnt{})}
	for range 2 { // again is no error
		if err := k.Learn("lb_a", list); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Learn("lb_b.6", []Learnt{NewLearnt(netip.MustParseAddr("2001:db8::1"), "a.example", 0, Learnt{})}); err != nil {
		t.Fatal(err)
	}
	expect := func(what, name string, want ...string) {
		t.Helper()
		got, err := k.Learnt(name)
		for i := range got {
			if got[i].Left < got[i].Lifetime-5 {
				t.Errorf("%s: %d s are left", what, got[i].Left)
			}
			got[i].Left = got[i].Lifetime
		}
		if !slices.Equal(learntTexts(got), want) || err != nil {
			t.Errorf("%s: %q, %v, want %q", what, learntTexts(got), err, want)
		}
	}
	const one, two = "192.0.2.1 timeout 86400 comment 'a.example'", "192.0.2.2 timeout 100000 comment 'b.example 100000'"
	expect("learnt", "lb_a", one, two)
	expect("learnt", "lb_b.6", "2001:db8::1 timeout 86400 comment 'a.example'")
	if c := apply(t, k, []plan.Set{four}, []plan.Set{six}); !c.Empty() {
		t.Errorf("the same plan changes %q", texts(c.Update))
	}
	if listed := run(t, "ipset save"); !strings.Contains(listed, `add lb_a 192.0.2.9 timeout 0`) ||
		!strings.Contains(listed, `comment "a.example"`) {
		t.Errorf("the ipset program says\n%s", listed)
	}
	four.Entries = append(numbered(fewChanges+1), prefixes("192.0.2.9/32")...)
	if c := apply(t, k, []plan.Set{four}, []plan.Set{six}); !slices.Contains(texts(c.Update), "ipset swap lb_tmp.new lb_a") {
		t.Errorf("no exchange: %q", texts(c.Update))
	}
	expect("after an exchange", "lb_a", one, two)
	four.Domains = four.Domains[:1]
	apply(t, k, []plan.Set{four}, []plan.Set{six})
	expect("after a domain was removed", "lb_a", one)
	four.Entries = prefixes("192.0.2.1/32")
	apply(t, k, []plan.Set{four}, []plan.Set{six})
	expect("listed by itself", "lb_a")
	if in, err := k.Contains("lb_a", first.Address); !in || err != nil {
		t.Errorf("listed by itself: %v, %v", in, err)
	}
	short := first
	short.Address, short.Left = netip.MustParseAddr("192.0.2.3"), 1
	if err := k.Learn("lb_a", []Learnt{short}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2100 * time.Millisecond)
	if in, err := k.Contains("lb_a", short.Address); in || err != nil {
		t.Errorf("after its time: %v, %v", in, err)
	}
	if err := k.Learn("lb_none", list); err == nil || !strings.HasPrefix(err.Error(), "ipset add lb_none 192.0.2.1: ") {
		t.Errorf("a set that is not there: %v", err)
	}
}
