package config

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"time"
)

// maxSetTimeout is the kernel's IPSET_MAX_TIMEOUT, UINT_MAX/2 ms, in whole seconds.
const maxSetTimeout = 2147483 * time.Second

// Router in option src_iface is the router itself, whatever interface has that name.
const Router = "router"

// readRule reads `config rule`.
func (r *reader) readRule(s *section) Rule {
	protos, protosRead := s.protos("proto")
	rule := Rule{
		Pos:       s.pos,
		Name:      s.Name,
		Label:     s.Label(),
		Enabled:   s.boolean("enabled", true),
		SrcIP:     s.addressMatch("src_ip"),
		DestIP:    s.addressMatch("dest_ip"),
		SrcMAC:    several(s, "src_mac", "", ParseMAC),
		SrcIface:  single(s, "src_iface", "", parseInterface),
		SrcDevice: single(s, "src_device", "", parseDevice),
		Protos:    protos,
		ICMPType:  single(s, "icmp_type", "", parseICMPType),
		SrcPorts:  several(s, "src_port", ",", parsePortRange),
		DestPorts: several(s, "dest_port", ",", parsePortRange),
		IPSet:     single(s, "ipset", "", parseSetName),
		IPSetSrc:  single(s, "ipset_src", "", parseSetName),
		DSCP:      single(s, "dscp", -1, ParseDSCP),
		Sticky:    s.boolean("sticky", false),
		Timeout:   single(s, "timeout", 600*time.Second, parseSetTimeout), // mwan3's
		Use:       single(s, "use_policy", builtinPolicy, r.parseUse),
		Log:       s.boolean("log", false),
	}
	rule.FWMark = single(s, "fwmark", 0, func(text string) (mark uint32, err error) {
		mark, rule.FWMask, err = parseForeignMark(text, r.config.Globals.MarkMask)
		return mark, err
	})
	rule.StickyPair = single(s, "sticky_key", "source", oneOf("source", "source_dest")) == "source_dest"
	if !rule.Sticky {
		s.withoutEffect("sticky_key", "without sticky '1'")
	}
	if s.given("src_iface") && s.given("src_device") {
		s.errorf(s.line("src_device"), "options 'src_iface' and 'src_device' exclude each other")
	}
	if rule.SrcIface == Router && s.given("src_mac") {
		s.errorf(s.line("src_mac"), "option 'src_mac': with src_iface 'router' no packet has one; leave one of the two out")
	}
	if rule.SrcIface == Router && !r.config.Globals.RouterTraffic {
		s.warnf(s.line("src_iface"), "option 'src_iface': the rule has no effect, since router_traffic is '0' in the globals")
	}
	if protosRead {
		checkPorts(s, protos)
		checkICMPType(s, protos)
	}
	rule.Families = r.ruleFamilies(s, &rule).list()
	s.reportUnknown()
	return rule
}

// checkPorts refuses ports where a protocol of the rule has none: iptables does
// too, and without them the rule would match more.
func checkPorts(s *section, protos []Proto) {
	for _, option := range []string{"src_port", "dest_port"} {
		if !s.given(option) {
			continue
		}
		if len(protos) == 0 {
			s.errorf(s.line(option), "option '%s' needs option 'proto' with protocols that have ports, such as 'tcp udp'", option)
		}
		for _, p := range protos {
			if !p.hasPorts() {
				s.errorf(s.line(option), "option '%s': protocol '%s' has no ports", option, p.Name)
			}
		}
	}
}

func checkICMPType(s *section, protos []Proto) {
	if !s.given("icmp_type") {
		return
	}
	isOther := func(p Proto) bool { return p.Number != protoICMP && p.Number != protoICMPv6 }
	if len(protos) == 0 || slices.ContainsFunc(protos, isOther) {
		s.errorf(s.line("icmp_type"), "option 'icmp_type' needs option 'proto' with 'icmp' or 'icmpv6' and nothing else")
	}
}

func (r *reader) ruleFamilies(s *section, rule *Rule) families {
	iface := bothFamilies
	if rule.SrcIface == Router {
		iface = onlyIPv4 // the router's own IPv6 packets are not dealt out
	}
	constraints := []constraint{
		{"family", single(s, "family", bothFamilies, parseFamilies)},
		{"src_ip", rule.SrcIP.families()},
		{"dest_ip", rule.DestIP.families()},
		{"src_iface", iface},
		{"ipset", r.setFamilies(rule.IPSet)},
		{"ipset_src", r.setFamilies(rule.IPSetSrc)},
		{"proto", cmp.Or(familiesIn(rule.Protos, Proto.families), bothFamilies)},
		{"icmp_type", icmpFamilies(rule.ICMPType)},
	}
	common := commonFamilies(s, constraints)
	warnUseless(s, "src_ip", rule.SrcIP, common)
	warnUseless(s, "dest_ip", rule.DestIP, common)
	return common
}

// warnUseless warns about addresses of a family in which the rule cannot match.
func warnUseless(s *section, option string, m AddressMatch, common families) {
	mentioned := familiesIn(m.Any, prefixFamilies) | familiesIn(m.Not, prefixFamilies) | familiesIn(m.Masked, Masked.families)
	if useless := mentioned &^ common; useless != 0 && mentioned&common != 0 {
		s.warnf(s.line(option), "option '%s': the %s addresses have no effect, the rule is %s", option, useless, common)
	}
}

// setFamilies returns the families of a set: both where they are not known.
func (r *reader) setFamilies(name string) families {
	if set := r.config.IPSet(name); set != nil {
		return familiesOf(set.Family)
	}
	return bothFamilies
}

func (r *reader) parseUse(text string) (string, error) {
	builtin := []string{builtinPolicy, string(LastDefault), string(LastUnreachable), string(LastBlackhole)}
	if r.names[text] != nil || slices.Contains(builtin, text) {
		return text, nil
	}
	known := append(r.namesOf("policy", "member"), builtin...)
	return "", fmt.Errorf("there is no policy or member %s%s", quote(text), didYouMean(text, known))
}

// isUsable reports whether everything that a rule names is there. What is
// missing has an error of its own, so that the rule gets a warning only.
func (r *reader) isUsable(s *section, rule *Rule) bool {
	usable := true
	check := func(option string, part *section) {
		if part != nil && part.state != valid {
			s.warnf(s.line(option), "left out, because %s is %s (line %d)", part.title, part.state, part.Line)
			usable = false
		}
	}
	if rule.Use != builtinPolicy {
		check("use_policy", r.names[rule.Use])
	}
	if p := r.config.Policy(rule.Use); p != nil && rule.Enabled && len(p.Members) == 0 && r.names[rule.Use] != nil {
		s.warnf(s.line("use_policy"), "all members of policy '%s' are disabled: its last_resort applies", p.Name)
	}
	for _, option := range []struct{ name, set string }{{"ipset", rule.IPSet}, {"ipset_src", rule.IPSetSrc}} {
		ours := r.sets[option.set]
		check(option.name, ours)
		if option.set == "" || ours != nil {
			continue
		}
		if suggestion := didYouMean(option.set, r.namesOf("ipset")); suggestion != "" {
			s.warnf(s.line(option.name), "option '%s': there is no set %s in this file%s, another program has to create it",
				option.name, quote(option.set), suggestion)
		}
	}
	return usable
}

// ParseMAC reads a MAC address and returns it in lower case with colons.
func ParseMAC(text string) (string, error) {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return "", invalid(text, "is not a MAC address, such as 02:00:5e:00:53:01")
	}
	return mac.String(), nil
}

// parseSetTimeout reads a timeout, which the kernel keeps in whole seconds.
func parseSetTimeout(text string) (time.Duration, error) {
	d, err := durationWithin(time.Second, time.Second, maxSetTimeout)(text)
	if err == nil && d%time.Second != 0 {
		return 0, invalid(text, "is not a whole number of seconds")
	}
	return d, err
}
