package uplink

import (
	"fmt"
	"os"
	"strings"

	"loadbalance/internal/family"
	"loadbalance/internal/kernel"
)

// snapshot is what the kernel holds, before members are judged by it.
type snapshot struct {
	links     map[string]link
	addresses [2][]address // by family
	routes    [2][]route   // the main table, sorted, by family
	large     [2]bool      // some of its routes are left out
	ipv6      bool         // the kernel has IPv6 and it is not switched off
}

func takeSnapshot(h *kernel.Handle) (*snapshot, error) {
	s := &snapshot{}
	var err error
	if s.links, err = readLinks(h); err != nil {
		return nil, err
	}
	if s.ipv6, err = ipv6Enabled(); err != nil {
		return nil, err
	}
	for _, f := range family.All {
		if f == family.IPv6 && !s.ipv6 {
			continue
		}
		if s.addresses[f], err = readAddresses(h, f); err != nil {
			return nil, err
		}
		if s.routes[f], err = readMainTable(h, f); err != nil {
			return nil, err
		}
		s.large[f] = h.HasMany(f)
	}
	return s, nil
}

// ipv6Enabled reports whether the kernel has IPv6 and lets devices use it.
func ipv6Enabled() (bool, error) {
	if !kernel.HasIPv6() {
		return false, nil
	}
	value, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	if err != nil {
		return false, fmt.Errorf("IPv6: %w", err)
	}
	return strings.TrimSpace(string(value)) == "0", nil
}

func (s *snapshot) main(f family.Family) Main {
	main := Main{Enabled: f == family.IPv4 || s.ipv6, Large: s.large[f]}
	for _, a := range s.addresses[f] {
		main.Addresses = append(main.Addresses, a.Address)
	}
	for _, r := range s.routes[f] {
		main.Routes = append(main.Routes, r.Route)
	}
	return main
}
