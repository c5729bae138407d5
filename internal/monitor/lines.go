package monitor

import (
	"net/netip"
	"slices"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/health/probe"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// adopt probes what the last apply found: the lines that are up, of members
// that have targets.
func (m *Monitor) adopt(now time.Time) {
	wanted := m.wantedLines()
	for _, key := range m.lines.Keys() {
		if wanted[key] == nil {
			m.lines.Remove(key)
			m.Prober.Forget(key)
		}
	}
	m.probes = wanted
	for key := range m.offline {
		if !m.hasTargets(key) {
			delete(m.offline, key)
		}
	}
	for key, probes := range wanted {
		var targets []string
		for _, p := range probes {
			targets = append(targets, p.Address.String())
		}
		track := m.member(key.Member).Track
		if _, known := m.lines.Online(key); !known && track.InitialState == "offline" && m.offline[key] == "" {
			m.offline[key] = "has not answered yet (initial_state 'offline')"
		}
		_, offline := m.offline[key]
		m.lines.Set(key, health.RulesOf(track, targets), !offline, now)
	}
	if m.save() {
		m.want(request{at: now, reasons: []string{"verdicts of members that are new or gone"}})
	}
}

// wantedLines are the probes of one round of each line.
func (m *Monitor) wantedLines() map[health.Key][]probe.Probe {
	wanted := map[health.Key][]probe.Probe{}
	if m.outcome.Idle {
		return wanted
	}
	for _, member := range m.outcome.Members {
		track := m.member(member.Name).Track
		for _, f := range family.All {
			path := m.path(member.Name, f)
			if path == nil || !path.Up {
				continue
			}
			key := health.Key{Member: member.Name, Family: f}
			if probes := probesOf(key, track, member, path); len(probes) > 0 {
				wanted[key] = probes
			}
		}
	}
	return wanted
}

// probesOf are the probes of one round, one for each target.
func probesOf(key health.Key, track config.Track, member plan.Member, path *uplink.Path) []probe.Probe {
	var probes []probe.Probe
	for i, address := range targets(track, key.Family, path) {
		p := probe.Probe{
			Key: key, Target: i, Method: track.Method, Device: path.Device, Mark: member.Mark,
			Address: address, Port: track.Port, URL: track.URL, Status: track.Status, Timeout: track.Timeout,
		}
		if len(path.Addresses) > 0 {
			p.Source = path.Addresses[0]
		}
		probes = append(probes, p)
	}
	return probes
}

// targets are the addresses that a line's probes ask.
func targets(track config.Track, f family.Family, path *uplink.Path) []netip.Addr {
	if !tracks(track, f) {
		return nil
	}
	addresses := ofFamily(track.IPs, f)
	if !track.Gateway {
		return addresses
	}
	gateway := path.Gateway
	if !gateway.IsValid() {
		gateway = peer(path)
	}
	if gateway.IsValid() && !slices.Contains(addresses, gateway) {
		addresses = append(addresses, gateway)
	}
	return addresses
}

// peer is the other end of a point-to-point link, which stands for the gateway
// there.
func peer(path *uplink.Path) netip.Addr {
	for _, n := range path.Networks {
		if n.Prefix.IsSingleIP() {
			return n.Prefix.Addr()
		}
	}
	return netip.Addr{}
}

// tracks says whether a family has targets of its own. The target 'gateway'
// belongs to both families, unless addresses of one family only stand beside
// it.
func tracks(track config.Track, f family.Family) bool {
	return len(ofFamily(track.IPs, f)) > 0 || track.Gateway && len(track.IPs) == 0
}

func ofFamily(addresses []netip.Addr, f family.Family) []netip.Addr {
	var found []netip.Addr
	for _, a := range addresses {
		if family.Of(a) == f {
			found = append(found, a)
		}
	}
	return found
}

// hasTargets says whether a member's family has targets of its own, be it up
// or not.
func (m *Monitor) hasTargets(key health.Key) bool {
	member := m.member(key.Member)
	return member != nil && tracks(member.Track, key.Family)
}

// member returns an enabled member of the configuration that runs, or nil.
func (m *Monitor) member(name string) *config.Member {
	if m.outcome.Config == nil || m.outcome.Idle {
		return nil
	}
	for i := range m.outcome.Config.Members {
		if member := &m.outcome.Config.Members[i]; member.Name == name && member.Enabled {
			return member
		}
	}
	return nil
}

func (m *Monitor) path(member string, f family.Family) *uplink.Path {
	for i := range m.outcome.Uplinks.Members {
		if m.outcome.Uplinks.Members[i].Name == member {
			return m.outcome.Uplinks.Members[i].Path(f)
		}
	}
	return nil
}
