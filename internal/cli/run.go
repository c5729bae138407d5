package cli

import (
	"errors"
	"fmt"

	"loadbalance/internal/apply"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/plan"
)

// run is what one apply of the current configuration found and did.
type run struct {
	// cfg is nil where the service is stopped or disabled.
	cfg    *pipeline.Configuration
	legacy bool // the back end that holds our chains
	// report is nil where the run did not get as far as a plan; after an error it may be there.
	report *apply.Report
	// news are the notices of the plan that the run before did not have.
	news []string
	code int
	err  error
}

// follow brings the kernel to the current configuration, with the lock held, and logs what changed.
func (in *invocation) follow(e netifdEvent) int {
	done := in.followed(nil)
	in.logChanges(e, done)
	if done.err != nil {
		in.log.Error(fmt.Sprintf("%s: %v", e, done.err))
	}
	return done.code
}

// followed is follow without a message. verdicts are the calling monitor's; nil: of the one that lives.
func (in *invocation) followed(verdicts plan.Verdicts) *run {
	if in.rundir().Stopped() { // meanwhile, by the run that we waited for
		return &run{}
	}
	cfg, err := in.currentConfig()
	if err != nil {
		return &run{code: exitUsage, err: err}
	}
	in.log.SetLevel(cfg.Globals.LogLevel)
	if cfg.Problems.Fatal() {
		return &run{code: exitUsage, err: errors.New("nothing was applied: the section 'globals' has errors")}
	}
	if !cfg.Globals.Enabled {
		return &run{}
	}
	p, observed, err := in.observe(cfg, verdicts)
	if err != nil {
		return &run{code: exitFailed, err: err}
	}
	defer p.Close()
	done := in.carryOut(p, cfg, observed)
	if done.err == nil && cfg.Problems.HasErrors() {
		done.code = exitUsage // told in full by the apply that found them
	}
	return done
}
