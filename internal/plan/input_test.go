package plan

import (
	"net/netip"
	"reflect"
	"testing"

	"loadbalance/internal/uplink"
)

func TestWithLastPrefixes(t *testing.T) {
	old, other := netip.MustParsePrefix("2001:db8:1:100::/56"), netip.MustParsePrefix("2001:db8:2:100::/56")
	last := map[string][]netip.Prefix{"wan1": {old}}
	path := func(up bool, prefixes ...netip.Prefix) *uplink.Path { return &uplink.Path{Up: up, Prefixes: prefixes} }
	for _, c := range []struct {
		name string
		now  []uplink.Member
		want map[string][]netip.Prefix
	}{
		{"gone without a trace", []uplink.Member{{Name: "wan1"}}, last},
		{"down", []uplink.Member{{Name: "wan1", IPv6: path(false)}}, last},
		{"up without a prefix", []uplink.Member{{Name: "wan1", IPv6: path(true)}}, map[string][]netip.Prefix{}},
		{"up with a new one", []uplink.Member{{Name: "wan1", IPv6: path(true, other)}}, map[string][]netip.Prefix{"wan1": {other}}},
		{"down with a configured one", []uplink.Member{{Name: "wan1", IPv6: path(false, other)}}, map[string][]netip.Prefix{"wan1": {other}}},
		{"given to another", []uplink.Member{{Name: "wan1"}, {Name: "wan2", IPv6: path(true, old)}}, map[string][]netip.Prefix{"wan2": {old}}},
		{"no member any more", []uplink.Member{{Name: "wan2"}}, map[string][]netip.Prefix{}},
	} {
		now := uplink.State{Members: c.now}
		before := prefixes(now)
		if got := prefixes(withLastPrefixes(now, last)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if after := prefixes(now); !reflect.DeepEqual(after, before) {
			t.Errorf("%s: the argument was changed from %v to %v", c.name, before, after)
		}
	}
}
