package apply

import (
	"net/netip"
	"slices"

	"loadbalance/internal/uplink"
)

// WithLastPrefixes gives members whose IPv6 is down the delegated prefixes that
// they had last. The main table forgets a prefix with its route, but LAN hosts
// go on using their addresses in it for hours, and no other provider may be
// given packets from there. A prefix that another member has now is forgotten.
func WithLastPrefixes(now uplink.State, last map[string][]netip.Prefix) uplink.State {
	taken := map[netip.Prefix]bool{}
	for _, m := range now.Members {
		if m.IPv6 == nil {
			continue
		}
		for _, p := range m.IPv6.Prefixes {
			taken[p] = true
		}
	}
	now.Members = slices.Clone(now.Members)
	for i := range now.Members {
		m := &now.Members[i]
		free := slices.DeleteFunc(slices.Clone(last[m.Name]), func(p netip.Prefix) bool { return taken[p] })
		if len(free) == 0 || m.IPv6 != nil && (m.IPv6.Up || len(m.IPv6.Prefixes) > 0) {
			continue
		}
		path := uplink.Path{Reason: "has no IPv6 any more"}
		if m.IPv6 != nil {
			path = *m.IPv6
		}
		path.Prefixes = free
		m.IPv6 = &path
	}
	return now
}

// prefixes are the delegated prefixes of all members by name.
func prefixes(now uplink.State) map[string][]netip.Prefix {
	known := map[string][]netip.Prefix{}
	for _, m := range now.Members {
		if m.IPv6 != nil && len(m.IPv6.Prefixes) > 0 {
			known[m.Name] = m.IPv6.Prefixes
		}
	}
	return known
}
