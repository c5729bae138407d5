package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Program is the load balancer installed on the router of a laboratory, with a
// configuration, a run directory and table names of its own.
type Program struct {
	lab    *Lab
	binary string
	dir    string
}

// Install installs a binary on the router. Its files go into dir, which the
// caller removes.
func (l *Lab) Install(binary, dir string) (*Program, error) {
	path, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("install: %w", err)
	}
	return &Program{lab: l, binary: path, dir: dir}, nil
}

// Configure writes /etc/config/loadbalance.
func (p *Program) Configure(text string) error {
	dir := filepath.Join(p.dir, "config")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "loadbalance"), []byte(text), 0o644)
}

// Command returns the command line of a call.
func (p *Program) Command(args ...string) []string {
	return append([]string{p.binary}, append(args,
		"--config-dir", filepath.Join(p.dir, "config"),
		"--run-dir", filepath.Join(p.dir, "run"),
		"--rt-tables", filepath.Join(p.dir, "rt_tables.d"),
		"--events-dir", filepath.Join(p.dir, "events"),
		"--iptables", p.lab.options.Backend)...)
}

// Run calls the program and returns its output, both streams together. The
// error holds the output as well.
func (p *Program) Run(args ...string) (string, error) {
	command := p.Command(args...)
	return p.lab.Router.Run(command[0], command[1:]...)
}

// Start starts the program in the background.
func (p *Program) Start(args ...string) (*Process, error) {
	command := p.Command(args...)
	return p.lab.Router.Background(exec.Command(command[0], command[1:]...))
}
