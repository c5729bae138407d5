package cli

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/pipeline"
)

// checkCommand reports all problems of the configuration, and without
// --config-only those of the system. Warnings alone are no failure.
func checkCommand(in *invocation) int {
	cfg, err := in.readConfig()
	if err != nil {
		return in.fail(err)
	}
	in.report(cfg)
	if cfg.Problems.HasErrors() {
		return exitUsage
	}
	if in.configOnly {
		return exitDone
	}
	return in.checkSystem(cfg)
}

func (in *invocation) checkSystem(cfg *pipeline.Configuration) int {
	tool := iptables.Tool{Backend: iptables.Backend(in.iptables)}
	version, err := tool.Version(family.IPv4)
	if err != nil {
		return in.fail(err)
	}
	if _, err := tool.Version(family.IPv6); err != nil {
		in.log.Warning(fmt.Sprintf("%v: IPv6 is not balanced", err))
	}
	p, observed, err := in.observe(cfg, nil)
	if err != nil {
		return in.fail(err)
	}
	defer p.Close()
	// The plan for the kernel as it is has the tables that are in use.
	wanted := observed.Plan()
	in.log.Warning(wanted.Notices...)
	found := p.Advise(observed, wanted.Members, in.configDir, true)
	in.log.Error(found.Errors...)
	in.log.Warning(found.Warnings...)
	in.log.Notice(found.Notes...)
	in.log.Notice(found.Limits...)
	if err := in.rehearse(observed); err != nil {
		return in.fail(fmt.Errorf("the kernel or iptables %s does not take the rules (is a kernel module missing?): %w", version, err))
	}
	if len(found.Errors) > 0 {
		return exitFailed
	}
	return exitDone
}

// rehearse loads chains and sets into a network namespace of its own, where they touch
// nobody: only that shows whether iptables and the kernel have every match and target.
// (iptables-restore --test does not ask the kernel.)
func (in *invocation) rehearse(observed *pipeline.Observed) error {
	result := make(chan error)
	go func() {
		// The thread keeps the namespace and ends with this goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			in.log.Notice(fmt.Sprintf("the rules were not tried, which takes root and a kernel with network namespaces: %v", err))
			result <- nil
			return
		}
		p, err := in.open()
		if err == nil {
			err = p.Rehearse(observed)
		}
		p.Close()
		if errors.Is(err, iptables.ErrMissing) {
			err = nil // reported already
		}
		result <- err
	}()
	return <-result
}
