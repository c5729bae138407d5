package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/config"
	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/plan"
	"loadbalance/internal/status"
)

// statusCommand shows the service. What is wrong with the configuration is part of that, no failure.
func statusCommand(in *invocation) int {
	if in.watch {
		return in.watchStatus()
	}
	if in.json || in.history {
		return in.printStatus(status.Status.WriteJSON)
	}
	return in.printStatus(status.Status.WriteText)
}

func metricsCommand(in *invocation) int {
	return in.printStatus(status.Status.WriteMetrics)
}

func (in *invocation) printStatus(write func(status.Status, io.Writer) error) int {
	current, err := in.status()
	if err != nil {
		return in.fail(err)
	}
	if err := write(current, in.out); err != nil {
		return in.fail(err)
	}
	return exitDone
}

func (in *invocation) status() (status.Status, error) {
	cfg, refusal, err := pipeline.RunningConfiguration(in.rundir(), in.configDir)
	if err != nil {
		return status.Status{}, configError{err}
	}
	var problems []string
	if pipeline.Staged(in.configDir) {
		problems = append(problems, uncommitted)
	}
	if refusal == nil && pipeline.Unread(in.rundir(), in.configDir) {
		problems = append(problems, "the configuration file of "+pipeline.Written(in.configDir).Format(pipeline.TimeLayout)+" is newer than what runs: '/etc/init.d/loadbalance reload' applies it")
	}
	for _, p := range cfg.Problems {
		problems = append(problems, p.String())
	}
	found := cfg.Problems
	if refusal != nil {
		found = refusal.Found
	}
	in.quiet, in.notes = true, nil
	snapshot, monitorErr := in.health()
	var verdicts plan.Verdicts
	if snapshot != nil {
		verdicts = snapshot.Verdicts
	}
	p, observed, err := in.observe(cfg, verdicts)
	if err != nil {
		return status.Status{}, err
	}
	defer p.Close()
	wanted := observed.Plan()
	connections, notices, err := countConnections(p, cfg)
	if err != nil {
		return status.Status{}, err
	}
	advice := p.Advise(observed, wanted.Members, in.configDir, false)
	traffic, err := p.Traffic()
	if err != nil {
		return status.Status{}, err
	}
	return status.New(status.Input{
		Version: Version, Now: time.Now(), Stopped: in.rundir().Stopped(), Refused: refusal, Problems: problems, Found: found,
		Notices: slices.Concat(wanted.Notices, notices, advice.Errors, advice.Warnings, advice.Notes, in.faults(snapshot)),
		Kernel:  observed.Kernel, State: observed.LastState(), Plan: wanted, Changes: observed.Changes(), Uplinks: observed.Uplinks,
		Connections: connections, Traffic: traffic,
		Health: snapshot, MonitorError: monitorErr, MonitorWanted: wantsMonitor(cfg.Config),
	}), nil
}

// faults are what is wrong around the kernel, as this process and the monitor see it.
func (in *invocation) faults(snapshot *health.Snapshot) []string {
	_, lost := in.rundir().Accepted()
	if errors.Is(lost, fs.ErrNotExist) {
		lost = nil
	}
	in.noteRunDir(in.rundir().Trouble())
	in.noteRunDir(lost)
	if snapshot != nil {
		in.note(snapshot.Warnings...)
	}
	return in.notes
}

// countConnections counts live connections by mark. A kernel that does not tell them is worth a notice.
func countConnections(p *pipeline.Pipeline, cfg *pipeline.Configuration) (counts map[family.Family]map[uint32]conntrack.Count, notices []string, err error) {
	counts = map[family.Family]map[uint32]conntrack.Count{}
	for _, f := range family.All {
		counts[f], err = p.Connections.CountByMark(f, uint32(cfg.Globals.MarkMask))
		if errors.Is(err, conntrack.ErrUnavailable) {
			return nil, []string{err.Error()}, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("connections (%s): %w", f, err)
		}
	}
	return counts, nil, nil
}

// wantsMonitor reports whether there is something to probe, and somebody to do it.
func wantsMonitor(cfg *config.Config) bool {
	hasTargets := func(m config.Member) bool { return m.Track.Gateway || len(m.Track.IPs) > 0 }
	return cfg.Globals.Enabled && cfg.Globals.Monitor && slices.ContainsFunc(cfg.EnabledMembers(), hasTargets)
}
