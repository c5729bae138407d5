package apply

import (
	"errors"
	"net/netip"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// Stop removes everything that is ours and restores what we changed.
func (e *Engine) Stop() error {
	actual, err := e.Read()
	if err != nil {
		return err
	}
	if err := adoptLostSysctls(actual); err != nil {
		return err
	}
	changes, err := diff(&plan.Plan{}, actual)
	if err != nil {
		return err
	}
	if err := e.Apply(changes, actual); err != nil {
		return err
	}
	return e.deleteTables(actual)
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
		table, err := e.Mangle.Read(f)
		if err == nil && !table.Foreign && len(table.Chains)+len(table.Jumps) == 0 {
			err = e.NFTables.Delete(f)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
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
