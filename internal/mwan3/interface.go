package mwan3

// member is the result of converting an interface.
type member struct {
	name    string // in the result
	family  string // ipv4 or ipv6
	enabled bool
}

// maxInterface is the longest name of an interface in characters for which
// mwan3 could create its chain mwan3_iface_in_NAME: iptables takes 28.
const maxInterface = 13

// readInterface converts a section `interface`.
func (c *converter) readInterface(s *source) {
	if s.Name == "" {
		c.out.note("interface %s is left out: it has no name, so it cannot be an interface of netifd", quote(s.Label()))
		return
	}
	out := c.add("member", s)
	m := member{name: out.name, family: "ipv4", enabled: s.is1("enabled")}
	switch family := s.value("family"); family {
	case "", "ipv4":
	case "ipv6":
		m.family = family
	default:
		out.note("mwan3 does not know family %s and ignores the interface", quote(family))
		m.enabled = false
	}
	if !m.enabled {
		out.remark("Disabled, as in mwan3, which needs `option enabled '1'` for an interface.")
		out.option("enabled", "0")
	}
	if len(s.Name) > maxInterface {
		out.note("mwan3 could not track connections that came in by it, since its name has more than %d characters; here replies leave by it", maxInterface)
	}
	out.option("interface", s.Name)
	c.readHealth(s, out, m.family)
	for _, event := range s.words("flush_conntrack") {
		out.note("flush_conntrack %s is left out: mwan3 then cut all connections; here only those of a dead line are cut (option on_dead)", quote(event))
	}
	s.mentionRest(out)
	c.members[s.Name] = m
}
