package plan

import (
	"net/netip"
	"slices"

	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// LocalSet names the set of destinations that never take a turn. Set names are
// shared by both families in the kernel; both are reserved as names of sections.
func LocalSet(f family.Family) string { return family.Pick(f, "lb_local", "lb_local6") }

// alwaysLocal are destinations that no uplink is chosen for, whatever the
// routing tables say.
var alwaysLocal = map[family.Family][]netip.Prefix{
	family.IPv4: {
		netip.MustParsePrefix("127.0.0.0/8"),        // loopback, RFC 1122
		netip.MustParsePrefix("224.0.0.0/4"),        // multicast, RFC 5771
		netip.MustParsePrefix("255.255.255.255/32"), // limited broadcast, RFC 919
	},
	family.IPv6: {
		netip.MustParsePrefix("::1/128"),   // loopback, RFC 4291
		netip.MustParsePrefix("fe80::/10"), // link-local, RFC 4291
		netip.MustParsePrefix("ff00::/8"),  // multicast, RFC 4291
	},
}

// localDestinations returns the destinations that main knows better than by a default
// route, the router's own addresses, broadcasts and what the user excepted.
func (b *familyBuilder) localDestinations() []netip.Prefix {
	entries := slices.Clone(alwaysLocal[b.family])
	for _, p := range b.config.Globals.Bypass {
		if family.Of(p.Addr()) == b.family {
			entries = append(entries, p)
		}
	}
	for _, r := range b.main.Routes {
		if r.Destination.Bits() > b.splitDefaultLength() && !b.isMemberNetwork(r) {
			entries = append(entries, r.Destination)
		}
	}
	entries = append(entries, b.elsewhere()...)
	for _, a := range b.main.Addresses {
		entries = append(entries, family.Host(a.Prefix.Addr()))
		if broadcast, ok := a.Broadcast(); ok {
			entries = append(entries, family.Host(broadcast))
		}
	}
	return withoutCovered(entries)
}

// elsewhere are the destinations that another program's ip rule takes away
// before ours are asked, whoever sends there: IPsec has its routes in a table
// of its own. A rule for some packets only leaves the rest to be dealt out.
func (b *familyBuilder) elsewhere() []netip.Prefix {
	var found []netip.Prefix
	for _, rule := range b.main.Rules {
		everybody := to(rule.Table, rule.Priority)
		everybody.Suppress = rule.Suppress
		if rule != everybody || rule.Priority >= prioMark {
			continue
		}
		for _, r := range b.main.Tables[rule.Table] {
			if r.Destination.Bits() > max(rule.Suppress, b.splitDefaultLength()) && r.Type != uplink.Throw {
				found = append(found, r.Destination)
			}
		}
	}
	return found
}

// withoutCovered sorts prefixes and leaves out those that lie in another one:
// the set stays small and still while addresses come and go.
func withoutCovered(prefixes []netip.Prefix) []netip.Prefix {
	family.SortPrefixes(prefixes)
	var kept []netip.Prefix
	for _, p := range prefixes {
		if len(kept) == 0 || !kept[len(kept)-1].Contains(p.Addr()) {
			kept = append(kept, p)
		}
	}
	return kept
}

// isMemberNetwork reports whether a route of main is a member's own on-link network:
// those have rules, and are dealt out where several share them.
func (b *familyBuilder) isMemberNetwork(r uplink.Route) bool {
	return !r.Gateway.IsValid() && b.owners(func(_ *member, path *uplink.Path) bool {
		return r.Device == path.Device && path.HasNetwork(r.Destination)
	}) > 0
}
