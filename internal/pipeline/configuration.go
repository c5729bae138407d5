package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"loadbalance/internal/config"
	"loadbalance/internal/rundir"
	"loadbalance/internal/uci"
)

// configName is the file in the folder of configurations.
const configName = "loadbalance"

// Folders of libuci (uci.h): that of the files, that of files which it reads in
// their place, and that of changes which no `uci commit` has written yet.
const (
	uciDir     = "/etc/config"
	uciOverlay = "/var/run/uci"
	uciStaging = "/tmp/.uci"
)

// readFrom is the folder from which libuci reads our file where it looks for it
// in dir.
func readFrom(dir string) string {
	if _, err := os.Stat(filepath.Join(uciOverlay, configName)); err == nil && filepath.Clean(dir) == uciDir {
		return uciOverlay
	}
	return dir
}

// Staged reports whether `uci set` has left changes of the file in dir that no
// `uci commit` has written yet, which empties the list of them.
func Staged(dir string) bool {
	info, err := os.Stat(filepath.Join(uciStaging, configName))
	return err == nil && info.Size() > 0 && filepath.Clean(dir) == uciDir
}

// Configuration is the configuration file with what was found in it.
type Configuration struct {
	*config.Config
	Text     []byte
	Problems config.Problems
	// Accepted says that it is the one of the run directory.
	Accepted bool
}

// ReadConfiguration reads and checks the file in a folder. An error means that
// nothing of it can be used: it is missing, or libuci would refuse it.
func ReadConfiguration(dir string) (*Configuration, error) {
	dir = readFrom(dir)
	text, err := uci.ReadText(dir, configName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no configuration: %s does not exist", filepath.Join(dir, configName))
	}
	if err != nil {
		return nil, err
	}
	return parseConfiguration(text)
}

// AcceptedConfiguration is the last one without errors that was applied. The error
// matches fs.ErrNotExist if there is none; one that does not check out is none.
func AcceptedConfiguration(run rundir.Dir) (*Configuration, error) {
	text, err := run.Accepted()
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	cfg, err := parseConfiguration(text)
	if err == nil {
		cfg.Accepted = true
	}
	return cfg, err
}

// Refusal is why a file is not what runs.
type Refusal struct {
	// Since is when the file was written; zero if there is none.
	Since    time.Time `json:"since"`
	Problems []string  `json:"problems"`
	// Found are all problems of the file, where it can be read.
	Found config.Problems `json:"-"`
}

// TimeLayout has the zone: OpenWrt keeps it where Go does not look.
const TimeLayout = time.DateTime + " MST"

// String is the refusal in words, on as many lines as there are problems and
// one.
func (r Refusal) String() string {
	since := ""
	if !r.Since.IsZero() {
		since = " since " + r.Since.Format(TimeLayout)
	}
	return "the configuration file is refused" + since + "; this is about the one before, which runs:\n  " +
		strings.Join(r.Problems, "\n  ")
}

// RunningConfiguration is the file, or where that is refused and another one was
// accepted before, that one.
func RunningConfiguration(run rundir.Dir, dir string) (*Configuration, *Refusal, error) {
	cfg, err := ReadConfiguration(dir)
	if err == nil && !cfg.Problems.HasErrors() {
		return cfg, nil, nil
	}
	accepted, acceptedErr := AcceptedConfiguration(run)
	if acceptedErr != nil {
		return cfg, nil, err // what can be read, without its faulty sections
	}
	refusal := &Refusal{Since: Written(dir)}
	if err != nil {
		refusal.Problems = []string{err.Error()}
		return accepted, refusal, nil
	}
	refusal.Found = cfg.Problems
	for _, p := range cfg.Problems {
		if p.Severity == config.Error {
			refusal.Problems = append(refusal.Problems, p.String())
		}
	}
	return accepted, refusal, nil
}

// Written is when the file was written last; zero if there is none.
func Written(dir string) time.Time {
	info, err := os.Stat(filepath.Join(readFrom(dir), configName))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// Unread reports whether there is a configuration that runs and the file is
// another one by now.
func Unread(run rundir.Dir, dir string) bool {
	accepted, err := run.Accepted()
	if err != nil {
		return false
	}
	text, err := uci.ReadText(readFrom(dir), configName)
	return err == nil && !bytes.Equal(text, accepted)
}

// CheckText checks a text as the file would be, except for the files that sets
// are loaded from: messages show lines of them, and who may have a text checked
// need not be allowed to read every file.
func CheckText(text []byte) (*Configuration, error) {
	file, err := uci.Parse(configName, text)
	if err != nil {
		return nil, err
	}
	cfg, problems := config.Read(file)
	return &Configuration{Config: cfg, Text: text, Problems: problems}, nil
}

func parseConfiguration(text []byte) (*Configuration, error) {
	cfg, err := CheckText(text)
	if err == nil {
		cfg.Problems = append(cfg.Problems, cfg.LoadSets()...)
	}
	return cfg, err
}
