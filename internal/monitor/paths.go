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

// adopt probes the lines that the last apply found up, of members with targets.
func (m *Monitor) adopt(now time.Time) {
	wanted, refused := m.wantedPaths()
	for _, text := range refused {
		if !slices.Contains(m.refused, text) {
			m.Log("error", text)
		}
	}
	m.refused = refused
	for _, key := range m.paths.Keys() {
		if wanted[key] == nil {
			m.paths.Remove(key)
			m.Prober.Forget(key)
			if verdict, known := m.offline[key]; known {
				m.offline[key] = unconfirmed(verdict)
			}
			delete(m.unsent, key)
		}
	}
	m.probes = wanted
	m.expectProofs()
	for key := range m.offline {
		// A line that is up and has nobody to ask can never prove anything.
		up := m.outcome.Uplinks.Path(key.Member, key.Family)
		if !m.hasTargets(key) || up != nil && up.Up && wanted[key] == nil {
			delete(m.offline, key)
		}
	}
	for key, probes := range wanted {
		var targets []string
		for _, p := range probes {
			targets = append(targets, p.Address.String())
		}
		track := m.member(key.Member).Track
		_, offline := m.offline[key]
		m.paths.Set(key, health.RulesOf(track, targets), !offline, now)
	}
	m.recalled = false
	m.countAt, m.weighAt = now, now
	if m.save() {
		m.want(request{at: now, reasons: []string{"verdicts of members that are new or gone"}})
	}
}

// unproven is the verdict of a line that is offline from the start.
var unproven = plan.Verdict{Offline: "has not answered yet (initial_state 'offline')"}

// expectProofs has the lines of members with initial_state 'offline' be offline until
// they answer, also while they have no link: they are not used when that comes.
func (m *Monitor) expectProofs() {
	for _, member := range m.outcome.Members {
		if m.member(member.Name).Track.InitialState != "offline" {
			continue
		}
		for _, f := range family.All {
			key := health.Key{Member: member.Name, Family: f}
			_, probed := m.paths.Online(key)
			isTrusted := m.recalled && m.probes[key] != nil
			if !probed && !isTrusted && m.offline[key] == (plan.Verdict{}) {
				m.offline[key] = unproven
			}
		}
	}
}

// wantedPaths are the probes of each path's round, and why targets are left out.
func (m *Monitor) wantedPaths() (wanted map[health.Key][]probe.Probe, refused []string) {
	wanted = map[health.Key][]probe.Probe{}
	if m.outcome.Idle {
		return wanted, nil
	}
	for _, member := range m.outcome.Members {
		track := m.member(member.Name).Track
		for _, f := range family.All {
			path := m.outcome.Uplinks.Path(member.Name, f)
			if path == nil || !path.Up {
				continue
			}
			key := health.Key{Member: member.Name, Family: f}
			main := m.outcome.Uplinks.Main(f)
			targets, own := health.Targets(track, f, path, main)
			for _, address := range own {
				refused = append(refused, health.OwnTarget(member.Name, address))
			}
			if len(targets) > 0 {
				wanted[key] = probesOf(key, track, member, targets, path, main)
			}
		}
	}
	return wanted, refused
}

// probesOf are the probes of one round, one for each target.
func probesOf(key health.Key, track config.Track, member plan.Member, targets []netip.Addr, path *uplink.Path, main *uplink.Main) []probe.Probe {
	var probes []probe.Probe
	for i, address := range targets {
		probes = append(probes, probe.Probe{
			Key: key, Target: i, Method: track.Method, Device: path.Device, Mark: member.Mark,
			Address: address, Source: source(address, path, main),
			Port: track.Port, URL: track.URL, Status: track.Status, Timeout: track.Timeout,
		})
	}
	return probes
}

// source is the address that a target is asked from. With IPv6 the kernel knows
// better which of the device's own, unless another member has some of them. But
// where the device has only a delegated prefix, the kernel takes any address of
// the router, and the provider drops what comes from another one's prefix.
func source(target netip.Addr, path *uplink.Path, main *uplink.Main) netip.Addr {
	shared := slices.ContainsFunc(main.Addresses, func(a uplink.Address) bool {
		return a.Device == path.Device && !a.Prefix.Addr().IsLinkLocalUnicast() && !slices.Contains(path.Addresses, a.Prefix.Addr())
	})
	switch {
	case target.IsLinkLocalUnicast() && target.Is6(), len(path.Addresses) > 0 && target.Is6() && !shared:
		return netip.Addr{}
	case len(path.Addresses) > 0:
		return path.Addresses[0]
	}
	for _, own := range main.Addresses {
		a := own.Prefix.Addr()
		if slices.ContainsFunc(path.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return a
		}
	}
	return netip.Addr{}
}

// hasTargets reports whether a member's family has targets of its own.
func (m *Monitor) hasTargets(key health.Key) bool {
	member := m.member(key.Member)
	return member != nil && health.HasTargets(member.Track, key.Family)
}

// member returns an enabled member of the configuration that runs, or nil.
func (m *Monitor) member(name string) *config.Member {
	if m.outcome.Config == nil || m.outcome.Idle {
		return nil
	}
	if member := m.outcome.Config.Member(name); member != nil && member.Enabled {
		return member
	}
	return nil
}
