package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"loadbalance/internal/cgroup"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/plan"
)

// useCommand becomes a program whose connections take one member's line. It returns only on failure.
func useCommand(in *invocation) int {
	if len(in.words) < 2 {
		in.log.Error("use: a member and a program are needed, as in 'loadbalance use wan curl …'")
		return exitUsage
	}
	cfg, err := in.currentConfig()
	if err == nil && cfg.Member(in.words[0]) == nil {
		err = cfg.NoMember(in.words[0])
	}
	if err != nil {
		in.log.Error(err.Error())
		return exitUsage
	}
	return in.fail(in.use(cfg, in.words[0], in.words[1:]))
}

func (in *invocation) use(cfg *pipeline.Configuration, name string, program []string) error {
	if os.Geteuid() != 0 {
		return errors.New("use: only root can choose the line of a program")
	}
	path, err := exec.LookPath(program[0])
	if err != nil {
		return err
	}
	p, observed, err := in.observe(cfg, nil)
	if err != nil {
		return err
	}
	defer p.Close()
	wanted := observed.Plan()
	if !observed.Kernel.Ours() {
		return errors.New("loadbalance is not running")
	}
	i := slices.IndexFunc(wanted.Members, func(m plan.Member) bool { return m.Name == name })
	if i < 0 {
		return fmt.Errorf("member '%s' is not enabled", name)
	}
	m := wanted.Members[i]
	if !m.IPv4.Up && !m.IPv6.Up {
		return fmt.Errorf("member '%s' is down: %s", name, cmp.Or(m.IPv4.Reason, m.IPv6.Reason))
	}
	if err := cgroup.Join(m.Mark); err != nil {
		return fmt.Errorf("use: %w", err)
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, program, os.Environ()))
}
