package health

import (
	"net/netip"
	"slices"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// Targets are the addresses that the probes of a member ask in a family, given
// the path of the member in the family.
func Targets(track config.Track, f family.Family, path *uplink.Path) []netip.Addr {
	if !HasTargets(track, f) {
		return nil
	}
	addresses := ofFamily(track.IPs, f)
	if !track.Gateway {
		return addresses
	}
	gateway := path.Gateway
	if !gateway.IsValid() {
		gateway = peer(path)
	}
	if gateway.IsValid() && !slices.Contains(addresses, gateway) {
		addresses = append(addresses, gateway)
	}
	return addresses
}

// peer is the other end of a point-to-point link, which stands for the gateway
// there.
func peer(path *uplink.Path) netip.Addr {
	for _, n := range path.Networks {
		if n.Prefix.IsSingleIP() {
			return n.Prefix.Addr()
		}
	}
	return netip.Addr{}
}

// HasTargets reports whether a family has targets of its own. The target
// 'gateway' belongs to both families, unless addresses of one family only stand
// beside it.
func HasTargets(track config.Track, f family.Family) bool {
	return len(ofFamily(track.IPs, f)) > 0 || track.Gateway && len(track.IPs) == 0
}

func ofFamily(addresses []netip.Addr, f family.Family) []netip.Addr {
	var found []netip.Addr
	for _, a := range addresses {
		if family.Of(a) == f {
			found = append(found, a)
		}
	}
	return found
}
