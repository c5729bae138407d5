package config

import "loadbalance/internal/fwmark"

// builtinPolicy is the policy of traffic that no rule matches. It exists
// whether the file has a section of that name or not.
const builtinPolicy = "balanced"

var parseBalance = oneOf(NTH, Random, Source)

// readGlobals reads `config globals 'globals'`.
func readGlobals(s *section) Globals {
	g := Globals{
		Enabled:            s.boolean("enabled", true),
		MarkMask:           single(s, "mark_mask", uint32(fwmark.Fallback), parseMarkMask),
		RouterTraffic:      s.boolean("router_traffic", true),
		IgnoreSplitDefault: s.boolean("ignore_split_default", false),
		Balance:            single(s, "balance", NTH, parseBalance),
		LogLevel:           single(s, "loglevel", "notice", oneOf("error", "warning", "notice", "info", "debug")),
		Monitor:            s.boolean("monitor", true),
		// `option enabled '0'` excludes everything.
		Bypass: s.prefixes("bypass", parseSetEntry),
	}
	s.reportUnknown()
	return g
}
