package uplink

import (
	"fmt"
	"net/netip"
	"slices"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// separate tells members on one device apart: by their addresses, and where
// these are not known by interface, by the network that the gateway is in. What
// cannot be told apart is no second line: only the first one is used.
func (s *State) separate(members []config.Member) {
	for _, f := range family.All {
		var used []member
		for i, cfg := range members {
			path := s.Members[i].Path(f)
			if !cfg.Enabled || path == nil || !path.Up {
				continue
			}
			others := slices.DeleteFunc(slices.Clone(used), func(m member) bool { return m.path.Device != path.Device })
			for _, other := range others {
				path.nearGateway(other.path)
				if path.Reason = path.sameAs(other); path.Reason != "" {
					path.Up = false
					break
				}
			}
			if path.Up {
				used = append(used, member{cfg.Name, path})
			}
		}
	}
}

type member struct {
	name string
	path *Path
}

// nearGateway leaves two paths that have the same addresses those that are in
// one network with their gateways.
func (p *Path) nearGateway(other *Path) {
	if !p.overlaps(other) || p.Gateway == other.Gateway {
		return
	}
	for _, path := range []*Path{p, other} {
		var far []netip.Addr
		for _, a := range path.Addresses {
			near := slices.ContainsFunc(path.Networks, func(n Network) bool {
				return n.Prefix.Contains(path.Gateway) && n.Prefix.Contains(a)
			})
			if !near {
				far = append(far, a)
			}
		}
		if len(far) < len(path.Addresses) {
			path.leaveOut(far)
		}
	}
}

func (p *Path) overlaps(other *Path) bool {
	return slices.ContainsFunc(p.Addresses, func(a netip.Addr) bool { return slices.Contains(other.Addresses, a) })
}

// sameAs says why a path is no line beside another one on its device, "" if it
// is.
func (p *Path) sameAs(other member) string {
	switch {
	case !p.Gateway.IsValid() || !other.path.Gateway.IsValid():
		return fmt.Sprintf("is on the device of member '%s' and no gateway tells the two apart: no second line", other.name)
	case p.Gateway == other.path.Gateway:
		return fmt.Sprintf("is on the device of member '%s' and has the same gateway %s: no second line (set option gateway)", other.name, p.Gateway)
	case p.overlaps(other.path):
		return fmt.Sprintf("is on the device of member '%s' and has the same address: answers could not be told apart (give it an address of its own)", other.name)
	}
	return ""
}
