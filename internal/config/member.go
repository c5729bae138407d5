package config

import (
	"net/netip"

	"loadbalance/internal/family"
)

// Ranges of a member's options. Weights up to 1000 are finer than any rotation
// can deal; mwan3 has 256 tiers.
const (
	maxWeight = 1000
	maxMetric = 256
	// maxTable is the highest table that every tool can name: the kernel has
	// 32 bits, but iproute2 and netlink.Rule hold an int.
	maxTable = 1<<31 - 1
)

// readMember reads `config member`.
func readMember(s *section) Member {
	m := Member{
		Name:       s.Name,
		Enabled:    s.boolean("enabled", true),
		Interface:  single(s, "interface", "", parseInterface),
		Interface6: single(s, "interface6", "", parseInterface),
		Device:     single(s, "device", "", parseDevice),
		Gateway:    single(s, "gateway", netip.Addr{}, parseGateway(family.IPv4)),
		Gateway6:   single(s, "gateway6", netip.Addr{}, parseGateway(family.IPv6)),
		Prefix6:    s.prefixes("prefix6", parsePrefix6),
		Weight:     s.integer("weight", 1, 1, maxWeight),
		Metric:     s.integer("metric", 1, 1, maxMetric),
		Mark:       single(s, "mark", 0, parsePinnedMark),
		Table:      s.integer("table", 0, 1, maxTable),
		Track:      readTrack(s),

		RouterTraffic: s.boolean("router_traffic", true),
		Download:      single(s, "download", 0, parseRate),
		Upload:        single(s, "upload", 0, parseRate),
		Quota: Quota{
			Bytes:  single(s, "quota", 0, ParseBytes),
			Day:    s.integer("quota_day", 1, 1, 28), // every month has these
			Action: single(s, "quota_action", "last", oneOf("last", "off")),
		},
	}
	if !s.given("quota") {
		s.withoutEffect("quota_day", "without 'quota'")
		s.withoutEffect("quota_action", "without 'quota'")
	}
	for _, option := range []string{"interface", "interface6"} {
		if s.given("device") && s.given(option) {
			s.errorf(s.line(option), "options 'device' and '%s' exclude each other", option)
		}
	}
	if m.Device == "lo" {
		s.errorf(s.line("device"), "option 'device': 'lo' is the router itself, not an uplink")
	}
	if !s.given("device") && !s.given("interface") {
		m.Interface = m.Name
	}
	s.reportUnknown()
	return m
}
