package ipset

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

func learnt(address string, left int, domains ...string) Learnt {
	return Learnt{Address: netip.MustParseAddr(address), Domains: domains, Left: left}
}

func learntTexts(list []Learnt) []string {
	var texts []string
	for _, l := range list {
		texts = append(texts, l.String())
	}
	return texts
}

// TestComment: a comment that is too long loses the oldest domains.
func TestComment(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 59)+".", 4) + "example" // 247
	for _, c := range []struct {
		domains []string
		want    string
	}{
		{[]string{"a.example", "b.example"}, "a.example b.example"},
		{[]string{"b", long, "b.exam"}, long + " b.exam"},
		{[]string{long, "a.example", "b.example"}, "a.example b.example"},
		{[]string{"a.example", long}, long},
	} {
		if got := learnt("192.0.2.1", 1, c.domains...).comment(); got != c.want {
			t.Errorf("%q: got %q, want %q", c.domains, got, c.want)
		}
	}
}

func TestDiffLearnt(t *testing.T) {
	of := func(domains ...string) []plan.Set {
		return []plan.Set{{Name: "lb_a", Entries: prefixes("192.0.2.9/32"), Domains: domains}}
	}
	have := func(learnt ...Learnt) []Set {
		s := set("lb_a", family.IPv4, "192.0.2.9/32")
		s.MaxElements, s.Learns, s.Learnt = 1+MaxLearnt, true, learnt
		return []Set{s}
	}
	many := make([]Learnt, fewChanges+1)
	for i := range many {
		many[i] = Learnt{Address: numbered(len(many))[i].Addr(), Domains: []string{"old.example"}, Left: 9}
	}
	plain := set("lb_a", family.IPv4, "192.0.2.9/32")
	create := "create lb_tmp.new hash:net family inet"
	for name, c := range map[string]struct {
		want []plan.Set
		have []Set
		ops  []string
	}{
		"new": {of("a.example"), nil, []string{
			"ipset create lb_a hash:net family inet timeout 0 maxelem 4097 comment", "ipset add lb_a 192.0.2.9"}},
		"as wanted": {of("a.example"), have(learnt("192.0.2.1", 7, "a.example")), nil},
		"a domain goes": {of("a.example"), have(learnt("192.0.2.1", 7, "b.example"), learnt("192.0.2.2", 8, "a.example")), []string{
			"ipset del lb_a 192.0.2.1"}},
		"one of two domains goes": {of("a.example"), have(learnt("192.0.2.1", 7, "b.example", "a.example")), nil},
		"somebody else's":         {of("a.example"), have(learnt("192.0.2.1", 7)), []string{"ipset del lb_a 192.0.2.1"}},
		// It is made lasting, and must not be deleted then.
		"listed from now on": {[]plan.Set{{Name: "lb_a", Entries: prefixes("192.0.2.1/32"), Domains: []string{"a.example"}}},
			have(learnt("192.0.2.1", 7, "b.example")), []string{
				"ipset create lb_tmp.new hash:net family inet timeout 0 maxelem 4097 comment", "ipset add lb_tmp.new 192.0.2.1",
				"ipset swap lb_tmp.new lb_a", "ipset destroy lb_tmp.new"}},
		"no room for what is to be learnt": {[]plan.Set{{Name: "lb_a", Entries: prefixes("192.0.2.8/32", "192.0.2.9/32"), Domains: []string{"a.example"}}},
			have(learnt("192.0.2.1", 7, "a.example")), []string{
				"ipset create lb_tmp.new hash:net family inet timeout 0 maxelem 4098 comment",
				"ipset add lb_tmp.new 192.0.2.8", "ipset add lb_tmp.new 192.0.2.9",
				"ipset -exist add lb_tmp.new 192.0.2.1 timeout 7 comment 'a.example'",
				"ipset swap lb_tmp.new lb_a", "ipset destroy lb_tmp.new"}},
		"the first domain": {of("a.example"), []Set{plain}, []string{
			"ipset " + create + " timeout 0 maxelem 4097 comment", "ipset add lb_tmp.new 192.0.2.9",
			"ipset swap lb_tmp.new lb_a", "ipset destroy lb_tmp.new"}},
		"no domain any more": {of(), have(learnt("192.0.2.1", 7, "a.example")), []string{
			"ipset " + create, "ipset add lb_tmp.new 192.0.2.9",
			"ipset swap lb_tmp.new lb_a", "ipset destroy lb_tmp.new"}},
		"many go at once": {of("a.example"), have(append(many, learnt("192.0.2.1", 7, "a.example"))...), []string{
			"ipset " + create + " timeout 0 maxelem 4097 comment", "ipset add lb_tmp.new 192.0.2.9",
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
	list := []Learnt{learnt("192.0.2.1", 86400, "b.example", "a.example"), learnt("192.0.2.2", MaxLifetime, "b.example")}
	for range 2 { // again is no error
		if err := k.Learn("lb_a", list...); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Learn("lb_b.6", learnt("2001:db8::1", 86400, "a.example")); err != nil {
		t.Fatal(err)
	}
	expect := func(what, name string, want ...string) {
		t.Helper()
		got, err := k.Learnt(name)
		for i := range got {
			got[i].Left = (got[i].Left + 10) / 100 * 100 // some seconds may have passed
		}
		if !slices.Equal(learntTexts(got), want) || err != nil {
			t.Errorf("%s: %q, %v, want %q", what, learntTexts(got), err, want)
		}
	}
	const one, two = "192.0.2.1 timeout 86400 comment 'b.example a.example'", "192.0.2.2 timeout 2147400 comment 'b.example'"
	expect("learnt", "lb_a", one, two)
	expect("learnt", "lb_b.6", "2001:db8::1 timeout 86400 comment 'a.example'")
	expect("no such set", "lb_none")
	if c := apply(t, k, []plan.Set{four}, []plan.Set{six}); !c.Empty() {
		t.Errorf("the same plan changes %q", texts(c.Update))
	}
	if listed := run(t, "ipset save"); !strings.Contains(listed, `add lb_a 192.0.2.9 timeout 0`) ||
		!strings.Contains(listed, `comment "b.example a.example"`) {
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
	if in, err := k.Contains("lb_a", list[0].Address); !in || err != nil {
		t.Errorf("listed by itself: %v, %v", in, err)
	}
	if err := k.Learn("lb_a", learnt("192.0.2.3", 1, "a.example")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2100 * time.Millisecond)
	if in, err := k.Contains("lb_a", netip.MustParseAddr("192.0.2.3")); in || err != nil {
		t.Errorf("after its time: %v, %v", in, err)
	}
	if err := k.Learn("lb_none", list...); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a set that is not there: %v", err)
	}
	// One that has expired counts until the kernel sweeps it out.
	const some = 3
	for i, entry := range numbered(MaxLearnt + some) {
		err := k.Learn("lb_a", Learnt{Address: entry.Addr(), Domains: []string{"a.example"}, Left: 60})
		switch {
		case err == nil:
		case err.Error() == "ipset add lb_a: the set is full" && i >= MaxLearnt-some:
			return
		default:
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	t.Errorf("the set takes more than %d", MaxLearnt)
}
