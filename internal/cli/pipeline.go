package cli

import (
	"fmt"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/config"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// open opens the kernel of the calling thread's network namespace.
func (in *invocation) open() (*pipeline.Pipeline, error) {
	if in.netifd == nil {
		in.netifd = &uplink.Netifd{ConfigDir: in.configDir}
	}
	return pipeline.Open(pipeline.Options{
		RunDir: in.rundir(), NamesDir: in.rtTables, Netifd: in.netifd,
		Backend: iptables.Backend(in.iptables), Notice: in.log.Notice,
	})
}

// observe opens the kernel and observes everything that counts. verdicts are
// those of the calling monitor; nil: those of the one that lives, if one does.
// The pipeline is to be closed.
func (in *invocation) observe(cfg *pipeline.Configuration, verdicts plan.Verdicts) (*pipeline.Pipeline, *pipeline.Observed, error) {
	p, err := in.open()
	if err != nil {
		return nil, nil, err
	}
	observed, err := p.Observe(cfg.Config, verdicts)
	if err != nil {
		p.Close()
		return nil, nil, err
	}
	return p, observed, nil
}

// uncommitted is what to say while `uci set` has changes that are not in the file.
const uncommitted = "changes of 'uci set' are not in effect before 'uci commit loadbalance'"

// readConfig reads the configuration file.
func (in *invocation) readConfig() (*pipeline.Configuration, error) {
	if pipeline.Staged(in.configDir) {
		in.log.Warning(uncommitted)
	}
	return pipeline.ReadConfiguration(in.configDir)
}

// readToApply reads the configuration file for an apply, with the lock held. An
// apply that comes before the commit is made up for by the monitor: the
// reload_config behind the commit finds nothing new and sends no event.
func (in *invocation) readToApply() (*pipeline.Configuration, error) {
	if err := in.rundir().SetOverdue(pipeline.Staged(in.configDir)); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	return in.readConfig()
}

// shownConfig is the configuration that plan and explain speak of: what runs, and
// first why that is not the file, if so; with --uplinks the file.
func (in *invocation) shownConfig() (cfg *pipeline.Configuration, refused bool, err error) {
	if in.uplinks != "" {
		cfg, err = in.readConfig()
		return cfg, false, err
	}
	cfg, refusal, err := pipeline.RunningConfiguration(in.rundir(), in.configDir)
	if refusal != nil {
		in.log.Error(refusal.String())
	}
	return cfg, refusal != nil, err
}

// currentConfig is the configuration that events go by.
func (in *invocation) currentConfig() (*pipeline.Configuration, error) {
	return pipeline.CurrentConfiguration(in.rundir(), in.configDir)
}

// report writes the problems of a configuration to the log.
func (in *invocation) report(cfg *pipeline.Configuration) {
	for _, p := range cfg.Problems {
		if p.Severity == config.Error {
			in.log.Error(p.String())
		} else {
			in.log.Warning(p.String())
		}
	}
}
