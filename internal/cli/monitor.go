package cli

import (
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"

	"loadbalance/internal/alarm"
	"loadbalance/internal/apply"
	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/config"
	"loadbalance/internal/event"
	"loadbalance/internal/family"
	"loadbalance/internal/health"
	"loadbalance/internal/health/probe"
	"loadbalance/internal/monitor"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
	"loadbalance/internal/watch"
)

// monitorGarbage is the garbage, in percent of what is in use, at which the
// monitor collects it. It leaves 1 MB (a quarter of Go's 4 MB) before the first
// collection, so that the whole process stays below 10 MB (DESIGN section 8).
const monitorGarbage = 25

// monitorNice is the priority of the monitor and of the iptables programs that
// it starts (nice(2)): a dead line's users wait for nothing else, and it takes
// next to no time. It leaves the highest half of the range to others, such as
// what feeds a watchdog.
const monitorNice = -10

// maxAnswers is how many answers to probes can wait while the monitor is busy:
// those of 60 members with two targets each over four seconds at the default
// interval. More would only be counted late.
const maxAnswers = 1024

// maxCounted is the size of a set in entries up to which the monitor counts
// them with each look: the kernel takes 13 ms for a million. Larger ones are
// only compared by the full look once a minute.
const maxCounted = 10000

// monitorCommand probes the lines and keeps the kernel true until it is told
// to end. The state in the kernel stays then.
func monitorCommand(in *invocation) int {
	if in.wantedOnly {
		return in.monitorWanted()
	}
	lock, err := in.run().BecomeMonitor()
	if err != nil {
		return in.fail(fmt.Errorf("monitor: %w", err))
	}
	defer lock.Close()
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

// hasten gives the priority to all threads that there are; later ones and
// programs inherit it.
func hasten() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, entry := range threads {
		thread, err := strconv.Atoi(entry.Name())
		if err != nil {
			return err
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, thread, monitorNice); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}

// monitorWanted tells the init script whether the configuration wants the
// monitor to run, by the exit code.
func (in *invocation) monitorWanted() int {
	cfg, err := in.current()
	if err != nil || cfg.problems.Fatal() || !cfg.Globals.Enabled || !cfg.Globals.Monitor {
		return exitFailed
	}
	if len(cfg.EnabledMembers()) == 0 {
		return exitFailed
	}
	return exitDone
}

// monitor opens what a monitor works with and runs it.
func (in *invocation) monitor() error {
	// The applies run beside the rest and have a log of their own.
	log := openLog(in.options.log, in.log.out)
	log.forgetful = true
	defer log.Close()
	reload, quit := signals() // first, or a SIGHUP would end the process
	watcher, err := watch.Open()
	if err != nil {
		return err
	}
	defer watcher.Close()
	table, err := conntrack.Open()
	if err != nil {
		return err
	}
	defer table.Close()
	answers := make(chan probe.Answer, maxAnswers)
	prober, err := probe.Open(answers, func(local, remote netip.AddrPort) {
		if err := table.DeleteTCP(local, remote); err != nil {
			log.Log("debug", err.Error())
		}
	})
	if err != nil {
		return err
	}
	defer prober.Close()
	accepted, err := in.run().Notify()
	if err != nil {
		return err
	}
	defer accepted.Close()
	door, err := monitor.OpenDoor(in.runDir)
	if err != nil {
		return err
	}
	defer door.Close()
	clock, err := alarm.New()
	if err != nil {
		return err
	}
	defer clock.Close()
	runner := event.NewRunner(in.eventsDir, log.Log)
	defer runner.Close()
	m := &monitor.Monitor{
		Applier: &monitorApplier{invocation: in, monitorLog: log}, Prober: prober, Watcher: watcher, Scripts: runner, Store: in.run(),
		Connections: evidence{table}, Alarm: clock, Log: log.Log,
		Answers: answers, Reload: reload, Accepted: accepted.Changes(), Asked: door.Asked(), Gone: accepted.Gone(),
	}
	return m.Run(quit)
}

// signals delivers SIGHUP, and closes quit on the first signal that ends the
// monitor.
func signals() (reload, quit <-chan struct{}) {
	reloads, end := make(chan struct{}, 1), make(chan struct{})
	received := make(chan os.Signal, 1)
	signal.Notify(received, unix.SIGHUP, unix.SIGTERM, unix.SIGINT)
	go func() {
		for s := range received {
			if s != unix.SIGHUP {
				close(end)
				return
			}
			select {
			case reloads <- struct{}{}:
			default: // one reload for several signals
			}
		}
	}()
	return reloads, end
}

// monitorApplier lets the monitor apply as every other run does.
type monitorApplier struct {
	*invocation
	monitorLog *logger
	// ahead is what was read for the next apply; nil if nothing was.
	ahead *reading
}

// reading is what the kernel held after a run.
type reading struct {
	actual *apply.Actual
	run    string
}

// ReadAhead reads what the kernel holds for an apply with these verdicts, unless
// another run is changing it. What fails is left to that apply.
func (a *monitorApplier) ReadAhead(mask uint32, expected rundir.Offline) {
	a.ahead = nil
	lock, err := a.run().TryLock()
	if err != nil || lock == nil {
		return
	}
	defer lock.Close()
	s, err := a.openSystem()
	if err != nil {
		return
	}
	defer s.Close()
	if actual, err := s.ReadAhead(mask, expected); err == nil {
		a.ahead = &reading{actual, a.run().LastRun()}
	}
}

// takeAhead returns what was read ahead, if it still holds: the kernel is as it
// was then, and there was no other run.
func (a *monitorApplier) takeAhead(unchanged bool) *apply.Actual {
	ahead := a.ahead
	a.ahead = nil
	if !unchanged || ahead == nil || ahead.run != a.run().LastRun() {
		return nil
	}
	return ahead.actual
}

// Follow applies the accepted configuration.
func (a *monitorApplier) Follow(reason string, ahead bool) (monitor.Outcome, error) {
	return a.underLock(func() *run { return a.followed(reason, a.takeAhead(ahead)) })
}

// Reload applies the configuration file. With errors in it, they are reported
// and what ran before goes on. A service that was stopped stays so, also where a
// reload that failed before is tried again.
func (a *monitorApplier) Reload() (monitor.Outcome, error) {
	a.ahead = nil
	return a.underLock(func() *run {
		if !a.run().Stopped() {
			a.applyFile()
		}
		return a.followed("reload", nil)
	})
}

func (a *monitorApplier) applyFile() {
	cfg, err := a.readConfig()
	if err != nil {
		a.log.Error(err.Error())
		return
	}
	a.apply(cfg)
}

func (a *monitorApplier) underLock(work func() *run) (monitor.Outcome, error) {
	a.log.kept.Reset()
	const request = "monitor"
	turn, _, err := a.run().Wait(request) // nobody else asks for the same, so there is a turn
	if err != nil {
		return monitor.Outcome{}, fmt.Errorf("run directory: %w", err)
	}
	done := work()
	if err := turn.End(request, done.code, a.log.kept.String()); err != nil {
		return monitor.Outcome{}, fmt.Errorf("run directory: %w", err)
	}
	if changes := a.takeTold(); changes != nil {
		// Beside the rest: meanwhile the next line may die.
		go remindClients(changes, a.monitorLog)
	}
	return a.outcome(done)
}

// outcome tells the monitor what an apply found and did.
func (a *monitorApplier) outcome(done *run) (monitor.Outcome, error) {
	if done.err != nil && done.changes == nil {
		return monitor.Outcome{}, done.err
	}
	if done.cfg == nil || !done.cfg.Globals.Monitor {
		return monitor.Outcome{Idle: true}, done.err
	}
	a.monitorLog.SetLevel(done.cfg.Globals.LogLevel)
	return monitor.Outcome{
		Config: done.cfg.Config, Uplinks: done.changes.Uplinks(), Members: done.changes.Plan.Members,
		Scope: done.scope(), Changed: !done.changes.Empty(),
	}, done.err
}

// scope is what the watcher must know to look at the result of an apply.
func (r *run) scope() watch.Scope {
	scope := watch.Scope{Legacy: r.legacy}
	for _, f := range family.All {
		for _, s := range r.changes.Plan.Family(f).Sets {
			if s.Open || len(s.Entries) > maxCounted {
				scope.OpenSets = append(scope.OpenSets, s.Name)
			}
		}
	}
	return scope
}

// evidence counts the members' connections.
type evidence struct{ table *conntrack.Netlink }

// Unanswered counts the connections without an answer of each line.
func (e evidence) Unanswered(cfg *config.Config, members []plan.Member) (map[health.Key]int, error) {
	found := map[health.Key]int{}
	for _, f := range family.All {
		counts, err := e.table.CountByMark(f, cfg.Globals.MarkMask)
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			found[health.Key{Member: m.Name, Family: f}] = counts[m.Mark].Unanswered
		}
	}
	return found, nil
}

// health asks the monitor how it goes; nil where none runs.
func (in *invocation) health() (*health.Snapshot, error) {
	runs, err := in.run().MonitorRuns()
	if err != nil || !runs {
		return nil, err
	}
	snapshot, err := monitor.Ask(in.runDir)
	if err != nil {
		return nil, err
	}
	return &snapshot, nil
}
