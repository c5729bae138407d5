package netlab

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

var everyTopology = []Options{
	{Topology: Separate, Uplinks: 3},
	{Topology: Campus, Uplinks: 5},
	{Topology: Twins},
	{Topology: P2P, Uplinks: 2},
}

func forEachTopology(t *testing.T, change func(*Options), test func(*testing.T, *Lab)) {
	for _, o := range everyTopology {
		change(&o)
		t.Run(o.Topology.String(), func(t *testing.T) { test(t, Start(t, o)) })
	}
}

func TestMainDefaultUsesFirstUplink(t *testing.T) {
	for _, backend := range []string{"nft", "legacy"} {
		t.Run(backend, func(t *testing.T) {
			forEachTopology(t, func(o *Options) { o.Backend = backend }, func(t *testing.T, l *Lab) {
				for _, network := range []string{"tcp", "udp"} {
					tally := l.Connect(Traffic{Network: network, Count: 200, Parallel: 50})
					if tally.ByUplink[1] != 200 {
						t.Errorf("%s: %v", network, tally)
					}
				}
			})
		})
	}
}

func TestSixtyUplinks(t *testing.T) {
	for _, topology := range []Topology{Separate, Campus} {
		l := Start(t, Options{Topology: topology, Uplinks: MaxUplinks, IPv6: true})
		for i := 1; i <= MaxUplinks; i++ {
			if tally := l.routerOver(i, Traffic{}); tally.ByUplink[i] != 1 {
				t.Errorf("%v, uplink %d: %v", topology, i, tally)
			}
		}
	}
}

// routerOver connects from the router through uplink i, whatever the routes of
// main say.
func (l *Lab) routerOver(i int, t Traffic) Tally {
	u := l.Uplink(i)
	t.From, t.Device = l.Router, u.Device
	t.Sources = []netip.Addr{u.Address.Addr()}
	if t.Server.IsValid() && t.Server.Addr().Is6() {
		t.Sources = []netip.Addr{u.Address6.Addr()}
	}
	return l.Connect(t)
}

func TestEveryUplinkReachesWorld(t *testing.T) {
	forEachTopology(t, func(o *Options) { o.IPv6 = true }, func(t *testing.T, l *Lab) {
		for i := 1; i <= l.Uplinks(); i++ {
			for _, server := range []netip.Addr{Server(9), Server6(9)} {
				for _, network := range []string{"tcp", "udp"} {
					tally := l.routerOver(i, Traffic{Network: network, Server: netip.AddrPortFrom(server, DNSPort)})
					if tally.ByUplink[i] != 1 {
						t.Errorf("uplink %d, %s to %v: %v", i, network, server, tally)
					}
				}
			}
		}
		spoofed, err := l.SpoofedTotal()
		must(t, err)
		if spoofed != 0 {
			t.Errorf("%d packets counted as spoofed", spoofed)
		}
	})
}

func TestLANHostsUseDelegatedPrefixes(t *testing.T) {
	forEachTopology(t, func(o *Options) { o.IPv6 = true; o.NAT66 = true }, func(t *testing.T, l *Lab) {
		for i := 1; i <= l.Uplinks(); i++ {
			tally := l.Connect(Traffic{Server: netip.AddrPortFrom(Server6(1), HTTPPort), Sources: l.LANHosts6(i), Count: 10})
			if tally.ByUplink[i] != 10 {
				t.Errorf("prefix of uplink %d: %v", i, tally)
			}
			host := netip.AddrPortFrom(l.LANHosts6(i)[3], EchoPort)
			if tally := l.Inbound(i, Traffic{Server: host, Count: 5}); tally.OK() != 5 {
				t.Errorf("inbound to %v: %v", host, tally)
			}
		}
		// main has no default for ULA sources.
		must(t, l.Router.ip(fmt.Sprintf("route add %v %s dev %s\n", ServerPrefix6, via(l.Uplink(2).Gateway6), l.UplinkDevice(2))))
		if tally := l.Connect(Traffic{Server: netip.AddrPortFrom(Server6(1), HTTPPort), Count: 10}); tally.ByUplink[2] != 10 {
			t.Errorf("NAT66: %v", tally)
		}
	})
}

func TestNAT(t *testing.T) {
	for _, backend := range []string{"nft", "legacy"} {
		fixed := Start(t, Options{Topology: Campus, Uplinks: 2, NAT: FixedSNAT, Backend: backend, LANHosts: 250})
		if tally := fixed.Connect(Traffic{Count: 250, Parallel: 50}); tally.ByUplink[1] != 250 {
			t.Errorf("%s, fixed SNAT: %v", backend, tally)
		}
		none := Start(t, Options{Topology: Campus, Uplinks: 2, NAT: NoNAT, Backend: backend})
		tally := none.Connect(Traffic{Network: "udp", Server: netip.AddrPortFrom(Server(1), DNSPort), Count: 10, Parallel: 10, Timeout: 200 * time.Millisecond})
		spoofed, err := none.Spoofed(1)
		must(t, err)
		if tally.OK() != 0 || spoofed != 10 {
			t.Errorf("%s, no NAT: %d counted, %v", backend, spoofed, tally)
		}
	}
}

func TestLANGuestAndVPN(t *testing.T) {
	l := Start(t, Options{Uplinks: 2, IPv6: true})
	targets := []netip.Addr{GuestHost, VPNHost, RouterLAN}
	for _, target := range targets {
		tally := l.Connect(Traffic{Server: netip.AddrPortFrom(target, EchoPort), Count: 10})
		if tally.ByUplink[0] != 10 {
			t.Errorf("LAN to %v: %v", target, tally)
		}
	}
	vpn6 := Traffic{Server: netip.AddrPortFrom(VPNHost6, EchoPort), Sources: l.LANHosts6(0)}
	if tally := l.Connect(vpn6); tally.ByUplink[0] != 1 {
		t.Errorf("LAN to %v: %v", VPNHost6, tally)
	}
	must(t, l.DelVPNRoute())
	vpn := Traffic{Server: netip.AddrPortFrom(VPNHost, EchoPort), Count: 10}
	if tally := l.Connect(vpn); tally.ByUplink[1] != 10 {
		t.Errorf("without the VPN's route: %v", tally)
	}
	must(t, l.AddVPNRoute())
	if tally := l.Connect(vpn); tally.ByUplink[0] != 10 {
		t.Errorf("with the VPN's route again: %v", tally)
	}
}

func TestInboundOverFirstUplink(t *testing.T) {
	forEachTopology(t, func(o *Options) { o.ARPIgnore = 1 }, func(t *testing.T, l *Lab) {
		for _, port := range []uint16{EchoPort, ForwardedPort} {
			server := netip.AddrPortFrom(l.Uplink(1).Public, port)
			for _, network := range []string{"tcp", "udp"} {
				if tally := l.Inbound(1, Traffic{Network: network, Server: server, Count: 20, Parallel: 5}); tally.OK() != 20 {
					t.Errorf("%s to port %d: %v", network, port, tally)
				}
			}
			// main's default is uplink 1: nothing answers over uplink 2.
			server = netip.AddrPortFrom(l.Uplink(2).Public, port)
			tally := l.Inbound(2, Traffic{Server: server, Timeout: 300 * time.Millisecond})
			if tally.OK() != 0 {
				t.Errorf("uplink 2, port %d: %v", port, tally)
			}
		}
	})
}

func TestWideWAN(t *testing.T) {
	l := Start(t, Options{Uplinks: 2, WideWAN: true})
	if u := l.Uplink(1); !u.Address.Masked().Contains(RouterLAN) {
		t.Errorf("%v does not contain the LAN", u.Address)
	}
	if tally := l.Connect(Traffic{Count: 10}); tally.ByUplink[1] != 10 {
		t.Error(tally)
	}
	if tally := l.Inbound(1, Traffic{Count: 10}); tally.OK() != 10 {
		t.Errorf("inbound: %v", tally)
	}
}

func TestSpoofedCountsForgedPackets(t *testing.T) {
	forEachTopology(t, func(o *Options) { o.IPv6 = true }, func(t *testing.T, l *Lab) {
		for _, forged := range []string{"198.51.100.7", "2001:db8:dead::7"} {
			source, server := netip.MustParseAddr(forged), Server(1)
			if source.Is6() {
				server = Server6(1)
			}
			_, err := l.Router.Run("ip", "addr", "add", forged, "dev", "lo")
			must(t, err)
			// NAT would hide the address.
			for _, program := range []string{"iptables-nft", "ip6tables-nft"} {
				_, err = l.Router.Run(program, "-t", "nat", "-F", "POSTROUTING")
				must(t, err)
			}
			u := l.Uplink(2)
			if source.Is6() {
				must(t, l.Router.awaitAddresses())
				// main has IPv6 defaults for its own sources only.
				must(t, l.Router.ip(fmt.Sprintf("route add %v %s dev %s\n", ServerPrefix6, via(u.Gateway6), u.Device)))
			}
			before, err := l.Spoofed(2)
			must(t, err)
			tally := l.Connect(Traffic{
				Network: "udp", From: l.Router, Sources: []netip.Addr{source}, Device: u.Device,
				Server: netip.AddrPortFrom(server, DNSPort), Count: 3, Parallel: 3, Timeout: 200 * time.Millisecond,
			})
			after, err := l.Spoofed(2)
			must(t, err)
			if tally.OK() != 0 || after-before != 3 {
				t.Errorf("%s: %d counted, %v", forged, after-before, tally)
			}
			if first, err := l.Spoofed(1); err != nil || first != 0 {
				t.Errorf("%s: uplink 1 counted %d, %v", forged, first, err)
			}
		}
	})
}

func TestHostilePresets(t *testing.T) {
	l := Start(t, Options{Topology: Campus, Uplinks: 2, RPFilter: 1, ARPIgnore: 1, NoMainDefaults: true})
	for _, name := range []string{"rp_filter", "arp_ignore"} {
		for _, conf := range []string{"all", "vth1", "lan"} {
			out, err := l.Router.Run("cat", "/proc/sys/net/ipv4/conf/"+conf+"/"+name)
			must(t, err)
			if out != "1\n" {
				t.Errorf("%s of %s is %q", name, conf, out)
			}
		}
	}
	out, err := l.Router.Run("ip", "route", "show", "default")
	must(t, err)
	if out != "" {
		t.Errorf("main has a default: %s", out)
	}
}

// hostDevices lists the devices of the namespace that the test runs in.
// holders counts the threads and open files of this process that keep one of the
// namespaces alive.
func TestBadOptions(t *testing.T) {
	for _, o := range []Options{
		{Uplinks: 0}, {Uplinks: 61}, {Uplinks: 1, LANHosts: 251}, {Uplinks: 1, Backend: "ebtables"},
		{Uplinks: 1, Rate: "20"}, {Uplinks: 1, Rate: "0mbit"}, {Uplinks: 1, Rate: "fast"},
		{Uplinks: 1, Topology: P2P, WideWAN: true},
	} {
		if l, err := New(o); err == nil {
			l.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
}
