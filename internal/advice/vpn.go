package advice

import (
	"slices"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/uplink"
)

// foreignDefaults finds families in which main's best default leaves by no member, such as by a
// VPN, whose user may believe that all traffic does.
func (f *finder) foreignDefaults() {
	for _, fam := range family.All {
		var members []string // their devices
		for _, m := range f.Config.EnabledMembers() {
			if path := f.Uplinks.Path(m.Name, fam); path != nil {
				members = append(members, path.Device)
			}
		}
		if device := foreignDefault(f.Uplinks.Main(fam), members); device != "" && len(members) > 0 {
			f.warn("the main table's best default route (%s) leaves by '%s', which is not a member (a VPN for all traffic?): "+
				"balanced connections do not use it; make it a member, or exempt what must use it by list bypass or a rule with use_policy 'default'",
				fam, device)
		}
	}
}

// largeTables names families with a table whose routes are no local destinations.
func (f *finder) largeTables() {
	for _, fam := range family.All {
		if f.Uplinks.Main(fam).Large {
			f.note("the main table, or one of another program, has more than %d routes (%s): they are used as ever, but connections to their destinations take turns like all others, "+
				"and are cut off when the member dies whose turn they took; list bypass exempts what must not be", kernel.ManyRoutes, fam)
		}
	}
}

// foreignDefault returns the device of main's best default route, "" for none or a member's.
func foreignDefault(main *uplink.Main, members []string) string {
	best := main.BestDefault()
	if best == nil {
		return ""
	}
	legs := best.Legs()
	if len(legs) == 0 || slices.ContainsFunc(legs, func(leg uplink.Nexthop) bool { return slices.Contains(members, leg.Device) }) {
		return ""
	}
	return legs[0].Device
}
