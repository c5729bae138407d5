package pipeline

import (
	"fmt"
	"maps"
	"slices"

	"loadbalance/internal/advice"
	"loadbalance/internal/apply"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
	"loadbalance/internal/uplink"
)

// Observed is everything that a run goes by, as it was at one time.
type Observed struct {
	Config  *config.Config
	Uplinks uplink.State
	Kernel  *apply.Kernel
	// State is what the last run left; nil if there was none, or if it was lost.
	State    *rundir.State
	Verdicts plan.Verdicts
	wanted   *plan.Plan // nil until it is asked for
}

// Observe reads what the kernel, netifd and the run directory say. Without a monitor
// nobody would notice that an uplink works again, so verdicts do not count.
func (p *Pipeline) Observe(cfg *config.Config, verdicts plan.Verdicts) (*Observed, error) {
	o := &Observed{Config: cfg, State: p.state()}
	if cfg.Globals.Monitor {
		o.Verdicts = verdicts
	}
	var err error
	if o.Kernel, err = p.engine.Read(); err != nil {
		return nil, err
	}
	inUse := slices.ContainsFunc(o.Kernel.Routing[family.IPv4].Rules, func(r routing.Rule) bool { return r.Out != "" })
	o.Uplinks, err = p.uplinks(cfg, inUse)
	return o, err
}

// FromNothing is what would be observed in a kernel that holds nothing of ours,
// where the members stand as told.
func FromNothing(cfg *config.Config, uplinks uplink.State) *Observed {
	return &Observed{Config: cfg, Uplinks: uplinks, Kernel: apply.EmptyKernel()}
}

// Plan plans the kernel state that is wanted, once.
func (o *Observed) Plan() *plan.Plan {
	if o.wanted != nil {
		return o.wanted
	}
	in := plan.Input{Config: o.Config, Uplinks: o.Uplinks, Kernel: o.Kernel.ForPlan(), Verdicts: o.Verdicts}
	if o.State != nil {
		in.State = &o.State.State
	}
	o.wanted = plan.Build(in)
	return o.wanted
}

// Changes returns what there is to change. A service that is switched off wants
// nothing in the kernel.
func (o *Observed) Changes() *apply.Changes {
	if !o.Config.Globals.Enabled {
		return apply.DiffStop(o.Kernel, o.State)
	}
	return apply.Diff(o.Plan(), o.Kernel, o.State)
}

// LastState is what the last run left; the zero value where that is nothing.
func (o *Observed) LastState() rundir.State {
	if o.State == nil {
		return rundir.State{}
	}
	return *o.State
}

// Without is the same with a member that is taken for offline.
func (o *Observed) Without(member string) *Observed {
	without := *o
	without.wanted, without.Verdicts = nil, plan.Verdicts{}
	for _, f := range family.All {
		without.Verdicts[f] = map[string]plan.Verdict{member: {Offline: "assumed"}}
		maps.Copy(without.Verdicts[f], o.Verdicts[f])
	}
	return &without
}

// Advise looks at the system around us. What cannot be read is a warning: the
// rest of the advice is still good. all says to look at what takes a program of
// its own, too.
func (p *Pipeline) Advise(o *Observed, members []plan.Member, configDir string, all bool) advice.Advice {
	var unread []string
	note := func(err error) {
		if err != nil {
			unread = append(unread, fmt.Sprintf("not all could be checked: %v", err))
		}
	}
	facts := advice.Facts{Config: o.Config, Uplinks: o.Uplinks, Members: members,
		Mangle: o.Kernel.Tables}
	var err error
	facts.Files, err = advice.ReadFiles(configDir)
	note(err)
	facts.TCPLoose, err = advice.ReadTCPLoose()
	note(err)
	if all {
		facts.NFT, err = advice.ReadNFT()
		note(err)
	}
	taken, err := p.Taken(o, members)
	note(err)
	found := advice.Find(facts)
	if o.Uplinks.NetifdSilent != "" {
		found.Warnings = append(found.Warnings, o.Uplinks.NetifdSilent)
	}
	found.Warnings = slices.Concat(found.Warnings, taken, unread)
	return found
}

// Taken asks the kernel which way packets take that were dealt to the members,
// and names the ip rules of other programs that take some away.
func (p *Pipeline) Taken(o *Observed, members []plan.Member) ([]string, error) {
	if !advice.Active(o.Config) {
		return nil, nil
	}
	return advice.Taken(o.Uplinks, members, p.kernel.Lookup)
}

// state is what the last run left. What cannot be read is as good as lost.
func (p *Pipeline) state() *rundir.State {
	state, found, err := p.run.State()
	if err != nil {
		p.engine.Notice(fmt.Sprintf("run directory: %v", err))
	}
	if !found {
		return nil
	}
	return &state
}

// uplinks is where the members stand, with other programs' ip rules and which
// sets of theirs there are.
func (p *Pipeline) uplinks(cfg *config.Config, inUse bool) (uplink.State, error) {
	p.netifd.Recall(p.run.Netifd())
	source := uplink.NetifdSource{Kernel: p.kernel, RuleInterfaces: cfg.RuleInterfaces(), Netifd: p.netifd, InUse: inUse}
	state, err := source.Read(cfg.Members)
	if err != nil {
		return uplink.State{}, fmt.Errorf("uplinks: %w", err)
	}
	for _, f := range family.All {
		if err := (routing.Netlink{Handle: p.kernel}).ReadForeign(f, state.Main(f)); err != nil {
			return uplink.State{}, err
		}
	}
	for _, name := range cfg.ForeignSets() {
		f, known, err := p.Sets.Family(name)
		if err != nil {
			return uplink.State{}, err
		}
		if !known {
			continue
		}
		if state.Sets == nil {
			state.Sets = map[string]string{}
		}
		state.Sets[name] = f.String()
	}
	return state, nil
}
