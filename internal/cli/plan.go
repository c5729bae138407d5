package cli

import (
	"encoding/json"
	"fmt"
	"os"

	"loadbalance/internal/pipeline"
	"loadbalance/internal/uplink"
)

// planCommand prints what apply would change, or with --uplinks, what it would
// do to an empty kernel where the uplinks stand as the file says.
func planCommand(in *invocation) int {
	cfg, refused, err := in.shownConfig()
	if err != nil {
		return in.fail(err)
	}
	in.report(cfg)
	if cfg.Problems.Fatal() {
		return exitUsage
	}
	p, observed, err := in.observeOrRead(cfg)
	if err != nil {
		return in.fail(err)
	}
	defer p.Close()
	changes := observed.Changes()
	in.log.Notice(changes.Plan.Notices...)
	fmt.Fprint(in.out, changes.Commands())
	if refused || cfg.Problems.HasErrors() {
		return exitUsage
	}
	return exitDone
}

// observeOrRead observes the kernel, or with --uplinks an empty one where the uplinks stand as the
// file says: the pipeline is then nil, and closing it does nothing.
func (in *invocation) observeOrRead(cfg *pipeline.Configuration) (*pipeline.Pipeline, *pipeline.Observed, error) {
	if in.uplinks == "" {
		return in.observe(cfg, nil)
	}
	uplinks, err := readUplinks(in.uplinks)
	if err != nil {
		return nil, nil, err
	}
	return nil, pipeline.FromNothing(cfg.Config, uplinks), nil
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
