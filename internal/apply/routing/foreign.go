package routing

import (
	"cmp"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/uplink"
)

// ReadForeign adds to what is known of a family the ip rules of other programs
// and the routes that they have in tables of their own.
func (n Netlink) ReadForeign(f family.Family, main *uplink.Main) error {
	rules, err := n.Handle.Rules(f)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if r.Protocol != Protocol && !isKernels(r) {
			main.Rules = append(main.Rules, ParseRule(r))
		}
	}
	routes, err := n.Handle.Routes(f)
	if err != nil {
		return err
	}
	for _, r := range routes {
		kernels := r.Table >= unix.RT_TABLE_DEFAULT && r.Table <= unix.RT_TABLE_LOCAL
		if parsed, ok := uplink.ParseRoute(r); ok && !kernels && r.Protocol != Protocol {
			if main.Tables == nil {
				main.Tables = map[int][]uplink.Route{}
			}
			main.Tables[r.Table] = append(main.Tables[r.Table], parsed)
		}
	}
	return nil
}

// isKernels reports whether a rule is one of the kernel's first ones
// (fib_default_rules_init), or that for VRF devices, whose packets are none of ours.
func isKernels(r netlink.Rule) bool {
	bare := r.Src == nil && r.Dst == nil && r.Mask == nil && r.IifName == "" && r.OifName == "" && !r.Invert
	return bare && (r.Priority == 0 && r.Table == unix.RT_TABLE_LOCAL ||
		r.Priority == 32766 && r.Table == unix.RT_TABLE_MAIN && r.SuppressPrefixlen < 0 ||
		r.Priority == 32767 && r.Table == unix.RT_TABLE_DEFAULT) ||
		r.Type == unix.FR_ACT_TO_TBL && r.Table == unix.RT_TABLE_UNSPEC
}

// ParseRule is a rule of the kernel as far as it can be explained.
func ParseRule(r netlink.Rule) uplink.Rule {
	rule := uplink.Rule{
		Priority: r.Priority, Action: cmp.Or(actions[r.Type], uplink.LookUp), Table: r.Table, Suppress: r.SuppressPrefixlen,
		Mark: r.Mark, From: kernel.Prefix(r.Src), To: kernel.Prefix(r.Dst), In: r.IifName, Out: r.OifName,
		TOS: int(r.Tos), Protocol: r.IPProto, Users: r.UIDRange != nil || r.TunID != 0, Not: r.Invert,
		SourcePort: portRange(r.Sport), Port: portRange(r.Dport),
	}
	if r.Mask != nil {
		rule.Mask = *r.Mask
	}
	if rule.Action == uplink.GoTo {
		rule.Target = r.Goto
	}
	return rule
}

// actions are those of rules that look up no table.
var actions = map[uint8]uplink.Action{
	unix.FR_ACT_GOTO:        uplink.GoTo,
	unix.FR_ACT_NOP:         uplink.Nop,
	unix.FR_ACT_BLACKHOLE:   uplink.Action(uplink.Blackhole),
	unix.FR_ACT_UNREACHABLE: uplink.Action(uplink.Unreachable),
	unix.FR_ACT_PROHIBIT:    uplink.Action(uplink.Prohibit),
}

func portRange(r *netlink.RulePortRange) uplink.PortRange {
	if r == nil {
		return uplink.PortRange{}
	}
	return uplink.PortRange{First: int(r.Start), Last: int(r.End)}
}
