package cli

import (
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/config"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/plan"
)

// open opens the kernel of the calling thread's network namespace.
func (in *invocation) open() (*pipeline.Pipeline, error) {
	return pipeline.Open(pipeline.Options{
		RunDir: in.rundir(), NamesDir: in.rtTables,
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

// readConfig reads the configuration file.
func (in *invocation) readConfig() (*pipeline.Configuration, error) {
	return pipeline.ReadConfiguration(in.configDir)
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
