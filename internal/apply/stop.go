package apply

import (
	"errors"
	"net/netip"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/apply/sysctl"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
)

// Stop removes everything that is ours and restores what we changed. before is
// what the last run left in the run directory; nil if that was lost.
func (e *Engine) Stop(k *Kernel, before *rundir.State) error {
	report, err := e.Apply(DiffStop(k, before))
	if err != nil {
		return err
	}
	after := report.state
	if err := e.deleteTables(k, after); err != nil {
		return err
	}
	// A table that is there at the next start is no longer one of ours.
	for f, state := range after.Families {
		state.CreatedTable = false
		after.Families[f] = state
	}
	return e.saveState(after)
}

// DiffStop returns what there is to remove.
func DiffStop(k *Kernel, before *rundir.State) *Changes {
	last := rundir.State{}
	if before != nil {
		last = *before
	}
	if last.Sysctls == nil {
		last.Sysctls = lostSysctls(k)
	}
	return Diff(plan.Stopped(last.State), k, &last)
}

// deleteTables deletes the nftables tables that we created and that hold
// nothing any more.
func (e *Engine) deleteTables(k *Kernel, state rundir.State) error {
	var failed []error
	for _, f := range family.All {
		if !state.Families[f].CreatedTable || k.Tables[f] == nil {
			continue
		}
		read := e.Mangle.Read
		if k.Tables[f].Legacy {
			read = e.Other(true).Read
		}
		table, err := read(f)
		if errors.Is(err, iptables.ErrMissing) || errors.Is(err, iptables.ErrHidden) {
			continue // nobody can say whether it is empty
		}
		if err == nil && table.Empty() {
			err = e.NFTables.Delete(f)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// lostSysctls makes records of what we must have changed when the run
// directory with the records is gone: the settings of the devices that our ip
// rules name, and those for shared networks if two of our tables share one.
func lostSysctls(k *Kernel) map[string]rundir.Sysctl {
	var devices []string
	for _, rule := range k.Routing[family.IPv4].Rules {
		if rule.Out != "" {
			devices = append(devices, rule.Out)
		}
	}
	lost := plan.DeviceSysctls(devices)
	networks := map[netip.Prefix]bool{}
	for _, route := range k.Routing[family.IPv4].Routes {
		if route.Device == "" || route.Destination.Bits() == 0 {
			continue
		}
		if networks[route.Destination] {
			lost = append(lost, plan.SharedNetworkSysctls()...)
			break
		}
		networks[route.Destination] = true
	}
	return sysctl.Diff(k.sysctls, nil, lost, true).Records
}
