package status

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/plan"
)

// TestLearntDomains: how many addresses each domain has, and when the last came.
func TestLearntDomains(t *testing.T) {
	in := input(t)
	in.Plan.IPv4.Sets = []plan.Set{{Name: "lb_local"},
		{Name: "lb_films", Section: "films", Domains: []string{"films.example", "music.example", "quiet.example"}}}
	in.Plan.IPv6.Sets = []plan.Set{{Name: "lb_six.6", Section: "six", Domains: []string{"films.example"}}} // not there yet
	learnt := func(last byte, left int, domains ...string) ipset.Learnt {
		return ipset.Learnt{Address: netip.AddrFrom4([4]byte{192, 0, 2, last}), Domains: domains, Left: left}
	}
	in.Kernel.Sets = []ipset.Set{{Name: "lb_films", Learnt: []ipset.Learnt{
		learnt(1, ipset.MinLifetime-90, "films.example"), learnt(2, ipset.MinLifetime-30, "films.example"),
		learnt(3, ipset.MinLifetime-60, "films.example", "music.example"), learnt(4, ipset.MinLifetime-5, "music.example")}}}
	s := New(in)
	var text strings.Builder
	if err := s.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	const want = `
SET    FAMILY  DOMAIN         ADDRESSES  LAST ANSWER
films  ipv4    films.example  3          30s ago
films  ipv4    music.example  2          5s ago
films  ipv4    quiet.example  0          -
six    ipv6    films.example  0          -
`
	if !strings.HasSuffix(text.String(), want) {
		t.Errorf("got\n%s\nwant at its end\n%s", text.String(), want)
	}
	encoded, err := json.Marshal(s.Sets[0])
	const wantJSON = `{"name":"films","family":"ipv4","domains":[{"name":"films.example","addresses":3,"last_answer":"2026-03-01T11:59:30Z"},` +
		`{"name":"music.example","addresses":2,"last_answer":"2026-03-01T11:59:55Z"},{"name":"quiet.example","addresses":0}]}`
	if string(encoded) != wantJSON || err != nil {
		t.Errorf("JSON: got %s, %v", encoded, err)
	}
}
