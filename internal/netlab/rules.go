package netlab

import (
	"fmt"
	"strconv"
	"strings"
)

// writeAccessRules makes an access network drop, and count, what comes from the
// router over one uplink with an address of another. The comment "spoof-i"
// finds the counter again.
func (l *Lab) writeAccessRules(ns *Namespace, s *script) {
	addLine(&s.rules4, "*raw")
	for _, u := range l.uplinks {
		if l.Access(u.Index) == ns {
			addLine(&s.rules4, "-A PREROUTING %s ! -s %v -m comment --comment spoof-%d -j DROP", l.fromUplink(u), u.Address.Addr(), u.Index)
		}
	}
	addLine(&s.rules4, "COMMIT")
	if l.options.Topology == Twins {
		writeModemNAT(s)
	}
	if !l.options.IPv6 {
		return
	}
	addLine(&s.rules6, "*raw")
	for _, u := range l.uplinks {
		if l.Access(u.Index) != ns {
			continue
		}
		addLine(&s.rules6, ":uplink%d - [0:0]", u.Index)
		addLine(&s.rules6, "-A PREROUTING %s -j uplink%d", l.fromUplink(u), u.Index)
		addLine(&s.rules6, "-A uplink%d -s fe80::/10,::/128,%v,%v -j RETURN", u.Index, u.Address6.Addr(), u.Delegated)
		addLine(&s.rules6, "-A uplink%d -m comment --comment spoof-%d -j DROP", u.Index, u.Index)
	}
	addLine(&s.rules6, "COMMIT")
}

// fromUplink matches what the router has sent over u.
func (l *Lab) fromUplink(u Uplink) string {
	if l.options.Topology == Campus {
		return "-m mac --mac-source " + u.MAC
	}
	return "-i " + l.accessDevice(u)
}

// writeModemNAT makes a modem translate to its outer address, and pass on to
// the router whatever comes from outside.
func writeModemNAT(s *script) {
	addLine(&s.rules4, "*nat")
	addLine(&s.rules4, "-A PREROUTING -i line+ -j DNAT --to-destination 192.168.1.2")
	// The outer address is not the line's first one, hence no MASQUERADE.
	addLine(&s.rules4, "-A POSTROUTING -o line1 -j SNAT --to-source 198.18.1.2")
	addLine(&s.rules4, "-A POSTROUTING -o line2 -j SNAT --to-source 198.18.2.2")
	addLine(&s.rules4, "COMMIT")
}

// writeRouterRules is the part of OpenWrt's firewall that matters here: a zone
// for the uplinks that translates addresses and lets nothing out untranslated,
// and one forwarded port.
func (l *Lab) writeRouterRules(s *script) {
	addLine(&s.rules4, "*nat\n:zone_wan_postrouting - [0:0]\n:zone_wan_prerouting - [0:0]")
	for _, u := range l.uplinks {
		addLine(&s.rules4, "-A PREROUTING -i %s -j zone_wan_prerouting", u.Device)
		addLine(&s.rules4, "-A POSTROUTING -o %s -j zone_wan_postrouting", u.Device)
		if l.options.NAT == FixedSNAT {
			addLine(&s.rules4, "-A zone_wan_postrouting -o %s -j SNAT --to-source %v", u.Device, u.Address.Addr())
		}
	}
	if l.options.NAT == Masquerade {
		addLine(&s.rules4, "-A zone_wan_postrouting -j MASQUERADE")
	}
	for _, proto := range []string{"tcp", "udp"} {
		addLine(&s.rules4, "-A zone_wan_prerouting -p %s --dport %d -j DNAT --to-destination %v:%d", proto, ForwardedPort, lanHost(0), EchoPort)
	}
	addLine(&s.rules4, "COMMIT\n*filter\n:zone_wan_dest_ACCEPT - [0:0]")
	for _, u := range l.uplinks {
		addLine(&s.rules4, "-A FORWARD -o %s -j zone_wan_dest_ACCEPT", u.Device)
	}
	if l.options.NAT != NoNAT {
		// A packet without a valid connection is never translated.
		addLine(&s.rules4, `-A zone_wan_dest_ACCEPT -m conntrack --ctstate INVALID -m comment --comment "Prevent NAT leakage" -j DROP`)
	}
	addLine(&s.rules4, "COMMIT")
	if !l.options.NAT66 {
		return
	}
	addLine(&s.rules6, "*nat")
	for _, u := range l.uplinks {
		addLine(&s.rules6, "-A POSTROUTING -s %v -o %s -j MASQUERADE", LANPrefix6, u.Device)
	}
	addLine(&s.rules6, "COMMIT")
}

// Spoofed returns the number of packets that arrived at uplink i's access
// network with a source address that is not uplink i's. With IPv6 it includes
// both families.
func (l *Lab) Spoofed(i int) (uint64, error) {
	programs := []string{"iptables-nft-save"}
	if l.options.IPv6 {
		programs = append(programs, "ip6tables-nft-save")
	}
	var total uint64
	for _, program := range programs {
		out, err := l.Access(i).Run(program, "-c", "-t", "raw")
		if err != nil {
			return 0, err
		}
		n, err := ruleCounter(out, fmt.Sprintf("--comment spoof-%d ", i))
		if err != nil {
			return 0, fmt.Errorf("uplink %d: %s: %w", i, program, err)
		}
		total += n
	}
	return total, nil
}

// SpoofedTotal returns the sum of Spoofed over all uplinks.
func (l *Lab) SpoofedTotal() (uint64, error) {
	var total uint64
	for i := 1; i <= l.Uplinks(); i++ {
		n, err := l.Spoofed(i)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// ruleCounter reads the packet counter of the only rule that contains text from
// the output of iptables-save -c.
func ruleCounter(saved, text string) (uint64, error) {
	for _, line := range strings.Split(saved, "\n") {
		if !strings.Contains(line, text) {
			continue
		}
		counters, _, _ := strings.Cut(strings.TrimPrefix(line, "["), ":")
		return strconv.ParseUint(counters, 10, 64)
	}
	return 0, fmt.Errorf("no rule with %q in:\n%s", text, saved)
}
