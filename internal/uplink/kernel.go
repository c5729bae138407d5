package uplink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
)

// KernelSource reads where the members stand from the kernel alone: devices,
// addresses and the main table. A member without option device is looked up by
// its interface's name, as if that were a device. It reads the network
// namespace of the calling thread.
type KernelSource struct{}

// Read reads the kernel's state with a few dumps and judges every member by
// it. An error means that the kernel could not be read.
func (KernelSource) Read(members []config.Member) (State, error) {
	s, err := takeSnapshot()
	if err != nil {
		return State{}, err
	}
	return s.state(members), nil
}

// snapshot is what the kernel holds, before members are judged by it.
type snapshot struct {
	links     map[string]link
	addresses [2][]address // by family
	routes    [2][]route   // the main table, sorted, by family
	ipv6      bool         // the kernel has IPv6 and it is not switched off
}

func takeSnapshot() (*snapshot, error) {
	r, err := openReader()
	if err != nil {
		return nil, err
	}
	defer r.close()
	s := &snapshot{links: map[string]link{}}
	names, err := r.readLinks(s.links)
	if err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	if s.ipv6, err = ipv6Enabled(); err != nil {
		return nil, err
	}
	for _, f := range family.All {
		if f == family.IPv6 && !s.ipv6 {
			continue
		}
		if s.addresses[f], err = r.readAddresses(f, names); err != nil {
			return nil, fmt.Errorf("addresses (%s): %w", f, err)
		}
		if s.routes[f], err = r.readMainTable(f, names); err != nil {
			return nil, fmt.Errorf("main table (%s): %w", f, err)
		}
	}
	return s, nil
}

// ipv6Enabled says whether the kernel has IPv6 and lets devices use it.
func ipv6Enabled() (bool, error) {
	// thread-self, because /proc/net is the namespace of the process's first
	// thread.
	_, err := os.Stat("/proc/thread-self/net/if_inet6")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("IPv6: %w", err)
	}
	value, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	if err != nil {
		return false, fmt.Errorf("IPv6: %w", err)
	}
	return strings.TrimSpace(string(value)) == "0", nil
}

// state judges the members. It is pure.
func (s *snapshot) state(members []config.Member) State {
	state := State{Members: []Member{}, IPv4: s.main(family.IPv4), IPv6: s.main(family.IPv6)}
	for _, m := range members {
		state.Members = append(state.Members, Member{
			Name: m.Name,
			IPv4: s.ipv4Path(m),
			IPv6: s.ipv6Path(m),
		})
	}
	return state
}

func (s *snapshot) main(f family.Family) Main {
	main := Main{Enabled: f == family.IPv4 || s.ipv6}
	for _, a := range s.addresses[f] {
		main.Addresses = append(main.Addresses, a.Address)
	}
	for _, r := range s.routes[f] {
		main.Routes = append(main.Routes, r.Route)
	}
	return main
}
