package cli

import (
	"fmt"

	"loadbalance/internal/rundir"
	"loadbalance/internal/uplink"
)

// offline are the verdicts of the monitor that runs, if one does and is to go
// on. Without one, nobody would notice that a line works again, so no line is
// offline.
func (in *invocation) offline(cfg *configuration) (rundir.Offline, error) {
	if !cfg.Globals.Monitor {
		return nil, nil
	}
	offline, err := in.run().Verdicts()
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	return offline, nil
}

// world reads what a plan depends on outside the configuration: where the
// members stand, which other programs' sets are there, and whether dnsmasq can
// fill ours.
func (in *invocation) world(s *system, cfg *configuration) (uplink.State, error) {
	state, err := uplink.NetifdSource{RuleInterfaces: cfg.RuleInterfaces()}.Read(cfg.Members)
	if err != nil {
		return uplink.State{}, fmt.Errorf("uplinks: %w", err)
	}
	for _, name := range cfg.ForeignSets() {
		f, known, err := s.sets.Family(name)
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
	if cfg.HasDomains() {
		state.DomainsRefused = s.DNS.Refusal()
	}
	return state, nil
}
