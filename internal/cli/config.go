package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"loadbalance/internal/config"
	"loadbalance/internal/uci"
)

// configName is the file in --config-dir.
const configName = "loadbalance"

// configuration is the configuration file with what was found in it.
type configuration struct {
	*config.Config
	text     []byte
	problems config.Problems
}

// readConfig reads and checks the file. An error means that nothing of it can
// be used: it is missing, or libuci would refuse it.
func (in *invocation) readConfig() (*configuration, error) {
	text, err := uci.ReadText(in.configDir, configName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no configuration: %s does not exist", filepath.Join(in.configDir, configName))
	}
	if err != nil {
		return nil, err
	}
	return parseConfig(text)
}

// acceptedConfig is the last configuration without errors that was applied.
func (in *invocation) acceptedConfig() (*configuration, error) {
	text, err := in.run().Accepted()
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	return parseConfig(text)
}

func parseConfig(text []byte) (*configuration, error) {
	file, err := uci.Parse(configName, text)
	if err != nil {
		return nil, err
	}
	cfg, problems := config.Read(file)
	problems = append(problems, cfg.LoadSets()...)
	return &configuration{Config: cfg, text: text, problems: problems}, nil
}

// report writes the problems to the log.
func (in *invocation) report(c *configuration) {
	for _, p := range c.problems {
		if p.Severity == config.Error {
			in.log.Error(p.String())
		} else {
			in.log.Warning(p.String())
		}
	}
}
