package health

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// Targets returns the addresses to which a member's probes in one family go, path's
// gateway for 'gateway'. own are addresses of the router, as main has them, which are
// not probed: what they answer says nothing about the line.
func Targets(track config.Track, f family.Family, path *uplink.Path, main *uplink.Main) (targets, own []netip.Addr) {
	if !HasTargets(track, f) {
		return nil, nil
	}
	all := ofFamily(track.IPs, f)
	gateway := cmp.Or(path.Gateway, peer(path))
	if track.Gateway && gateway.IsValid() && !slices.Contains(all, gateway) {
		all = append(all, gateway)
	}
	for _, address := range all {
		if main.Owns(address, path.Device) {
			own = append(own, address)
		} else {
			targets = append(targets, address)
		}
	}
	return targets, own
}

// OwnTarget tells of a member's target that is an address of the router.
func OwnTarget(member string, target netip.Addr) string {
	return fmt.Sprintf("member '%s': track_ip %s is an address of this router and is not probed: "+
		"it would say nothing about the line; name a host beyond it, such as 1.1.1.1", member, target)
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

// HasTargets reports whether a member has targets in a family. 'gateway' is one in
// both, or only in those of the addresses beside it.
func HasTargets(track config.Track, f family.Family) bool {
	return len(ofFamily(track.IPs, f)) > 0 || track.Gateway && len(track.IPs) == 0
}

func ofFamily(addresses []netip.Addr, f family.Family) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addresses), func(a netip.Addr) bool { return family.Of(a) != f })
}
