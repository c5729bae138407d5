package health

import (
	"cmp"
	"net/netip"
	"slices"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// Targets returns the addresses to which a member's probes in one family go.
// path has the gateway, for the target 'gateway'.
func Targets(track config.Track, f family.Family, path *uplink.Path) []netip.Addr {
	if !HasTargets(track, f) {
		return nil
	}
	addresses := ofFamily(track.IPs, f)
	if !track.Gateway {
		return addresses
	}
	gateway := cmp.Or(path.Gateway, peer(path))
	if gateway.IsValid() && !slices.Contains(addresses, gateway) {
		addresses = append(addresses, gateway)
	}
	return addresses
}

// peer returns the other end of a point-to-point link, which is probed in place
// of a gateway; the zero Addr if there is none.
func peer(path *uplink.Path) netip.Addr {
	for _, n := range path.Networks {
		if n.Prefix.IsSingleIP() {
			return n.Prefix.Addr()
		}
	}
	return netip.Addr{}
}

// HasTargets reports whether a member has targets in a family. The target
// 'gateway' is one in both families, unless there are addresses beside it: then
// it is one only in the families of these.
func HasTargets(track config.Track, f family.Family) bool {
	return len(ofFamily(track.IPs, f)) > 0 || track.Gateway && len(track.IPs) == 0
}

func ofFamily(addresses []netip.Addr, f family.Family) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addresses), func(a netip.Addr) bool { return family.Of(a) != f })
}
