package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"loadbalance/internal/config"
	"loadbalance/internal/rundir"
	"loadbalance/internal/uci"
)

// configName is the file in the folder of configurations.
const configName = "loadbalance"

// Configuration is the configuration file with what was found in it.
type Configuration struct {
	*config.Config
	Text     []byte
	Problems config.Problems
}

// ReadConfiguration reads and checks the file in a folder. An error means that
// nothing of it can be used: it is missing, or libuci would refuse it.
func ReadConfiguration(dir string) (*Configuration, error) {
	text, err := uci.ReadText(dir, configName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no configuration: %s does not exist", filepath.Join(dir, configName))
	}
	if err != nil {
		return nil, err
	}
	return parseConfiguration(text)
}

// AcceptedConfiguration is the last one without errors that was applied; an
// error that matches fs.ErrNotExist means that there is none.
func AcceptedConfiguration(run rundir.Dir) (*Configuration, error) {
	text, err := run.Accepted()
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	return parseConfiguration(text)
}

// CurrentConfiguration is the one that events go by: the last accepted one. Only
// where there is none yet it is the file, of which faulty sections are left out.
func CurrentConfiguration(run rundir.Dir, dir string) (*Configuration, error) {
	cfg, err := AcceptedConfiguration(run)
	if errors.Is(err, fs.ErrNotExist) {
		return ReadConfiguration(dir)
	}
	return cfg, err
}

func parseConfiguration(text []byte) (*Configuration, error) {
	file, err := uci.Parse(configName, text)
	if err != nil {
		return nil, err
	}
	cfg, problems := config.Read(file)
	problems = append(problems, cfg.LoadSets()...)
	return &Configuration{Config: cfg, Text: text, Problems: problems}, nil
}
