package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// script collects what one namespace is set up with, so that each namespace
// costs one process per tool, whatever the number of uplinks.
type script struct {
	links  strings.Builder // ip: devices; before any address, since both ends must exist
	ip     strings.Builder // ip: addresses, routes, rules
	ip6    strings.Builder // ip -6: rules, whose family ip does not guess
	tc     strings.Builder
	rules4 strings.Builder // iptables-restore
	rules6 strings.Builder
}

func addLine(b *strings.Builder, format string, args ...any) {
	fmt.Fprintf(b, format+"\n", args...)
}

func (l *Lab) build() error {
	if err := l.createNamespaces(); err != nil {
		return err
	}
	scripts := map[*Namespace]*script{}
	for _, ns := range l.spaces {
		scripts[ns] = &script{}
		if err := l.presetSysctls(ns); err != nil {
			return err
		}
	}
	l.writeLAN(scripts)
	l.writeUplinks(scripts)
	l.writeLines(scripts)
	l.writeRouterRules(scripts[l.Router])

	if err := l.createTuns(); err != nil {
		return err
	}
	for _, ns := range l.spaces {
		if err := ns.ip(scripts[ns].links.String()); err != nil {
			return err
		}
	}
	if err := l.configure(scripts); err != nil {
		return err
	}
	if err := l.awaitAddresses(l.spaces...); err != nil {
		return err
	}
	if err := l.Router.awaitLinks(); err != nil {
		return err
	}
	return l.startServers()
}

func (l *Lab) awaitAddresses(spaces ...*Namespace) error {
	if !l.options.IPv6 {
		return nil
	}
	for _, ns := range spaces {
		if err := ns.awaitAddresses(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) createNamespaces() error {
	create := func(name string) (*Namespace, error) {
		ns, err := newNamespace(name)
		if err != nil {
			return nil, err
		}
		l.spaces = append(l.spaces, ns)
		l.closers = append(l.closers, ns.close)
		return ns, nil
	}
	for _, n := range []struct {
		ns   **Namespace
		name string
	}{{&l.Router, "router"}, {&l.Client, "client"}, {&l.World, "world"}, {&l.Guest, "guest"}, {&l.VPN, "vpn"}} {
		ns, err := create(n.name)
		if err != nil {
			return err
		}
		*n.ns = ns
	}
	for i := range l.uplinks {
		if i > 0 && l.options.Topology != Twins {
			l.access = append(l.access, l.access[0])
			continue
		}
		name := "isp"
		if l.options.Topology == Twins {
			name = fmt.Sprintf("modem%d", i+1)
		}
		ns, err := create(name)
		if err != nil {
			return err
		}
		l.access = append(l.access, ns)
	}
	return nil
}

// presetSysctls sets what must stand before the first device exists. Values that
// a new namespace would inherit from the host are set explicitly.
func (l *Lab) presetSysctls(ns *Namespace) error {
	values := [][2]string{
		{"net/ipv4/ip_forward", "1"}, // resets others, hence first
	}
	if l.options.IPv6 {
		values = append(values,
			[2]string{disableIPv6, "0"},
			[2]string{"net/ipv6/conf/all/forwarding", "1"},
			[2]string{"net/ipv6/conf/default/forwarding", "1"},
			// No duplicate address detection: addresses work almost at once.
			[2]string{"net/ipv6/conf/all/accept_dad", "0"},
			[2]string{"net/ipv6/conf/default/accept_dad", "0"})
	}
	rpFilter, arpIgnore := 0, 0
	if ns == l.Router {
		rpFilter, arpIgnore = l.options.RPFilter, l.options.ARPIgnore
	} else {
		// Thousands of short connections need ports.
		values = append(values,
			[2]string{"net/ipv4/ip_local_port_range", "1024 65535"},
			[2]string{"net/ipv4/tcp_tw_reuse", "1"},
			[2]string{"net/core/somaxconn", "8192"},
			[2]string{"net/ipv4/tcp_max_syn_backlog", "8192"})
	}
	for _, conf := range []string{"all", "default"} {
		values = append(values,
			[2]string{"net/ipv4/conf/" + conf + "/rp_filter", strconv.Itoa(rpFilter)},
			[2]string{"net/ipv4/conf/" + conf + "/arp_ignore", strconv.Itoa(arpIgnore)},
			[2]string{"net/ipv4/conf/" + conf + "/arp_announce", "0"},
			[2]string{"net/ipv4/conf/" + conf + "/src_valid_mark", "0"})
	}
	for _, v := range values {
		if err := ns.Sysctl(v[0], v[1]); err != nil {
			return err
		}
	}
	return nil
}

// writeLAN describes everything on the inner side of the router.
func (l *Lab) writeLAN(scripts map[*Namespace]*script) {
	router, client, guest, vpn := scripts[l.Router], scripts[l.Client], scripts[l.Guest], scripts[l.VPN]
	for _, s := range scripts {
		addLine(&s.links, "link set lo up")
	}
	addLine(&router.links, "link add name %s type veth peer name lan netns %s", LANDevice, l.Client.Path())
	addLine(&router.links, "link add name %s type veth peer name lan netns %s", GuestDevice, l.Guest.Path())
	addLine(&router.links, "link add name %s type veth peer name lan netns %s", VPNDevice, l.VPN.Path())
	for _, device := range []string{LANDevice, GuestDevice, VPNDevice} {
		addLine(&router.links, "link set %s up", device)
	}
	for _, s := range []*script{client, guest, vpn} {
		addLine(&s.ip, "link set lan up")
	}

	addLine(&router.ip, "addr add %v/%d dev %s", RouterLAN, LANPrefix.Bits(), LANDevice)
	for _, host := range l.LANHosts() {
		addLine(&client.ip, "addr add %v/%d dev lan", host, LANPrefix.Bits())
	}
	addLine(&client.ip, "route add default via %v", RouterLAN)
	if l.options.WireSized {
		addLine(&client.ip, "link set lan gso_max_segs 1")
	}

	guestGateway := numbered(GuestPrefix, 1)
	addLine(&router.ip, "addr add %v/%d dev %s", guestGateway, GuestPrefix.Bits(), GuestDevice)
	addLine(&guest.ip, "addr add %v/%d dev lan", GuestHost, GuestPrefix.Bits())
	addLine(&guest.ip, "route add default via %v", guestGateway)

	addLine(&router.ip, "addr add %v/30 dev %s", vpnLinkRouter, VPNDevice)
	addLine(&router.ip, "%s", vpnRoute("add"))
	addLine(&vpn.ip, "addr add %v/30 dev lan", vpnLinkFar)
	addLine(&vpn.ip, "route add local %v dev lo", VPNPrefix)
	addLine(&vpn.ip, "route add default via %v", vpnLinkRouter)

	if !l.options.IPv6 {
		return
	}
	addLine(&router.ip, "addr add %v/64 dev %s", linkLocal1, LANDevice)
	l.writeLAN6(router, client, LANPrefix6, 0)
	for _, u := range l.uplinks {
		l.writeLAN6(router, client, u.LAN6, u.Index)
	}
	addLine(&client.ip, "route add ::/0 via %v dev lan", linkLocal1)
	addLine(&router.ip, "addr add %v/64 dev %s", vpnLinkRouter6, VPNDevice)
	addLine(&router.ip, "%s", vpnRoute6("add"))
	addLine(&vpn.ip, "addr add %v/64 dev lan", vpnLinkFar6)
	addLine(&vpn.ip, "route add local %v dev lo", VPNPrefix6)
	addLine(&vpn.ip, "route add ::/0 via %v", vpnLinkRouter6)
}

func (l *Lab) writeLAN6(router, client *script, prefix netip.Prefix, uplink int) {
	addLine(&router.ip, "addr add %v/64 dev %s", numbered(prefix, 1), LANDevice)
	for _, host := range l.LANHosts6(uplink) {
		addLine(&client.ip, "addr add %v/64 dev lan", host)
	}
}

func vpnRoute(verb string) string {
	return fmt.Sprintf("route %s %v via %v dev %s", verb, VPNPrefix, vpnLinkFar, VPNDevice)
}

func vpnRoute6(verb string) string {
	return fmt.Sprintf("route %s %v via %v dev %s", verb, VPNPrefix6, vpnLinkFar6, VPNDevice)
}

// writeUplinks describes the links between the router and the access networks.
func (l *Lab) writeUplinks(scripts map[*Namespace]*script) {
	router := scripts[l.Router]
	if l.options.Topology == Campus {
		access := scripts[l.access[0]]
		addLine(&router.links, "link add name %s type veth peer name campus netns %s", CampusParent, l.access[0].Path())
		addLine(&router.links, "link set %s up", CampusParent)
		addLine(&access.ip, "link set campus up")
		addLine(&access.ip, "addr add %v/%d dev campus", campusGateway, campusPrefix.Bits())
		if l.options.IPv6 {
			addLine(&access.ip, "addr add %v/64 dev campus", linkLocal1)
			addLine(&access.ip, "route add %v dev campus", campusPrefix6)
		}
	}
	for _, u := range l.uplinks {
		switch l.options.Topology {
		case Campus:
			addLine(&router.links, "link add link %s name %s address %s type macvlan", CampusParent, u.Device, u.MAC)
		case Separate, Twins:
			addLine(&router.links, "link add name %s address %s type veth peer name %s netns %s",
				u.Device, u.MAC, u.Device, l.Access(u.Index).Path())
		}
		addLine(&router.ip, "%s", l.uplinkConfig(u))
		addLine(&scripts[l.Access(u.Index)].ip, "%s", l.accessConfig(u))
	}
}

// uplinkConfig is what netifd does in ifup: the link, its addresses and, with the
// interface's metric, its default routes.
func (l *Lab) uplinkConfig(u Uplink) string {
	var b strings.Builder
	addLine(&b, "link set %s up", u.Device)
	if u.Peer.IsValid() {
		addLine(&b, "addr replace %v peer %v/32 dev %s metric %d", u.Address.Addr(), u.Peer, u.Device, u.Index)
	} else {
		addLine(&b, "addr replace %v dev %s metric %d", u.Address, u.Device, u.Index)
	}
	if u.Address6.IsValid() {
		addLine(&b, "addr replace %v dev %s", u.Address6, u.Device)
	}
	if l.options.NoMainDefaults {
		return b.String()
	}
	addLine(&b, "route replace default %s dev %s metric %d", via(u.Gateway), u.Device, u.Index)
	if u.Address6.IsValid() {
		// netifd makes IPv6 defaults specific to the source.
		for _, source := range []netip.Prefix{u.Address6.Masked(), u.Delegated} {
			addLine(&b, "route replace ::/0 from %v %s dev %s metric %d", source, via(u.Gateway6), u.Device, u.Index)
		}
	}
	return b.String()
}

func via(gateway netip.Addr) string {
	if !gateway.IsValid() {
		return ""
	}
	return "via " + gateway.String()
}

// accessConfig is the provider's end of uplink u. It can be repeated: addresses
// and routes of IPv6 are lost when CutCable takes the device down.
func (l *Lab) accessConfig(u Uplink) string {
	var b strings.Builder
	device := l.accessDevice(u)
	switch l.options.Topology {
	case Separate, Twins:
		addLine(&b, "link set %s up", device)
		addLine(&b, "addr replace %v/%d dev %s", u.Gateway, u.Address.Bits(), device)
	case P2P:
		addLine(&b, "link set %s up", device)
		addLine(&b, "addr replace %v peer %v/32 dev %s", u.Peer, u.Address.Addr(), device)
	}
	if !u.Address6.IsValid() {
		return b.String()
	}
	switch l.options.Topology {
	case Separate, Twins:
		addLine(&b, "addr replace %v/64 dev %s", linkLocal1, device)
		addLine(&b, "addr replace %v/64 dev %s", numbered(provider6(u.Index), 1), device)
	case P2P:
		addLine(&b, "route replace %v dev %s", u.Address6.Masked(), device)
	}
	next := "via " + u.Address6.Addr().String()
	if l.options.Topology == P2P {
		next = ""
	}
	addLine(&b, "route replace %v %s dev %s", u.Delegated, next, device)
	return b.String()
}

// accessDevice is the device of u's access network that faces the router.
func (l *Lab) accessDevice(u Uplink) string {
	if l.options.Topology == Campus {
		return "campus"
	}
	return u.Device
}

// writeLines describes the lines between the access networks and the World.
func (l *Lab) writeLines(scripts map[*Namespace]*script) {
	world := scripts[l.World]
	addLine(&world.ip, "route add local %v dev lo", ServerPrefix)
	addLine(&world.ip, "route add local %v dev lo", VPNPrefix)
	if l.options.IPv6 {
		addLine(&world.ip, "addr add %v/128 dev lo", Server6(1)) // to connect from
		addLine(&world.ip, "route add local %v dev lo", ServerPrefix6)
		addLine(&world.ip, "route add local %v dev lo", VPNPrefix6)
		addLine(&world.rules6, "*raw\n-A PREROUTING -p udp --dport %d -j DROP\nCOMMIT", DiscardPort)
	}
	addLine(&world.rules4, "*raw\n-A PREROUTING -p udp --dport %d -j DROP\nCOMMIT", DiscardPort)
	for _, u := range l.uplinks {
		l.writeLine(u, scripts[l.Access(u.Index)], world)
	}
	done := map[*Namespace]bool{}
	for _, u := range l.uplinks {
		ns := l.Access(u.Index)
		if !done[ns] {
			done[ns] = true
			l.writeAccessRules(ns, scripts[ns])
		}
	}
}

func (l *Lab) writeLine(u Uplink, access, world *script) {
	i, device := u.Index, lineDevice(u.Index)
	addLine(&access.links, "link add name %s type veth peer name %s netns %s", device, device, l.World.Path())
	addLine(&access.ip, "link set %s up", device)
	addLine(&access.ip, "addr add %v/30 dev %s", lineNear(i), device)
	addLine(&world.ip, "link set %s up", device)
	addLine(&world.ip, "addr add %v/30 dev %s", lineFar(i), device)
	addLine(&world.ip, "route add %v/32 via %v src %v", u.Public, lineNear(i), Server(1))
	if l.options.Rate != "" {
		addLine(&access.tc, "%s", shaping(device, l.options.Rate))
		addLine(&world.tc, "%s", shaping(device, l.options.Rate))
	}
	if l.options.WireSized {
		addLine(&world.ip, "link set %s gso_max_segs 1", device)
	}
	if l.options.Topology == Twins {
		addLine(&access.ip, "addr add %v/32 dev %s", u.Public, device)
		addLine(&access.ip, "route add default via %v", lineFar(i))
	} else {
		// What comes from uplink i leaves by line i.
		addLine(&access.ip, "rule add pref %d from %v lookup %d", 1000+i, u.Address.Addr(), 1000+i)
		addLine(&access.ip, "route add default via %v table %d", lineFar(i), 1000+i)
	}
	if !u.Address6.IsValid() {
		return
	}
	addLine(&access.ip, "addr add %v/64 dev %s", lineNear6(i), device)
	addLine(&world.ip, "addr add %v/64 dev %s", lineFar6(i), device)
	addLine(&access.ip, "route add ::/0 via %v table %d", lineFar6(i), 1000+i)
	for _, source := range []netip.Prefix{netip.PrefixFrom(u.Address6.Addr(), 128), u.Delegated} {
		addLine(&access.ip6, "rule add pref %d from %v lookup %d", 1000+i, source, 1000+i)
		addLine(&world.ip, "route add %v via %v", source, lineNear6(i))
	}
}

// shaping holds 10 ms of traffic as burst, at least 32 KiB, which tbf needs
// between two ticks of a 250 Hz kernel, and queues for at most 100 ms.
func shaping(device, rate string) string {
	bits, _ := parseRate(rate) // Options were checked
	return fmt.Sprintf("qdisc add dev %s root tbf rate %s burst %d latency 100ms", device, rate, max(bits/8/100, 32<<10))
}

// configure runs the scripts of all namespaces, which no longer depend on each
// other.
func (l *Lab) configure(scripts map[*Namespace]*script) error {
	errs := make([]error, len(l.spaces))
	var wait sync.WaitGroup
	for k, ns := range l.spaces {
		wait.Add(1)
		go func() {
			defer wait.Done()
			errs[k] = l.configureOne(ns, scripts[ns])
		}()
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (l *Lab) configureOne(ns *Namespace, s *script) error {
	if err := ns.ip(s.ip.String()); err != nil {
		return err
	}
	backend := "nft"
	if ns == l.Router {
		backend = l.options.Backend
	}
	for _, step := range []struct {
		input   string
		command []string
	}{
		{s.ip6.String(), []string{"ip", "-6", "-batch", "-"}},
		{s.tc.String(), []string{"tc", "-batch", "-"}},
		{s.rules4.String(), []string{"iptables-" + backend + "-restore"}},
		{s.rules6.String(), []string{"ip6tables-" + backend + "-restore"}},
	} {
		if err := ns.batch(step.input, step.command...); err != nil {
			return err
		}
	}
	return nil
}
