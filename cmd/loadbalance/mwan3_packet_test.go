package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
	"loadbalance/internal/uci"
)

// mwan3Case is a configuration of mwan3 with the routing that mwan3 documents
// for it.
type mwan3Case struct {
	name string // a folder of internal/mwan3/testdata
	// lines are netifd's interfaces on uplink 1, 2, …; a name that ends in 6 is
	// an interface of IPv6. Every uplink has IPv6, and where none of its
	// interfaces has it, the member does, as the converted file says.
	lines []string
	// setup is a shell command on the router, for what other programs make.
	setup string
	steps []mwan3Step
}

// mwan3Step looks at the routing while some uplinks are down.
type mwan3Step struct {
	down  []int
	flows []mwan3Flow
}

// mwan3Router imports configurations of mwan3 and sends packets through them.
type mwan3Router struct {
	*router
	netifd *netifd
	shots  *packetRange
	// guestErrors are the ICMP sockets of the guest.
	guestErrors map[family.Family]int
	down        []int
	rules       []string // of the imported configuration
	// fresh says that nothing but whole blocks of turns was dealt since the
	// policies were first written.
	fresh bool
}

func newMWAN3Router(t *testing.T, backend string) *mwan3Router {
	t.Helper()
	r := newRouter(t, backend, netlab.Options{Uplinks: mwan3Uplinks, IPv6: true, NAT66: true, LANHosts: mwan3Hosts}, "")
	main := r.lab.Uplink(mwan3Uplinks)
	// Metric 0 outranks what netifd set.
	r.sh(fmt.Sprintf("ip route add default via %s dev %s", main.Gateway, main.Device))
	r.sh(fmt.Sprintf("ip -6 route add default via %s dev %s metric 1", main.Gateway6, main.Device))
	r.sh("ip -6 addr add fd03::1/64 dev guest")
	r.sh("ip6tables-" + backend + " -t nat -A POSTROUTING -s fd00::/8 -o wan+ -j MASQUERADE")
	_, err := r.lab.Guest.Run("sh", "-c", "ip -6 addr add "+guestHost6.String()+"/64 dev lan nodad && ip -6 route replace default via fd03::1 dev lan")
	check(t, err)
	// The World does not answer: an answer that comes when the connection has
	// been forgotten is a new one, which can be in the next packet's way.
	_, err = r.lab.World.Run("sh", "-c", "iptables-nft -t raw -A PREROUTING -i line+ -j DROP && "+
		"ip6tables-nft -t raw -A PREROUTING -d "+netlab.ServerPrefix6.String()+" -i line+ -j DROP")
	check(t, err)
	// Each refused packet has its own answer, not one of a burst.
	check(t, r.lab.Router.Sysctl("net/ipv4/icmp_ratemask", "0"), r.lab.Router.Sysctl("net/ipv6/icmp/ratelimit", "0"))
	m := &mwan3Router{router: r, netifd: r.startNetifd(), shots: newPacketRange(t, r.lab)}
	m.guestErrors = map[family.Family]int{
		family.IPv4: m.shots.socket(r.lab.Guest, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
		family.IPv6: m.shots.socket(r.lab.Guest, unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6),
	}
	for _, fd := range m.guestErrors {
		check(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000}))
	}
	return m
}

// run imports a configuration and goes through its steps.
func (m *mwan3Router) run(t *testing.T, c mwan3Case) {
	m.t, m.shots.t, m.netifd.t = t, t, t
	text, err := os.ReadFile(filepath.Join("../../internal/mwan3/testdata", c.name, "mwan3"))
	check(t, err)
	expectEveryRule(t, string(text), c.steps)
	m.must("stop")
	m.takeDown(nil)
	if c.setup != "" {
		m.sh(c.setup)
	}
	for _, step := range c.steps {
		for _, f := range step.flows {
			m.addHosts(parseFlow(t, m.lab, f.text).sources)
		}
	}
	m.answer(c.lines, nil)
	m.importMWAN3(string(text))
	m.rules = m.rulesInForce()
	asked := map[string]bool{}
	for i, step := range c.steps {
		m.fresh = i == 0
		if len(step.down) > 0 {
			m.takeDown(step.down)
			m.answer(c.lines, step.down)
			m.must("apply")
		}
		for _, f := range step.flows {
			read := parseFlow(t, m.lab, f.text)
			problems := []string{m.outcomeOf(read, f.want)}
			if !asked[f.text] { // lines that are down change no rule's conditions
				asked[f.text] = true
				problems = append(problems, m.deciderOf(read, f))
			}
			for _, problem := range problems {
				if problem != "" {
					t.Errorf("down %v, rule '%s', %s: %s", step.down, f.rule, f.text, problem)
				}
			}
		}
	}
	m.takeDown(nil)
}

// expectEveryRule checks that the flows have one for each rule of mwan3's file.
func expectEveryRule(t *testing.T, text string, steps []mwan3Step) {
	t.Helper()
	file, err := uci.Parse("mwan3", []byte(text))
	check(t, err)
	shown := map[string]bool{}
	for _, step := range steps {
		for _, f := range step.flows {
			shown[f.rule] = true
		}
	}
	rules := map[string]bool{"": true}
	for _, s := range file.Sections {
		if s.Type != "rule" {
			continue
		}
		rules[s.Label()] = true
		if !shown[s.Label()] {
			t.Errorf("rule '%s' has no flow", s.Label())
		}
	}
	for name := range shown {
		if !rules[name] {
			t.Errorf("there is no rule '%s'", name)
		}
	}
}

// rulesInForce are the labels of the imported rules.
func (m *mwan3Router) rulesInForce() (labels []string) {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, "config", "loadbalance"))
	check(m.t, err)
	file, err := uci.Parse("loadbalance", text)
	check(m.t, err)
	cfg, _ := config.Read(file)
	for _, rule := range cfg.Rules {
		labels = append(labels, rule.Label)
	}
	return labels
}

// deciderOf asks the program which rule decides about a flow. What no rule
// decides, or one that mwan3 did not apply, is left to the rule that the import
// has added at the end.
func (m *mwan3Router) deciderOf(f lineFlow, want mwan3Flow) (problem string) {
	m.t.Helper()
	decider := want.rule
	switch {
	case want.want.elsewhere:
		decider = want.want.decider
	case !slices.Contains(m.rules, want.rule):
		decider = m.rules[len(m.rules)-1]
		if !strings.HasPrefix(decider, "unmatched") {
			return "no rule for what mwan3 leaves to the main table"
		}
	}
	in := netlab.LANDevice
	if isGuest(f.sources[0]) {
		in = netlab.GuestDevice
	}
	args := []string{"--in", in, "--src", f.sources[0].String(), "--dst", f.destination.String(), "--proto", f.protocol}
	if f.packet.dstPort != 0 {
		args = append(args, "--sport", strconv.Itoa(int(f.packet.srcPort)), "--dport", strconv.Itoa(int(f.packet.dstPort)))
	}
	// A connection that is known keeps what was decided earlier.
	check(m.t, m.lab.Router.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }))
	for _, o := range m.explain(args...).Outcomes {
		if !strings.HasPrefix(o.Rule, "rule '"+decider+"' ") && o.Rule != decider {
			return fmt.Sprintf("decided by %q, want rule '%s'", o.Rule, decider)
		}
	}
	return ""
}

// takeDown takes uplinks down, and all others up.
func (m *mwan3Router) takeDown(uplinks []int) {
	m.t.Helper()
	for _, i := range m.down {
		if !slices.Contains(uplinks, i) {
			check(m.t, m.lab.IfUp(i))
		}
	}
	for _, i := range uplinks {
		if !slices.Contains(m.down, i) {
			check(m.t, m.lab.IfDown(i))
		}
	}
	m.down = uplinks
}

// answer is what netifd says from now on.
func (m *mwan3Router) answer(lines []string, down []int) {
	m.t.Helper()
	interfaces := []string{onDevice("lan", netlab.LANDevice), onDevice("guest", netlab.GuestDevice)}
	for i, names := range lines {
		u := m.lab.Uplink(i + 1)
		for _, name := range strings.Fields(names) {
			switch {
			case slices.Contains(down, i+1):
				interfaces = append(interfaces, isDown(name))
			case strings.HasSuffix(name, "6"):
				interfaces = append(interfaces, onUplink6(name, u))
			default:
				interfaces = append(interfaces, onUplink(name, u))
			}
		}
	}
	m.netifd.answer(interfaces...)
}

// onDevice is an interface of netifd that is no uplink.
func onDevice(name, device string) string {
	return fmt.Sprintf(`{"interface": "%s", "up": true, "available": true, "autostart": true, "l3_device": "%s", "device": "%s"}`, name, device, device)
}

// addHosts gives the LAN hosts outside its networks.
func (m *mwan3Router) addHosts(addresses []netip.Addr) {
	m.t.Helper()
	for _, a := range addresses {
		if netlab.LANPrefix.Contains(a) || netlab.LANPrefix6.Contains(a) || isGuest(a) {
			continue
		}
		m.sh(fmt.Sprintf("ip route replace %s dev %s", netip.PrefixFrom(a, a.BitLen()), netlab.LANDevice))
		nodad := ""
		if a.Is6() {
			nodad = "nodad"
		}
		_, err := m.lab.Client.Run("sh", "-c", fmt.Sprintf("ip addr replace %s dev lan %s", netip.PrefixFrom(a, a.BitLen()), nodad))
		check(m.t, err)
	}
}

func isGuest(a netip.Addr) bool { return a == netlab.GuestHost || a == guestHost6 }
