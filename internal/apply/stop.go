package apply

import (
	"errors"
	"net/netip"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// Nothing is the change that a stopped service wants in a kernel that holds
// nothing of ours.
func Nothing() *Changes { return &Changes{Plan: &plan.Plan{}} }

// PlanStop computes what there is to remove, without changing anything.
func (e *Engine) PlanStop(actual *Actual) (*Changes, error) {
	return diff(&plan.Plan{}, actual)
}

// Stop removes everything that is ours and restores what we changed.
func (e *Engine) Stop() error {
	actual, err := e.Read()
	if err != nil {
		return err
	}
	if err := adoptLostSysctls(actual); err != nil {
		return err
	}
	changes, err := e.PlanStop(actual)
	if err != nil {
		return err
	}
	if err := e.Apply(changes, actual); err != nil {
		return err
	}
	if err := e.deleteTables(actual); err != nil {
		return err
	}
	// A table that is there at the next start is no longer one of ours.
	for name, state := range changes.state.Families {
		state.CreatedTable = false
		changes.state.Families[name] = state
	}
	return e.Run.SaveState(changes.state)
}

// deleteTables deletes the nftables tables that we created and that hold
// nothing any more.
func (e *Engine) deleteTables(actual *Actual) error {
	var failed []error
	for _, f := range family.All {
		state := actual.State.Families[f.String()]
		if !state.CreatedTable || actual.Tables[f] == nil {
			continue
		}
		table, err := e.nftMangle(actual.Tables[f]).Read(f)
		if errors.Is(err, iptables.ErrMissing) {
			continue // nobody left who could say whether it is empty
		}
		if err == nil && !table.Foreign && len(table.Chains)+len(table.Jumps) == 0 {
			err = e.NFTables.Delete(f)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// nftMangle is the back end that has nftables tables, given what the one in
// use has printed.
func (e *Engine) nftMangle(inUse *iptables.Table) Mangle {
	if inUse.Legacy {
		return e.Other(true)
	}
	return e.Mangle
}

// adoptLostSysctls makes records of what we must have changed when the run
// directory with the records is gone: the settings of the devices that our ip
// rules name, and those for shared networks if two of our tables share one.
func adoptLostSysctls(actual *Actual) error {
	if actual.Remembered {
		return nil
	}
	var devices []string
	for _, rule := range actual.Routing[family.IPv4].Rules {
		if rule.OIF != "" {
			devices = append(devices, rule.OIF)
		}
	}
	lost := plan.DeviceSysctls(devices)
	networks := map[netip.Prefix]bool{}
	for _, route := range actual.Routing[family.IPv4].Routes {
		if route.Device == "" || route.Destination.Bits() == 0 {
			continue
		}
		if networks[route.Destination] {
			lost = append(lost, plan.SharedNetworkSysctls()...)
			break
		}
		networks[route.Destination] = true
	}
	adopted, err := actual.sysctls.Diff(lost, true)
	if err != nil {
		return err
	}
	return actual.sysctls.Run(adopted.Set...)
}
