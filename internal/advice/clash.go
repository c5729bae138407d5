package advice

import (
	"fmt"
	"math"
	"strings"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/uplink"
)

// ownersOfChains has the probable owners of mangle chains, by the beginning of the name.
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

// owner returns the program of a rule, probably, by the priorities, tables and masks that
// programs use by default; "" if there is none.
func owner(r uplink.Rule) string {
	switch {
	case isMWAN3(r):
		return "mwan3"
	case r.Priority >= 5210 && r.Priority <= 5270, r.Table == 52: // Tailscale's osrouter
		return "Tailscale"
	case r.Table == 51820: // wg-quick's first choice
		return "wg-quick"
	case r.Mark == 0x1bd00, r.Table == 7120:
		return "NetBird"
	case r.Mark == 0x8000000 && r.Table == 2023:
		return "dae"
	case r.Table == 2022: // iproute2_table_index of sing-tun
		return "sing-box or Clash"
	case r.Mask == 0x00ff0000: // option fw_mask of pbr
		return "pbr"
	case r.Mark == 1 && r.Table == 100: // the example in the kernel's tproxy.rst
		return "a transparent proxy"
	}
	return ""
}

// markUse is what another program does with bits of marks.
type markUse struct {
	who, does, effect string
	bits              uint32
}

func (f Facts) markUses() (uses []markUse) {
	mwan3 := MWAN3Runs(f.Mangle, f.Uplinks) // is an error of its own
	const missed = "it would miss its own packets or catch balanced ones"
	add := func(where string, markers []iptables.Marker) {
		for _, m := range markers {
			if owner := ownerOfChain(m.Chain); !mwan3 || owner != "mwan3" {
				who := where + ": chain '" + m.Chain + "'" + probably(owner)
				uses = append(uses, markUse{who, "sets", "connections would change their uplink", m.Bits},
					markUse{who, "matches", missed, m.Compared})
			}
		}
	}
	for _, fam := range family.All {
		if table := f.Mangle[fam]; table != nil {
			add(fmt.Sprintf("mangle (%s)", fam), table.Markers)
		}
	}
	add("nftables", f.NFT)
	f.eachRule(func(fam family.Family, r uplink.Rule) {
		// "not fwmark" of a whole mark keeps a tunnel's own packets out of it. Before ours it sees
		// their mark as it is (plan); where it is behind, they do not come.
		if mwan3 && isMWAN3(r) || r.Not && r.Mask == math.MaxUint32 && r.Mark&uint32(f.mask()) == 0 {
			return
		}
		uses = append(uses, markUse{fmt.Sprintf("ip rule %d (%s)%s", r.Priority, fam, probably(owner(r))), "matches", missed, r.Mask})
	})
	return uses
}

// markClashes finds chains and ip rules that use bits of our mask.
func (f *finder) markClashes() {
	uses, ours := f.markUses(), uint32(f.mask())
	var used uint32
	for _, u := range uses {
		if u.bits != math.MaxUint32 {
			used |= u.bits
		}
	}
	for _, u := range uses {
		remedy := "give it another mask"
		if u.bits == math.MaxUint32 {
			remedy = fmt.Sprintf("no other mask helps: let it look at its own bits alone (such as mask %#x)", ^ours)
		} else if free := freeMask(used, len(f.Config.EnabledMembers())); free != 0 {
			remedy = fmt.Sprintf("give one of the two another mask (here: option mark_mask '%#x', which is free)", free)
		}
		if u.bits&ours != 0 {
			f.warn("%s %s the mark bits %#x, which overlap ours (%#x): %s; %s", u.who, u.does, u.bits, ours, u.effect, remedy)
		}
	}
}

// freeMask returns a mask without used bits and with room for so many members; 0 for none. It has
// six bits (60 members) or as many more as are needed, else less, and is sought in the highest
// byte first: most programs use lower numbers.
func freeMask(used uint32, members int) uint32 {
	most, room := 6, func(bits int) bool { return fwmark.Mask(1<<bits-1).Capacity() >= members }
	for most < 8 && !room(most) {
		most++
	}
	for _, lowest := range []int{24, 0} {
		for bits := most; bits >= 3 && room(bits); bits-- {
			for shift := 32 - bits; shift >= lowest; shift-- {
				if mask := uint32(1<<bits-1) << shift; mask&used == 0 {
					return mask
				}
			}
		}
	}
	return 0
}

func (f Facts) eachRule(do func(family.Family, uplink.Rule)) {
	for _, fam := range family.All {
		for _, r := range f.Uplinks.Main(fam).Rules {
			do(fam, r)
		}
	}
}

func (f *finder) ruleClashes() {
	f.eachRule(func(fam family.Family, r uplink.Rule) {
		if r.Priority >= routing.FirstPriority && r.Priority <= routing.LastPriority {
			f.warn("ip rule %d (%s)%s is in our range (%d to %d) and can take packets away from their uplink: give it another priority",
				r.Priority, fam, probably(owner(r)), routing.FirstPriority, routing.LastPriority)
		}
	})
}

func (f *finder) tableClashes() {
	for _, fam := range family.All {
		look := func(table int, whose string) {
			if len(f.Uplinks.Main(fam).Tables[table]) > 0 {
				f.warn("table %d (%s) %s has a route of another program: give that program another table, or the member (option table)",
					table, fam, whose)
			}
		}
		for _, m := range f.Members {
			look(m.Table, "of member '"+m.Name+"'")
		}
		look(fwmark.Table(f.mask().Blackhole()), "of our blackhole")
		look(fwmark.Table(f.mask().Unreachable()), "of our unreachable route")
	}
}
