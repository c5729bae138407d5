// Package netlab builds a laboratory of network namespaces around one router:
// a client with many LAN addresses, the router under test, the access networks
// of its uplinks and a world of servers behind them. Integration tests,
// benchmarks and the demo use it; the router's own binary does not.
//
//	Client ──lan── Router ──uplink 1── access ──line 1── World
//	Guest ──guest──┤  │ ├──uplink 2── access ──line 2──┤
//	               │ vpn0└── …                        ──┘
//	               └── VPN
//
// A test that counts shares:
//
//	l := netlab.Start(t, netlab.Options{Topology: netlab.Campus, Uplinks: 5})
//	// … balance l.Router …
//	tally := l.Connect(netlab.Traffic{Count: 1000, Parallel: 50})
//	// tally.ByUplink[3] connections came over uplink 3.
//
// All namespaces are anonymous: they exist as open file descriptors of the
// process that made them, so several laboratories never clash and nothing is
// left behind, even when the process is killed. Every virtual link is created
// inside these namespaces; the host's own namespace is never touched.
//
// Uplink i reaches the world over its own line i. The line is where a
// laboratory limits the rate, loses packets and sends traffic into nowhere, so
// none of that needs anything on the router's devices. The access network
// drops, and counts for Spoofed, what arrives over uplink i with an address
// that is not uplink i's.
//
// Servers and clients are goroutines of this process; an open connection
// between them costs two of its file descriptors.
//
// Required: root, and the programs ip, tc, nsenter and iptables.
package netlab

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Topology is the way in which the uplinks are connected.
type Topology int

const (
	// Separate gives every uplink its own subnet and gateway.
	Separate Topology = iota
	// Campus puts all uplinks, macvlan devices on one parent, in one subnet
	// with one shared gateway.
	Campus
	// Twins are two uplinks with identical addresses behind identical modems,
	// each of which translates to an outer address of its own.
	Twins
	// P2P uplinks are point-to-point devices (tun) without a gateway.
	P2P
)

// String returns the name of the topology.
func (t Topology) String() string {
	switch t {
	case Separate:
		return "separate"
	case Campus:
		return "campus"
	case Twins:
		return "twins"
	case P2P:
		return "p2p"
	}
	return fmt.Sprintf("Topology(%d)", int(t))
}

// NAT is the way in which the router translates LAN addresses.
type NAT int

const (
	// Masquerade is what OpenWrt's firewall does on a WAN zone.
	Masquerade NAT = iota
	// FixedSNAT names each uplink's address in a rule of its own.
	FixedSNAT
	// NoNAT leaves LAN addresses as they are; the access networks drop them.
	NoNAT
)

// MaxUplinks is the highest number of uplinks: what the product's mark mask
// holds.
const MaxUplinks = 60

// Options describe a laboratory. The zero value of every field but Uplinks is a
// usable default.
type Options struct {
	Topology Topology
	// Uplinks is 1 to MaxUplinks; Twins has 2, whatever stands here.
	Uplinks int
	// Rate limits every line in each direction, such as "20mbit". It counts
	// Ethernet frames: TCP carries about 95.6 % of it. "" is unlimited.
	Rate string
	// IPv6 adds a global network and a delegated /56 per uplink, and a ULA
	// network on the LAN.
	IPv6 bool
	// Backend is the iptables of the router: "nft" (default) or "legacy".
	Backend string
	// LANHosts is the number of addresses of Client, 1 to 250; default 10.
	LANHosts int
	// NAT is the router's IPv4 translation.
	NAT NAT
	// NAT66 masquerades the LAN's ULA addresses (OpenWrt's masq6).
	NAT66 bool
	// NoMainDefaults leaves the main table without default routes. Otherwise
	// it has one per uplink, with metric i, as netifd installs them.
	NoMainDefaults bool
	// RPFilter and ARPIgnore are written to conf.all and conf.default of the
	// router before it has any device. In Campus, ARPIgnore 0 lets every
	// device, the parent too, answer for every lease: packets for uplink 3 may
	// then come in on uplink 1 or on the parent.
	RPFilter, ARPIgnore int
	// WideWAN, with Separate, puts uplink 1 into 10.0.0.0/8, which contains
	// the LAN.
	WideWAN bool
	// WireSized makes both ends send packets as a network carries them, 1500
	// bytes at most. Otherwise TCP passes through the router in segments of up
	// to 64 KiB, a fortieth of the packets. Rate implies it, since
	// a slow line queues and loses single packets.
	WireSized bool
}

// Lab is one running laboratory. Its methods may be called from any goroutine.
type Lab struct {
	Client *Namespace // the LAN hosts: all of LANHosts' addresses
	Router *Namespace // the router under test
	World  *Namespace // the servers
	Guest  *Namespace // one host in a second LAN
	VPN    *Namespace // a network behind a static route in main

	options Options
	uplinks []Uplink
	access  []*Namespace // of uplink i at i-1
	spaces  []*Namespace // all, each once
	closers []func()     // in the order of creation

	tuns []tunLink // of uplink i at i-1, only P2P

	mu      sync.Mutex
	undo    map[int][]func() error // what Restore has to take back, by uplink
	undoSYN func() error           // what DropFirstSYN(false) has to

	servers servers

	udpSockets atomic.Uint32 // opened so far, see bindUDP
}

// New builds a laboratory and starts its servers. It needs root.
func New(options Options) (*Lab, error) {
	if err := options.complete(); err != nil {
		return nil, err
	}
	l := &Lab{options: options, undo: map[int][]func() error{}}
	for i := 1; i <= options.Uplinks; i++ {
		l.uplinks = append(l.uplinks, newUplink(options, i))
	}
	if err := l.build(); err != nil {
		l.Close()
		return nil, fmt.Errorf("laboratory %v: %w", options.Topology, err)
	}
	return l, nil
}

// TB is the part of testing.TB that Start and FreshNamespace need.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// Start is New for a test: a failure ends the test, and the end of the test
// closes the laboratory.
func Start(t TB, options Options) *Lab {
	t.Helper()
	l, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func (o *Options) complete() error {
	if o.Topology == Twins {
		o.Uplinks = 2
	}
	if o.Uplinks < 1 || o.Uplinks > MaxUplinks {
		return fmt.Errorf("%d uplinks: want 1 to %d", o.Uplinks, MaxUplinks)
	}
	if o.LANHosts == 0 {
		o.LANHosts = 10
	}
	if o.LANHosts < 1 || o.LANHosts > 250 {
		return fmt.Errorf("%d LAN hosts: want 1 to 250", o.LANHosts)
	}
	if o.Backend == "" {
		o.Backend = "nft"
	}
	if o.Backend != "nft" && o.Backend != "legacy" {
		return fmt.Errorf("iptables back end %q: want nft or legacy", o.Backend)
	}
	if o.WideWAN && o.Topology != Separate {
		return fmt.Errorf("a wide WAN needs topology separate, not %v", o.Topology)
	}
	if o.Rate != "" {
		o.WireSized = true
		if _, err := parseRate(o.Rate); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the servers and destroys the namespaces. It may be called twice.
// Processes that were started in a namespace keep it alive until they end.
func (l *Lab) Close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
	l.closers = nil
}

// Uplinks returns the number of uplinks.
func (l *Lab) Uplinks() int { return len(l.uplinks) }

// Uplink returns uplink i, 1 to Uplinks.
func (l *Lab) Uplink(i int) Uplink { return l.uplinks[i-1] }

// Access returns the namespace of the provider's side of uplink i: its gateway,
// or, with Twins, its modem.
func (l *Lab) Access(i int) *Namespace { return l.access[i-1] }

// LANHosts returns the IPv4 addresses of Client.
func (l *Lab) LANHosts() []netip.Addr {
	hosts := make([]netip.Addr, l.options.LANHosts)
	for k := range hosts {
		hosts[k] = lanHost(k)
	}
	return hosts
}

// LANHosts6 returns the IPv6 addresses of Client in the prefix of uplink i;
// with i = 0, its ULA addresses.
func (l *Lab) LANHosts6(i int) []netip.Addr {
	prefix := LANPrefix6
	if i > 0 {
		prefix = l.Uplink(i).LAN6
	}
	hosts := make([]netip.Addr, l.options.LANHosts)
	for k := range hosts {
		hosts[k] = numbered(prefix, 0x10+k)
	}
	return hosts
}
