// Package advice finds what in the rest of the system breaks balancing or is broken by it:
// another program that uses our mark bits, a member that no zone masquerades, a target that
// cannot answer. Find is a pure function of Facts; the Read functions collect them.
//
// Each finding is one sentence: what, where, and what to do about it.
package advice

import (
	"fmt"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/plan"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

// Facts is the state of the system.
type Facts struct {
	Config  *config.Config
	Uplinks uplink.State
	// Members are the members of the plan, for their tables.
	Members []plan.Member
	// Mangle are the mangle tables; a family may have none.
	Mangle map[family.Family]*iptables.Table
	NFT    []iptables.Marker
	Files
	// TCPLoose is net.netfilter.nf_conntrack_tcp_loose; "" if conntrack is not loaded yet.
	TCPLoose string
}

// Files is the configuration of other programs.
type Files struct {
	Firewall *uci.File // /etc/config/firewall; nil: there is none
	Network  *uci.File // /etc/config/network; nil: there is none
	// MWAN3Link is the link that starts mwan3 at boot; "" for none.
	MWAN3Link string
}

// Advice is the result of Find.
type Advice struct {
	// Errors are what does not work at all.
	Errors []string
	// Warnings are what very likely does not work as intended.
	Warnings []string
	// Notes are not mistakes, but may surprise.
	Notes []string
	// Limits are what cannot be done, whatever the system is like.
	Limits []string
}

// finder collects advice on facts.
type finder struct {
	Facts
	Advice
}

func (f *finder) warn(format string, args ...any) {
	f.Warnings = append(f.Warnings, fmt.Sprintf(format, args...))
}

func (f *finder) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

// Find returns advice; none for a configuration without enabled members, which does nothing.
func Find(facts Facts) Advice {
	f := finder{Facts: facts}
	if !Active(f.Config) {
		return f.Advice
	}
	f.mwan3()
	f.markClashes()
	f.ruleClashes()
	f.tableClashes()
	f.unmasqueraded()
	f.foreignDefaults()
	f.targets()
	f.unreachableNeighbours()
	f.strictTCP()
	f.learning()
	f.offloading()
	f.largeTables()
	return f.Advice
}

// Active reports whether a configuration puts anything into the kernel.
func Active(cfg *config.Config) bool {
	return cfg.Globals.Enabled && len(cfg.EnabledMembers()) > 0
}

func (f Facts) mask() fwmark.Mask { return fwmark.Mask(f.Config.Globals.MarkMask) }
