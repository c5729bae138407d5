package cli

import (
	"errors"
	"slices"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/fwmark"
	"loadbalance/internal/status"
)

// statusCommand shows the running service. Problems of the configuration are
// part of what it shows and no failure of this command.
func statusCommand(in *invocation) int {
	cfg, err := in.readConfig()
	if err != nil {
		// What runs is still worth a look.
		in.log.Error(err.Error())
		if cfg, err = in.acceptedConfig(); err != nil {
			return exitUsage
		}
		in.log.Error("this is the state under the configuration that was accepted last")
	}
	s, err := in.openSystem()
	if err != nil {
		return in.fail(err)
	}
	defer s.Close()
	current, err := in.status(s, cfg)
	if err != nil {
		return in.fail(err)
	}
	if in.json {
		err = current.WriteJSON(in.out)
	} else {
		err = current.WriteText(in.out)
	}
	if err != nil {
		return in.fail(err)
	}
	return exitDone
}

func (in *invocation) status(s *system, cfg *configuration) (status.Status, error) {
	actual, err := s.Read()
	if err != nil {
		return status.Status{}, err
	}
	uplinks, err := in.world(s, cfg)
	if err != nil {
		return status.Status{}, err
	}
	changes, err := s.Plan(cfg.Config, uplinks, actual)
	if err != nil {
		return status.Status{}, err
	}
	connections, err := status.CountConnections(s.connections.CountByMark, fwmark.Mask(cfg.Globals.MarkMask))
	if errors.Is(err, conntrack.ErrUnavailable) {
		changes.Plan.Notices = append(changes.Plan.Notices, err.Error())
		err = nil
	}
	if err != nil {
		return status.Status{}, err
	}
	found := in.advise(cfg, uplinks, actual, changes.Plan.Members)
	changes.Plan.Notices = slices.Concat(changes.Plan.Notices, found.Errors, found.Warnings, found.Notes)
	var problems []string
	for _, p := range cfg.problems {
		problems = append(problems, p.String())
	}
	return status.New(status.Input{
		Version: Version, Stopped: in.run().Stopped(), Problems: problems,
		Actual: actual, Changes: changes, Uplinks: uplinks,
		Connections: connections,
	}), nil
}
