// Package explain shows which way a described packet takes, and why. It walks the plan rule by
// rule, as the kernel does, and does no I/O: what only the kernel knows is passed in.
//
// Nothing is guessed. If the description lacks what a rule looks at, such as the source MAC
// address, there are two outcomes, each with its condition; a draw has one for every member.
package explain

import (
	"fmt"
	"net/netip"
	"slices"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// Unknown is the value of a number that the description does not give.
const Unknown = -1

// Packet describes a packet as it reaches the router, or as the router itself sends it.
type Packet struct {
	// Source may be the zero Addr for the router's own packets: the kernel chooses it then.
	Source      netip.Addr
	Destination netip.Addr
	// Protocol is an IP protocol number, 0 to 255, or Unknown.
	Protocol int
	// The ports are 1 to 65535, or Unknown.
	SourcePort, DestinationPort int
	// The ICMP type and code are 0 to 255, or Unknown.
	ICMPType, ICMPCode int
	// InDevice is by what the packet comes in; "" if not known. The router's own have none.
	InDevice string
	// Own is true if the router itself sends the packet.
	Own bool
	// SourceMAC is in lower case with colons; "" if it is not known.
	SourceMAC string
	// DSCP is 0 to 63, or Unknown.
	DSCP int
	// Mark is the packet's mark before our rules see it, from its socket or other programs.
	// Unless MarkKnown, only the bits of our mask are known.
	Mark      uint32
	MarkKnown bool
}

// Family returns the packet's address family.
func (p Packet) Family() family.Family { return family.Of(p.Destination) }

// Connection is the entry of the connection table that a packet belongs to.
type Connection struct {
	Mark   uint32
	Source netip.Addr
	// Reply: it goes against the connection's first packet; Answered: another has done so before.
	Reply, Answered bool
	// Destination is the one after address translation; the zero Addr if it is not translated.
	Destination         netip.Addr
	OriginalDestination netip.Addr
}

// Input is everything that an explanation depends on besides the packet.
type Input struct {
	Config *config.Config
	Plan   *plan.Plan
	// Connection is the packet's entry in the connection table; nil for a first packet.
	Connection *Connection
	// InSet reports whether an address, or a source with its destination, is in a set of the
	// kernel, for sets whose entries the plan does not know. A nil InSet knows nothing.
	InSet func(set string, a ...netip.Addr) (bool, error)
}

// Explanation is what happens to a packet.
type Explanation struct {
	Packet   Packet    `json:"packet"`
	Outcomes []Outcome `json:"outcomes"`
	Notes    []string  `json:"notes,omitempty"`
	Without  *Without  `json:"without,omitempty"`
}

// Draw is how one of several members is chosen.
type Draw string

const (
	NoDraw         Draw = ""
	ByTurn         Draw = "turn"
	ByChance       Draw = "chance"
	ByHash         Draw = "hash"
	BySticky       Draw = "sticky"
	ByConnection   Draw = "connection"
	ByArrival      Draw = "arrival"
	ByLastResort   Draw = "last resort"
	ByOnlyOneAlive Draw = "only live member"
)

// Outcome is one way that a packet can take.
type Outcome struct {
	// Conditions must hold for it, besides the description.
	Conditions []string `json:"conditions,omitempty"`
	// Share is what share of such connections takes this way under the conditions, 0 to 1.
	Share float64 `json:"share"`
	Steps []Step  `json:"steps"`
	// Rule is the configured rule that decided, with file and line; "" if none did.
	Rule   string `json:"rule,omitempty"`
	Policy string `json:"policy,omitempty"`
	Draw   Draw   `json:"draw,omitempty"`
	// Member is a member, default, unreachable or blackhole; "" without a mark of ours.
	Member string `json:"member,omitempty"`
	// Mark is that at the routing decision, ConnectionMark the one that the connection keeps.
	Mark           uint32 `json:"mark"`
	ConnectionMark uint32 `json:"connection_mark"`
	Route          Route  `json:"route"`
	// Reply is the route of the replies, for connections that come in by an uplink.
	Reply *Route `json:"reply,omitempty"`
}

// Step is one thing that happens to the packet.
type Step struct {
	Text string `json:"text"`
	// Chain is where in the mangle table it happens.
	Chain string `json:"chain,omitempty"`
}

// Explain returns what happens to a packet. Its addresses must be of the same family.
func Explain(in Input, packet Packet) *Explanation {
	w := &walker{Input: in, family: packet.Family(), mask: fwmark.Mask(in.Config.Globals.MarkMask)}
	w.plan = in.Plan.Family(w.family)
	w.main = in.Plan.Uplinks.Main(w.family)
	w.complete(&packet)
	w.note("mangle rules of other programs are not considered here")
	if w.main.Large {
		w.note("a routing table is too large to be read here: its route to the destination, if it has one, comes first ('ip route get %s')", packet.Destination)
	}
	e := &Explanation{Packet: packet}
	for _, p := range w.mangle(w.start(packet)) {
		o := w.outcome(p)
		foreign := func(rule uplink.Rule) bool {
			return rule.Priority == o.Route.Priority && w.ruleText(rule) == o.Route.Rule
		}
		if slices.ContainsFunc(w.main.Rules, foreign) {
			w.note("ip rule %d, '%s', is another program's, and decides the way whatever the mark", o.Route.Priority, o.Route.Rule)
		}
		e.Outcomes = append(e.Outcomes, o)
	}
	for _, m := range in.Plan.Members {
		if m.Spent != "" {
			w.note("member '%s': %s", m.Name, m.Spent)
		}
	}
	e.Notes = w.notes
	return e
}

// complete adds to the description what follows from it, with notes.
func (w *walker) complete(p *Packet) {
	if !p.Own && p.InDevice == "" && (!p.Source.IsValid() || w.main.Has(p.Source)) {
		p.Own = true
		w.note("the router itself sends the packet")
	}
	if p.Own && !p.Source.IsValid() {
		p.Source = w.sourceFor(*p)
		if p.Source.IsValid() {
			w.note("the kernel chooses the source %s, by the route that it finds before the packet is marked", p.Source)
		}
	}
	if !p.Own && p.InDevice == "" {
		if p.InDevice = w.deviceTowards(p.Source); p.InDevice != "" {
			w.note("the packet comes in on '%s', since main's route to %s leads there", p.InDevice, p.Source)
		}
	}
	if w.Connection == nil && p.Protocol == icmpOf[w.family] && p.ICMPType == Unknown {
		w.note("the ICMP type is not given: one that begins a connection, such as echo-request, is assumed")
	}
}

// outcome adds where a way through the chains leads.
func (w *walker) outcome(p path) Outcome {
	o, to := p.Outcome, p.destination()
	o.Member, o.Route = w.memberOfMark(o.Mark), w.route(p.packet, o.Mark, to)
	byUplink := slices.ContainsFunc(w.Plan.Members, func(m plan.Member) bool { return m.State(w.family).Device == p.packet.InDevice })
	if !p.packet.Own && p.packet.InDevice != "" && byUplink {
		// Whether the router replies or a host behind it, the connection's mark counts.
		answer := Packet{Source: to, Destination: p.packet.Source, Own: w.isLocal(to), Protocol: p.packet.Protocol}
		reply := w.route(answer, uint32(w.mask)&o.ConnectionMark, answer.Destination)
		o.Reply = &reply
	}
	return o
}

// note tells the user something once.
func (w *walker) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(w.notes, text) {
		w.notes = append(w.notes, text)
	}
}

// memberOfMark returns a member, default, unreachable or blackhole; "" without our bits.
func (w *walker) memberOfMark(mark uint32) string {
	value := w.mask.Value(mark)
	switch value {
	case 0:
		return ""
	case w.mask.Default():
		return "default"
	case w.mask.Unreachable():
		return "unreachable"
	case w.mask.Blackhole():
		return "blackhole"
	}
	for _, m := range w.Plan.Members {
		if m.Index == value {
			return m.Name
		}
	}
	return fmt.Sprintf("index %d, which no member has", value)
}

// Without is what would happen to the packet without a member.
type Without struct {
	Member   string    `json:"member"`
	Changed  bool      `json:"changed"`
	Outcomes []Outcome `json:"outcomes"`
}

// Compare adds what would change without a member: then is the explanation of that.
func (e *Explanation) Compare(member string, then *Explanation) {
	same := slices.EqualFunc(e.Outcomes, then.Outcomes, sameWay)
	e.Without = &Without{Member: member, Changed: !same, Outcomes: then.Outcomes}
}

func sameWay(a, b Outcome) bool {
	return slices.Equal(a.Conditions, b.Conditions) && a.Share == b.Share && a.Mark == b.Mark &&
		a.ConnectionMark == b.ConnectionMark && a.Route.way() == b.Route.way()
}
