package apply

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

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
	"loadbalance/internal/uplink"
)

// Changes are the difference between a plan and the kernel.
type Changes struct {
	Plan     *plan.Plan
	Sysctls  sysctl.Changes
	Families map[family.Family]FamilyChanges
	Sets     ipset.Changes
	Domains  dnsmasq.Change
	// Cleaned is what Apply did to the connections.
	Cleaned map[family.Family]Cleaned
	// untold are the deleted connections whose clients are to be told, and told
	// those whose clients were.
	untold, told map[family.Family][]reset.Flow
	// state is what the run directory holds afterwards.
	state rundir.State
	// freed are local destinations that the plan no longer has.
	freed map[family.Family][]netip.Prefix
	// lost says in which families a member that carried connections is not
	// live any more.
	lost map[family.Family]bool
	// vacated are indices of members whose connections are to return to a
	// member that is back.
	vacated map[family.Family][]int
	// reused are indices that have gone from one member to another.
	reused []int
	// resumed says that the last run did not come to its end.
	resumed bool
	// mask is the mark mask; 0 when everything is removed.
	mask    uint32
	uplinks uplink.State
	members []config.Member
}

// FamilyChanges are the changes of one family.
type FamilyChanges struct {
	Mangle  iptables.Change
	Routing routing.Changes
}

// Uplinks is where the members stood when the plan was made.
func (c *Changes) Uplinks() uplink.State { return c.uplinks }

// Empty says that the kernel holds what the plan wants.
func (c *Changes) Empty() bool {
	for _, f := range c.Families {
		if !f.Mangle.Empty() || !f.Routing.Empty() {
			return false
		}
	}
	return c.Sysctls.Empty() && c.Sets.Empty() && c.Domains.Empty()
}

// Plan computes the plan for a configuration in the present world and what
// there is to change for it. offline names, by family, the members that the
// health check has judged offline, each with the reason in words.
func (e *Engine) Plan(cfg *config.Config, uplinks uplink.State, offline map[family.Family]map[string]string,
	actual *Actual) (*Changes, error) {
	old := actual.Indices(cfg)
	indices, err := old.Assign(cfg)
	if err != nil {
		return nil, err
	}
	uplinks = WithLastPrefixes(uplinks, actual.State.Prefixes)
	in := plan.Input{Config: cfg, Uplinks: uplinks, Indices: indices, Offline: offline}
	in.Held = actual.held(in)
	wanted, err := plan.Build(in)
	if err != nil {
		return nil, err
	}
	if actual.Tables[family.IPv6] == nil && len(wanted.IPv6.Chains) > 0 {
		wanted.LeaveOutIPv6("ip6tables is not installed")
	}
	changes, err := diff(wanted, actual)
	if err != nil {
		return nil, err
	}
	changes.state.Indices = indices
	changes.state.Prefixes = prefixes(uplinks)
	changes.mask = cfg.Globals.MarkMask
	changes.uplinks = uplinks
	changes.members = cfg.Members
	changes.reused = reusedIndices(old, indices)
	changes.compareLive(actual)
	changes.resume(actual.State.Unfinished)
	return changes, nil
}

// FromNothing computes the changes for a configuration in a kernel that holds
// nothing of ours, without looking at any kernel.
func FromNothing(cfg *config.Config, uplinks uplink.State) (*Changes, error) {
	e := &Engine{}
	empty := &Actual{Tables: map[family.Family]*iptables.Table{}, Domains: dnsmasq.None(),
		sysctls: sysctl.Without(unsetFiles{})}
	for _, f := range family.All {
		empty.Tables[f] = &iptables.Table{}
	}
	return e.Plan(cfg, uplinks, nil, empty)
}

// unsetFiles are settings that all have another value than the wanted one.
type unsetFiles struct{}

func (unsetFiles) Read(string) (string, error) { return "", nil }
func (unsetFiles) Write(path, _ string) error  { return fmt.Errorf("%s: not to be written", path) }

// diff compares a plan with what is there.
func diff(wanted *plan.Plan, actual *Actual) (*Changes, error) {
	changes := &Changes{
		Plan:     wanted,
		Cleaned:  map[family.Family]Cleaned{},
		untold:   map[family.Family][]reset.Flow{},
		told:     map[family.Family][]reset.Flow{},
		Families: map[family.Family]FamilyChanges{},
		Sets:     ipset.Diff(wanted.IPv4.Sets, wanted.IPv6.Sets, actual.Sets),
		Domains:  dnsmasq.Diff(wanted.Domains, actual.Domains),
		state: rundir.State{Families: map[string]rundir.Family{}, Indices: actual.State.Indices,
			Unfinished: actual.State.Unfinished},
	}
	for _, f := range family.All {
		want := wanted.Family(f)
		state := actual.State.Families[f.String()]
		var mangle iptables.Change
		if table := actual.Tables[f]; table != nil {
			mangle = iptables.Diff(*want, table, state.Starts)
			state.Legacy = table.Legacy
			state.Starts = mangle.StartsAfter(state.Starts)
			state = actual.rememberDealt(f, wanted, mangle, state)
		}
		state.Held = slices.Sorted(maps.Keys(wanted.Held[f]))
		changes.state.Families[f.String()] = state
		changes.Families[f] = FamilyChanges{
			Mangle:  mangle,
			Routing: routing.Diff(f, want.Rules, want.Routes, actual.Routing[f]),
		}
	}
	// Values that are ours already but of which no record tells may be the
	// administrator's, unless the records were lost.
	lostRecords := actual.Ours() && !actual.Remembered
	sysctls, err := actual.sysctls.Diff(wanted.Sysctls, lostRecords)
	changes.Sysctls = sysctls
	changes.freed = freedDestinations(wanted, actual.Sets)
	return changes, err
}
