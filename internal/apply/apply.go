// Package apply brings the kernel to a plan: it reads what is there of ours,
// compares it with the plan, and changes the difference in an order in which
// no packet meets a half-built state. It keeps nothing in memory between two
// runs; what is ours is recognised in the kernel each time, where a verdict is
// foreseen shortly before the run. Each kind of
// kernel object has a package of its own below this one.
package apply

import (
	"errors"
	"fmt"
	"os"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/dnsmasq"
	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/apply/reset"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/apply/sysctl"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
)

// Mangle is one back end of iptables.
type Mangle interface {
	Read(family.Family) (*iptables.Table, error)
	Write(family.Family, iptables.Change) error
	// BeginRead and BeginWrite begin such a call; the returned function waits
	// for its end and must be called. inEffect may be called before: it waits
	// until packets go by the new chains, and is false if those were refused.
	BeginRead(family.Family) (wait func() (*iptables.Table, error))
	BeginWrite(family.Family, iptables.Change) (inEffect func() bool, wait func() error)
}

// nftables looks after the tables behind iptables-nft.
type nftables interface {
	Exists(family.Family) (bool, error)
	Delete(family.Family) error
}

// resets make LAN clients notice that their connections' uplink is gone.
type resets interface {
	Send(flows []reset.Flow, uplinks []string) (reset.Result, error)
}

// connections is the kernel's connection table.
type connections interface {
	Each(family.Family, conntrack.Filter, func(conntrack.Entry) bool) error
	Delete(family.Family, conntrack.Filter, func(conntrack.Entry) bool) (int, error)
	Remove(family.Family, []conntrack.Entry) (gone []conntrack.Entry, err error)
}

// Engine has access to everything that a plan speaks of.
type Engine struct {
	Mangle Mangle
	// Other is the back end that Mangle is not, given what Mangle said of
	// itself; leftovers of ours there are removed.
	Other       func(legacy bool) Mangle
	NFTables    nftables
	Routing     routing.Kernel
	Sets        ipset.Kernel
	Sysctls     sysctl.Files
	Connections connections
	Resets      resets
	Run         rundir.Dir
	// NamesDir is where table names go, /etc/iproute2/rt_tables.d.
	NamesDir string
	// DNS fills the sets that have domains.
	DNS dnsmasq.Server
	// Notice tells the user something that is no error.
	Notice func(string)
}

// Actual is what the kernel and the run directory hold of ours.
type Actual struct {
	// Tables are the mangle tables; a family whose programs are missing, or
	// that the kernel does not have, has none.
	Tables  map[family.Family]*iptables.Table
	Routing map[family.Family]routing.State
	Sets    []ipset.Set
	Domains dnsmasq.Files
	State   rundir.State
	// Remembered says that the run directory was there.
	Remembered bool
	sysctls    *sysctl.Keeper
	// dying are connections of members that were about to be judged offline.
	dying map[family.Family][]conntrack.Entry
}

// Ours says whether the kernel holds anything of ours: we ran before.
func (a *Actual) Ours() bool {
	for _, f := range family.All {
		if t := a.Tables[f]; t != nil && len(t.Chains)+len(t.Jumps) > 0 {
			return true
		}
		if r := a.Routing[f]; len(r.Rules)+len(r.Routes) > 0 {
			return true
		}
	}
	return len(a.Sets) > 0
}

// Legacy says whether the back end iptables-legacy holds our chains.
func (a *Actual) Legacy() bool {
	table := a.Tables[family.IPv4]
	return table != nil && table.Legacy
}

// Read reads what is there of ours.
func (e *Engine) Read() (*Actual, error) {
	actual := &Actual{
		Tables:  map[family.Family]*iptables.Table{},
		Routing: map[family.Family]routing.State{},
	}
	// Programs run while the rest is read: half of what it takes to notice that
	// something changed is waiting for them.
	tables := map[family.Family]func() (*iptables.Table, error){}
	for _, f := range family.All {
		if f == family.IPv4 || kernelHasIPv6() {
			tables[f] = e.Mangle.BeginRead(f)
		}
	}
	failed := []error{e.readRest(actual)}
	for _, f := range family.All {
		if tables[f] == nil {
			continue
		}
		table, err := tables[f]()
		switch {
		case err == nil:
			actual.Tables[f] = table
		case f == family.IPv4 || !errors.Is(err, iptables.ErrMissing):
			failed = append(failed, err)
		}
	}
	return actual, errors.Join(failed...)
}

// readRest reads all but the mangle tables.
func (e *Engine) readRest(actual *Actual) (err error) {
	if actual.State, actual.Remembered, err = e.Run.State(); err != nil {
		e.Notice(fmt.Sprintf("run directory: %v: starting without it", err))
	}
	if actual.sysctls, err = sysctl.Open(string(e.Run), e.Sysctls); err != nil {
		e.Notice(fmt.Sprintf("run directory: %v: starting without it", err))
	}
	for _, f := range family.All {
		if f == family.IPv6 && !kernelHasIPv6() {
			continue
		}
		if actual.Routing[f], err = e.Routing.Read(f); err != nil {
			return err
		}
	}
	actual.Sets, err = e.Sets.Read()
	if err != nil && !errors.Is(err, ipset.ErrUnavailable) {
		return err
	}
	actual.Domains, err = dnsmasq.Read(e.DNS)
	return err
}

// kernelHasIPv6 says whether the kernel was built and started with IPv6.
func kernelHasIPv6() bool {
	_, err := os.Stat("/proc/thread-self/net/if_inet6")
	return err == nil
}

// Indices returns the members' indices as the last run left them: from the
// run directory, or where that was lost, from our chains.
func (a *Actual) Indices(cfg *config.Config) plan.Indices {
	if a.Remembered {
		return a.State.Indices
	}
	recovered := plan.Indices{Members: map[string]int{}}
	for _, f := range family.All {
		if table := a.Tables[f]; table != nil {
			for name, chain := range table.Chains {
				recovered.Recover(cfg, name, chain.Mark, chain.Mask)
			}
		}
	}
	return recovered
}

// Apply makes the changes. In a family in which anything could not be added,
// the chains and what they lead to stay as they were: what worked goes on
// working. All errors are returned together.
func (e *Engine) Apply(changes *Changes, actual *Actual) error {
	if err := e.rememberTables(changes, actual); err != nil {
		return err
	}
	// Before the kernel changes: after a crash the next run must know which
	// index was whose, and which connections to clean.
	changes.noteUnfinished()
	if err := e.Run.SaveState(changes.state); err != nil {
		return err
	}
	var failed []error
	note := func(err error) bool {
		if err != nil {
			failed = append(failed, err)
		}
		return err == nil
	}
	note(actual.sysctls.Run(changes.Sysctls.Set...))
	complete := map[family.Family]bool{}
	for _, f := range family.All {
		routing := changes.Families[f].Routing
		complete[f] = note(e.route(routing.AddRoutes)) && note(e.route(routing.AddRules))
	}
	setsReady := note(e.updateSets(changes.Sets.Update))
	writing := map[family.Family]func() error{}
	for _, f := range family.All {
		if complete[f] && setsReady {
			writing[f] = e.writeChains(f, changes, actual)
		}
	}
	e.tellClients(changes)
	for _, f := range family.All {
		complete[f] = writing[f] != nil && note(writing[f]())
	}
	done := complete[family.IPv4] && complete[family.IPv6]
	if done {
		// Chains in the other back end may still name the sets.
		note(e.removeOther(changes, actual))
		note(e.updateSets(changes.Sets.Destroy))
	} else {
		note(e.keepCounters(changes, actual, complete))
	}
	for _, f := range family.All {
		if complete[f] {
			note(e.route(changes.Families[f].Routing.DeleteRules))
			note(e.route(changes.Families[f].Routing.DeleteRoutes))
		}
	}
	if done {
		note(actual.sysctls.Run(changes.Sysctls.Restore...))
		if changes.cleans() && note(e.cleanConnections(changes)) {
			changes.state.Unfinished = nil
			note(e.Run.SaveState(changes.state))
		}
	}
	note(e.writeNames(changes.Plan.TableNames))
	if setsReady {
		note(dnsmasq.Run(changes.Domains, e.DNS))
	}
	return errors.Join(failed...)
}

// keepCounters remembers where the cascades began, and what was dealt before,
// of the chains that are still in the kernel because the new ones could not be
// written.
func (e *Engine) keepCounters(changes *Changes, actual *Actual, complete map[family.Family]bool) error {
	for _, f := range family.All {
		if complete[f] {
			continue
		}
		state := changes.state.Families[f.String()]
		before := actual.State.Families[f.String()]
		state.Starts, state.Policies, state.Dealing = before.Starts, before.Policies, before.Dealing
		changes.state.Families[f.String()] = state
	}
	return e.Run.SaveState(changes.state)
}

func (e *Engine) route(ops []routing.Op) error {
	var failed []error
	for _, op := range ops {
		if err := op.Run(e.Routing); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (e *Engine) updateSets(ops []ipset.Op) error {
	for _, op := range ops {
		if err := op.Run(e.Sets); err != nil {
			return err
		}
	}
	return nil
}

// rememberTables notes which nftables tables are about to be created by our
// first transaction.
func (e *Engine) rememberTables(changes *Changes, actual *Actual) error {
	for _, f := range family.All {
		table := actual.Tables[f]
		if table == nil || table.Legacy || len(table.Chains) > 0 || changes.Families[f].Mangle.Empty() {
			continue
		}
		exists, err := e.NFTables.Exists(f)
		if err != nil {
			return err
		}
		state := changes.state.Families[f.String()]
		state.CreatedTable = state.CreatedTable || !exists
		changes.state.Families[f.String()] = state
	}
	return nil
}

// Rehearse loads the sets and chains of changes that were computed from
// nothing. It is meant for a network namespace in which nothing else is.
func (e *Engine) Rehearse(changes *Changes) error {
	if err := e.updateSets(changes.Sets.Update); err != nil {
		return err
	}
	for _, f := range family.All {
		if change := changes.Families[f].Mangle; !change.Empty() {
			if err := e.Mangle.Write(f, change); err != nil {
				return err
			}
		}
	}
	return nil
}
