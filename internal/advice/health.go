package advice

import (
	"net/netip"
	"slices"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/uplink"
)

// strictTCP finds that conntrack picks up no TCP connections in the middle. After its line has
// died, a client's packets are then INVALID and not balanced, and no server can reset it.
func (f *finder) strictTCP() {
	resets := func(m config.Member) bool { return m.Track.OnDead == "reset" }
	if f.TCPLoose == "0" && slices.ContainsFunc(f.Config.EnabledMembers(), resets) {
		f.warn("net.netfilter.nf_conntrack_tcp_loose is 0: TCP connections of a dead line hang until they time out " +
			"instead of being reset at once; leave it at 1, the default, in /etc/sysctl.conf")
	}
}

// unreachableNeighbours finds targets of track_method 'arp' that are no neighbours. A
// point-to-point line has none, so its targets are pinged.
func (f *finder) unreachableNeighbours() {
	for _, fam := range family.All {
		for _, m := range f.Config.EnabledMembers() {
			path := f.Uplinks.Path(m.Name, fam)
			if m.Track.Method != "arp" || path == nil || !path.Up {
				continue
			}
			for _, target := range m.Track.IPs {
				if family.Of(target) == fam && !mayAnswer(target, path) {
					f.warn("member '%s': track_ip %s is in no network of '%s', and track_method 'arp' reaches only neighbours: "+
						"on Ethernet it will never answer; use 'gateway' or another track_method", m.Name, target, path.Device)
				}
			}
		}
	}
}

// targets finds targets that are addresses of the router itself, and members that are up without
// a usable one: without a gateway, or with addresses of the other family alone.
func (f *finder) targets() {
	for _, m := range f.Config.EnabledMembers() {
		up, targets := false, 0
		for _, fam := range family.All {
			path := f.Uplinks.Path(m.Name, fam)
			if path == nil {
				path = &uplink.Path{} // the targets that are listed can be judged all the same
			}
			others, own := health.Targets(m.Track, fam, path, f.Uplinks.Main(fam))
			for _, target := range own {
				f.Errors = append(f.Errors, health.OwnTarget(m.Name, target))
			}
			if path.Up {
				up = true
				targets += len(others) + len(own)
			}
		}
		if up && targets == 0 && (m.Track.Gateway || len(m.Track.IPs) > 0) {
			f.warn("member '%s' has no probe target: track_ip has no address of a family that is up, "+
				"and no gateway is known; add an address, such as 1.1.1.1", m.Name)
		}
	}
}

// mayAnswer reports whether a target can be a neighbour, or the link is point-to-point.
func mayAnswer(target netip.Addr, path *uplink.Path) bool {
	pointToPoint := true
	for _, n := range path.Networks {
		if n.Prefix.Contains(target) {
			return true
		}
		pointToPoint = pointToPoint && n.Prefix.IsSingleIP()
	}
	return pointToPoint || target == path.Gateway || target.IsLinkLocalUnicast()
}
