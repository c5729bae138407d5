package advice

import (
	"fmt"
	"slices"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/uci"
)

type zone struct {
	name     string
	networks []string
	devices  []string // may end in '+'
	masq     bool     // for IPv4: LAN hosts get replies over it
}

func hasMasq(z zone) bool { return z.masq }

func value(s uci.Section, name string) string {
	return strings.Join(s.Words(name), " ")
}

// isTrue reads a boolean as fw4 does (parse_bool in its fw4.uc).
func isTrue(text string) bool {
	return slices.Contains([]string{"1", "on", "true", "yes"}, text)
}

func isFalse(text string) bool {
	return slices.Contains([]string{"0", "off", "false", "no"}, text)
}

func zones(firewall *uci.File) []zone {
	var all []zone
	for _, s := range firewall.Sections {
		if s.Type != "zone" || isFalse(value(s, "enabled")) {
			continue
		}
		z := zone{name: value(s, "name"), networks: s.Words("network"), devices: s.Words("device")}
		z.masq = value(s, "family") != "ipv6" && (isTrue(value(s, "masq")) || translated(firewall, z.name))
		all = append(all, z)
	}
	return all
}

// translated reports whether a section nat does what option masq would.
func translated(firewall *uci.File, zoneName string) bool {
	return slices.ContainsFunc(firewall.Sections, func(s uci.Section) bool {
		target := strings.ToUpper(value(s, "target"))
		src := value(s, "src")
		return s.Type == "nat" && !isFalse(value(s, "enabled")) && (src == zoneName || src == "*") &&
			(target == "MASQUERADE" || target == "SNAT")
	})
}

func (z zone) holds(networks []string, device string) bool {
	if slices.ContainsFunc(networks, func(n string) bool { return slices.Contains(z.networks, n) }) {
		return true
	}
	return device != "" && slices.ContainsFunc(z.devices, func(pattern string) bool {
		if prefix, wild := strings.CutSuffix(pattern, "+"); wild {
			return strings.HasPrefix(device, prefix)
		}
		return pattern == device
	})
}

// unmasqueraded warns of members whose IPv4 packets keep their LAN addresses, to which nobody
// can reply; of routed lines it is a note.
func (f *finder) unmasqueraded() {
	if f.Firewall == nil {
		return
	}
	all := zones(f.Firewall)
	for _, m := range f.Config.EnabledMembers() {
		path, path6 := f.Uplinks.Path(m.Name, family.IPv4), f.Uplinks.Path(m.Name, family.IPv6)
		if path != nil && !path.Up && path6 != nil && path6.Up {
			continue // an uplink for IPv6 alone
		}
		device := m.Device
		if path != nil && path.Device != "" {
			device = path.Device
		}
		networks := f.networksOf(m, device)
		var in []zone
		for _, z := range all {
			if z.holds(networks, device) {
				in = append(in, z)
			}
		}
		switch {
		case slices.ContainsFunc(in, hasMasq):
		case m.RouterTraffic:
			f.Warnings = append(f.Warnings, explainZone(m, in, all))
		default:
			f.note("member '%s' is a routed line (router_traffic '0'): %sa rule or policy has to keep them off", m.Name, noReplies)
		}
	}
}

// What follows from a missing zone, and what to do about a line that needs none.
const (
	noReplies = "LAN hosts with private addresses get no replies over it unless its other end has a route to them: "
	ifRouted  = "or, if it is a routed line, option router_traffic '0' in the member"
)

func explainZone(m config.Member, in, all []zone) string {
	what, option := "interface '"+m.Interface+"'", "network '"+m.Interface+"'"
	if m.Device != "" {
		what, option = "device '"+m.Device+"'", "device '"+m.Device+"'"
	}
	if len(in) > 0 {
		return fmt.Sprintf("member '%s': %s is in the firewall zone '%s', which does not masquerade, so "+noReplies+
			"set option masq '1' in that zone in /etc/config/firewall, "+ifRouted, m.Name, what, in[0].name)
	}
	target := "a zone with option masq '1'"
	if i := slices.IndexFunc(all, hasMasq); i >= 0 {
		target = "the zone '" + all[i].name + "'"
	}
	return fmt.Sprintf("member '%s': %s is in no firewall zone that masquerades, so "+noReplies+
		"add list %s to %s in /etc/config/firewall, "+ifRouted, m.Name, what, option, target)
}

// networksOf returns by which networks a zone can contain a member: its own, those on its device.
func (f Facts) networksOf(m config.Member, device string) []string {
	var names []string
	if m.Interface != "" {
		names = append(names, m.Interface)
	}
	if f.Network == nil || device == "" {
		return names
	}
	for _, s := range f.Network.Sections {
		if s.Type == "interface" && isOn(s, device) {
			names = append(names, s.Name)
		}
	}
	return names
}

// isOn reports whether a network uses a device: that of its section (ifname before OpenWrt 21.02),
// or one that its protocol creates and names after it, such as pppoe-wan, 6in4-henet or wg0.
func isOn(s uci.Section, device string) bool {
	if slices.Contains(s.Words("device"), device) || slices.Contains(s.Words("ifname"), device) {
		return true
	}
	return s.Name != "" && (device == s.Name && value(s, "proto") == "wireguard" || device == value(s, "proto")+"-"+s.Name)
}

// offloading: a connection is offloaded after its first packets, which have passed our chains.
func (f *finder) offloading() {
	if f.Firewall == nil {
		return
	}
	for _, s := range f.Firewall.Sections {
		for _, option := range []string{"flow_offloading", "flow_offloading_hw"} {
			if s.Type == "defaults" && isTrue(value(s, option)) {
				f.note("option %s is set in /etc/config/firewall: balancing works, since a connection gets its uplink "+
					"before it is offloaded, but packet and byte counters miss offloaded traffic", option)
				return
			}
		}
	}
}
