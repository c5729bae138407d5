package mwan3

import "slices"

// member is the result of converting an interface.
type member struct {
	name    string // in the result
	family  string // ipv4 or ipv6
	enabled bool
}

// maxInterface is the longest name of an interface in characters for which
// mwan3 could create its chain mwan3_iface_in_NAME: iptables takes 28.
const maxInterface = 13

// flushEvents are the values of flush_conntrack with which mwan3 flushes, or
// did: 'always' and 'never' are of versions before 2.7.
var flushEvents = []string{"ifup", "ifdown", "connected", "disconnected", "always"}

// readInterface converts a section `interface`.
func (c *converter) readInterface(s *source) {
	if s.Name == "" {
		c.out.general.note(traffic, "interface %s is left out: it has no name, so it cannot be an interface of netifd", quote(s.Label()))
		return
	}
	out := c.add("member", s.Name, s)
	m := member{name: out.name, family: "ipv4", enabled: s.is1("enabled")}
	switch family := s.value("family"); family {
	case "", "ipv4":
	case "ipv6":
		m.family = family
	default:
		out.note(minor, "mwan3 does not know family %s and ignores the interface", quote(family))
		m.enabled = false
	}
	if !m.enabled {
		out.remark("Disabled, as in mwan3, which needs `option enabled '1'` for an interface.")
		out.option("enabled", "0")
	}
	if len(s.Name) > maxInterface {
		out.note(traffic, "mwan3 could not track connections that came in by it, since its name has more than %d characters; here replies leave by it", maxInterface)
	}
	out.option("interface", s.Name)
	c.readHealth(s, out, m.family)
	flush := slices.DeleteFunc(s.words("flush_conntrack"), func(event string) bool { return !slices.Contains(flushEvents, event) })
	slices.Sort(flush)
	out.noteAll(minor, "flush_conntrack %s is left out: mwan3 then cut all connections; here only those of a dead line are cut (option on_dead)", flush)
	s.mentionRest(out)
	c.members[s.Name] = m
	c.hasIPv6 = c.hasIPv6 || m.family == "ipv6" && m.enabled
}
