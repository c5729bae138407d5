// Package probe sends probes to targets and reports the answers. It owns the
// sockets: how a probe leaves by a given device with a given mark, and which
// packets count as its answer. When to probe, and what a missing answer means,
// is decided in package health.
//
// All paths share one socket for each of ICMP, ICMPv6, ARP and neighbour
// discovery. DNS needs one per path, TCP and HTTP one per probe, since a
// socket has one source port and two paths may have identical addresses,
// gateways and targets: only ports and ICMP identifiers then tell their
// connections apart, for us and for connection tracking.
package probe

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/health"
)

// Probe is one probe to one target.
type Probe struct {
	// Key is the path that is probed. All its addresses are of its family.
	Key health.Key
	// Round numbers the probes of a path and grows by one from probe to
	// probe. Target is the index of the target among those of the path, from
	// 0. Both come back in the Answer.
	Round  uint32
	Target int
	// Method is ping, arp, tcp, dns or http, as in config.Track.
	//
	// A ping is answered by an echo reply. arp asks by ARP or, with IPv6, by
	// neighbour solicitation, on a device with Ethernet addresses; any other
	// (point-to-point, tun, raw IP) has nobody to ask, so the target is
	// pinged. tcp is answered by an accepted connection and likewise by a
	// refusing RST of the target: the path has carried packets both ways. An
	// ICMP error is no answer, nor is one to a SYN that the kernel repeated.
	// dns asks for the name servers of the root; every response counts,
	// whatever its code. http is answered by a response with the expected
	// Status.
	Method string
	// Device and Mark are those by which the probe leaves.
	Device string
	Mark   uint32
	// Source, with IPv4, is the member's own address, the sender of ARP
	// requests; without it they are sent from 0.0.0.0, as by a host that has no
	// address yet (RFC 5227, section 2.1.1). With IPv6 it is where all but
	// neighbour solicitations come from; without it the kernel chooses, and
	// where the device has no global address, it may choose one of another
	// member.
	Source  netip.Addr
	Address netip.Addr
	// Port is the target's port, for tcp, dns and http.
	Port uint16
	// URL is what http requests from Address; it begins with http://. Status is
	// that of the response that counts as an answer.
	URL    string
	Status int
	// Timeout is how long the caller waits before it counts a miss. Connections
	// are kept open for longer, see lateAnswer.
	Timeout time.Duration
}

// Answer is a target's answer to the probe of a round. It may come long after
// the probe, and more than once where the network duplicates a packet. Replies
// of ARP and neighbour discovery do not say what they answer: a late one counts
// for the newest round. After a change of method, address or port, late answers
// to earlier probes are ignored.
type Answer struct {
	Key    health.Key
	Round  uint32
	Target int
	// At is when the answer arrived.
	At time.Time
}

const (
	// maxTargets bounds the index of a target. It is sent as 16 bits.
	maxTargets = 1 << 16
	// idMask has the bits of an ICMP identifier that are the same in all our
	// probes, so that the kernel does not wake us for answers to other
	// programs. The rest, 1024 values, is enough for the paths of 60 members in
	// both families, and for not reusing an identifier soon.
	idMask = 0xfc00
)

var errClosed = errors.New("the prober is closed")

// Prober sends probes and receives their answers. Its methods may be called
// from several goroutines.
type Prober struct {
	answers    chan<- Answer
	unanswered func(local, remote netip.AddrPort) // see Open
	closed     chan struct{}
	goroutines sync.WaitGroup

	mu       sync.Mutex // everything below
	isClosed bool
	devices  devices
	idBase   uint16
	lastID   uint16
	paths    map[health.Key]*pathState
	byID     map[uint16]*pathState
	// shared are the sockets of ping, by family, and of the neighbours.
	shared [len(family.All) + 2]receiver
}

// The sockets behind those of ping.
const (
	arp = len(family.All) + iota
	nd
)

// receiver is a socket for probes and their answers.
type receiver struct {
	*socket                // nil until the first use
	name                   string
	domain, kind, protocol int
	setUp                  func(fd int) error
	handle                 func(packet) []Answer
}

// open returns the socket of a receiver.
func (p *Prober) open(r *receiver) (*socket, error) {
	if r.socket != nil {
		return r.socket, nil
	}
	var err error
	if r.socket, err = openSocket(r.name, r.domain, r.kind, r.protocol, r.setUp); err != nil {
		return nil, err
	}
	p.goroutines.Add(1)
	go p.receive(r.socket, r.handle)
	return r.socket, nil
}

func (r *receiver) close() error {
	if r.socket == nil {
		return nil
	}
	return r.file.Close()
}

// pathState is what is known of a path between two of its probes.
type pathState struct {
	key health.Key
	// id is the path's ICMP identifier, token a secret in its echo requests:
	// nobody who has not seen the request can forge the reply. The identifier
	// of a DNS query is the round XOR dnsBase, for the same reason.
	id, dnsBase uint16
	token       uint64
	// index and source are those of the last probe.
	index   int
	source  netip.Addr
	targets []target
	dns     receiver
}

// target is what is known of a target between two of its probes.
type target struct {
	method  string
	address netip.Addr
	port    uint16
	round   uint32 // the newest one
	// awaiting is true until ARP or neighbour discovery has answered the newest
	// round; mac is the sender of the last ARP reply.
	awaiting bool
	mac      hardware
	attempts []*attempt // those that are open, the oldest first
}

// Open returns a Prober for the network namespace of the calling thread. The
// sockets of a method are opened at its first use, so Send must be called in
// the same namespace. The caller must keep receiving answers: while one waits,
// nothing more is read from the network.
//
// unanswered is called with both ends of each TCP connection that is over and
// did not count as an answer, mostly a SYN that nobody answered. It is called
// from several goroutines.
func Open(answers chan<- Answer, unanswered func(local, remote netip.AddrPort)) (*Prober, error) {
	devices, err := openDevices()
	if err != nil {
		return nil, err
	}
	p := &Prober{
		answers:    answers,
		unanswered: unanswered,
		closed:     make(chan struct{}),
		devices:    devices,
		idBase:     uint16(rand.Uint32()) & idMask,
		paths:      make(map[health.Key]*pathState),
		byID:       make(map[uint16]*pathState),
	}
	p.shared = [...]receiver{
		family.IPv4: {name: "ICMP", domain: unix.AF_INET, kind: unix.SOCK_RAW, protocol: unix.IPPROTO_ICMP,
			setUp: p.filterEcho4, handle: p.handleEcho},
		family.IPv6: {name: "ICMPv6", domain: unix.AF_INET6, kind: unix.SOCK_RAW, protocol: unix.IPPROTO_ICMPV6,
			setUp: p.filterEcho6, handle: p.handleEcho},
		arp: {name: "ARP", domain: unix.AF_PACKET, kind: unix.SOCK_DGRAM, protocol: int(networkOrder(unix.ETH_P_ARP)),
			setUp: onlyReplies, handle: p.handleARP},
		nd: {name: "neighbour discovery", domain: unix.AF_INET6, kind: unix.SOCK_RAW, protocol: unix.IPPROTO_ICMPV6,
			setUp: setUpND, handle: p.handleND},
	}
	return p, nil
}

// Send sends a probe without waiting for anything. After an error, such as
// ENETUNREACH, ENODEV or ENOBUFS, there will be no answer. The error names the
// member, the target and the device.
func (p *Prober) Send(probe Probe) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.send(&probe); err != nil {
		return fmt.Errorf("member '%s' (%s): probe of %s over '%s': %w",
			probe.Key.Member, probe.Key.Family.String(), probe.Address.String(), probe.Device, err)
	}
	return nil
}

func (p *Prober) send(probe *Probe) error {
	if p.isClosed {
		return errClosed
	}
	if !probe.Address.IsValid() || family.Of(probe.Address) != probe.Key.Family {
		return errors.New("not an address of this family")
	}
	if probe.Target < 0 || probe.Target >= maxTargets {
		return errors.New("too many targets")
	}
	index, err := p.devices.index(probe.Device)
	if err != nil {
		return err
	}
	path, err := p.path(probe.Key)
	if err != nil {
		return err
	}
	path.moveTo(index)
	path.source = probe.Source
	t := path.target(probe)
	switch probe.Method {
	case "ping":
		return p.sendPing(path, probe)
	case "arp":
		return p.askNeighbour(path, t, probe)
	case "tcp", "http":
		return p.startAttempt(path, t, probe)
	case "dns":
		return p.sendDNS(path, probe)
	}
	return errors.New("unknown method '" + probe.Method + "'")
}

// path returns the state of a path; a new one gets an ICMP identifier that no
// other path has.
func (p *Prober) path(key health.Key) (*pathState, error) {
	if path := p.paths[key]; path != nil {
		return path, nil
	}
	if len(p.paths) > int(^uint16(idMask)) {
		return nil, errors.New("too many paths")
	}
	id := p.lastID
	for taken := true; taken; taken = p.byID[id] != nil {
		id = p.idBase | (id+1)&^idMask
	}
	p.lastID = id
	path := &pathState{key: key, id: id, token: rand.Uint64(), dnsBase: uint16(rand.Uint32())}
	path.dns = receiver{name: "DNS", domain: domainOf(key.Family), kind: unix.SOCK_DGRAM,
		setUp: func(int) error { return nil }, handle: path.handleDNS}
	p.paths[key], p.byID[path.id] = path, path
	return path, nil
}

// moveTo sets the device of a path. A new device has other neighbours.
func (path *pathState) moveTo(index int) {
	if path.index == index {
		return
	}
	path.index = index
	for i := range path.targets {
		path.targets[i].mac = hardware{}
	}
}

// target returns the state of the target of a probe. It begins anew after a
// change of method, address or port.
func (path *pathState) target(probe *Probe) *target {
	for len(path.targets) <= probe.Target {
		path.targets = append(path.targets, target{})
	}
	t := &path.targets[probe.Target]
	address := probe.Address.WithZone("") // answers come without one
	if t.method != probe.Method || t.address != address || t.port != probe.Port {
		t.giveUp()
		*t = target{method: probe.Method, address: address, port: probe.Port}
	}
	t.round = probe.Round
	return t
}

// Forget ends the probes of a path. An answer that is just being delivered may
// still come.
func (p *Prober) Forget(key health.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	path := p.paths[key]
	if path == nil {
		return
	}
	delete(p.paths, key)
	delete(p.byID, path.id)
	path.close()
}

// close closes everything that a path has open. The goroutines that wait for it
// end soon after. Closing a UDP socket cannot fail in a way that matters.
func (path *pathState) close() {
	path.dns.close()
	for i := range path.targets {
		path.targets[i].giveUp()
	}
}

func (t *target) giveUp() {
	for _, a := range t.attempts {
		a.giveUp()
	}
}

// Close ends all probes and returns when no goroutine is left. Nothing is
// delivered any more afterwards.
func (p *Prober) Close() error {
	p.mu.Lock()
	if p.isClosed {
		p.mu.Unlock()
		return errClosed
	}
	p.isClosed = true
	close(p.closed)
	err := p.devices.close()
	for i := range p.shared {
		err = errors.Join(err, p.shared[i].close())
	}
	for _, path := range p.paths {
		path.close()
	}
	p.mu.Unlock()
	p.goroutines.Wait()
	return err
}

// deliver sends an answer to the caller, unless the prober is closed first.
func (p *Prober) deliver(a Answer) {
	select {
	case p.answers <- a:
	case <-p.closed:
	}
}

// answer returns the answer to a round of a target, if address is the
// target's.
func (path *pathState) answer(target int, address netip.Addr, round uint32) []Answer {
	if target >= len(path.targets) || path.targets[target].address != address {
		return nil
	}
	return []Answer{{Key: path.key, Round: round, Target: target, At: time.Now()}}
}
