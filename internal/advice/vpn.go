package advice

import (
	"fmt"

	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// foreignDefaults finds families in which main's best default route leaves by
// no member, such as by a VPN. Balanced connections do not use it, although its
// user may believe that all traffic does.
func (f Facts) foreignDefaults() []string {
	var found []string
	for _, fam := range family.All {
		paths := f.paths(fam)
		device := bestDefaultDevice(f.Uplinks.Main(fam), paths)
		if device == "" || len(paths) == 0 {
			continue
		}
		found = append(found, fmt.Sprintf(
			"the main table's best default route (%s) leaves by '%s', which is not a member (a VPN for all traffic?): "+
				"balanced connections do not use it; make it a member, or exempt what must use it by list bypass or a rule with use_policy 'default'",
			fam, device))
	}
	return found
}

// bestDefaultDevice returns the device of main's best default route, "" if
// there is none or one of its devices is a member's.
func bestDefaultDevice(main *uplink.Main, paths map[string]*uplink.Path) string {
	var best *uplink.Route
	for i := range main.Routes {
		r := &main.Routes[i]
		candidate := r.IsDefault() && r.Type == uplink.Unicast && !r.From.IsValid()
		if candidate && (best == nil || r.Metric < best.Metric) {
			best = r
		}
	}
	if best == nil {
		return ""
	}
	devices := []string{best.Device}
	for _, leg := range best.Nexthops {
		devices = append(devices, leg.Device)
	}
	device := ""
	for _, d := range devices {
		for _, path := range paths {
			if d != "" && d == path.Device {
				return ""
			}
		}
		if device == "" {
			device = d
		}
	}
	return device
}
