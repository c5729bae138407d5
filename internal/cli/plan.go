package cli

import (
	"encoding/json"
	"fmt"
	"os"

	"loadbalance/internal/apply"
	"loadbalance/internal/uplink"
)

// planCommand prints what apply would change, or with --uplinks, what it would
// do to an empty kernel where the uplinks stand as the file says.
func planCommand(in *invocation) int {
	cfg, err := in.readConfig()
	if err != nil {
		in.log.Error(err.Error())
		return exitUsage
	}
	in.report(cfg)
	if cfg.problems.Fatal() {
		return exitUsage
	}
	changes, err := in.planned(cfg)
	if err != nil {
		return in.fail(err)
	}
	for _, notice := range changes.Plan.Notices {
		in.log.Notice(notice)
	}
	fmt.Fprint(in.out, changes.Commands())
	if cfg.problems.HasErrors() {
		return exitUsage
	}
	return exitDone
}

func (in *invocation) planned(cfg *configuration) (*apply.Changes, error) {
	if in.uplinks != "" {
		if !cfg.Globals.Enabled {
			return apply.Nothing(), nil
		}
		uplinks, err := readUplinks(in.uplinks)
		if err != nil {
			return nil, err
		}
		return apply.FromNothing(cfg.Config, uplinks)
	}
	s, err := in.openSystem()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	actual, err := s.Read()
	if err != nil {
		return nil, err
	}
	if !cfg.Globals.Enabled {
		return s.PlanStop(actual)
	}
	uplinks, err := in.world(s, cfg)
	if err != nil {
		return nil, err
	}
	offline, err := in.offline(cfg)
	if err != nil {
		return nil, err
	}
	return s.Plan(cfg.Config, uplinks, offline, actual)
}

// readUplinks reads the "uplinks" part of `status --json`, or all of it.
func readUplinks(path string) (uplink.State, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return uplink.State{}, err
	}
	var whole struct {
		Uplinks *uplink.State `json:"uplinks"`
	}
	if err := json.Unmarshal(text, &whole); err == nil && whole.Uplinks != nil {
		return *whole.Uplinks, nil
	}
	var state uplink.State
	if err := json.Unmarshal(text, &state); err != nil {
		return uplink.State{}, fmt.Errorf("%s: %w", path, err)
	}
	return state, nil
}
