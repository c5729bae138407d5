package iptables

import (
	"errors"
	"fmt"
	"os/exec"

	goiptables "github.com/coreos/go-iptables/iptables"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// What happens once in a router's life is done with go-iptables, a process for each
// step: to tell the version, and to remove what a run with the other back end has
// left. It has no iptables-restore, so no transactions, and does not tell back ends.

// stepSeconds is how long a step waits for others that hold the xtables lock.
const stepSeconds = 5

// open finds a family's program, which costs a process.
func (t Tool) open(f family.Family) (*goiptables.IPTables, error) {
	name, protocol := t.name(f, ""), family.Pick(f, goiptables.ProtocolIPv4, goiptables.ProtocolIPv6)
	// Without a time limit it would wait for the xtables lock for ever.
	program, err := goiptables.New(goiptables.IPFamily(protocol), goiptables.Path(name), goiptables.Timeout(stepSeconds))
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s %w", name, ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return program, nil
}

// Version returns the version of the family's iptables, such as "1.8.9".
func (t Tool) Version(f family.Family) (string, error) {
	program, err := t.open(f)
	if err != nil {
		return "", err
	}
	major, minor, patch := program.GetIptablesVersion()
	return fmt.Sprintf("%d.%d.%d", major, minor, patch), nil
}

// Clear removes what is ours from the mangle table: first the jumps, so that no
// packet meets a part of it. A table without anything of ours is left alone:
// go-iptables has no limit for a program that hangs, and stumbles over rules that
// only nft can read.
func (t Tool) Clear(f family.Family) error {
	table, err := t.Read(f)
	if errors.Is(err, ErrHidden) {
		return nil
	}
	if err != nil {
		return err
	}
	ours := Diff(plan.Family{}, table, nil)
	if ours.Empty() {
		return nil
	}
	program, err := t.open(f)
	if err == nil {
		err = ours.delete(program)
	}
	if err != nil {
		return fmt.Errorf("clear mangle (%s): %w", f, err)
	}
	return nil
}

func (c Change) delete(program *goiptables.IPTables) error {
	for _, jump := range c.DeleteJumps {
		if err := program.Delete("mangle", jump.Chain, splitWords(jump.Rule)...); err != nil {
			return err
		}
	}
	// Only a chain to which no other leads can be deleted, so all are emptied
	// first.
	for _, step := range []func(table, chain string) error{program.ClearChain, program.DeleteChain} {
		for _, chain := range c.Delete {
			if err := step("mangle", chain); err != nil {
				return err
			}
		}
	}
	return nil
}
