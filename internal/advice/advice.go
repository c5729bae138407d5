// Package advice finds what in the system around us defeats balancing or is
// defeated by it: another program that uses our mark bits, tables or
// priorities, a member that no firewall zone masquerades, a VPN that holds the
// main table's default route, a target that cannot answer. Everything is
// judged by pure functions over Facts; the package only reads, and owns
// nothing.
//
// Each finding is one sentence: what, where, and what to do about it.
package advice

import (
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/plan"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

// Facts is the system as it is.
type Facts struct {
	Config  *config.Config
	Uplinks uplink.State
	// Members are those of the plan, for their tables.
	Members []plan.Member
	// Mangle are the mangle tables; a family may have none.
	Mangle map[family.Family]*iptables.Table
	// Rules are the ip rules that are not ours.
	Rules []Rule
	// Routes are the routes of all tables but the kernel's own (local, main,
	// default), ours left out.
	Routes []Route
	Files
	// TCPLoose is net.netfilter.nf_conntrack_tcp_loose; "" where there is no
	// connection tracking yet.
	TCPLoose string
}

// Files is what the configuration of other programs says.
type Files struct {
	Firewall *uci.File // /etc/config/firewall; nil: there is none
	Network  *uci.File // /etc/config/network; nil: there is none
	// MWAN3Link is the link that starts mwan3 at boot; "" for none.
	MWAN3Link string
}

// Rule is an ip rule of another program.
type Rule struct {
	Family     family.Family
	Priority   int
	Mark, Mask uint32
	Table      int
}

// Route is a route of another program in a table of its or our own.
type Route struct {
	Family family.Family
	Table  int
}

// Advice is what was found.
type Advice struct {
	// Errors are reasons not to start.
	Errors []string
	// Warnings are what very likely does not work as the user means it.
	Warnings []string
	// Notes are what surprises people and is no mistake.
	Notes []string
}

// Find judges the facts. A configuration without enabled members does nothing
// and gets no advice.
func Find(f Facts) Advice {
	if !Active(f.Config) {
		return Advice{}
	}
	var a Advice
	if problem := mwan3Problem(f); problem != "" {
		a.Errors = append(a.Errors, problem)
	}
	a.Warnings = append(a.Warnings, f.markClashes()...)
	a.Warnings = append(a.Warnings, f.ruleClashes()...)
	a.Warnings = append(a.Warnings, f.tableClashes()...)
	a.Warnings = append(a.Warnings, f.unmasqueraded()...)
	a.Warnings = append(a.Warnings, f.foreignDefaults()...)
	a.Warnings = append(a.Warnings, f.unasked()...)
	a.Warnings = append(a.Warnings, f.unreachableNeighbours()...)
	a.Warnings = append(a.Warnings, f.strictTCP()...)
	a.Notes = append(a.Notes, f.offloading()...)
	return a
}

// Active reports whether a configuration puts anything into the kernel.
func Active(cfg *config.Config) bool {
	return cfg.Globals.Enabled && len(enabled(cfg)) > 0
}

func enabled(cfg *config.Config) []config.Member {
	var members []config.Member
	for _, m := range cfg.Members {
		if m.Enabled {
			members = append(members, m)
		}
	}
	return members
}

// paths returns where the enabled members stand in a family, by name; members
// without the family are left out.
func (f Facts) paths(fam family.Family) map[string]*uplink.Path {
	paths := map[string]*uplink.Path{}
	for _, m := range enabled(f.Config) {
		if path := f.Uplinks.Path(m.Name, fam); path != nil {
			paths[m.Name] = path
		}
	}
	return paths
}

func (f Facts) mask() fwmark.Mask { return fwmark.Mask(f.Config.Globals.MarkMask) }
