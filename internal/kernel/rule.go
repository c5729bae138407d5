package kernel

import (
	"errors"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// Rules returns the ip rules of a family, by priority.
func (h *Handle) Rules(f family.Family) ([]netlink.Rule, error) {
	all, err := once(&h.rules, "ip rules", h.dumpRules)
	return only(all, func(r netlink.Rule) bool { return r.Family == int(Number(f)) }), err
}

// dumpRules reads the rules. What those do that have no table to look up
// (FR_ACT_…), which the library leaves out, takes a second dump.
func (h *Handle) dumpRules() ([]netlink.Rule, error) {
	rules, err := h.Netlink.RuleList(netlink.FAMILY_ALL)
	noTable := func(r netlink.Rule) bool { return r.Table == unix.RT_TABLE_UNSPEC }
	if err != nil || !slices.ContainsFunc(rules, noTable) {
		return rules, err
	}
	req := h.Request(unix.RTM_GETRULE, unix.NLM_F_DUMP)
	req.AddData(&nl.RtMsg{}) // of all families
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWRULE)
	if len(messages) != len(rules) {
		return rules, errors.Join(netlink.ErrDumpInterrupted, err)
	}
	for i, m := range messages {
		if noTable(rules[i]) {
			rules[i].Type = nl.DeserializeRtMsg(m).Type
		}
	}
	return rules, err
}

// AddRule adds a rule. The error is EEXIST if there is one that has the same
// properties, protocol included.
func (h *Handle) AddRule(r netlink.Rule) error {
	h.rules = nil
	if isDropped(r) {
		return h.sendRule(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, r)
	}
	return h.Netlink.RuleAdd(&r)
}

// DeleteRule deletes the first rule that has all the given properties. The
// error is ENOENT if there is none.
func (h *Handle) DeleteRule(r netlink.Rule) error {
	h.rules = nil
	if isDropped(r) {
		return h.sendRule(unix.RTM_DELRULE, 0, r)
	}
	return h.Netlink.RuleDel(&r)
}

// isDropped reports whether the library would leave out what the rule
// suppresses.
func isDropped(r netlink.Rule) bool {
	return r.Table > 255 && (r.SuppressPrefixlen >= 0 || r.SuppressIfgroup >= 0)
}

// sendRule sends a rule with the selectors that rules of ours with a
// suppression have: priority, mark and protocol.
func (h *Handle) sendRule(kind, flags int, r netlink.Rule) error {
	req := h.Request(kind, unix.NLM_F_ACK|flags)
	req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(r.Family), Type: unix.FR_ACT_TO_TBL}})
	number := func(attribute int, value uint32) {
		req.AddData(nl.NewRtAttr(attribute, nl.Uint32Attr(value)))
	}
	number(nl.FRA_PRIORITY, uint32(r.Priority))
	number(nl.FRA_TABLE, uint32(r.Table))
	if r.Mask != nil {
		number(nl.FRA_FWMARK, r.Mark)
		number(nl.FRA_FWMASK, *r.Mask)
	}
	if r.SuppressPrefixlen >= 0 {
		number(nl.FRA_SUPPRESS_PREFIXLEN, uint32(r.SuppressPrefixlen))
	}
	if r.SuppressIfgroup >= 0 {
		number(nl.FRA_SUPPRESS_IFGROUP, uint32(r.SuppressIfgroup))
	}
	req.AddData(nl.NewRtAttr(nl.FRA_PROTOCOL, nl.Uint8Attr(r.Protocol)))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
