package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// Text has the description, for each group of outcomes under the same conditions the steps that
// they share and where each leads, and what would be different without a member.
func (e *Explanation) Text() string {
	var text strings.Builder
	text.WriteString(e.Packet.String() + "\n")
	for _, n := range e.Notes {
		text.WriteString("  " + n + "\n")
	}
	writeOutcomes(&text, e.Outcomes)
	switch w := e.Without; {
	case w == nil:
	case w.Changed:
		text.WriteString("\nwithout '" + w.Member + "':\n")
		writeOutcomes(&text, w.Outcomes)
	default:
		text.WriteString("\nwithout '" + w.Member + "': nothing would change\n")
	}
	return text.String()
}

func writeOutcomes(text *strings.Builder, outcomes []Outcome) {
	groups := byConditions(outcomes)
	if len(groups) > 1 {
		fmt.Fprintf(text, "\nthe description leaves %d possibilities:\n", len(groups))
	}
	for _, g := range groups {
		text.WriteString("\n")
		if len(g[0].Conditions) > 0 {
			text.WriteString("if " + strings.Join(g[0].Conditions, ", ") + ":\n")
		}
		writeGroup(text, g)
	}
}

// String returns the description in one line.
func (p Packet) String() string {
	end := func(address string, port int) string {
		if port == Unknown {
			return address
		}
		if strings.Contains(address, ":") {
			address = "[" + address + "]"
		}
		return fmt.Sprintf("%s:%d", address, port)
	}
	source := "(no source)"
	if p.Source.IsValid() {
		source = end(p.Source.String(), p.SourcePort)
	}
	protocol := cmp.Or(protocolNames[p.Protocol], fmt.Sprintf("protocol %d", p.Protocol))
	from := "coming in on an unknown device"
	switch {
	case p.Own:
		from = "from the router itself"
	case p.InDevice != "":
		from = "coming in on '" + p.InDevice + "'"
	}
	return fmt.Sprintf("%s: %s, %s → %s, %s", p.Family(), protocol, source,
		end(p.Destination.String(), p.DestinationPort), from)
}

var protocolNames = map[int]string{Unknown: "any protocol", 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}

func byConditions(outcomes []Outcome) [][]Outcome {
	var groups [][]Outcome
	for _, o := range outcomes {
		i := slices.IndexFunc(groups, func(g []Outcome) bool { return slices.Equal(g[0].Conditions, o.Conditions) })
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], o)
	}
	return groups
}

func writeGroup(text *strings.Builder, group []Outcome) {
	shared := sharedSteps(group)
	for i, s := range group[0].Steps[:shared] {
		fmt.Fprintf(text, "%3d. %s\n", i+1, s.Text)
	}
	if len(group) > 1 {
		fmt.Fprintf(text, "%3d. %s, to one of:\n\n", shared+1, drawText(group[0]))
		table := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "     SHARE\tMEMBER\tMARK\tIP RULE\tTABLE\tROUTE")
		for _, o := range group {
			fmt.Fprintf(table, "     %s\t%s\t%#x\t%d\t%s\t%s\n", percent(o.Share), cmp.Or(o.Member, "-"), o.Mark,
				o.Route.Priority, tableText(o.Route.Table, o.Route.TableName), o.Route.way())
		}
		_ = table.Flush() // a strings.Builder takes everything
		return
	}
	o := group[0]
	lines := o.Route.lines()
	if o.Reply != nil {
		lines = append(lines, fmt.Sprintf("replies carry the mark %#x: ip rule %d: %s: %s", o.ConnectionMark,
			o.Reply.Priority, o.Reply.Rule, o.Reply.way()))
	}
	for i, line := range lines {
		fmt.Fprintf(text, "%3d. %s\n", shared+i+1, line)
	}
}

// sharedSteps returns how many steps all outcomes begin with.
func sharedSteps(group []Outcome) int {
	for i := range group[0].Steps {
		for _, o := range group {
			if i >= len(o.Steps) || o.Steps[i] != group[0].Steps[i] {
				return i
			}
		}
	}
	return len(group[0].Steps)
}

func drawText(o Outcome) string {
	if o.Policy == "" {
		return "is dealt " + drawWords[o.Draw]
	}
	return fmt.Sprintf("policy '%s' deals it %s", o.Policy, drawWords[o.Draw])
}

func (r Route) lines() []string {
	var lines []string
	for _, p := range r.Passed {
		lines = append(lines, "ip rule "+p)
	}
	if r.Type == typeNone {
		return append(lines, "no table has a route: "+r.way())
	}
	return append(lines, fmt.Sprintf("ip rule %d: %s: %s", r.Priority, r.Rule, r.way()))
}

// way returns where a route leads, in a few words.
func (r Route) way() string {
	switch r.Type {
	case typeNone:
		return "refused, network unreachable"
	case uplink.Local:
		return "to the router itself, unless a port forward applies"
	case typeBroadcast:
		return "broadcast"
	case typeMulticast:
		return "multicast, not forwarded"
	case uplink.Unreachable:
		return "refused with an ICMP error"
	case uplink.Blackhole:
		return "dropped silently"
	case uplink.Unicast:
	default:
		return string(r.Type)
	}
	var hops []string
	for _, h := range r.Hops {
		hop := "dev " + h.Device
		if h.Gateway.IsValid() {
			hop = "via " + h.Gateway.String() + " " + hop
		}
		hops = append(hops, hop)
	}
	return family.PrefixText(r.Destination) + " " + strings.Join(hops, " or ")
}
