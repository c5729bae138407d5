package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/cgroup"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
)

// applyCommand brings the kernel to the configuration, under the lock. A run that had to
// wait while another one did everything returns that one's result.
func applyCommand(in *invocation) int {
	return in.locked("apply", func() int {
		cfg, err := in.readToApply()
		if err != nil {
			return in.fail(err)
		}
		done := in.apply(cfg, nil)
		if done.err != nil {
			in.log.Error(done.err.Error())
		}
		return done.code
	})
}

func stopCommand(in *invocation) int {
	return in.locked("stop", in.stop)
}

// locked runs work under the lock and shares its result.
func (in *invocation) locked(name string, work func() int) int {
	request := strings.Join([]string{name, in.configDir, in.iptables, in.rtTables}, " ")
	lock, shared, err := in.rundir().Wait(request)
	if err != nil {
		return in.fail(fmt.Errorf("run directory: %w", err))
	}
	if shared != nil {
		if level := "error"; shared.Text != "" { // what that run had to say
			if shared.Code == exitDone {
				level = "notice"
			}
			in.log.Log(level, shared.Text)
		}
		return shared.Code
	}
	in.note(lock.Notes...)
	code := work()
	if code == exitUsage && lock.Pending {
		// The event relied on this run, which changed nothing.
		in.follow(netifdEvent{action: "event"})
	}
	in.end(lock, request, code)
	return code
}

func (in *invocation) end(lock *rundir.Lock, request string, code int) {
	in.noteRunDir(lock.End(request, code, in.log.kept.String()))
}

// apply applies a configuration file that could be read. With errors in it, a running
// system stays as it is; one that holds nothing of ours (boot) gets what is right in it.
// verdicts are those of the calling monitor; nil: those of the one that lives.
func (in *invocation) apply(cfg *pipeline.Configuration, verdicts plan.Verdicts) *run {
	in.log.SetLevel(cfg.Globals.LogLevel)
	in.report(cfg)
	if cfg.Problems.Fatal() {
		in.log.Error("nothing was applied: the section 'globals' has errors")
		return &run{code: exitUsage}
	}
	faulty := cfg.Problems.HasErrors()
	if !cfg.Globals.Enabled && !faulty {
		return &run{code: in.stop()}
	}
	p, observed, err := in.observe(cfg, verdicts)
	if err != nil {
		return &run{code: exitFailed, err: err}
	}
	defer p.Close()
	if faulty {
		if _, none := in.rundir().Accepted(); none == nil || observed.Kernel.Ours() {
			in.log.Error("nothing was changed: the configuration that ran before goes on")
			return &run{code: exitUsage}
		}
	}
	done := in.carryOut(p, cfg, observed)
	if done.err != nil {
		return done
	}
	if verdicts == nil { // a monitor tells it itself
		in.tell(done)
	}
	taken, err := p.Taken(observed, done.report.Changes.Plan.Members)
	if err != nil {
		taken = []string{err.Error()}
	}
	in.log.Warning(taken...)
	if faulty {
		in.log.Error("the faulty sections were left out, the rest was applied")
		done.code = exitUsage
	}
	return done
}

// carryOut has the kernel hold what the observation asks for, and accepts the configuration if it does.
func (in *invocation) carryOut(p *pipeline.Pipeline, cfg *pipeline.Configuration, observed *pipeline.Observed) *run {
	in.logNetifd(observed.Uplinks.NetifdSilent)
	done := &run{cfg: cfg, legacy: observed.Kernel.Legacy()}
	if done.report, done.err = p.Apply(observed); done.err != nil {
		in.logRefused(done.err)
		done.code = exitFailed
	}
	if done.report != nil {
		done.news = slices.Clone(done.report.Changes.Plan.Notices)
		said := append(observed.LastState().Notices, in.told...)
		done.news = slices.DeleteFunc(done.news, func(notice string) bool { return slices.Contains(said, notice) })
		in.told = done.report.Changes.Plan.Notices
	}
	switch {
	case cfg.Accepted:
		in.accepted = cfg
	case done.report != nil && done.report.Complete && !cfg.Problems.HasErrors():
		in.accept(cfg)
	}
	return done
}

// logNetifd tells once that netifd is silent, and that it speaks again.
func (in *invocation) logNetifd(silence string) {
	if silence != "" && !in.wasSilent {
		in.log.Warning(silence)
	} else if silence == "" && in.wasSilent {
		in.log.Notice("netifd answers again")
	}
	in.wasSilent = silence != ""
}

// tell prints what an apply changed, or logs it if that is where the caller looks.
func (in *invocation) tell(done *run) {
	if in.options.log == logSyslog {
		in.logChanges(netifdEvent{action: "apply"}, done)
		return
	}
	in.log.Notice(done.report.Changes.Plan.Notices...)
	for _, line := range done.report.Summary() {
		fmt.Fprintln(in.out, line)
	}
}

// logChanges writes one line with what is new to the user and how much changed, if
// anything. What is new of members that the event is not about has lines of its own.
func (in *invocation) logChanges(e netifdEvent, done *run) {
	if done.report == nil {
		return
	}
	var parts []string
	for _, notice := range done.news {
		if member := done.report.Changes.Plan.LeftOut[notice]; member != "" && !e.isAbout(done.cfg.Member(member)) {
			in.log.Notice(notice)
		} else {
			parts = append(parts, notice)
		}
	}
	if done.err == nil {
		parts = append(parts, done.report.Summary()...)
	}
	if len(parts) > 0 {
		in.log.Notice(e.String() + ": " + strings.Join(parts, "; "))
	}
}

// logRefused writes the numbered input that iptables-restore refused, whose message names
// only a line; the same only once, since a monitor tries again and again.
func (in *invocation) logRefused(err error) {
	var refused *iptables.InputError
	if !errors.As(err, &refused) || refused.Numbered() == in.refused {
		return
	}
	in.refused = refused.Numbered()
	in.log.Error("the rules from before go on; this is what was refused:\n" + in.refused)
}

// stop removes everything of ours and leaves the mark that keeps events from bringing it back.
func (in *invocation) stop() int {
	p, err := in.open()
	if err != nil {
		return in.fail(err)
	}
	defer p.Close()
	stopped := in.rundir().Stopped()
	if err := p.Stop(); err != nil {
		return in.fail(err)
	}
	cgroup.Remove()
	if in.options.log == logSyslog && !stopped {
		in.log.Notice("stop: everything of ours was removed")
	}
	return exitDone
}
