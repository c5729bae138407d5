package kernel

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// Rules returns the ip rules of a family, by priority.
func (h *Handle) Rules(f family.Family) ([]netlink.Rule, error) {
	all, err := h.rules.get("ip rules", func() ([]netlink.Rule, error) {
		return h.Netlink.RuleList(netlink.FAMILY_ALL)
	})
	var rules []netlink.Rule
	for _, r := range all {
		if r.Family == int(kernelFamily(f)) {
			rules = append(rules, r)
		}
	}
	return rules, err
}

// AddRule adds a rule. The error is EEXIST if there is one that has the same
// properties, protocol included.
func (h *Handle) AddRule(r netlink.Rule) error {
	h.rules = list[netlink.Rule]{}
	if isDropped(r) {
		return h.sendRule(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, r)
	}
	return h.Netlink.RuleAdd(&r)
}

// DeleteRule deletes the first rule that has all the given properties. The
// error is ENOENT if there is none.
func (h *Handle) DeleteRule(r netlink.Rule) error {
	h.rules = list[netlink.Rule]{}
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
