package apply

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/apply/ipset"
)

const domainsConfig = firstConfig + `
config ipset 'films'
	list entry '198.51.100.128/25'
	list domain 'films.example'
	list domain 'music.example'

config rule 'to_films'
	option ipset 'films'
	option use_policy 'wan1'
`

// TestLearntEntriesStay: what the monitor has learnt survives every apply, also
// one that exchanges the set, as long as its domain is in the configuration.
func TestLearntEntriesStay(t *testing.T) {
	s := newService(t)
	s.must(domainsConfig)
	film := ipset.Learnt{Address: netip.MustParseAddr("192.0.2.77"), Domains: []string{"music.example", "films.example"}, Left: 60}
	song := ipset.Learnt{Address: netip.MustParseAddr("192.0.2.78"), Domains: []string{"music.example"}, Left: 60}
	set := s.kernel.sets["lb_films"]
	set.Learnt = []ipset.Learnt{film, song}
	s.kernel.sets["lb_films"] = set

	expect := func(what string, want ...ipset.Learnt) {
		t.Helper()
		got := s.kernel.sets["lb_films"].Learnt
		if !slices.EqualFunc(got, want, func(a, b ipset.Learnt) bool { return a.String() == b.String() }) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	before := len(s.kernel.log)
	s.must(domainsConfig)
	expect("after another apply", film, song)
	if i := slices.IndexFunc(s.kernel.log[before:], func(op string) bool { return strings.HasPrefix(op, "ipset add") }); i >= 0 {
		t.Errorf("another apply changes %q", s.kernel.log[before:])
	}
	var many strings.Builder
	for i := range 40 {
		fmt.Fprintf(&many, "\tlist entry '203.0.113.%d'\n", i)
	}
	s.must(strings.Replace(domainsConfig, "\tlist domain 'films.example'", many.String()+"\tlist domain 'films.example'", 1))
	if !slices.Contains(s.kernel.log, "ipset swap lb_tmp.new lb_films") {
		t.Errorf("the set was not exchanged: %q", s.kernel.log[before:])
	}
	expect("after an exchange", film, song)
	s.must(strings.Replace(domainsConfig, "\tlist domain 'music.example'\n", "", 1))
	expect("without a domain", film)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if _, exists := s.kernel.sets["lb_films"]; exists {
		t.Error("the set is there after stop")
	}
}
