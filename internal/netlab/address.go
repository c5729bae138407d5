package netlab

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The addresses of the laboratory. Ranges for documentation and benchmarks
// (RFC 5737, RFC 2544, RFC 3849) stand for the public Internet; the campus
// network is the recipe's own.
var (
	// LANPrefix is the LAN; the router is .0.1, the hosts are 10.20.1.1 and up.
	LANPrefix = netip.MustParsePrefix("10.20.0.0/16")
	// RouterLAN is the router's address in it.
	RouterLAN = netip.MustParseAddr("10.20.0.1")
	// GuestPrefix is the second LAN, with the router at .1.
	GuestPrefix = netip.MustParsePrefix("10.30.0.0/24")
	// GuestHost is the host in the second LAN.
	GuestHost = netip.MustParseAddr("10.30.0.2")
	// VPNPrefix is the network behind vpn0. The World has it as well, so that
	// a connection to it finds a server also without the route.
	VPNPrefix = netip.MustParsePrefix("10.99.0.0/24")
	// VPNHost is the server in it.
	VPNHost = netip.MustParseAddr("10.99.0.10")
	// ServerPrefix holds the servers: each of its addresses is one.
	ServerPrefix = netip.MustParsePrefix("203.0.113.0/24")
	// ServerPrefix6 likewise.
	ServerPrefix6 = netip.MustParsePrefix("2001:db8:ffff::/64")
	// LANPrefix6 is the LAN's ULA network, with the router at ::1.
	LANPrefix6 = netip.MustParsePrefix("fd00::/64")
	// VPNPrefix6 is the IPv6 network behind vpn0, also in the World.
	VPNPrefix6 = netip.MustParsePrefix("fd99::/64")
	// VPNHost6 is the server in it.
	VPNHost6 = netip.MustParseAddr("fd99::10")

	campusPrefix   = netip.MustParsePrefix("183.169.64.0/20")
	campusGateway  = netip.MustParseAddr("183.169.79.254")
	campusPrefix6  = netip.MustParsePrefix("2001:db8:ca::/64")
	linkLocal1     = netip.MustParseAddr("fe80::1")
	vpnLinkRouter  = netip.MustParseAddr("10.98.0.1")
	vpnLinkFar     = netip.MustParseAddr("10.98.0.2")
	vpnLinkRouter6 = netip.MustParseAddr("fd98::1")
	vpnLinkFar6    = netip.MustParseAddr("fd98::2")
)

// Names of the router's devices other than its uplinks.
const (
	LANDevice    = "lan"
	GuestDevice  = "guest"
	VPNDevice    = "vpn0"
	CampusParent = "wan0" // the address-less parent of the macvlan devices
)

// Uplink holds the addresses of one uplink. The IPv6 fields are zero without
// Options.IPv6.
type Uplink struct {
	Index  int
	Device string // vth1… in Campus, else wan1…
	MAC    string // zero with P2P
	// Address is the router's, with the length of the on-link network; /32
	// with P2P.
	Address netip.Prefix
	// Gateway is the zero Addr with P2P.
	Gateway netip.Addr
	// Peer is the far address of a P2P link.
	Peer netip.Addr
	// Public is the source address that servers see: Address, or with Twins
	// the modem's outer address.
	Public netip.Addr

	Address6  netip.Prefix
	Gateway6  netip.Addr   // link-local; the zero Addr with P2P
	Delegated netip.Prefix // a /56 that the provider routes to Address6
	LAN6      netip.Prefix // the /64 of it that the LAN uses, router at ::1
}

func newUplink(o Options, i int) Uplink {
	u := Uplink{Index: i, Device: fmt.Sprintf("wan%d", i), MAC: fmt.Sprintf("02:4c:42:00:00:%02x", i)}
	own := netip.AddrFrom4([4]byte{198, 18, byte(i), 2})
	switch o.Topology {
	case Separate:
		u.Address = netip.PrefixFrom(own, 24)
		u.Gateway = netip.AddrFrom4([4]byte{198, 18, byte(i), 1})
		if o.WideWAN && i == 1 {
			u.Address = netip.MustParsePrefix("10.200.0.2/8")
			u.Gateway = netip.MustParseAddr("10.200.0.1")
		}
	case Campus:
		u.Device = fmt.Sprintf("vth%d", i)
		// The recipe's first lease is 183.169.68.19.
		u.Address = netip.PrefixFrom(netip.AddrFrom4([4]byte{183, 169, 68, byte(18 + i)}), campusPrefix.Bits())
		u.Gateway = campusGateway
	case Twins:
		u.Address = netip.MustParsePrefix("192.168.1.2/24")
		u.Gateway = netip.MustParseAddr("192.168.1.1")
	case P2P:
		u.MAC = ""
		u.Address = netip.PrefixFrom(own, 32)
		u.Peer = netip.AddrFrom4([4]byte{198, 18, byte(i), 1})
	}
	u.Public = u.Address.Addr()
	if o.Topology == Twins {
		u.Public = own
	}
	if !o.IPv6 {
		return u
	}
	u.Address6 = netip.PrefixFrom(numbered(provider6(i), 2), 64)
	if o.Topology == Campus {
		u.Address6 = netip.PrefixFrom(numbered(campusPrefix6, 0x100+i), 64)
	}
	if o.Topology != P2P {
		u.Gateway6 = linkLocal1
	}
	delegated := provider6(i).Addr().As16()
	delegated[6] = 1
	u.Delegated = netip.PrefixFrom(netip.AddrFrom16(delegated), 56)
	u.LAN6 = netip.PrefixFrom(u.Delegated.Addr(), 64)
	return u
}

// provider6 is the /48 of uplink i's provider.
func provider6(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(i)}), 48)
}

// numbered is address n of a prefix.
func numbered(p netip.Prefix, n int) netip.Addr {
	if p.Addr().Is4() {
		a := p.Addr().As4()
		a[2] += byte(n >> 8)
		a[3] += byte(n)
		return netip.AddrFrom4(a)
	}
	a := p.Addr().As16()
	a[14], a[15] = byte(n>>8), byte(n)
	return netip.AddrFrom16(a)
}

func lanHost(k int) netip.Addr { return netip.AddrFrom4([4]byte{10, 20, 1, byte(1 + k)}) }

// Server returns the address of IPv4 server n, 1 to 254.
func Server(n int) netip.Addr { return numbered(ServerPrefix, n) }

// Server6 returns the address of IPv6 server n, 1 to 65535.
func Server6(n int) netip.Addr { return numbered(ServerPrefix6, n) }

// UplinkDevice returns the name of the router's device of uplink i.
func (l *Lab) UplinkDevice(i int) string { return l.Uplink(i).Device }

// UplinkOf returns the uplink to which a source address seen by a server
// belongs, or 0.
func (l *Lab) UplinkOf(a netip.Addr) int {
	a = a.Unmap()
	if a.Is4() {
		for _, u := range l.uplinks {
			if u.Public == a {
				return u.Index
			}
		}
		return 0
	}
	for _, u := range l.uplinks {
		if u.Address6.Addr() == a || u.Delegated.Contains(a) {
			return u.Index
		}
	}
	return 0
}

// lineNear and lineFar are the addresses of line i, at the access network and
// at the World.
func lineNear(i int) netip.Addr  { return netip.AddrFrom4([4]byte{10, 255, byte(i), 2}) }
func lineFar(i int) netip.Addr   { return netip.AddrFrom4([4]byte{10, 255, byte(i), 1}) }
func lineNear6(i int) netip.Addr { return numbered(linePrefix6(i), 2) }
func lineFar6(i int) netip.Addr  { return numbered(linePrefix6(i), 1) }

func linePrefix6(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0xff, 0, byte(i)}), 64)
}

func lineDevice(i int) string { return fmt.Sprintf("line%d", i) }

// parseRate reads a rate in tc's notation and returns bit/s.
func parseRate(s string) (int64, error) {
	for suffix, factor := range map[string]int64{"kbit": 1e3, "mbit": 1e6, "gbit": 1e9} {
		number, ok := strings.CutSuffix(s, suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 32)
		if err == nil && n > 0 {
			return n * factor, nil
		}
	}
	return 0, fmt.Errorf("rate %q: want a whole number and kbit, mbit or gbit", s)
}
