package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/domains"
	"loadbalance/internal/drift"
	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/health/probe"
	"loadbalance/internal/hooks"
	"loadbalance/internal/kernel"
	"loadbalance/internal/monitor"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
)

// monitorGarbage is the garbage, in percent of what is in use, at which the monitor collects
// it: 1 MB (a quarter of Go's 4 MB) at first, so that the process stays below 12 MB.
const monitorGarbage = 25

// monitorMemory, and memberMemory for each member, is what Go may take, in bytes,
// before it collects more often: the dump of 20,000 routes made 20 MB of the process,
// and 12 MB so. With less, 60 members would keep the collector busy.
const monitorMemory, memberMemory = 8 << 20, 32 << 10

// monitorNice is the priority of the monitor and of the iptables programs that it starts
// (nice(2)): a dead line's users wait for nothing else, and it takes next to no time. The
// highest half is left to others, such as what feeds a watchdog.
const monitorNice = -10

// maxAnswers is how many answers to probes can wait while the monitor is busy: those of 60
// members with two targets each over four seconds at the default interval.
const maxAnswers = 1024

// maxCounted is up to how many entries of a set are counted with each look (13 ms for a
// million). Larger ones are only compared by the full look once a minute.
const maxCounted = 10000

// monitorCommand probes the lines and keeps the kernel true, and leaves it so, until told to end.
func monitorCommand(in *invocation) int {
	if in.wantedOnly {
		return in.monitorWanted()
	}
	debug.SetGCPercent(monitorGarbage)
	if err := hasten(); err != nil {
		in.log.Log("debug", fmt.Sprintf("priority: %v: a busy router may delay verdicts", err))
	}
	// Little happens at a time. With more, Go wakes a thread for each answer in
	// the hope of more work: half of the processor time that a monitor takes.
	runtime.GOMAXPROCS(1)
	if err := in.monitor(); err != nil {
		return in.fail(fmt.Errorf("monitor: %w", err))
	}
	return exitDone
}

// hasten gives the priority to all threads there are; later ones and programs inherit it.
func hasten() error {
	threads, _ := filepath.Glob("/proc/self/task/*")
	for _, path := range threads {
		thread, _ := strconv.Atoi(filepath.Base(path)) // always a number
		if err := unix.Setpriority(unix.PRIO_PROCESS, thread, monitorNice); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}

// monitorWanted tells the init script by the exit code whether the monitor is to run.
func (in *invocation) monitorWanted() int {
	cfg, err := in.currentConfig()
	if err != nil || cfg.Problems.Fatal() || !cfg.Globals.Enabled || !cfg.Globals.Monitor || len(cfg.EnabledMembers()) == 0 {
		return exitFailed
	}
	return exitDone
}

func (in *invocation) monitor() error {
	// The applies run beside the rest and have a log of their own.
	log := openLog(in.options.log, in.log.out)
	log.forgetful = true
	// First, or a SIGHUP would end the process. Several are one reload.
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, unix.SIGHUP)
	quit, forget := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer forget()
	presence := &presence{dir: in.rundir(), log: log}
	defer presence.hush()
	known, err := presence.appear()
	if err != nil {
		return err
	}
	watcher, err := drift.Open()
	if err != nil {
		return err
	}
	defer watcher.Close()
	k, err := kernel.Open()
	if err != nil {
		return err
	}
	defer k.Close()
	table := conntrack.New(k)
	answers := make(chan probe.Answer, maxAnswers)
	prober, err := probe.Open(answers, func(protocol uint8, local, remote netip.AddrPort) {
		if err := table.DeleteOne(protocol, local, remote); err != nil {
			log.Log("debug", err.Error())
		}
	})
	if err != nil {
		return err
	}
	defer prober.Close()
	runner := hooks.NewRunner(in.eventsDir, log.Log)
	defer runner.Close()
	learner := &domains.Learner{Log: log.Log}
	defer learner.Learn(nil)
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // every Linux has it
	m := &monitor.Monitor{
		Applier: &monitorApplier{invocation: in, monitorLog: log, quit: quit}, Prober: prober, Watcher: watcher, Scripts: runner, Store: in.rundir(),
		Learner: learner, Log: log.Log, Answers: answers, Reload: reload, Presence: known, Appear: presence.appear,
		Ledger: rundir.Dir(filepath.Join(in.configDir, "..", "loadbalance.d")), Boot: string(boot),
		Traffic: func() ([]kernel.Traffic, error) { k.Forget(); return k.Traffic() },
	}
	return m.Run(quit.Done())
}

// monitorApplier lets the monitor apply as every other run does.
type monitorApplier struct {
	*invocation
	monitorLog *logger
	quit       context.Context
	// told is when the file was written that was last compared with what runs.
	told time.Time
}

// unreadAfter is how long a file may be newer than what runs: whoever edits it reloads it next.
const unreadAfter = time.Minute

// Overdue reports whether the file is to be read now, since it was not complete when somebody
// asked for it, or later. A change that nobody asked for is not applied, only named.
func (a *monitorApplier) Overdue(now time.Time) (due, later bool) {
	if a.rundir().Overdue() {
		staged := pipeline.Staged(a.configDir)
		return !staged, staged
	}
	written := pipeline.Written(a.configDir)
	if written.Equal(a.told) || now.Sub(written) < unreadAfter {
		return false, false
	}
	a.told = written
	if pipeline.Unread(a.rundir(), a.configDir) {
		a.monitorLog.Warning("the configuration file is newer than what runs: '/etc/init.d/loadbalance reload' applies it")
	}
	return false, false
}

// Follow applies the accepted configuration under the monitor's verdicts.
func (a *monitorApplier) Follow(verdicts plan.Verdicts) (monitor.Outcome, error) {
	return a.underLock(func() *run { return a.followed(verdicts) })
}

// Reload applies the configuration file. With errors in it, what ran before goes on. A
// service that was stopped stays so, also where a reload that failed is tried again.
func (a *monitorApplier) Reload(verdicts plan.Verdicts) (monitor.Outcome, error) {
	return a.underLock(func() *run {
		if a.rundir().Stopped() {
			return &run{}
		}
		cfg, err := a.readToApply()
		if err != nil {
			a.log.Error(err.Error())
			return a.followed(verdicts)
		}
		done := a.apply(cfg, verdicts)
		if done.report == nil && done.code == exitUsage {
			return a.followed(verdicts)
		}
		return done
	})
}

func (a *monitorApplier) underLock(work func() *run) (monitor.Outcome, error) {
	a.log.kept.Reset()
	a.noted, a.notes = a.notes, nil
	const request = "monitor"
	lock, _, err := a.rundir().Wait(request) // nobody else asks for the same, so it is never shared
	if err != nil {
		return monitor.Outcome{}, fmt.Errorf("run directory: %w", err)
	}
	a.note(lock.Notes...)
	done := &run{}
	// A removal of the package takes the mark of a stopped service along while a
	// run may still wait for the lock.
	if a.quit.Err() == nil {
		done = work()
	}
	a.end(lock, request, done.code)
	return a.outcome(done)
}

// outcome tells the monitor what an apply did, and what to watch of it.
func (a *monitorApplier) outcome(done *run) (monitor.Outcome, error) {
	if done.err != nil && done.report == nil {
		return monitor.Outcome{}, done.err
	}
	if done.cfg == nil || !done.cfg.Globals.Monitor {
		return monitor.Outcome{Idle: true}, done.err
	}
	a.monitorLog.SetLevel(done.cfg.Globals.LogLevel)
	changes, scope := done.report.Changes, drift.Scope{Legacy: done.legacy}
	debug.SetMemoryLimit(monitorMemory + memberMemory*int64(len(changes.Plan.Members)))
	for _, f := range family.All {
		for _, s := range changes.Plan.Family(f).Sets {
			if len(s.Domains) > 0 || len(s.Entries) > maxCounted {
				scope.OpenSets = append(scope.OpenSets, s.Name)
			}
		}
	}
	return monitor.Outcome{
		Config: done.cfg.Config, Uplinks: changes.Plan.Uplinks, Members: changes.Plan.Members,
		Scope: scope, Domains: domains.SetsOf(changes.Plan), Changed: !changes.Empty(), Summary: done.report.Summary(),
		News: done.news, LeftOut: changes.Plan.LeftOut, Warnings: a.notes,
	}, done.err
}

// health asks the monitor how it goes; nil where none runs.
func (in *invocation) health() (*health.Snapshot, error) {
	snapshot, err := monitor.Ask(in.runDir, monitor.Question{History: in.history})
	if errors.Is(err, monitor.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &snapshot, nil
}
