package uplink

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"loadbalance/internal/family"
	"loadbalance/internal/shell"
)

// Action is what an ip rule does with a packet that it matches.
type Action string

// The actions, as `ip rule` calls them. Those that refuse a packet are named as
// the types of routes that do.
const (
	LookUp Action = "lookup"
	GoTo   Action = "goto"
	Nop    Action = "nop"
)

// AnyLength as a rule's Suppress lets it use every route that it finds.
const AnyLength = -1

// Rule is an ip rule, ours or another program's. A selector that is its zero value
// holds for every packet.
type Rule struct {
	Priority int    `json:"priority"`
	Action   Action `json:"action"`
	Table    int    `json:"table,omitempty"`  // of LookUp
	Target   int    `json:"target,omitempty"` // the priority of GoTo
	// Suppress is the prefix length up to which a route does not count, or
	// AnyLength.
	Suppress   int          `json:"suppress"`
	Mark       uint32       `json:"mark,omitempty"`
	Mask       uint32       `json:"mask,omitempty"`
	From       netip.Prefix `json:"from"`
	To         netip.Prefix `json:"to"`
	In         string       `json:"in,omitempty"`  // lo for the router's own packets
	Out        string       `json:"out,omitempty"` // of bound sockets
	TOS        int          `json:"tos,omitempty"` // of the IP header, 0 to 255
	Protocol   int          `json:"protocol,omitempty"`
	SourcePort PortRange    `json:"source_port"`
	Port       PortRange    `json:"port"`
	// Users is true if the rule is for some users' sockets, or for packets of
	// some tunnel, only.
	Users bool `json:"users,omitempty"`
	Not   bool `json:"not,omitempty"`
}

// PortRange are ports from First to Last; {0, 0} are all.
type PortRange struct {
	First int `json:"first,omitempty"`
	Last  int `json:"last,omitempty"`
}

func (r PortRange) has(port int) bool { return r == PortRange{} || r.First <= port && port <= r.Last }

// Flow is what ip rules look at. The ports, the protocol and TOS are 0 where
// there are none.
type Flow struct {
	Source, Destination        netip.Addr
	Mark                       uint32
	In                         string // lo for the router's own packets
	TOS                        int
	Protocol, SourcePort, Port int
}

// Matches reports whether the rule holds for a packet that is from no bound
// socket.
func (r Rule) Matches(f Flow) bool { return r.selects(f) != r.Not }

func (r Rule) selects(f Flow) bool {
	return r.Out == "" && !r.Users &&
		(r.In == "" || r.In == f.In) &&
		(r.Mark^f.Mark)&r.Mask == 0 &&
		(!r.From.IsValid() || r.From.Contains(f.Source)) &&
		(!r.To.IsValid() || r.To.Contains(f.Destination)) &&
		(r.TOS == 0 || r.TOS == f.TOS) &&
		(r.Protocol == 0 || r.Protocol == f.Protocol) &&
		r.SourcePort.has(f.SourcePort) && r.Port.has(f.Port)
}

// Text is the rule as `ip rule` prints it. table is what its table is called.
func (r Rule) Text(table string) string {
	var parts []string
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(r.Not, "not")
	add(r.From.IsValid(), "from %s", family.PrefixText(r.From))
	add(r.To.IsValid(), "to %s", family.PrefixText(r.To))
	add(r.TOS != 0, "tos %#x", r.TOS)
	add(r.Mask == 1<<32-1, "fwmark %#x", r.Mark)
	add(r.Mask != 0 && r.Mask != 1<<32-1, "fwmark %#x/%#x", r.Mark, r.Mask)
	add(r.In != "", "iif %s", shell.Quote(r.In))
	add(r.Out != "", "oif %s", shell.Quote(r.Out))
	add(r.Users, "of some users or tunnels")
	add(r.Protocol != 0, "ipproto %d", r.Protocol)
	add(r.SourcePort != PortRange{}, "sport %d-%d", r.SourcePort.First, r.SourcePort.Last)
	add(r.Port != PortRange{}, "dport %d-%d", r.Port.First, r.Port.Last)
	switch r.Action {
	case LookUp:
		parts = append(parts, "lookup "+table)
	case GoTo:
		parts = append(parts, fmt.Sprintf("goto %d", r.Target))
	default:
		parts = append(parts, string(r.Action))
	}
	add(r.Suppress != AnyLength, "suppress_prefixlength %d", r.Suppress)
	return strings.Join(parts, " ")
}

// TableText is a table as `ip rule` prints it, if it has no name of its own.
func TableText(table int) string {
	if table == MainTable {
		return "main"
	}
	return strconv.Itoa(table)
}
