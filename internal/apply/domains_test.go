package apply

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/apply/conntrack"
)

const domainsConfig = firstConfig + `
config ipset 'films'
	list entry '198.51.100.128/25'
	list domain 'films.example'

config rule 'to_films'
	option ipset 'films'
	option use_policy 'wan1'
`

// dnsmasqText is the file that dnsmasq reads; "" where there is none.
func (s *service) dnsmasqText() string {
	s.t.Helper()
	dirs, err := s.DNS.Dirs()
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := os.ReadFile(dirs[0] + "/loadbalance.conf")
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(text)
}

func (s *service) restarts() int {
	n := 0
	for _, op := range s.kernel.log {
		if op == "dnsmasq restart" {
			n++
		}
	}
	return n
}

// TestDomainsAreFollowed: dnsmasq is told once, when the sets are there, and
// what it enters stays as long as the set has domains.
func TestDomainsAreFollowed(t *testing.T) {
	s := newService(t)
	s.must(firstConfig)
	if s.dnsmasqText() != "" || s.restarts() > 0 {
		t.Errorf("without domains: %q, %d restarts", s.dnsmasqText(), s.restarts())
	}
	s.must(domainsConfig)
	if got := s.dnsmasqText(); !strings.HasSuffix(got, "\nipset=/films.example/lb_films\n") || s.restarts() != 1 {
		t.Errorf("%q, %d restarts", got, s.restarts())
	}
	if s.kernel.log[len(s.kernel.log)-1] != "dnsmasq restart" {
		t.Errorf("dnsmasq was started anew before the rest was done: %q", s.kernel.log)
	}
	entered := netip.MustParsePrefix("192.0.2.77/32")
	set := s.kernel.sets["lb_films"]
	set.Entries = append(set.Entries, entered)
	s.kernel.sets["lb_films"] = set
	// A connection to it that main carries is none of those to be forgotten.
	s.kernel.entries = []conntrack.Entry{{Mark: 0x3f000000, Original: conntrack.Tuple{Destination: entered.Addr()}}}
	s.must(strings.Replace(domainsConfig, "198.51.100.128/25", "198.51.100.0/24", 1))
	if got := s.kernel.sets["lb_films"].Entries; !slices.Contains(got, entered) || s.restarts() != 1 {
		t.Errorf("after another apply: %v, %d restarts", got, s.restarts())
	}
	if len(s.kernel.entries) != 1 {
		t.Error("the connection was forgotten")
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if s.dnsmasqText() != "" || s.restarts() != 2 {
		t.Errorf("after stop: %q, %d restarts", s.dnsmasqText(), s.restarts())
	}
}

// TestDomainsAfterFailure: dnsmasq is not told of sets that are not there; the
// next run does it.
func TestDomainsAfterFailure(t *testing.T) {
	s := newService(t)
	s.must(firstConfig)
	probe := newService(t)
	probe.must(firstConfig)
	since := len(probe.kernel.log)
	probe.must(domainsConfig)
	n := slices.Index(probe.kernel.log[since:], "ipset create lb_films")
	if n < 0 {
		t.Fatalf("no set is created: %q", probe.kernel.log[since:])
	}
	s.kernel.failAt = len(s.kernel.log) + 1 + n
	if err := s.apply(domainsConfig); !errors.Is(err, errInjected) {
		t.Fatalf("error %v", err)
	}
	if s.dnsmasqText() != "" || s.restarts() > 0 {
		t.Errorf("without a set: %q, %d restarts", s.dnsmasqText(), s.restarts())
	}
	s.must(domainsConfig)
	if s.dnsmasqText() == "" || s.restarts() != 1 {
		t.Errorf("after the next run: %q, %d restarts", s.dnsmasqText(), s.restarts())
	}
}
