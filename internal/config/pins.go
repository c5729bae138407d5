package config

import (
	"fmt"
	"net/netip"

	"loadbalance/internal/fwmark"
)

// memberSection is a member with the section that it was read from.
type memberSection struct {
	*section
	Member
}

// checkClaims refuses enabled members that share a device, an interface, a mark
// or a table: the first keeps it. Faulty ones count, so that all problems show.
func checkClaims(members []*memberSection) {
	owners := make(map[string]*memberSection)
	for _, m := range members {
		if !m.Enabled {
			continue
		}
		for _, c := range []struct {
			option, what string
			claimed      bool
		}{
			{"device", m.deviceAndGateway(), m.Device != ""},
			{"interface", "interface " + quote(m.Interface), m.Interface != ""},
			{"interface6", "interface " + quote(m.Interface6), m.Interface6 != ""},
			{"mark", fmt.Sprintf("mark 0x%x", m.Mark), m.Mark != 0},
			{"table", fmt.Sprintf("table %d", m.Table), m.Table != 0},
		} {
			owner, taken := owners[c.what]
			switch {
			case !c.claimed:
			case !taken:
				owners[c.what] = m
			case owner != m:
				m.errorf(m.line(c.option), "%s already belongs to %s (line %d)", c.what, owner.title, owner.Line)
			}
		}
	}
}

// deviceAndGateway tells members on one device apart: only one can do without a
// gateway, and has that of the main table.
func (m *memberSection) deviceAndGateway() string {
	for _, gateway := range []netip.Addr{m.Gateway, m.Gateway6} {
		if gateway.IsValid() {
			return fmt.Sprintf("device %s with gateway %s", quote(m.Device), gateway)
		}
	}
	return "device " + quote(m.Device)
}

// checkMask refuses marks, tables and members for which the mask has no room.
func checkMask(members []*memberSection, mask fwmark.Mask) {
	capacity := mask.Capacity()
	enabled := 0
	for _, m := range members {
		if !m.Enabled {
			continue
		}
		m.checkMark(mask)
		m.checkTable(mask)
		enabled++
		if enabled > capacity {
			m.errorf(m.Line, "mark_mask 0x%x has room for %d enabled members, this is number %d", mask, capacity, enabled)
		}
	}
}

func (m *memberSection) checkMark(mask fwmark.Mask) {
	switch {
	case m.Mark == 0:
	case m.Mark&^uint32(mask) != 0:
		m.errorf(m.line("mark"), "option 'mark': 0x%x lies outside mark_mask 0x%x", m.Mark, mask)
	case !mask.IsMember(mask.Value(m.Mark)):
		m.errorf(m.line("mark"), "option 'mark': 0x%x is reserved, members can have 0x%x to 0x%x",
			m.Mark, mask.Mark(1), mask.Mark(mask.Capacity()))
	}
}

// checkTable refuses the kernel's tables, and those of other members' indices.
func (m *memberSection) checkTable(mask fwmark.Mask) {
	first, last := fwmark.Table(0), fwmark.Table(mask.Default())
	switch {
	// RT_TABLE_DEFAULT, RT_TABLE_MAIN and RT_TABLE_LOCAL of linux/rtnetlink.h.
	case m.Table >= 253 && m.Table <= 255:
		m.errorf(m.line("table"), "option 'table': %d is one of the kernel's own tables (default 253, main 254, local 255)", m.Table)
	case m.Table < first || m.Table > last:
	case m.Mark == 0 || m.Table != fwmark.Table(mask.Value(m.Mark)):
		m.errorf(m.line("table"), "option 'table': %d is in the range that is assigned automatically, choose one outside %d to %d", m.Table, first, last)
	}
}
