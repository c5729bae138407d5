package cli

import (
	"errors"
	"io"
	"slices"
	"time"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/status"
)

// statusCommand shows the running service, once or again and again. Problems of
// the configuration are part of what it shows and no failure of this command.
func statusCommand(in *invocation) int {
	if in.watch {
		return in.watchStatus()
	}
	if in.json {
		return in.printStatus(status.Status.WriteJSON)
	}
	return in.printStatus(status.Status.WriteText)
}

// metricsCommand prints the same for Prometheus.
func metricsCommand(in *invocation) int {
	return in.printStatus(status.Status.WriteMetrics)
}

func (in *invocation) printStatus(write func(status.Status, io.Writer) error) int {
	current, err := in.status()
	if err != nil {
		return in.failStatus(err)
	}
	if err := write(current, in.out); err != nil {
		return in.fail(err)
	}
	return exitDone
}

// noConfigError says that no configuration can be read.
type noConfigError struct{ error }

// failStatus reports why there is no status and returns the exit code.
func (in *invocation) failStatus(err error) int {
	in.log.Error(err.Error())
	var missing noConfigError
	if errors.As(err, &missing) {
		return exitUsage
	}
	return exitFailed
}

// statusConfig is the configuration to show the status under, with all that is
// wrong with it. Where the file cannot be read, what runs is still worth a look.
func (in *invocation) statusConfig() (cfg *pipeline.Configuration, problems []string, err error) {
	cfg, err = in.readConfig()
	if err != nil {
		problems = append(problems, err.Error()+" (this is the state under the configuration that was accepted last)")
		accepted, acceptedErr := pipeline.AcceptedConfiguration(in.rundir())
		if acceptedErr != nil {
			return nil, nil, noConfigError{errors.Join(err, acceptedErr)}
		}
		cfg = accepted
	}
	for _, p := range cfg.Problems {
		problems = append(problems, p.String())
	}
	return cfg, problems, nil
}

// status reads everything that a status shows.
func (in *invocation) status() (status.Status, error) {
	cfg, problems, err := in.statusConfig()
	if err != nil {
		return status.Status{}, err
	}
	p, observed, err := in.observe(cfg, nil)
	if err != nil {
		return status.Status{}, err
	}
	defer p.Close()
	wanted, err := observed.Plan()
	if err != nil {
		return status.Status{}, err
	}
	changes, err := observed.Changes()
	if err != nil {
		return status.Status{}, err
	}
	connections, notices, err := countConnections(p, cfg)
	if err != nil {
		return status.Status{}, err
	}
	found := p.Advise(observed, wanted.Members, in.configDir)
	traffic, err := status.ReadTraffic()
	if err != nil {
		return status.Status{}, err
	}
	snapshot, monitorErr := in.health()
	return status.New(status.Input{
		Version: Version, Now: time.Now(), Stopped: in.rundir().Stopped(), Problems: problems,
		Notices: slices.Concat(wanted.Notices, notices, found.Errors, found.Warnings, found.Notes),
		Kernel:  observed.Kernel, State: observed.LastState(), Plan: wanted, Changes: changes, Uplinks: observed.Uplinks,
		Connections: connections, Traffic: traffic,
		Health: snapshot, MonitorError: monitorErr, MonitorWanted: wantsMonitor(cfg.Config),
	}), nil
}

// countConnections counts live connections by mark. A kernel that does not
// tell them is worth a notice, and the rest a look all the same.
func countConnections(p *pipeline.Pipeline, cfg *pipeline.Configuration) (counts map[family.Family]map[uint32]conntrack.Count, notices []string, err error) {
	counts, err = status.CountConnections(p.Connections.CountByMark, fwmark.Mask(cfg.Globals.MarkMask))
	if errors.Is(err, conntrack.ErrUnavailable) {
		return nil, []string{err.Error()}, nil
	}
	return counts, nil, err
}

// wantsMonitor reports whether there is something to probe, and somebody to do it.
func wantsMonitor(cfg *config.Config) bool {
	if !cfg.Globals.Enabled || !cfg.Globals.Monitor {
		return false
	}
	for _, m := range cfg.EnabledMembers() {
		if m.Track.Gateway || len(m.Track.IPs) > 0 {
			return true
		}
	}
	return false
}
