package mwan3

import (
	"strconv"

	"loadbalance/internal/config"
	"loadbalance/internal/uci"
)

func (c *converter) readGlobals(file *uci.File) {
	out := c.out.add("globals", "globals")
	out.option("enabled", "1")
	each(file, "globals", func(s *source) { c.readGlobalsSection(s, out) })
}

func (c *converter) readGlobalsSection(s *source, out *section) {
	if s.Name != "globals" {
		out.note(minor, "section %s is left out: mwan3 reads only the section 'globals'", quote(s.Label()))
		return
	}
	// mwan3's default, 0x3f00, is what other programs' marks meet most.
	mask := s.value("mmx_mask")
	if value, err := strconv.ParseUint(mask, 0, 32); mask != "" && (err != nil || value != 0x3f00) {
		out.option("mark_mask", mask)
	}
	c.logging = s.is1("logging")
	if level := s.value("loglevel"); level != "" && c.logging {
		out.note(minor, "loglevel %s is left out: in mwan3 it is the level of messages from rules; here that is always 'warning'", quote(level))
	}
	if s.is1("source_routing") {
		out.note(minor, "source_routing is left out: here packets with an uplink's address always leave by that uplink")
	}
	out.noteAll(traffic, "rt_table_lookup %s is left out: put the networks that are reached by such a table into `list bypass`, "+
		"and give the table an ip rule with a priority below 6000", s.words("rt_table_lookup"))
	for _, network := range s.words("bypass_network") {
		out.list("bypass", config.CanonicalAddress(network))
	}
	s.asked["enabled"] = true // mwan3 does not read it
	s.mentionRest(out)
}
