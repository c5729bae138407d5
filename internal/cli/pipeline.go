package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"loadbalance/internal/apply/iptables"
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
		Backend: iptables.Backend(in.iptables), MaxAge: in.maxAge, Notice: func(text string) { in.note(text) },
	})
}

// observe opens the kernel, which the caller closes, and observes everything. verdicts are
// those of the calling monitor; nil: those of the one that lives, if one does.
func (in *invocation) observe(cfg *pipeline.Configuration, verdicts plan.Verdicts) (*pipeline.Pipeline, *pipeline.Observed, error) {
	p, err := in.open()
	if err != nil {
		return nil, nil, err
	}
	if verdicts == nil && cfg.Globals.Monitor {
		verdicts = in.verdicts()
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

// readConfig reads the configuration file, or the text that was given.
func (in *invocation) readConfig() (*pipeline.Configuration, error) {
	if in.given != nil {
		return pipeline.CheckText(in.given)
	}
	if pipeline.Staged(in.configDir) {
		in.log.Warning(uncommitted)
	}
	cfg, err := pipeline.ReadConfiguration(in.configDir)
	if err != nil {
		return nil, configError{err}
	}
	return cfg, nil
}

// readToApply reads the file with the lock held. What comes before the commit is made up for by
// the monitor: the reload_config behind it finds nothing new and sends no event.
func (in *invocation) readToApply() (*pipeline.Configuration, error) {
	in.noteRunDir(in.rundir().SetOverdue(pipeline.Staged(in.configDir)))
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
	if err != nil {
		return nil, false, configError{err}
	}
	return cfg, refusal != nil, nil
}

// currentConfig is what events go by: the last accepted configuration. Where there is none yet
// it is the file, without faulty sections. Where it is lost, only a file without mistakes takes
// its place, or what this process knows: nothing that runs is torn down for it.
func (in *invocation) currentConfig() (*pipeline.Configuration, error) {
	cfg, lost := pipeline.AcceptedConfiguration(in.rundir())
	if lost == nil {
		return cfg, nil
	}
	cfg, err := pipeline.ReadConfiguration(in.configDir)
	good := err == nil && !cfg.Problems.HasErrors()
	none := errors.Is(lost, fs.ErrNotExist)
	if !none {
		in.note(lost.Error()) // and go by the file
	}
	switch {
	case good || none && in.accepted == nil:
		return cfg, err
	case in.accepted != nil:
		return in.accepted, nil
	case err == nil:
		err = fmt.Errorf("%s has mistakes", filepath.Join(in.configDir, "loadbalance"))
	}
	return nil, fmt.Errorf("nothing was changed: %w", errors.Join(lost, err))
}

// accept keeps a configuration that is in the kernel, here as well if the run directory is lost.
func (in *invocation) accept(cfg *pipeline.Configuration) {
	in.accepted = cfg
	in.noteRunDir(in.rundir().Accept(cfg.Text))
}

// note says what went wrong beside the kernel, but not again what the run before has said.
func (in *invocation) note(texts ...string) {
	for _, text := range texts {
		if slices.Contains(in.notes, text) {
			continue
		}
		in.notes = append(in.notes, text)
		if !in.quiet && !slices.Contains(in.noted, text) {
			in.log.Warning(text)
		}
	}
}

// noteRunDir notes what went wrong in the run directory, if anything.
func (in *invocation) noteRunDir(err error) {
	if err != nil {
		in.note(fmt.Sprintf("run directory: %v", err))
	}
}

// verdicts are those of the monitor that lives; one that does not answer has saved them.
func (in *invocation) verdicts() plan.Verdicts {
	if snapshot, err := in.health(); err == nil && snapshot != nil {
		return snapshot.Verdicts
	}
	verdicts, err := in.rundir().Verdicts()
	in.noteRunDir(err)
	return verdicts
}

func (in *invocation) report(cfg *pipeline.Configuration) {
	for _, p := range cfg.Problems {
		in.log.Log(p.Severity.String(), p.String())
	}
}
