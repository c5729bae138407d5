package dnsmasq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// generatedDir has the configurations that OpenWrt's init script writes, one
	// for each instance of dnsmasq. They name the folder: /tmp/dnsmasq.d up
	// to OpenWrt 23.05, /tmp/dnsmasq.cfg01411c.d and the like from 24.10 on,
	// or what the user has set.
	generatedDir  = "/var/etc"
	generatedName = "dnsmasq.conf." // and an instance
	// fallback is the folder where dnsmasq has not been started yet.
	fallback   = "/tmp/dnsmasq.d"
	initScript = "/etc/init.d/dnsmasq"
	// restartTimeout is far above what a restart takes, some 2 s on a slow
	// router with long block lists.
	restartTimeout = 60 * time.Second
	versionTimeout = 10 * time.Second
)

// OpenWrt is the dnsmasq that OpenWrt's init script starts.
type OpenWrt struct{}

// Dirs reads the folders from the configurations that dnsmasq was started with.
func (OpenWrt) Dirs() ([]string, error) {
	entries, err := os.ReadDir(generatedDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var configurations []string
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, generatedName) {
			configurations = append(configurations, filepath.Join(generatedDir, name))
		}
	}
	return dirsIn(configurations)
}

func dirsIn(configurations []string) ([]string, error) {
	var dirs []string
	for _, path := range configurations {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for _, line := range strings.Split(string(text), "\n") {
			// Behind commas stand the endings of files that are read or left out.
			dir, _, _ := strings.Cut(strings.TrimPrefix(line, "conf-dir="), ",")
			if strings.HasPrefix(line, "conf-dir=/") && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	if len(dirs) == 0 {
		return []string{fallback}, nil
	}
	return dirs, nil
}

// Refusal also refuses where dnsmasq is not there as OpenWrt has it: nobody
// would read our file.
func (OpenWrt) Refusal() string {
	if _, err := os.Stat(initScript); err != nil {
		return initScript + " is not there"
	}
	return refusal()
}

// Restart starts dnsmasq anew. A reload would not do: the script's reload sends
// SIGHUP, upon which dnsmasq reads its hosts files, but not its configuration.
func (OpenWrt) Restart() error {
	ctx, cancel := context.WithTimeout(context.Background(), restartTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, initScript, "restart")
	// The pipe may be held open by a child of a killed script.
	cmd.WaitDelay = time.Second
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s restart: %w: %s", initScript, err, bytes.TrimSpace(output))
	}
	return nil
}

// Folder is a dnsmasq that somebody else looks after: it reads the folder, and
// is restarted by whoever chose it.
type Folder struct {
	Path   string
	Notice func(string)
}

// Dirs returns the folder.
func (f Folder) Dirs() ([]string, error) { return []string{f.Path}, nil }

// Restart tells the user to do it.
func (f Folder) Restart() error {
	f.Notice(fmt.Sprintf("the file %s has changed: please restart the dnsmasq that reads it", filepath.Join(f.Path, fileName)))
	return nil
}

// Refusal goes by the dnsmasq on the PATH.
func (Folder) Refusal() string { return refusal() }

// refusal asks the dnsmasq that is installed. One that cannot fill sets would
// not even start with our file.
func refusal() string {
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	output, err := exec.CommandContext(ctx, "dnsmasq", "--version").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "dnsmasq is not installed"
	}
	if err != nil {
		return fmt.Sprintf("dnsmasq --version fails: %v", err)
	}
	return refusalIn(string(output))
}

// refusalIn looks through the options that dnsmasq was compiled with, which
// --version lists: ipset, or no-ipset.
func refusalIn(version string) string {
	if slices.Contains(strings.Fields(version), "ipset") {
		return ""
	}
	return "this dnsmasq cannot fill ipsets (on OpenWrt, the package dnsmasq-full can)"
}
