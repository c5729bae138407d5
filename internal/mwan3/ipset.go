package mwan3

import (
	"regexp"

	"loadbalance/internal/config"
)

// notInNames are the characters that no name of a section can have.
var notInNames = regexp.MustCompile(`[^A-Za-z0-9_]`)

// readIPSet converts a set of mwan3's port to nftables, the only one that has
// sections of that type.
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
	if s.isOff("enabled") {
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

// readSets converts the sets that a rule names: those of the file, and those
// that another program makes.
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
