package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/config"
	"loadbalance/internal/explain"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

// How many random configurations all laboratories together try, and how many
// packets each.
const (
	randomConfigurations = 500
	randomPackets        = 20
	// programRounds says in every which configuration the program itself is
	// asked, too; the rest asks the package behind it, which takes no process.
	programRounds = 8
)

// TestExplainIsTrue applies random configurations and sends random packets:
// each must leave as one of its explained outcomes says, with the mark and by
// the table that it names.
func TestExplainIsTrue(t *testing.T) {
	topologies := []netlab.Topology{netlab.Separate, netlab.Campus, netlab.P2P, netlab.Twins}
	laboratories := len(topologies) * len(backends)
	met := &coverage{kinds: map[string]int{}}
	t.Cleanup(func() { met.check(t) }) // when all laboratories are done
	for k, topology := range topologies {
		for b, backend := range backends {
			number := k*len(backends) + b
			share := (randomConfigurations*(number+1))/laboratories - randomConfigurations*number/laboratories
			t.Run(topology.String()+"/"+backend, func(t *testing.T) {
				t.Parallel() // waiting is most of what they do
				p := newProof(t, topology, backend, int64(number+1))
				for round := range share {
					p.round(round)
				}
				met.add(p.kinds)
			})
		}
	}
}

// proof compares explanations with what a router does.
type proof struct {
	*router
	g           *generator
	lookout     *lookout
	injectors   map[*netlab.Namespace]*injector
	routers     map[*netlab.Namespace]net.HardwareAddr // the router's address on that side
	own         int                                    // raw socket of the router
	kernel      *kernel.Handle
	sets        *ipset.Netlink
	connections *conntrack.Netlink
	routes      *netlink.Handle
	number      uint64
	foreign     []string // ip commands that give another program rules
	world       explainedWorld
	text        string // of the configuration
	kinds       map[string]int
	// refusals are when a source was last refused.
	refusals map[netip.Addr][]time.Time
}

// explainedWorld is what explanations of one configuration are made from.
type explainedWorld struct {
	config  *config.Config
	uplinks uplink.State
	plan    *plan.Plan
}

func newProof(t *testing.T, topology netlab.Topology, backend string, seed int64) *proof {
	p := &proof{kinds: map[string]int{}, refusals: map[netip.Addr][]time.Time{}}
	p.router = newRouter(t, backend, netlab.Options{Topology: topology, Uplinks: 4, IPv6: true, LANHosts: 60, NAT66: true}, "")
	p.g = &generator{Rand: rand.New(rand.NewSource(seed)), lab: p.lab, topology: topology}
	p.lookout = newLookout(t, p.lab.Router)
	p.injectors = map[*netlab.Namespace]*injector{}
	p.routers = map[*netlab.Namespace]net.HardwareAddr{}
	for ns, device := range map[*netlab.Namespace]string{p.lab.Client: netlab.LANDevice, p.lab.Guest: netlab.GuestDevice} {
		p.injectors[ns] = newInjector(t, ns)
		p.routers[ns] = hardwareAddress(t, p.lab.Router, device)
	}
	err := p.lab.Router.Do(func() (err error) {
		p.own, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p.own) })
	// Another program marks what has a certain DSCP.
	for _, command := range []string{"iptables-", "ip6tables-"} {
		p.sh(fmt.Sprintf("%s%s -t raw -A PREROUTING -m dscp --dscp %d -j MARK --set-xmark 0x41/0xff", command, backend, markedDSCP))
	}
	// Refusals are not limited to a few per second, apart from what muted says.
	for name, value := range map[string]string{"net/ipv4/icmp_ratemask": "0", "net/ipv6/icmp/ratelimit": "0"} {
		if err := p.lab.Router.Sysctl(name, value); err != nil {
			t.Fatal(err)
		}
	}
	// Answers would change connections between two packets: a reset ends
	// them, and one that was not marked takes the mark of the uplink by which
	// its answer comes in.
	for i := 1; i <= p.lab.Uplinks(); i++ {
		device := p.lab.UplinkDevice(i)
		p.sh("iptables-" + backend + " -t raw -A PREROUTING -i " + device + " -j DROP")
		p.sh("ip6tables-" + backend + " -t raw -A PREROUTING -i " + device + " ! -p ipv6-icmp -j DROP")
		for _, kind := range []string{"echo-reply", "destination-unreachable", "parameter-problem", "time-exceeded"} {
			p.sh("ip6tables-" + backend + " -t raw -A PREROUTING -i " + device + " -p ipv6-icmp --icmpv6-type " + kind + " -j DROP")
		}
	}
	p.sh("ipset create other hash:ip && ipset add other 203.0.113.7 && ipset add other 203.0.113.9")
	err = p.lab.Router.Do(func() (err error) {
		if p.kernel, err = kernel.Open(); err != nil {
			return err
		}
		p.sets, p.connections = ipset.New(p.kernel), conntrack.New(p.kernel)
		p.routes, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kernel.Close(); p.routes.Close() })
	return p
}

// round applies one configuration and sends its packets.
func (p *proof) round(number int) {
	p.t.Helper()
	if number%8 == 4 {
		down := 1 + p.g.Intn(p.lab.Uplinks())
		if err := p.lab.IfDown(down); err != nil {
			p.t.Fatal(err)
		}
		defer func() {
			if err := p.lab.IfUp(down); err != nil {
				p.t.Error(err)
			}
		}()
	}
	p.text, p.foreign = p.g.config(), nil
	if p.g.strangers = number%5 == 2; p.g.strangers {
		p.foreign = p.g.foreignRules()
		p.foreignRules("add")
		defer p.foreignRules("del")
	}
	p.configure(p.text)
	if out, messages, code := p.call("apply"); code != 0 {
		p.t.Fatalf("round %d: apply: exit code %d\n%s%s\n%s", number, code, out, messages, p.text)
	}
	p.read()
	var sent []frame
	var trials []trial
	for range randomPackets {
		f := p.g.frame()
		if len(sent) > 0 && p.g.chance(15) {
			f = sent[p.g.Intn(len(sent))] // a second packet of a connection
		} else if len(sent) > 0 && p.g.chance(30) {
			f = f.by(sent[p.g.Intn(len(sent))]) // another connection of a host
		}
		if len(sent) == 0 && number%programRounds == 0 {
			p.compareProgram(f)
		}
		trials = append(trials, p.try(number, f, slices.ContainsFunc(sent, f.sameFlow)))
		sent = append(sent, f)
	}
	p.judge(number, trials)
}

// foreignRules adds or deletes the rules and tables of another program. Two
// equal rules are one.
func (p *proof) foreignRules(verb string) {
	for _, command := range p.foreign {
		p.sh(fmt.Sprintf(command, verb) + " || true")
	}
}

// read plans the configuration as the program does.
func (p *proof) read() {
	p.t.Helper()
	file, err := uci.Parse("loadbalance", []byte(p.text))
	if err != nil {
		p.t.Fatal(err)
	}
	cfg, _ := config.Read(file)
	state, _, err := rundir.Dir(p.runDir()).State()
	if err != nil {
		p.t.Fatal(err)
	}
	w := explainedWorld{config: cfg}
	err = p.lab.Router.Do(func() error {
		handle, err := kernel.Open()
		if err != nil {
			return err
		}
		defer handle.Close()
		if w.uplinks, err = (uplink.NetifdSource{Kernel: handle}).Read(cfg.Members); err != nil {
			return err
		}
		for _, f := range family.All {
			if err := (routing.Netlink{Handle: handle}).ReadForeign(f, w.uplinks.Main(f)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	w.uplinks.Sets = map[string]string{"other": "ipv4"}
	w.plan = plan.Build(plan.Input{Config: cfg, Uplinks: w.uplinks, State: &state.State})
	w.uplinks = w.plan.Uplinks
	p.world = w
}

// described is a frame as a user would describe it, with everything given.
func (p *proof) described(f frame) explain.Packet {
	packet := explain.Packet{Source: f.source, Destination: f.destination, Protocol: f.protocol,
		SourcePort: explain.Unknown, DestinationPort: explain.Unknown, ICMPType: explain.Unknown, ICMPCode: explain.Unknown,
		DSCP: f.dscp, Mark: uint32(f.mark), MarkKnown: true}
	switch f.from {
	case p.lab.Router:
		packet.Own = true
	case p.lab.Guest:
		packet.InDevice, packet.SourceMAC = netlab.GuestDevice, p.mac(f).String()
	default:
		packet.InDevice, packet.SourceMAC = netlab.LANDevice, p.mac(f).String()
	}
	if f.dscp == markedDSCP && !packet.Own {
		packet.Mark = 0x41
	}
	if explain.HasPorts(f.protocol) {
		packet.SourcePort, packet.DestinationPort = f.sport, f.dport
	}
	if f.protocol == unix.IPPROTO_ICMP || f.protocol == unix.IPPROTO_ICMPV6 {
		packet.ICMPType, packet.ICMPCode = f.icmpType, f.icmpCode
	}
	return packet
}

func (p *proof) mac(f frame) net.HardwareAddr {
	if f.mac != nil {
		return f.mac
	}
	return p.injectors[f.from].own
}

func (p *proof) explain(packet explain.Packet, connection *explain.Connection) *explain.Explanation {
	p.t.Helper()
	return explain.Explain(explain.Input{Config: p.world.config, Plan: p.world.plan,
		Connection: connection, InSet: p.sets.Contains}, packet)
}

// find reads the packet's connection. A reading costs some milliseconds, since
// the kernel has one table for all namespaces.
func (p *proof) find(packet explain.Packet) *explain.Connection {
	p.t.Helper()
	search := explain.Search{Packet: packet}
	if err := p.connections.Each(packet.Family(), search.Visit); err != nil {
		p.t.Fatal(err)
	}
	return search.Found
}

// take reads all connections and deletes them, so that the next configuration
// begins without any.
func (p *proof) take() []conntrack.Entry {
	p.t.Helper()
	var entries []conntrack.Entry
	for _, f := range family.All {
		_, err := p.connections.Delete(f, func(e conntrack.Entry) bool {
			entries = append(entries, e)
			return true
		})
		if err != nil {
			p.t.Fatal(err)
		}
	}
	return entries
}

func among(packet explain.Packet, entries []conntrack.Entry) *explain.Connection {
	search := explain.Search{Packet: packet}
	for _, e := range entries {
		if packet.Family() == e.Family && !search.Visit(e) {
			break
		}
	}
	return search.Found
}

// trial is a packet that was sent, with what was to become of it and what did.
type trial struct {
	packet    explain.Packet
	explained *explain.Explanation
	seen      sighting
	muted     bool
}

// muted says whether the kernel may keep its error to itself: of an IPv4 route
// of type unreachable it tells each source five times, and then once a second
// (ip_error in net/ipv4/route.c; the limits are not a namespace's own).
func (p *proof) muted(source netip.Addr) bool {
	const burst = 5
	recent := slices.DeleteFunc(p.refusals[source], func(at time.Time) bool { return time.Since(at) > burst*time.Second })
	p.refusals[source] = recent
	return source.Is4() && len(recent) >= burst
}

// try explains a packet and sends it. The packet behind it takes a way that is
// known, so that once it is seen the first has been dealt with, unless it
// still waits for a neighbour's address.
func (p *proof) try(round int, f frame, again bool) trial {
	p.t.Helper()
	packet := p.described(f)
	var connection *explain.Connection
	if again {
		connection = p.find(packet)
	}
	tried := trial{packet: packet, explained: p.explain(packet, connection), muted: p.muted(packet.Source)}
	p.number++
	number := p.number
	p.send(f, number)
	p.number++
	p.send(frame{from: p.lab.Client, source: p.lab.LANHosts()[0], destination: netlab.VPNHost,
		protocol: unix.IPPROTO_UDP, sport: 3999, dport: netlab.DiscardPort}, p.number)
	if _, seen, err := p.lookout.wait(p.number, patience); err != nil || !seen {
		p.t.Fatalf("round %d: the packet behind did not arrive (%v)", round, err)
	}
	limit := time.Duration(0)
	if slices.ContainsFunc(tried.explained.Outcomes, func(o explain.Outcome) bool {
		return len(o.Route.Hops) > 0 || refuses(o) && !tried.muted && p.foreign == nil && !packet.Own
	}) {
		limit = patience
	}
	var err error
	if tried.seen, _, err = p.lookout.wait(number, limit); err != nil {
		p.t.Fatal(err)
	}
	if tried.seen.refused {
		p.refusals[packet.Source] = append(p.refusals[packet.Source], time.Now())
	}
	return tried
}

// patience is how long a packet may take on a machine that has other things
// to do.
const patience = 20 * time.Second

// judge compares what packets did, and the marks that their connections have
// since, with their explanations.
func (p *proof) judge(round int, trials []trial) {
	p.t.Helper()
	entries := p.take()
	for _, tried := range trials {
		found := among(tried.packet, entries)
		i := slices.IndexFunc(tried.explained.Outcomes, func(o explain.Outcome) bool {
			return p.agrees(tried, o, found)
		})
		if i < 0 {
			text, _ := json.MarshalIndent(tried.explained, "", " ")
			p.t.Fatalf("round %d: %v\nthe packet %v, its connection is %+v; explained:\n%s\nconfiguration:\n%s\nother programs: %q",
				round, tried.packet, tried.seen, found, text, p.text, p.foreign)
		}
		o := tried.explained.Outcomes[i]
		p.kinds[string(o.Draw)+" "+string(o.Route.Type)]++
	}
}

func (p *proof) send(f frame, number uint64) {
	p.t.Helper()
	if f.from == p.lab.Router {
		if err := unix.SetsockoptInt(p.own, unix.SOL_SOCKET, unix.SO_MARK, f.mark); err != nil {
			p.t.Fatal(err)
		}
		const ethernet = 14
		// What is refused is refused here.
		_ = unix.Sendto(p.own, f.octets(make(net.HardwareAddr, 6), number)[ethernet-6:], 0, &unix.SockaddrInet4{Addr: f.destination.As4()})
		return
	}
	f.mac = p.mac(f)
	if err := p.injectors[f.from].send(f.octets(p.routers[f.from], number)); err != nil {
		p.t.Fatal(err)
	}
}

func refuses(o explain.Outcome) bool {
	return o.Route.Type == "unreachable" || o.Route.Type == "none" || o.Route.Type == "prohibit"
}

// agrees says whether a packet has done what an outcome says. Where another
// program has rules, these may take the kernel's refusal away, too.
func (p *proof) agrees(tried trial, o explain.Outcome, found *explain.Connection) bool {
	mask := p.world.config.Globals.MarkMask
	if found != nil && found.Mark&mask != o.ConnectionMark&mask {
		return false
	}
	switch {
	case o.Route.Type == "unicast":
		return slices.ContainsFunc(o.Route.Hops, func(h explain.Hop) bool { return h.Device == tried.seen.device }) &&
			p.tableAgrees(tried.packet, o)
	case refuses(o):
		return tried.seen.refused || (tried.muted || p.foreign != nil || tried.packet.Own) && tried.seen == sighting{}
	}
	return tried.seen == sighting{}
}

// tableAgrees compares the table with the one that the kernel names, which
// cannot be asked for what has ports or a DSCP.
func (p *proof) tableAgrees(packet explain.Packet, o explain.Outcome) bool {
	special := slices.ContainsFunc(p.world.uplinks.Main(packet.Family()).Rules, func(r uplink.Rule) bool {
		return r.TOS != 0 || r.Protocol != 0
	})
	return special || p.kernelTable(packet, o.Mark) == o.Route.Table
}

// kernelTable asks the kernel which table it takes for a packet with a mark.
func (p *proof) kernelTable(packet explain.Packet, mark uint32) int {
	p.t.Helper()
	found, err := p.routes.RouteGetWithOptions(net.IP(packet.Destination.AsSlice()), &netlink.RouteGetOptions{
		Iif: packet.InDevice, SrcAddr: net.IP(packet.Source.AsSlice()), Mark: mark})
	if err != nil || len(found) != 1 {
		p.t.Fatalf("route get %v mark %#x: %v %v", packet, mark, found, err)
	}
	return found[0].Table
}

// compareProgram compares what the program prints with the explanation that
// the comparison is made with.
func (p *proof) compareProgram(f frame) {
	p.t.Helper()
	packet := p.described(f)
	args := []string{"explain", "--json", "--src", packet.Source.String(), "--dst", packet.Destination.String(),
		"--proto", strconv.Itoa(packet.Protocol), "--dscp", strconv.Itoa(packet.DSCP), "--mark", strconv.Itoa(int(packet.Mark))}
	if packet.Own {
		args = append(args, "--in", config.Router)
	} else {
		args = append(args, "--in", packet.InDevice, "--mac", packet.SourceMAC)
	}
	if packet.SourcePort != explain.Unknown {
		args = append(args, "--sport", strconv.Itoa(packet.SourcePort), "--dport", strconv.Itoa(packet.DestinationPort))
	}
	if packet.ICMPType != explain.Unknown {
		args = append(args, "--icmp-type", fmt.Sprintf("%d/%d", packet.ICMPType, packet.ICMPCode))
	}
	var printed, wanted explain.Explanation
	if err := json.Unmarshal([]byte(p.must(args...)), &struct {
		Packet   json.RawMessage    `json:"packet"`
		Outcomes *[]explain.Outcome `json:"outcomes"`
	}{Outcomes: &printed.Outcomes}); err != nil {
		p.t.Fatal(err)
	}
	wanted = *p.explain(packet, nil)
	got, _ := json.Marshal(printed.Outcomes)
	want, _ := json.Marshal(wanted.Outcomes)
	if string(got) != string(want) {
		p.t.Fatalf("explain printed\n%s\nwant\n%s", got, want)
	}
}

// coverage counts the kinds of outcomes that packets had.
type coverage struct {
	mu    sync.Mutex
	kinds map[string]int
}

func (c *coverage) add(kinds map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for kind, n := range kinds {
		c.kinds[kind] += n
	}
}

// check fails if the packets did not meet a bit of everything.
func (c *coverage) check(t *testing.T) {
	if t.Failed() {
		return
	}
	sum := 0
	for _, n := range c.kinds {
		sum += n
	}
	if sum != randomConfigurations*randomPackets {
		t.Errorf("%d packets were compared, want %d", sum, randomConfigurations*randomPackets)
	}
	for _, kind := range []string{"turn unicast", "chance unicast", "hash unicast", "sticky unicast", "connection unicast",
		"only live member unicast", "last resort unicast", " unicast", " unreachable", " blackhole", " none"} {
		if c.kinds[kind] < 10 {
			t.Errorf("only %d packets had the outcome %q (all: %v)", c.kinds[kind], kind, c.kinds)
		}
	}
}
