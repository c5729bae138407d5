package cli

import (
	"errors"
	"fmt"

	"loadbalance/internal/advice"
	"loadbalance/internal/apply"
	"loadbalance/internal/plan"
	"loadbalance/internal/uplink"
)

// refuseMWAN3 returns an error while mwan3 runs. It costs no process: the
// mangle tables are read already.
func refuseMWAN3(cfg *configuration, actual *apply.Actual) error {
	if !advice.Active(cfg.Config) {
		return nil
	}
	rules, err := advice.ReadRules()
	if err != nil {
		return err
	}
	if advice.MWAN3Runs(actual.Tables, rules) {
		return errors.New(advice.MWAN3Running + " (nothing was changed)")
	}
	return nil
}

// advise looks at the system around us. What cannot be read is a warning: the
// rest of the advice is still good.
func (in *invocation) advise(cfg *configuration, uplinks uplink.State, actual *apply.Actual, members []plan.Member) advice.Advice {
	var unread []string
	note := func(err error) {
		if err != nil {
			unread = append(unread, fmt.Sprintf("not all could be checked: %v", err))
		}
	}
	facts := advice.Facts{
		Config:  cfg.Config,
		Uplinks: uplinks,
		Members: members,
		Mangle:  actual.Tables,
	}
	var err error
	facts.Rules, err = advice.ReadRules()
	note(err)
	facts.Routes, err = advice.ReadRoutes()
	note(err)
	facts.Files, err = advice.ReadFiles(in.configDir)
	note(err)
	facts.TCPLoose, err = advice.ReadTCPLoose()
	note(err)
	found := advice.Find(facts)
	found.Warnings = append(found.Warnings, unread...)
	return found
}
