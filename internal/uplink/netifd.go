package uplink

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
	"loadbalance/internal/uci"
)

// NetifdSource reads the kernel's state, and asks netifd where interfaces stand: on
// which device, with which gateway, delegated prefixes and resolvers; once, and only
// if a member or a rule names one. Without a netifd, an interface's name is taken for
// a device's.
type NetifdSource struct {
	Kernel *kernel.Handle
	// RuleInterfaces are the interfaces that rules name.
	RuleInterfaces []string
	// Netifd is what was known before; nil: nothing.
	Netifd *Netifd
	// InUse says that the kernel holds members that are up: they must not go
	// because nothing is known.
	InUse bool
}

// Read reads netifd's and the kernel's state and judges every member by them.
// An error means that the kernel could not be read, or that netifd has never
// answered and it is better to leave all as it is.
func (source NetifdSource) Read(members []config.Member) (State, error) {
	names := slices.Clone(source.RuleInterfaces) // of all interfaces that count
	for _, m := range members {
		if m.Interface != "" {
			names = append(names, m.Interface)
		}
	}
	n := &netifd{members: members, absent: len(names) == 0}
	if !n.absent {
		asked := cmp.Or(source.Netifd, &Netifd{})
		asked.ask()
		n.network = asked.network()
		isNetifds := slices.ContainsFunc(names, func(name string) bool { return n.network[name].Type != "" })
		switch {
		case asked.failure == nil || asked.interfaces != nil || isNetifds && !source.InUse:
			n.interfaces, n.silence = asked.interfaces, asked.silence()
		case errors.Is(asked.failure, errNoNetifd) && !isNetifds:
			n.absent = true
		default:
			return State{}, asked.failure
		}
	}
	var err error
	if n.snapshot, err = takeSnapshot(source.Kernel); err != nil {
		return State{}, err
	}
	state := n.state()
	if !n.absent {
		state.Interfaces = n.devices(source.RuleInterfaces)
	}
	return state, nil
}

// netifd is the kernel's state with what netifd says of its interfaces.
type netifd struct {
	*snapshot
	interfaces []netifdInterface
	members    []config.Member
	absent     bool                   // there is no netifd, or nobody to ask it for
	network    map[string]uci.Section // nil where it is not known
	silence    string                 // says that netifd did not answer
	unsettled  bool                   // a member's interface is not up
}

// learnt is what netifd knows of a path.
type learnt struct {
	// hops are the gateways of default routes, the preferred one first; the
	// zero address stands for a default route without gateway.
	hops     []netip.Addr
	prefixes []netip.Prefix // delegated
	dns      []netip.Addr
	// others are addresses on the same device that belong to another member.
	others []netip.Addr
}

// state judges the members. It is pure.
func (n *netifd) state() State {
	state := State{Members: []Member{}, IPv4: n.main(family.IPv4), IPv6: n.main(family.IPv6)}
	for _, m := range n.members {
		member := Member{Name: m.Name, IPv4: n.snapshot.ipv4Path(m), IPv6: n.snapshot.ipv6Path(m)}
		if m.Interface != "" && !n.absent {
			member = Member{Name: m.Name, IPv4: n.ipv4Path(m), IPv6: n.ipv6Path(m)}
		}
		state.Members = append(state.Members, member)
	}
	state.separate(n.members)
	state.NetifdSilent, state.Unsettled = n.silence, n.unsettled || n.silence != ""
	return state
}

func (n *netifd) ipv4Path(m config.Member) *Path {
	parts := n.withChildren(m.Interface)
	return n.path(family.IPv4, m, m.Interface, parts, knowledge{gateway: m.Gateway})
}

// ipv6Path returns nil where nothing speaks of IPv6. Without an interface for IPv6 in
// the configuration, all on the same device together make the path: commonly wan has
// the IPv4 address and wan6, an alias of it, the rest. Where wan6 is a member of its
// own, the kernel's IPv6 on the device is that member's alone.
func (n *netifd) ipv6Path(m config.Member) *Path {
	k := knowledge{gateway: m.Gateway6, prefixes: m.Prefix6}
	if m.Interface6 != "" {
		return n.path(family.IPv6, m, m.Interface6, n.withChildren(m.Interface6), k)
	}
	parts := n.withChildren(m.Interface)
	device := deviceOfParts(parts)
	others, rest := n.onDevice(m, device)
	parts = append(parts, slices.DeleteFunc(rest, func(i *netifdInterface) bool { return slices.Contains(parts, i) })...)
	configured := m.Gateway6.IsValid() || len(m.Prefix6) > 0
	if !configured && !slices.ContainsFunc(parts, (*netifdInterface).speaksIPv6) && slices.ContainsFunc(others, (*netifdInterface).speaksIPv6) {
		return nil
	}
	p := n.path(family.IPv6, m, m.Interface, parts, k)
	if !configured && len(p.Addresses)+len(p.Prefixes) == 0 && len(n.defaults(family.IPv6, device)) == 0 {
		return nil
	}
	return p
}

// withChildren returns an interface and those that its protocol has made for
// it: a modem's wwan has its addresses on wwan_4 and wwan_6, PPPoE its IPv6 on
// wan_6. It returns nothing where there is no such interface.
func (n *netifd) withChildren(name string) []*netifdInterface {
	i := slices.IndexFunc(n.interfaces, func(i netifdInterface) bool { return i.Name == name })
	if i < 0 {
		return nil
	}
	parent := &n.interfaces[i]
	parts := []*netifdInterface{parent}
	for i := range n.interfaces {
		child := &n.interfaces[i]
		// On the same device, as far as that is known.
		near := child.L3Device == "" || parent.L3Device == "" || child.L3Device == parent.L3Device
		if child.Dynamic && strings.HasPrefix(child.Name, name+"_") && near {
			parts = append(parts, child)
		}
	}
	return parts
}

// onDevice returns the interfaces that are up on a device: those that another
// member has for its own, an alias that is an uplink of its own, and the rest.
func (n *netifd) onDevice(m config.Member, device string) (others, rest []*netifdInterface) {
	for i := range n.interfaces {
		candidate := &n.interfaces[i]
		named := slices.ContainsFunc(n.members, func(other config.Member) bool {
			return other.Name != m.Name && (other.Interface == candidate.Name || other.Interface6 == candidate.Name)
		})
		switch {
		case device == "" || !candidate.Up || candidate.L3Device != device:
		case named && (candidate.Name == m.Interface || candidate.Name == m.Interface6):
		case named:
			others = append(others, candidate)
		default:
			rest = append(rest, candidate)
		}
	}
	return others, rest
}

func deviceOfParts(parts []*netifdInterface) string {
	for _, part := range parts {
		if part.Up && part.L3Device != "" {
			return part.L3Device
		}
	}
	return ""
}

// devices returns the devices of those of the interfaces that have one now.
func (n *netifd) devices(names []string) map[string]string {
	devices := map[string]string{}
	for _, name := range names {
		if device := deviceOfParts(n.withChildren(name)); device != "" {
			devices[name] = device
		}
	}
	return devices
}

// path judges an interface with its parts, the first of which is the one that
// the configuration names.
func (n *netifd) path(f family.Family, m config.Member, name string, parts []*netifdInterface, k knowledge) *Path {
	if len(parts) == 0 {
		return &Path{Reason: n.reasonMissing(name)}
	}
	n.unsettled = n.unsettled || slices.ContainsFunc(parts, func(i *netifdInterface) bool { return !i.Up })
	if !parts[0].Up {
		return &Path{Reason: n.reason(parts[0])}
	}
	device := deviceOfParts(parts)
	if device == "" {
		return &Path{Reason: fmt.Sprintf("interface '%s' is up, but has no device that can be an uplink", name)}
	}
	k.learnt = learnFrom(f, parts)
	others, _ := n.onDevice(m, device)
	for _, i := range others {
		k.learnt.others = append(k.learnt.others, i.Addresses[f]...)
	}
	p := n.snapshot.path(f, device, k)
	if !p.Up && len(p.Addresses) == 0 {
		p.Reason = n.reasonOfChild(f, parts, p.Reason)
	}
	if !p.Up && parts[0].Unmanaged && n.links[device].running {
		p.Reason += fmt.Sprintf(" (interface '%s' has proto 'none')", name)
	}
	return p
}

// learnFrom joins what the parts of a path know.
func learnFrom(f family.Family, parts []*netifdInterface) learnt {
	var l learnt
	var routes []netifdRoute
	for _, part := range parts {
		routes = append(routes, part.Defaults[f]...)
		for _, server := range part.DNS[f] {
			if !slices.Contains(l.dns, server) {
				l.dns = append(l.dns, server)
			}
		}
		if f == family.IPv6 {
			l.prefixes = append(l.prefixes, part.Prefixes...)
		}
	}
	sort.SliceStable(routes, func(i, j int) bool { return routes[i].rank() < routes[j].rank() })
	for _, r := range routes {
		l.hops = append(l.hops, r.Gateway)
	}
	return l
}

// speaksIPv6 reports whether an interface has anything of IPv6.
func (i *netifdInterface) speaksIPv6() bool {
	return len(i.Addresses[family.IPv6])+len(i.Prefixes)+len(i.Defaults[family.IPv6]) > 0
}

// reasonOfChild explains a missing address by the child that should bring it.
func (n *netifd) reasonOfChild(f family.Family, parts []*netifdInterface, otherwise string) string {
	suffix := family.Pick(f, "_4", "_6")
	for _, part := range parts[1:] {
		if !part.Up && strings.HasSuffix(part.Name, suffix) {
			return n.reason(part)
		}
	}
	return otherwise
}

// reasonMissing says why netifd does not have an interface.
func (n *netifd) reasonMissing(name string) string {
	section, found := n.network[name]
	switch {
	case n.silence != "":
		return fmt.Sprintf("nothing is known of interface '%s', and netifd does not answer", name)
	case n.network == nil:
		return fmt.Sprintf("interface '%s' does not exist in /etc/config/network, or is disabled there", name)
	case !found:
		return fmt.Sprintf("interface '%s' does not exist in /etc/config/network", name)
	case slices.Equal(section.Words("disabled"), []string{"1"}): // as config_parse_interface in netifd's config.c
		return fmt.Sprintf("interface '%s' is disabled in /etc/config/network", name)
	}
	return fmt.Sprintf("interface '%s' is in /etc/config/network, but netifd does not have it yet (`reload_config`)", name)
}

// reason says why an interface that is not up is not.
func (n *netifd) reason(i *netifdInterface) string {
	section := n.network[i.Name]
	switch {
	case i.Pending:
		return fmt.Sprintf("interface '%s' is still coming up%s", i.Name, i.because())
	case !i.Available && i.Device != "":
		return fmt.Sprintf("interface '%s' is down: its device '%s' is missing", i.Name, i.Device)
	case !i.Available:
		return fmt.Sprintf("interface '%s' is down: its device is missing", i.Name)
	case !i.Autostart && slices.Equal(section.Words("auto"), []string{"0"}):
		return fmt.Sprintf("interface '%s' is down: it has auto '0' in /etc/config/network (`ifup %s` brings it up)", i.Name, i.Name)
	case !i.Autostart:
		return fmt.Sprintf("interface '%s' is down: it was switched off (`ifup %s` brings it up)", i.Name, i.Name)
	}
	return fmt.Sprintf("interface '%s' is down%s", i.Name, i.because())
}

func (i *netifdInterface) because() string {
	if i.Error == "" {
		return ""
	}
	return ": " + i.Error
}
