// Package probe sends probes to targets and reports the answers. It owns the
// sockets: how a probe leaves by a given device with a given mark, and which packets
// count as its answer. What a missing one means is decided in package health.
//
// Every socket is bound to the device of its path: what a LAN host or another line
// sends does not even wake us. DNS, TCP and HTTP have a socket per probe: a port that
// serves once cannot be guessed, and where two paths have the same addresses and
// targets, only ports tell their connections apart.
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
	// Round numbers the probes of a path. Target is the index of the target
	// among those of the path, from 0. Both come back in the Answer.
	Round  uint32
	Target int
	// Method is ping, arp, tcp, dns or http, as in config.Track.
	//
	// arp asks by ARP or, with IPv6, by neighbour solicitation; a device without
	// Ethernet addresses has nobody to ask, so the target is pinged. tcp is answered
	// by an accepted connection and by an RST of the target: the path has carried
	// packets both ways. An ICMP error is no answer, nor is one to a SYN that the
	// kernel repeated. dns asks for the name servers of the root; every response with
	// that question counts. http is answered by the expected Status.
	Method string
	// Device and Mark are those by which the probe leaves.
	Device string
	Mark   uint32
	// Source is where all but neighbour solicitations come from; without it the kernel
	// chooses, and may choose another member's. ARP requests then come from 0.0.0.0, as
	// those of a host that has no address yet (RFC 5227, section 2.1.1).
	Source  netip.Addr
	Address netip.Addr
	// Port is the target's port, for tcp, dns and http.
	Port uint16
	// URL is what http requests from Address; it begins with http://.
	URL     string
	Status  int
	Timeout time.Duration // until the caller counts a miss; see lateAnswer
}

// Answer is a target's answer to the probe of a round. It may come long after
// the probe, and more than once where the network duplicates a packet.
type Answer struct {
	Key    health.Key
	Round  uint32
	Target int
	At     time.Time // when it arrived
	// Portal, where it has a status, is what answered an http probe instead.
	Portal health.Portal
}

// maxTargets bounds the index of a target. It is sent as 16 bits.
const maxTargets = 1 << 16

var errClosed = errors.New("the prober is closed")

// Prober sends probes and receives their answers, also for several goroutines.
type Prober struct {
	answers    chan<- Answer
	forget     func(protocol uint8, local, remote netip.AddrPort) // see Open
	closed     chan struct{}
	goroutines sync.WaitGroup

	mu       sync.Mutex // everything below
	isClosed bool
	random   *rand.ChaCha8 // what nobody can guess
	devices  devices
	lastID   uint16
	paths    map[health.Key]*pathState
}

// receiver is a path's socket for probes and their answers.
type receiver struct {
	*socket                // nil until the first use on a device
	name                   string
	domain, kind, protocol int
	setUp                  func(fd int) error
	handle                 func(packet) []Answer
}

// open returns the socket of a receiver, bound to the path's device.
func (p *Prober) open(path *pathState, r *receiver) (*socket, error) {
	if r.socket != nil {
		return r.socket, nil
	}
	var err error
	if r.socket, err = openSocket(r.name, r.domain, r.kind, r.protocol, path.index, r.setUp); err != nil {
		return nil, err
	}
	p.goroutines.Add(1)
	go p.receive(r.socket, r.handle)
	return r.socket, nil
}

func (r *receiver) close() {
	if r.socket != nil {
		r.file.Close() // fails in no way that matters
		r.socket = nil
	}
}

// pathState is what is known of a path between two of its probes.
type pathState struct {
	key health.Key
	// id is the path's ICMP identifier, token a secret in its echo requests:
	// nobody who has not seen one can forge a reply.
	id    uint16
	token uint64
	// index and source are those of the last probe.
	index           int
	source          netip.Addr
	targets         []target
	ping, neighbour receiver
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

// Open returns a Prober for the network namespace of the calling thread, in which
// Send must be called, too: it opens sockets. While an answer waits for the caller,
// nothing more is read from the network.
//
// forget is called, from several goroutines, with both ends of what needs no entry
// in connection tracking any more: each DNS query, and each TCP connection that did
// not count as an answer.
func Open(answers chan<- Answer, forget func(protocol uint8, local, remote netip.AddrPort)) (*Prober, error) {
	var seed [32]byte
	if _, err := unix.Getrandom(seed[:], 0); err != nil {
		return nil, fmt.Errorf("getrandom: %w", err)
	}
	devices, err := openDevices()
	if err != nil {
		return nil, err
	}
	p := &Prober{
		answers: answers,
		forget:  forget,
		closed:  make(chan struct{}),
		random:  rand.NewChaCha8(seed),
		devices: devices,
		paths:   make(map[health.Key]*pathState),
	}
	p.lastID = uint16(p.random.Uint64())
	return p, nil
}

// Send sends a probe without waiting for anything. After an error, which names the
// member, the target and the device, there will be no answer.
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
	path := p.path(probe.Key)
	path.moveTo(index)
	path.source = probe.Source
	t := path.target(probe)
	switch probe.Method {
	case "ping":
		return p.sendPing(path, probe)
	case "arp":
		return p.askNeighbour(path, t, probe)
	case "tcp", "http", "dns":
		return p.startAttempt(path, t, probe)
	}
	return errors.New("unknown method '" + probe.Method + "'")
}

// path returns the state of a path. A new one gets the next ICMP identifier:
// it is another path's only after 65,536 of them.
func (p *Prober) path(key health.Key) *pathState {
	if path := p.paths[key]; path != nil {
		return path
	}
	p.lastID++
	path := &pathState{key: key, id: p.lastID, token: p.random.Uint64()}
	path.ping = receiver{name: "ICMP", domain: unix.AF_INET, kind: unix.SOCK_RAW, protocol: unix.IPPROTO_ICMP,
		setUp: path.filterEcho4, handle: path.handleEcho}
	path.neighbour = receiver{name: "ARP", domain: unix.AF_PACKET, kind: unix.SOCK_DGRAM,
		setUp: path.setUpARP, handle: path.handleARP}
	if key.Family == family.IPv6 {
		path.ping = receiver{name: "ICMPv6", domain: unix.AF_INET6, kind: unix.SOCK_RAW, protocol: unix.IPPROTO_ICMPV6,
			setUp: path.filterEcho6, handle: path.handleEcho}
		path.neighbour = receiver{name: "neighbour discovery", domain: unix.AF_INET6, kind: unix.SOCK_RAW, protocol: unix.IPPROTO_ICMPV6,
			setUp: setUpND, handle: path.handleND}
	}
	p.paths[key] = path
	return path
}

// moveTo sets the device of a path. A new device has other neighbours.
func (path *pathState) moveTo(index int) {
	if path.index == index {
		return
	}
	path.index = index
	path.closeReceivers()
	for i := range path.targets {
		path.targets[i].mac = hardware{}
	}
}

func (path *pathState) closeReceivers() {
	path.ping.close()
	path.neighbour.close()
}

// target returns the state of a target, a new one after another method or address.
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

// Forget ends the probes of a path; an answer may still be on its way.
func (p *Prober) Forget(key health.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	path := p.paths[key]
	if path == nil {
		return
	}
	delete(p.paths, key)
	path.close()
}

// close closes everything that a path has open; who waits for it ends soon after.
func (path *pathState) close() {
	path.closeReceivers()
	for i := range path.targets {
		path.targets[i].giveUp()
	}
}

func (t *target) giveUp() {
	for _, a := range t.attempts {
		a.giveUp()
	}
}

// Close ends all probes and returns when no goroutine is left.
func (p *Prober) Close() error {
	p.mu.Lock()
	if p.isClosed {
		p.mu.Unlock()
		return errClosed
	}
	p.isClosed = true
	close(p.closed)
	err := p.devices.close()
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

// answer returns the answer to a round, if address is the target's.
func (path *pathState) answer(target int, address netip.Addr, round uint32) []Answer {
	if target >= len(path.targets) || path.targets[target].address != address {
		return nil
	}
	return []Answer{{Key: path.key, Round: round, Target: target, At: time.Now()}}
}
