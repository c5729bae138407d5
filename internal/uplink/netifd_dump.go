package uplink

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/program"
)

// errNoNetifd says that nobody is there to be asked.
var errNoNetifd = errors.New("netifd is not there")

// The exit codes of ubus that mean that nobody is there: ubusd cannot be
// reached (cli.c of ubus returns -1), or knows no network.interface
// (UBUS_STATUS_NOT_FOUND in ubusmsg.h).
const (
	ubusUnreachable = 255
	ubusNotFound    = 4
)

// dumpInterfaces asks netifd for the state of all its interfaces, and waits no
// longer than limit. An error that matches errNoNetifd means that nobody is
// there, any other that netifd is there but does not answer.
func dumpInterfaces(limit time.Duration) ([]byte, error) {
	output, err := program.Run(limit, "", "ubus", "call", "network.interface", "dump")
	var exit *exec.ExitError
	switch {
	case err == nil:
		return output, nil // JSON itself tells whether it is complete
	case errors.Is(err, exec.ErrNotFound):
		err = fmt.Errorf("%w: no program ubus", errNoNetifd)
	case errors.As(err, &exit) && (exit.ExitCode() == ubusNotFound || exit.ExitCode() == ubusUnreachable):
		err = fmt.Errorf("%w: %w", errNoNetifd, err)
	}
	return nil, fmt.Errorf("ubus call network.interface dump: %w", err)
}

// netifdInterface is what we take of an interface of netifd. Every value in it
// is as strictly checked as one from the configuration.
type netifdInterface struct {
	Name      string           `json:"interface"`
	Up        bool             `json:"up"`
	Pending   bool             `json:"pending"`
	Available bool             `json:"available"` // its device exists
	Autostart bool             `json:"autostart"`
	Dynamic   bool             `json:"dynamic"`   // made by another interface's protocol
	Device    string           `json:"device"`    // below the protocol: eth1 of a PPPoE line
	L3Device  string           `json:"l3_device"` // where packets leave; only while it is up
	Unmanaged bool             `json:"-"`         // its protocol is none: netifd gives it no address
	Error     string           `json:"-"`         // the last one, "" for none
	Addresses [2][]netip.Addr  `json:"-"`
	Defaults  [2][]netifdRoute `json:"-"`
	DNS       [2][]netip.Addr  `json:"-"`
	Prefixes  []netip.Prefix   `json:"-"`
}

// netifdRoute is a default route of an interface.
type netifdRoute struct {
	Gateway netip.Addr // the zero address: none
	Metric  int
	// Inactive says that netifd knows the route but did not set it: option
	// defaultroute is 0.
	Inactive bool
}

// rank orders routes: what netifd has set comes before what it has not, then
// the lower metric.
func (r netifdRoute) rank() int {
	if r.Inactive {
		return r.Metric + maxMetric
	}
	return r.Metric
}

// maxMetric is one more than any metric that is believed, so that metrics and
// the rank above fit an int of 32 bits.
const maxMetric = 1 << 30

// The answer of netifd, as netifd_dump_status in its ubus.c writes it. An
// interface that is not up has neither l3_device nor the lists. What option
// defaultroute or peerdns has switched off is listed below "inactive".
type interfaceJSON struct {
	netifdInterface
	Proto  string `json:"proto"`
	Metric int    `json:"metric"`
	listsJSON
	IPv6Prefix []prefixJSON `json:"ipv6-prefix"`
	Inactive   listsJSON    `json:"inactive"`
	Errors     []struct {
		Code string `json:"code"`
	} `json:"errors"`
}

type listsJSON struct {
	IPv4      []prefixJSON `json:"ipv4-address"`
	IPv6      []prefixJSON `json:"ipv6-address"`
	Routes    []routeJSON  `json:"route"`
	DNSServer []string     `json:"dns-server"`
}

type prefixJSON struct {
	Address string `json:"address"`
	Mask    int    `json:"mask"`
}

type routeJSON struct {
	Target  string `json:"target"`
	Mask    int    `json:"mask"`
	Nexthop string `json:"nexthop"`
	// Metric is missing where the route has its interface's.
	Metric *int `json:"metric"`
}

// parseDump reads the answer. What has no valid name, device, address or
// prefix is left out: one odd interface must not stop the others.
func parseDump(text []byte) ([]netifdInterface, error) {
	var dump struct {
		Interface []interfaceJSON `json:"interface"`
	}
	if err := json.Unmarshal(text, &dump); err != nil {
		return nil, fmt.Errorf("ubus call network.interface dump: %w", err)
	}
	var interfaces []netifdInterface
	for _, raw := range dump.Interface {
		if config.ValidInterface(raw.Name) {
			interfaces = append(interfaces, raw.parse())
		}
	}
	return interfaces, nil
}

func (raw *interfaceJSON) parse() netifdInterface {
	i := raw.netifdInterface
	i.Device, i.L3Device = usableDevice(raw.Device), usableDevice(raw.L3Device)
	i.Unmanaged = raw.Proto == "none"
	i.Error = raw.lastError()
	for f, list := range [][]prefixJSON{family.IPv4: raw.IPv4, family.IPv6: raw.IPv6} {
		for _, a := range list {
			if address, ok := parseUnicast(family.Family(f), a.Address); ok {
				i.Addresses[f] = append(i.Addresses[f], address)
			}
		}
	}
	for _, f := range family.All {
		i.Defaults[f] = append(raw.defaults(f, raw.Routes, false), raw.defaults(f, raw.Inactive.Routes, true)...)
		// Those that option peerdns has switched off are not listed there. A resolver
		// with a link-local address is no uplink's.
		for _, text := range raw.DNSServer {
			if server, ok := parseUnicast(f, text); ok && !server.IsLinkLocalUnicast() {
				i.DNS[f] = append(i.DNS[f], server)
			}
		}
	}
	for _, p := range raw.IPv6Prefix {
		if prefix, ok := p.delegated(); ok {
			i.Prefixes = append(i.Prefixes, prefix)
		}
	}
	return i
}

// usableDevice returns a device's name if it can be an uplink's, else "".
func usableDevice(name string) string {
	if !config.ValidDevice(name) || name == "lo" {
		return ""
	}
	return name
}

// parseUnicast reads an address of a machine in one family, without zone.
func parseUnicast(f family.Family, text string) (netip.Addr, bool) {
	address, err := netip.ParseAddr(text)
	ok := err == nil && family.Of(address) == f && address.Zone() == "" && !address.Is4In6() && config.IsUnicast(address)
	if !ok {
		return netip.Addr{}, false
	}
	return address, true
}

// defaults returns the default routes of a list.
func (raw *interfaceJSON) defaults(f family.Family, list []routeJSON, inactive bool) []netifdRoute {
	var routes []netifdRoute
	for _, r := range list {
		target, err := netip.ParseAddr(r.Target)
		if err != nil || r.Mask != 0 || target != f.Default().Addr() {
			continue
		}
		metric := raw.Metric
		if r.Metric != nil {
			metric = *r.Metric
		}
		if metric < 0 || metric >= maxMetric {
			metric = maxMetric - 1 // netifd prints 32 bits as a signed number
		}
		route := netifdRoute{Metric: metric, Inactive: inactive}
		// netifd writes 0.0.0.0 or :: where a route has no gateway.
		if r.Nexthop != "" && r.Nexthop != target.String() {
			gateway, ok := parseUnicast(f, r.Nexthop)
			if !ok {
				continue
			}
			route.Gateway = gateway
		}
		routes = append(routes, route)
	}
	return routes
}

// delegated returns a prefix that a provider can have delegated.
func (p prefixJSON) delegated() (netip.Prefix, bool) {
	address, ok := parseUnicast(family.IPv6, p.Address)
	if !ok || p.Mask < 0 || p.Mask > family.IPv6.Bits() {
		return netip.Prefix{}, false
	}
	prefix := netip.PrefixFrom(address, p.Mask).Masked()
	return prefix, config.IsUnicast(prefix.Addr()) && !prefix.Addr().IsLinkLocalUnicast()
}

// maxErrorCode is longer than any code of netifd's protocols
// (PPP_AUTH_TOPEER_FAILED and the like).
const maxErrorCode = 40

// lastError returns the last error's code, which ends up in messages: nothing
// but letters, digits, '_' and '-'.
func (raw *interfaceJSON) lastError() string {
	if len(raw.Errors) == 0 {
		return ""
	}
	code := raw.Errors[len(raw.Errors)-1].Code
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}
	if len(code) > maxErrorCode || strings.ContainsFunc(code, odd) {
		return ""
	}
	return code
}
