package cli

import (
	"encoding/json"
	"fmt"

	"loadbalance/internal/config"
	"loadbalance/internal/monitor"
	"loadbalance/internal/quota"
)

// usageCommand shows what the monitor has counted for members with a quota, or corrects it.
func usageCommand(in *invocation) int {
	var used *quota.Usage
	if len(in.words) == 2 {
		bytes, err := config.ParseBytes(in.words[1])
		if err != nil {
			return in.fail(fmt.Errorf("%w: %w", errUsage, err))
		}
		used = &quota.Usage{Member: in.words[0], Bytes: bytes}
	}
	snapshot, err := monitor.Ask(in.runDir, monitor.Question{Used: used})
	usage := []quota.Usage{}
	for _, u := range snapshot.Usage {
		if len(in.words) == 0 || u.Member == in.words[0] {
			usage = append(usage, u)
		}
	}
	if err == nil && len(in.words) > 0 && len(usage) == 0 {
		err = fmt.Errorf("%w: no member '%s' has a quota", errUsage, in.words[0])
	}
	if err != nil {
		return in.fail(err)
	}
	if in.json {
		_ = json.NewEncoder(in.out).Encode(map[string]any{"usage": usage})
		return exitDone
	}
	for _, u := range usage {
		fmt.Fprintln(in.out, u)
	}
	return exitDone
}
