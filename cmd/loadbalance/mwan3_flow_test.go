package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
	"loadbalance/internal/plan"
)

// mwan3Flow is a connection and what becomes of it.
type mwan3Flow struct {
	rule string // that decides; "" is none
	// text is "protocol source > destination": addresses, with ports where the
	// protocol has them. Instead of a source's address there may be lan or lan6
	// (hosts in turn), guest or guest6.
	text string
	want outcome
}

// outcome is what becomes of the connections of a flow.
type outcome struct {
	// weights are the uplinks' parts, from uplink 1.
	weights []int
	sticky  bool // each source keeps its uplink
	refused bool // by an ICMP error
	dropped bool // without a word
	// elsewhere says that the flow's rule is not the one that decides, but
	// decider, "" for none.
	elsewhere bool
	decider   string
}

// by says that another rule decides than the flow is for.
func (o outcome) by(rule string) outcome {
	o.elsewhere, o.decider = true, rule
	return o
}

func over(uplink int) outcome      { return outcome{weights: append(make([]int, uplink-1), 1)} }
func dealt(weights ...int) outcome { return outcome{weights: weights} }
func kept(weights ...int) outcome  { return outcome{weights: weights, sticky: true} }

// block is the number of turns in which each uplink has its weight once.
func (o outcome) block() (turns int) {
	for _, w := range o.weights {
		turns += w
	}
	return turns
}

var (
	refused = outcome{refused: true}
	dropped = outcome{dropped: true}
	// mainTable is the uplink of main's default route. No configuration has an
	// interface on it, so that nothing else leads there.
	mainTable = over(mwan3Uplinks)
)

const (
	mwan3Uplinks = 6
	// The hosts in turn are the last ones, so that rules can have the others
	// for themselves.
	mwan3Hosts, mwan3HostsInTurn = 40, 20
)

// lineFlow is a flow that was read.
type lineFlow struct {
	protocol    string
	packet      packet
	sources     []netip.Addr
	destination netip.Addr
}

var protocolNumbers = map[string]uint8{
	"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "icmp": unix.IPPROTO_ICMP, // of the flow's family
	"gre": greProto, "esp": espProto, "ah": ahProto, "ospf": ospfProto,
}

func parseFlow(t *testing.T, l *netlab.Lab, text string) lineFlow {
	t.Helper()
	words := strings.Fields(text)
	if len(words) != 4 || words[2] != ">" || protocolNumbers[words[0]] == 0 {
		t.Fatalf("flow %q", text)
	}
	f := lineFlow{protocol: words[0], packet: ip(protocolNumbers[words[0]], 1, 0)}
	hosts, port, _ := strings.Cut(words[1], ":")
	switch hosts {
	case "lan":
		f.sources = l.LANHosts()[mwan3Hosts-mwan3HostsInTurn:]
	case "lan6":
		f.sources = l.LANHosts6(0)[mwan3Hosts-mwan3HostsInTurn:]
	case "guest":
		f.sources = []netip.Addr{netlab.GuestHost}
	case "guest6":
		f.sources = []netip.Addr{guestHost6}
	default:
		source := parseEnd(t, words[1])
		f.sources, port = []netip.Addr{source.Addr()}, strconv.Itoa(int(source.Port()))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
		f.packet.srcPort = uint16(n)
	}
	if isGuest(f.sources[0]) {
		f.packet.host = 0 // which packetRange sends from the guest network
	}
	destination := parseEnd(t, words[3])
	f.destination, f.packet.dstPort = destination.Addr(), destination.Port()
	return f
}

// parseEnd reads an address with or without a port.
func parseEnd(t *testing.T, text string) netip.AddrPort {
	t.Helper()
	if end, err := netip.ParseAddrPort(text); err == nil {
		return end
	}
	a, err := netip.ParseAddr(text)
	check(t, err)
	return netip.AddrPortFrom(a, 0)
}

// outcomeOf sends a flow's packets and says what was not as it should be.
func (m *mwan3Router) outcomeOf(f lineFlow, want outcome) (problem string) {
	m.t.Helper()
	switch {
	case want.refused || want.dropped:
		return m.nowhere(f, want.refused)
	case want.sticky:
		return m.stays(f, want)
	}
	return m.shares(f, want)
}

// blocksOfTurns are enough to see shares: each block gives every uplink its
// weight once.
const blocksOfTurns = 4

// shares sends whole blocks of turns while the rotation stands at the beginning
// of one, and else as many packets as the rotation has turns: whatever the turn
// that it begins with, each uplink then has exactly its share.
func (m *mwan3Router) shares(f lineFlow, want outcome) string {
	m.t.Helper()
	order := turnsOf(want)
	if m.fresh {
		order = order[:min(len(order), blocksOfTurns*want.block())]
	}
	var got, expected [mwan3Uplinks + 1]int
	for i, uplink := range order {
		expected[uplink]++
		got[m.lineOf(f, f.sources[i%len(f.sources)])]++
	}
	if got != expected {
		return fmt.Sprintf("packets by uplink (first: by none) %v, want %v", got, expected)
	}
	return ""
}

// turnsOf is the order of turns by uplinks.
func turnsOf(want outcome) (uplinks []int) {
	var used, weights []int
	for i, w := range want.weights {
		if w > 0 {
			used, weights = append(used, i+1), append(weights, w)
		}
	}
	order, _ := plan.Deal(weights)
	for _, i := range order {
		uplinks = append(uplinks, used[i])
	}
	return uplinks
}

// stays sends three packets from each of several hosts: each host keeps its
// uplink, and the hosts are dealt to the uplinks in turns. Nothing may have been
// dealt by the rule before. There are as many hosts as make whole blocks of
// turns, so that the shares are exact.
func (m *mwan3Router) stays(f lineFlow, want outcome) string {
	m.t.Helper()
	block := want.block()
	hosts := f.sources[:len(f.sources)/block*block]
	var got, expected [mwan3Uplinks + 1]int
	first := make([]int, len(hosts))
	for round := range 3 {
		for i, host := range hosts {
			line := m.lineOf(f, host)
			if round == 0 {
				first[i] = line
				got[line]++
			}
			if line != first[i] {
				return fmt.Sprintf("%s moved from uplink %d to %d", host, first[i], line)
			}
		}
	}
	for uplink, w := range want.weights {
		expected[uplink+1] = w * len(hosts) / block
	}
	if got != expected {
		return fmt.Sprintf("hosts by uplink (first: by none) %v, want %v", got, expected)
	}
	return ""
}

// lineOf sends a packet and returns the line over which it reaches the World.
func (m *mwan3Router) lineOf(f lineFlow, source netip.Addr) int {
	m.t.Helper()
	return m.shots.arrival(m.shots.sendBetween(source, f.destination, f.packet), arrivalLimit)
}

// nowhere sends a packet that takes no uplink and checks whether an ICMP error
// says so.
func (m *mwan3Router) nowhere(f lineFlow, answered bool) string {
	m.t.Helper()
	source := f.sources[0]
	errors, limit := m.shots.errors[family.Of(source)], quiet
	if isGuest(source) {
		errors = m.guestErrors[family.Of(source)]
	}
	if answered {
		limit = arrivalLimit
	}
	tag := m.shots.sendBetween(source, f.destination, f.packet)
	if got := m.shots.await(errors, tag, limit) != nil; got != answered {
		return fmt.Sprintf("refused with an answer: %v, want %v", got, answered)
	}
	if line := m.shots.arrival(tag, quiet); line != 0 {
		return fmt.Sprintf("refused, but it took uplink %d", line)
	}
	return ""
}
