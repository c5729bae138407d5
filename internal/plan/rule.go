package plan

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// Rule is a rule of the mangle table: matches that must all hold, and what then
// happens; values and not text, so that a plan can be walked for a packet.
type Rule struct {
	Matches []Match
	Target  Target
	// Origin names the section of the configuration that asked for the rule;
	// empty for rules of the program's own.
	Origin string
}

// Match is a condition of a rule.
type Match interface {
	// Args writes the condition as iptables takes it.
	Args() string
}

// Target is what a rule does.
type Target interface {
	// Args writes the target as iptables takes it, with -j or -g.
	Args() string
}

// The conditions. Each writes itself as iptables takes it; none needs a module
// that the base package and iptables-mod-conntrack-extra, -ipopt and -cluster do
// not bring.
type (
	// InDevice holds for packets that came in by a device.
	InDevice string
	// NotOutDevice holds for packets that leave by another device.
	NotOutDevice string
	// MarkIs holds when the masked mark has the value, or with Not has not.
	MarkIs struct {
		Value, Mask uint32
		Not         bool
	}
	// Source holds for packets from a prefix, or with Not from elsewhere.
	Source struct {
		Prefix netip.Prefix
		Not    bool
	}
	// Destination likewise for packets to a prefix.
	Destination struct {
		Prefix netip.Prefix
		Not    bool
	}
	// Masked holds for packets whose destination, or with Source whose
	// source, has some bits.
	Masked struct {
		config.Masked
		Source bool
	}
	// InSet holds for packets whose destination, or with Source whose source, or
	// with Pair whose source with its destination, is in an ipset, or with Not is
	// in none.
	InSet struct {
		Name   string
		Source bool
		Pair   bool
		Not    bool
	}
	// SourceMAC holds for packets from a MAC address.
	SourceMAC string
	// Protocol holds for one IP protocol.
	Protocol uint8
	// Ports holds when the packet's destination port, or with Source its
	// source port, is in one of the ranges. It stands behind a Protocol that
	// has ports.
	Ports struct {
		Ranges []config.PortRange
		Source bool
	}
	// ICMPType holds for a type of ICMP message, by name or number, as the
	// configuration takes it. It stands behind the family's ICMP protocol.
	ICMPType struct {
		Family family.Family
		Type   string
	}
	// DSCP holds for one code point.
	DSCP uint8
	// Slot holds for the packets of connections whose original source hashes
	// to the slot, from 1, out of so many.
	Slot struct{ Number, Total int }
	// CtState holds for the listed conntrack states.
	CtState string
	// CtOriginal holds for packets in the direction of a connection's first
	// packet.
	CtOriginal struct{}
	// ICMPv6Type holds for one type of ICMPv6 message.
	ICMPv6Type int
	// EveryNth holds for the first packet, and for every Nth after it, of
	// those that reach the rule.
	EveryNth int
	// Chance holds with a probability, from 0 to 1.
	Chance float64
)

func (m InDevice) Args() string     { return "-i " + string(m) }
func (m NotOutDevice) Args() string { return "! -o " + string(m) }

func (m MarkIs) Args() string {
	return "-m mark " + negated(m.Not, fmt.Sprintf("--mark %#x/%#x", m.Value, m.Mask))
}

// negated begins a condition that may be turned round.
func negated(not bool, condition string) string {
	if not {
		return "! " + condition
	}
	return condition
}

func (m Source) Args() string      { return negated(m.Not, "-s "+m.Prefix.String()) }
func (m Destination) Args() string { return negated(m.Not, "-d "+m.Prefix.String()) }

func (m Masked) Args() string {
	option := "-d "
	if m.Source {
		option = "-s "
	}
	return negated(m.Not, option+m.String())
}

func (m InSet) Args() string {
	return "-m set " + negated(m.Not, "--match-set "+m.Name+" "+directions(m.Source, m.Pair))
}

// directions are what a set is asked for. A pair's third one is for the type that
// stands in for hash:net,net (see package ipset), which itself takes only two.
func directions(source, pair bool) string {
	switch {
	case pair:
		return "src,dst,dst"
	case source:
		return "src"
	}
	return "dst"
}

func (m SourceMAC) Args() string { return "-m mac --mac-source " + strings.ToUpper(string(m)) }
func (m Protocol) Args() string  { return "-p " + strconv.Itoa(int(m)) }

func (m Ports) Args() string {
	var list []string
	for _, r := range m.Ranges {
		text := strconv.Itoa(int(r.First))
		if r.Last != r.First {
			text += ":" + strconv.Itoa(int(r.Last))
		}
		list = append(list, text)
	}
	option := "--dports "
	if m.Source {
		option = "--sports "
	}
	return "-m multiport " + option + strings.Join(list, ",")
}

func (m ICMPType) Args() string {
	return family.Pick(m.Family, "-m icmp --icmp-type ", "-m icmp6 --icmpv6-type ") + m.Type
}

func (m DSCP) Args() string { return fmt.Sprintf("-m dscp --dscp 0x%02x", uint8(m)) }

// ClusterSeed starts the hash of the cluster match. Any number does, but it
// must never change: it decides which host takes which uplink.
const ClusterSeed = 1

func (m Slot) Args() string {
	return fmt.Sprintf("-m cluster --cluster-total-nodes %d --cluster-local-node %d --cluster-hash-seed %d",
		m.Total, m.Number, ClusterSeed)
}

func (m CtState) Args() string    { return "-m conntrack --ctstate " + string(m) }
func (m CtOriginal) Args() string { return "-m conntrack --ctdir ORIGINAL" }

func (m ICMPv6Type) Args() string {
	return fmt.Sprintf("-p ipv6-icmp -m icmp6 --icmpv6-type %d", int(m))
}

func (m EveryNth) Args() string {
	return fmt.Sprintf("-m statistic --mode nth --every %d --packet 0", int(m))
}

func (m Chance) Args() string {
	return fmt.Sprintf("-m statistic --mode random --probability %.11f", float64(m))
}

// The targets.
type (
	// Goto continues in another chain and does not come back to this one.
	Goto string
	// JumpTo continues in another chain and comes back at its end.
	JumpTo string
	// Return ends the chain.
	Return struct{}
	// SetMark sets the bits of the mask in the packet's mark.
	SetMark struct{ Value, Mask uint32 }
	// SaveMark copies the bits of the mask from packet to connection.
	SaveMark uint32
	// RestoreMark copies the bits of the mask from connection to packet.
	RestoreMark uint32
	// AddSource enters the packet's source, or with Pair its source with its
	// destination, into a set, or renews the time limit there.
	AddSource struct {
		Set     string
		Seconds int
		Pair    bool
	}
	// Log writes the packet to the kernel's log, behind a prefix.
	Log string
)

func (t Goto) Args() string    { return "-g " + string(t) }
func (t JumpTo) Args() string  { return "-j " + string(t) }
func (Return) Args() string    { return "-j RETURN" }
func (t SetMark) Args() string { return fmt.Sprintf("-j MARK --set-xmark %#x/%#x", t.Value, t.Mask) }

func (t SaveMark) Args() string {
	return fmt.Sprintf("-j CONNMARK --save-mark --nfmask %#x --ctmask %#x", uint32(t), uint32(t))
}

func (t RestoreMark) Args() string {
	return fmt.Sprintf("-j CONNMARK --restore-mark --nfmask %#x --ctmask %#x", uint32(t), uint32(t))
}

func (t AddSource) Args() string {
	return fmt.Sprintf("-j SET --add-set %s %s --exist --timeout %d", t.Set, directions(true, t.Pair), t.Seconds)
}

// Args quotes the prefix: it has blanks. The configuration's names have
// nothing that a quoted text could not hold.
func (t Log) Args() string { return "-j LOG --log-prefix \"" + string(t) + "\"" }

// on makes a rule.
func on(target Target, matches ...Match) Rule {
	return Rule{Matches: matches, Target: target}
}

// Args writes the rule as iptables takes it, without the chain. A comment,
// where one is given, stands before the target.
func (r Rule) Args(comment string) string {
	var parts []string
	for _, m := range r.Matches {
		parts = append(parts, m.Args())
	}
	if comment != "" {
		parts = append(parts, "-m comment --comment "+comment)
	}
	return strings.Join(append(parts, r.Target.Args()), " ")
}

// Fingerprint is the comment that every rule of the chain carries in the kernel. It
// names the chain's whole content: iptables prints rules in other words than it was
// given, and a cascade may stand at any rotation.
func (c Chain) Fingerprint() string {
	// FNV, not a cryptographic hash: nobody gains by a collision, and the
	// standard library's SHA-256 brings 350 KB of other cryptography.
	hash := fnv.New64a()
	fmt.Fprintln(hash, c.Name)
	for _, rule := range c.Rules {
		fmt.Fprintln(hash, rule.Args(""))
	}
	for _, target := range c.Cascade {
		fmt.Fprintln(hash, target)
	}
	for _, lot := range c.Lots {
		fmt.Fprintln(hash, lot.Target, lot.Weight)
	}
	return fmt.Sprintf("%s%016x", FingerprintPrefix, hash.Sum64())
}

// FingerprintPrefix begins the comment of every rule in our chains.
const FingerprintPrefix = "lb:"
