package advice

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"loadbalance/internal/apply/routing"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/uplink"
)

// ownersOfChains has the programs to which mangle chains probably belong, by
// the beginning of the name.
var ownersOfChains = []struct{ prefix, owner string }{
	{"mwan3_", "mwan3"},
	{"PBR_", "pbr"},
	{"qos_", "qos-scripts"},
	{"QOS_MARK_", "SQM"},
	{"PSW", "PassWall"},
	{"openclash", "OpenClash"},
}

// probably returns the owner in words that follow the name of an object.
func probably(owner string) string {
	if owner == "" {
		return ""
	}
	return " (probably " + owner + ")"
}

func ownerOfChain(name string) string {
	for _, o := range ownersOfChains {
		if strings.HasPrefix(name, o.prefix) {
			return o.owner
		}
	}
	return ""
}

// owner returns the program to which a rule probably belongs, by the
// priorities, tables and masks that programs use by default; "" if there is
// none.
func owner(r uplink.Rule) string {
	switch {
	case isMWAN3(r):
		return "mwan3"
	case r.Priority >= 5210 && r.Priority <= 5270, r.Table == 52: // Tailscale's osrouter
		return "Tailscale"
	case r.Table == 51820: // wg-quick's first choice
		return "wg-quick"
	case r.Mask == 0x00ff0000: // option fw_mask of pbr
		return "pbr"
	case r.Mark == 1 && r.Table == 100: // the example in the kernel's tproxy.rst
		return "a transparent proxy"
	}
	return ""
}

// markClashes finds chains and ip rules that use bits of our mask.
func (f Facts) markClashes() []string {
	mwan3 := MWAN3Runs(f.Mangle, f.Uplinks) // is an error of its own
	ours := uint32(f.mask())
	var found []string
	for _, fam := range family.All {
		table := f.Mangle[fam]
		if table == nil {
			continue
		}
		for _, m := range table.Markers {
			owner := ownerOfChain(m.Chain)
			if m.Bits&ours == 0 || mwan3 && owner == "mwan3" {
				continue
			}
			found = append(found, fmt.Sprintf(
				"mangle (%s): chain '%s'%s sets the mark bits %#x, which overlap ours (%#x): "+
					"connections would change their uplink; give one of the two another mask (here: option mark_mask)",
				fam, m.Chain, probably(owner), m.Bits, ours))
		}
	}
	f.eachRule(func(fam family.Family, r uplink.Rule) {
		if r.Mask&ours == 0 || mwan3 && isMWAN3(r) {
			return
		}
		found = append(found, fmt.Sprintf(
			"ip rule %d (%s)%s matches the mark bits %#x, which overlap ours (%#x): "+
				"it would miss its own packets or catch balanced ones; give one of the two another mask (here: option mark_mask)",
			r.Priority, fam, probably(owner(r)), r.Mask, ours))
	})
	return found
}

func (f Facts) eachRule(do func(family.Family, uplink.Rule)) {
	for _, fam := range family.All {
		for _, r := range f.Uplinks.Main(fam).Rules {
			do(fam, r)
		}
	}
}

// ruleClashes finds foreign ip rules among ours.
func (f Facts) ruleClashes() []string {
	var found []string
	f.eachRule(func(fam family.Family, r uplink.Rule) {
		if r.Priority < routing.FirstPriority || r.Priority > routing.LastPriority {
			return
		}
		found = append(found, fmt.Sprintf(
			"ip rule %d (%s)%s is in our range (%d to %d) and can take packets away from their uplink: give it another priority",
			r.Priority, fam, probably(owner(r)), routing.FirstPriority, routing.LastPriority))
	})
	return found
}

// tableClashes finds foreign routes in our tables.
func (f Facts) tableClashes() []string {
	names := map[int]string{
		fwmark.Table(f.mask().Blackhole()):   "of our blackhole",
		fwmark.Table(f.mask().Unreachable()): "of our unreachable route",
	}
	for _, m := range f.Members {
		names[m.Table] = "of member '" + m.Name + "'"
	}
	var found []string
	for _, fam := range family.All {
		for _, table := range slices.Sorted(maps.Keys(f.Uplinks.Main(fam).Tables)) {
			if name, ours := names[table]; ours {
				found = append(found, fmt.Sprintf(
					"table %d (%s) %s has a route of another program: give that program another table, or the member (option table)",
					table, fam, name))
			}
		}
	}
	return found
}
