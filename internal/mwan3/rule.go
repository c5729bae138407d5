package mwan3

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// readRule converts a rule. Names are optional here too.
func (c *converter) readRule(s *source) {
	out := c.add("rule", s)
	if len(s.Name) > maxChainName {
		out.leaveOut("mwan3 never applied it, since its name has more than %d characters", maxChainName)
	}
	readFamily(s, out)
	readAddresses(s, out)
	copyOption(s, out, "src_iface")
	readTransport(s, out)
	copyOption(s, out, "ipset")
	if out.value("ipset") != "" {
		out.remark("Another program must create the set, as for mwan3; or see `config ipset`.")
	}
	c.readTarget(s, out)
	c.readLogging(s, out)
	s.mentionRest(out)
}

// copyOption copies an option as it is.
func copyOption(s *source, out *section, name string) {
	if text := s.value(name); text != "" {
		out.option(name, text)
	}
}

// readFamily converts the family. mwan3 treats every unknown word as 'any'.
func readFamily(s *source, out *section) {
	switch family := s.value("family"); family {
	case "", "any":
	case "ipv4", "ipv6":
		out.option("family", family)
	default:
		out.note("mwan3 does not know family %s and uses 'any'", quote(family))
	}
}

func readAddresses(s *source, out *section) {
	for _, name := range []string{"src_ip", "dest_ip"} {
		addresses := s.words(name)
		if len(addresses) == 1 {
			out.option(name, withLength(addresses[0]))
			continue
		}
		for _, a := range addresses {
			out.list(name, withLength(a))
		}
		if len(addresses) > 1 {
			out.note("with several addresses in %s, mwan3 lost all rules of the family; here any of them matches", name)
		}
	}
}

// withLength returns a prefix with its length in place of a mask, which
// iptables accepts, too: 10.0.0.0/255.0.0.0.
func withLength(text string) string {
	address, mask, _ := strings.Cut(text, "/")
	m, err := netip.ParseAddr(mask)
	if err != nil || !m.Is4() {
		return text
	}
	ones, size := net.IPMask(m.AsSlice()).Size()
	if size == 0 {
		return text // not the ones first: our configuration refuses it
	}
	return address + "/" + strconv.Itoa(ones)
}

// readTransport converts the protocol and its ports.
func readTransport(s *source, out *section) {
	proto := s.value("proto")
	if proto != "" && proto != "all" {
		out.option("proto", proto)
	}
	for _, name := range []string{"src_port", "dest_port"} {
		ports := s.value(name)
		if ports == "" {
			continue
		}
		out.option(name, ports)
		if !slices.Contains([]string{"tcp", "udp"}, proto) {
			out.leaveOut("mwan3 knows ports only with proto 'tcp' or 'udp'; it ignored %s and applied the rule to all traffic that matches the rest", name)
		}
	}
}

// readTarget converts the policy, and whether sources stick to their member.
func (c *converter) readTarget(s *source, out *section) {
	sticky, timeout := s.is1("sticky"), s.value("timeout")
	use := s.value("use_policy")
	if use == "" {
		out.leaveOut("mwan3 ignored it, since it has no use_policy")
		return
	}
	if slices.Contains([]string{"default", "unreachable", "blackhole"}, use) {
		out.option("use_policy", use)
		return
	}
	p, known := c.policies[use]
	switch {
	case !known:
		out.option("use_policy", use)
		out.leaveOut("mwan3 ignored it, since there is no policy %s", quote(use))
		return
	case p.insteadOf != "":
		out.note("policy %s has no member, so its last_resort is used", quote(use))
		out.option("use_policy", p.insteadOf)
		return
	case p.tooLong:
		out.note("the name of the policy is too long for mwan3, which lost all rules of the family; here it works")
	}
	out.option("use_policy", p.name)
	if !sticky {
		return
	}
	out.option("sticky", "1")
	switch timeout {
	case "":
	case "0":
		out.note("timeout 0, with which mwan3 never forgets a source, becomes the longest timeout")
		out.option("timeout", longestTimeout)
	default:
		out.option("timeout", timeout)
	}
}

// longestTimeout is the kernel's limit for entries of a set, in seconds:
// IPSET_MAX_TIMEOUT, UINT_MAX/2 milliseconds.
const longestTimeout = "2147483"

// readLogging converts logging, which needs the global switch as well.
func (c *converter) readLogging(s *source, out *section) {
	switch {
	case !s.is1("logging"):
	case c.logging:
		out.option("log", "1")
	default:
		out.note("logging is left out: without option logging in the globals mwan3 logged nothing")
	}
}

// leaveTheRest adds the rule that leaves unmatched traffic to the main table,
// for the families in which no other rule takes it all.
func (c *converter) leaveTheRest() {
	covered := make(map[string]bool)
	for _, s := range c.out.sections {
		if s.kind == "rule" && s.leftOut == "" {
			for _, family := range s.takesAll() {
				covered[family] = true
			}
		}
	}
	if covered["ipv4"] && covered["ipv6"] {
		return
	}
	out := c.out.add("rule", c.newName("rule", "unmatched"))
	out.remark("mwan3 leaves what no rule matches to the main table. Without this rule it would be")
	out.remark("dealt out by policy 'balanced' (all members, if the file has no policy of that name).")
	switch {
	case covered["ipv4"]:
		out.option("family", "ipv6")
	case covered["ipv6"]:
		out.option("family", "ipv4")
	}
	out.option("use_policy", "default")
}

// takesAll returns the families in which a rule matches everything.
func (s *section) takesAll() []string {
	for _, name := range []string{"src_ip", "src_iface", "proto", "src_port", "dest_port", "ipset"} {
		if s.value(name) != "" {
			return nil
		}
	}
	families := []string{"ipv4", "ipv6"}
	if family := s.value("family"); family != "" {
		families = []string{family}
	}
	switch s.value("dest_ip") {
	case "":
		return families
	case "0.0.0.0/0":
		return []string{"ipv4"}
	case "::/0":
		return []string{"ipv6"}
	}
	return nil
}
