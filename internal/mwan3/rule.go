package mwan3

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

func (c *converter) readRule(s *source) {
	out := c.add("rule", s.Name, s)
	if !s.boolean("enabled", true) {
		out.option("enabled", "0")
	}
	if len(s.Name) > maxChainName {
		out.leaveOut(minor, "mwan3 never applied it, since its name has more than %d characters", maxChainName)
	}
	readFamily(s, out)
	readAddresses(s, out)
	readInterface(s, out)
	readMark(s, out)
	readTransport(s, out)
	c.readSets(s, out)
	c.readTarget(s, out)
	c.readLogging(s, out)
	s.mentionRest(out)
}

func readInterface(s *source, out *section) {
	copyOption(s, out, "src_iface")
	if s.value("src_iface") == config.Router {
		out.leaveOut(traffic, "src_iface 'router' means the router itself here; name the device of the interface in option src_device")
	}
}

// readMark converts the mark of another program, which the port to nftables has.
func readMark(s *source, out *section) {
	mark, mask := s.value("fwmark"), s.value("fwmask")
	if mark == "" && mask == "" {
		return
	}
	out.option("fwmark", mark+"/"+mask)
	if mark == "" || mask == "" {
		out.leaveOut(minor, "mwan3 ignored it, since it has only one of fwmark and fwmask")
	}
}

func copyOption(s *source, out *section, name string) { optional(out, name, s.value(name)) }

func optional(out *section, name, value string) {
	if value != "" {
		out.option(name, value)
	}
}

// readFamily converts the family. mwan3 treats every unknown word as 'any'.
func readFamily(s *source, out *section) {
	switch family := s.value("family"); family {
	case "", "any":
	case "ipv4", "ipv6":
		out.option("family", family)
	default:
		out.note(minor, "mwan3 does not know family %s and uses 'any'", quote(family))
	}
}

// readAddresses converts what iptables takes: commas, and masks for lengths.
func readAddresses(s *source, out *section) {
	for _, name := range []string{"src_ip", "dest_ip"} {
		if len(s.words(name)) > 1 {
			out.note(traffic, "with several values in %s, mwan3 lost all rules of the family; here any of them matches", name)
		}
		addresses := strings.FieldsFunc(s.value(name), func(r rune) bool { return unicode.IsSpace(r) || r == ',' })
		for _, a := range addresses {
			e := out.option(name, config.CanonicalAddress(a))
			e.list = len(addresses) > 1
		}
	}
}

func readTransport(s *source, out *section) {
	proto := s.value("proto")
	if proto != "" && proto != "all" {
		out.option("proto", proto)
	}
	for _, name := range []string{"src_port", "dest_port"} {
		ports := s.value(name)
		if ports == "" || ports == "0:65535" { // mwan3's default
			continue
		}
		out.option(name, ports)
		if !slices.Contains([]string{"tcp", "udp"}, proto) {
			out.leaveOut(traffic, "mwan3 knows ports only with proto 'tcp' or 'udp'; it ignored %s and applied the rule to all traffic that matches the rest", name)
		}
	}
}

func (c *converter) readTarget(s *source, out *section) {
	sticky, timeout := s.is1("sticky"), s.value("timeout")
	use := s.value("use_policy")
	if use == "" {
		out.leaveOut(minor, "mwan3 ignored it, since it has no use_policy")
		return
	}
	policy, known := c.policies[use]
	if !known || slices.Contains(outcomes, use) {
		policy = use
	}
	out.option("use_policy", policy)
	switch {
	case slices.Contains(outcomes, policy):
		return
	case !known:
		out.leaveOut(minor, "mwan3 ignored it, since there is no policy %s", quote(use))
		return
	case len(use) > maxChainName:
		out.note(traffic, "the name of the policy is too long for mwan3, which lost all rules of the family; here it works")
	}
	if !sticky {
		return
	}
	out.option("sticky", "1")
	if timeout == "0" {
		out.note(minor, "timeout 0, with which mwan3 never forgets a source, becomes the longest timeout")
		timeout = "2147483" // IPSET_MAX_TIMEOUT, UINT_MAX/2 milliseconds, in seconds
	}
	optional(out, "timeout", timeout)
}

// readLogging converts logging, which needs the global switch as well.
func (c *converter) readLogging(s *source, out *section) {
	switch {
	case !s.is1("logging"):
	case c.logging:
		out.option("log", "1")
	default:
		out.note(minor, "logging is left out: without option logging in the globals mwan3 logged nothing")
	}
}

// leaveTheRest adds the rule that leaves unmatched traffic to the main table,
// for the families in which no other rule takes it all.
func (c *converter) leaveTheRest(cfg *config.Config) {
	rest := slices.Clone(family.All[:])
	for _, r := range cfg.Rules {
		if takesAll(r) {
			rest = slices.DeleteFunc(rest, func(f family.Family) bool { return slices.Contains(r.Families, f) })
		}
	}
	if len(rest) == 0 {
		return
	}
	out := c.out.add("rule", c.newName("rule", "unmatched"))
	out.remark("mwan3 leaves what no rule matches to the main table. Without this rule it would be")
	out.remark("dealt out by policy 'balanced' (all members, if the file has no policy of that name).")
	if len(rest) == 1 {
		out.option("family", rest[0].String())
	}
	out.option("use_policy", "default")
}

// takesAll reports whether a rule matches everything in its families.
func takesAll(r config.Rule) bool {
	everywhere := func(m config.AddressMatch) bool {
		return len(m.Masked)+len(m.Not) == 0 && !slices.ContainsFunc(m.Any, func(p netip.Prefix) bool { return p.Bits() > 0 })
	}
	return r.Enabled && everywhere(r.SrcIP) && everywhere(r.DestIP) && r.SrcIface == "" &&
		len(r.Protos) == 0 && r.IPSet == "" && r.IPSetSrc == "" && r.FWMask == 0
}

// notInNames are the characters that no name of a section can have.
var notInNames = regexp.MustCompile(`[^A-Za-z0-9_]`)

// readIPSet converts a set, which only mwan3's port to nftables has.
func (c *converter) readIPSet(s *source) {
	name := s.value("name")
	if name == "" {
		c.out.general.note(traffic, "ipset %s is left out: it has no name, so no rule can use it", quote(s.Label()))
		return
	}
	out := c.add("ipset", notInNames.ReplaceAllString(name, "_"), s)
	if out.name != name {
		out.note(minor, "its name in mwan3 was %s", quote(name))
	}
	if !s.boolean("enabled", true) {
		out.leaveOut(minor, "it is disabled")
	}
	copyOption(s, out, "family")
	for _, entry := range s.words("entry") {
		out.list("entry", config.CanonicalAddress(entry))
	}
	for _, domain := range s.words("domain") {
		out.list("domain", domain)
	}
	copyOption(s, out, "loadfile")
	// Sets here have no limit and always count.
	s.asked["maxelem"], s.asked["counters"] = true, true
	if timeout := s.value("timeout"); timeout != "" && timeout != "0" {
		out.note(minor, "timeout %s is left out: entries stay, and addresses that were learnt from DNS stay for a day after they were last seen", quote(timeout))
	}
	s.mentionRest(out)
	c.sets[name] = out
}

func (c *converter) readSets(s *source, out *section) {
	for _, option := range []string{"ipset", "ipset_src"} {
		name := s.value(option)
		set, ours := c.sets[name]
		switch {
		case name == "":
			continue
		case !ours:
			out.note(traffic, "another program must create the set, as for mwan3. Where that was dnsmasq, which cannot since OpenWrt 23.05, "+
				"a `config ipset` of that name with `list domain` learns the addresses from DNS answers")
		case set.leftOut != nil:
			out.leaveOut(minor, "set %s is left out", quote(name))
		default:
			name = set.name
		}
		out.option(option, name)
	}
}
