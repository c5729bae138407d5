package cli

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"loadbalance/internal/apply"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/uplink"
)

// checkCommand reports all problems of the configuration, and without
// --config-only those of the system. Warnings alone are no failure.
func checkCommand(in *invocation) int {
	cfg, err := in.readConfig()
	if err != nil {
		in.log.Error(err.Error())
		return exitUsage
	}
	in.report(cfg)
	if cfg.problems.HasErrors() {
		return exitUsage
	}
	if in.configOnly {
		return exitDone
	}
	return in.checkSystem(cfg)
}

func (in *invocation) checkSystem(cfg *configuration) int {
	tool := iptables.Tool{Backend: iptables.Backend(in.iptables)}
	if _, err := tool.Version(family.IPv4); err != nil {
		return in.fail(err)
	}
	if _, err := tool.Version(family.IPv6); err != nil {
		in.log.Warning(fmt.Sprintf("%v: IPv6 is not balanced", err))
	}
	s, err := in.openSystem()
	if err != nil {
		return in.fail(err)
	}
	defer s.Close()
	uplinks, err := in.world(s, cfg)
	if err != nil {
		return in.fail(err)
	}
	changes, err := apply.FromNothing(cfg.Config, uplinks)
	if err != nil {
		return in.fail(err)
	}
	for _, notice := range changes.Plan.Notices {
		in.log.Warning(notice)
	}
	code, err := in.checkAround(cfg, uplinks)
	if err != nil {
		return in.fail(err)
	}
	if err := in.rehearse(changes); err != nil {
		defer in.logRefused(err)
		return in.fail(fmt.Errorf("the kernel or iptables does not take the rules (is a kernel module missing?): %w", err))
	}
	return code
}

// checkAround reports what in the system around us is in the way.
func (in *invocation) checkAround(cfg *configuration, uplinks uplink.State) (int, error) {
	s, err := in.openSystem()
	if err != nil {
		return exitFailed, err
	}
	defer s.Close()
	actual, err := s.Read()
	if err != nil {
		return exitFailed, err
	}
	// The plan for the kernel as it is has the tables that are in use.
	offline, err := in.offline(cfg)
	if err != nil {
		return exitFailed, err
	}
	changes, err := s.Plan(cfg.Config, uplinks, offline, actual)
	if err != nil {
		return exitFailed, err
	}
	found := in.advise(cfg, uplinks, actual, changes.Plan.Members)
	for _, text := range found.Errors {
		in.log.Error(text)
	}
	for _, text := range found.Warnings {
		in.log.Warning(text)
	}
	for _, text := range found.Notes {
		in.log.Notice(text)
	}
	if len(found.Errors) > 0 {
		return exitFailed, nil
	}
	return exitDone, nil
}

// rehearse loads chains and sets into a network namespace of its own, where
// they touch nobody: only that shows whether every match and target is there,
// in iptables and in the kernel. (iptables-restore --test does not ask the
// kernel.)
func (in *invocation) rehearse(changes *apply.Changes) error {
	result := make(chan error)
	go func() {
		// The thread keeps the namespace and is never given back: it ends
		// with this goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			in.log.Notice(fmt.Sprintf("the rules were not tried, which takes root and a kernel with network namespaces: %v", err))
			result <- nil
			return
		}
		result <- in.load(changes)
	}()
	return <-result
}

func (in *invocation) load(changes *apply.Changes) error {
	s, err := in.openSystem()
	if err != nil {
		return err
	}
	defer s.Close()
	err = s.Rehearse(changes)
	if errors.Is(err, iptables.ErrMissing) {
		return nil // reported already
	}
	return err
}
