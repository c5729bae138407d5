package mwan3

import "loadbalance/internal/uci"

// readGlobals converts the section globals.
func (c *converter) readGlobals(file *uci.File) {
	out := c.out.add("globals", "globals")
	out.option("enabled", "1")
	each(file, "globals", func(s *source) {
		if s.Name != "globals" {
			out.note("section %s is left out: mwan3 reads only the section 'globals'", quote(s.Label()))
			return
		}
		c.readGlobalsSection(s, out)
	})
}

func (c *converter) readGlobalsSection(s *source, out *section) {
	if mask := s.value("mmx_mask"); mask != "" {
		out.option("mark_mask", mask)
	}
	c.logging = s.is1("logging")
	if level := s.value("loglevel"); level != "" && c.logging {
		out.note("loglevel %s is left out: in mwan3 it is the level of messages from rules; here that is always 'warning'", quote(level))
	}
	if s.is1("source_routing") {
		out.note("source_routing is left out: here packets with an uplink's address always leave by that uplink")
	}
	for _, table := range s.words("rt_table_lookup") {
		out.note("rt_table_lookup %s is left out: put the networks that are reached by that table into `list bypass`, "+
			"and give the table an ip rule with a priority below 6000", quote(table))
	}
	s.mentionRest(out)
}
