package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"loadbalance/internal/apply"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/rundir"
)

// applyCommand brings the kernel to the configuration, under the lock. A run
// that had to wait while another one with the same request did everything
// returns that one's result.
func applyCommand(in *invocation) int {
	code := in.locked("apply", func() int {
		cfg, err := in.readConfig()
		if err != nil {
			in.log.Error(err.Error())
			return exitUsage
		}
		return in.apply(cfg)
	})
	in.remind()
	return code
}

// stopCommand removes everything of ours, under the lock.
func stopCommand(in *invocation) int {
	return in.locked("stop", in.stop)
}

// locked runs work under the lock and shares its result.
func (in *invocation) locked(name string, work func() int) int {
	request := strings.Join([]string{name, in.configDir, in.iptables, in.rtTables, in.dnsmasqDir}, " ")
	turn, shared, err := in.run().Wait(request)
	if err != nil {
		return in.fail(fmt.Errorf("run directory: %w", err))
	}
	if shared != nil {
		in.repeat(shared)
		return shared.Code
	}
	code := work()
	if code == exitUsage && turn.Pending {
		// The event relied on this run, which changed nothing.
		in.follow("event")
	}
	if err := turn.End(request, code, in.log.kept.String()); err != nil {
		return in.fail(fmt.Errorf("run directory: %w", err))
	}
	return code
}

// repeat writes what another run had to say.
func (in *invocation) repeat(shared *rundir.Result) {
	switch {
	case shared.Text == "":
	case shared.Code == exitDone:
		in.log.Notice(shared.Text)
	default:
		in.log.Error(shared.Text)
	}
}

// apply applies a configuration that could be read. With errors in it, a
// running system stays as it is; a system that holds nothing of ours (boot)
// gets what is right in it. Either way the user is told by exit code 2.
func (in *invocation) apply(cfg *configuration) int {
	in.log.SetLevel(cfg.Globals.LogLevel)
	in.report(cfg)
	if cfg.problems.Fatal() {
		in.log.Error("nothing was applied: the section 'globals' has errors")
		return exitUsage
	}
	faulty := cfg.problems.HasErrors()
	if !cfg.Globals.Enabled && !faulty {
		return in.stop()
	}
	s, err := in.openSystem()
	if err != nil {
		return in.fail(err)
	}
	defer s.Close()
	actual, err := s.Read()
	if err != nil {
		return in.fail(err)
	}
	if faulty && in.running(actual) {
		in.log.Error("nothing was changed: the configuration that ran before goes on")
		return exitUsage
	}
	changes, err := in.change(s, cfg, actual)
	if err != nil {
		defer in.logRefused(err)
		return in.fail(err)
	}
	in.tell(changes)
	if faulty {
		in.log.Error("the faulty sections were left out, the rest was applied")
		return exitUsage
	}
	if err := in.run().Accept(cfg.text); err != nil {
		return in.fail(fmt.Errorf("run directory: %w", err))
	}
	return exitDone
}

// running says whether there is a state that a faulty file must not touch.
func (in *invocation) running(actual *apply.Actual) bool {
	_, err := in.run().Accepted()
	return err == nil || actual.Ours()
}

// change brings the kernel to a configuration and returns what changed.
func (in *invocation) change(s *system, cfg *configuration, actual *apply.Actual) (*apply.Changes, error) {
	if err := refuseMWAN3(cfg, actual); err != nil {
		return nil, err
	}
	uplinks, err := in.world(s, cfg)
	if err != nil {
		return nil, err
	}
	offline, err := in.offline(cfg)
	if err != nil {
		return nil, err
	}
	changes, err := s.Plan(cfg.Config, uplinks, offline, actual)
	if err != nil {
		return nil, err
	}
	if !cfg.Globals.Monitor {
		if err := in.run().ForgetVerdicts(); err != nil {
			return nil, fmt.Errorf("run directory: %w", err)
		}
	}
	if err := in.run().SetStopped(false); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	err = s.Apply(changes, actual)
	if changes.Told() {
		in.told = changes
	}
	return changes, err
}

// tell prints what an apply changed, or writes it to the log if that is where
// the caller looks.
func (in *invocation) tell(changes *apply.Changes) {
	if in.options.log == logSyslog {
		in.logChanges("apply", changes)
		return
	}
	for _, notice := range changes.Plan.Notices {
		in.log.Notice(notice)
	}
	for _, line := range changes.Summary() {
		fmt.Fprintln(in.out, line)
	}
}

// logChanges writes one line with the reason of the changes, what the user
// should know of the new state, and how much changed; nothing when nothing did.
func (in *invocation) logChanges(reason string, changes *apply.Changes) {
	summary := changes.Summary()
	if len(summary) == 0 {
		return
	}
	in.log.Notice(reason + ": " + strings.Join(append(slices.Clone(changes.Plan.Notices), summary...), "; "))
}

// logRefused writes the numbered input that iptables-restore refused: its
// message names only a line. The same is written once: a monitor tries it again
// and again.
func (in *invocation) logRefused(err error) {
	var refused *iptables.InputError
	if !errors.As(err, &refused) || refused.Numbered() == in.refused {
		return
	}
	in.refused = refused.Numbered()
	in.log.Error("the rules from before go on; this is what was refused:\n" + in.refused)
}

// stop removes everything of ours and leaves the mark that keeps events from
// bringing it back.
func (in *invocation) stop() int {
	s, err := in.openSystem()
	if err != nil {
		return in.fail(err)
	}
	defer s.Close()
	stopped := in.run().Stopped()
	if err := in.run().SetStopped(true); err != nil {
		return in.fail(fmt.Errorf("run directory: %w", err))
	}
	if err := s.Stop(); err != nil {
		defer in.logRefused(err)
		return in.fail(err)
	}
	if in.options.log == logSyslog && !stopped {
		in.log.Notice("stop: everything of ours was removed")
	}
	return exitDone
}
