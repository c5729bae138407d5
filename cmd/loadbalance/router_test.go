package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"loadbalance/internal/netlab"
)

// binary is the program under test, built once from this checkout.
var binary string

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // as OpenWrt's init has it, whatever this machine's user has
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "loadbalance-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "loadbalance")
	build := exec.Command("go", "build", "-o", binary, ".")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// backends are the ones that every test of the kernel's behaviour runs with.
var backends = []string{"nft", "legacy"}

// eachBackend runs a test once per back end, both at the same time: waiting is
// most of what they do. A test that measures time, or looks at what namespaces
// share, takes eachBackendAlone.
//
// It returns before they have begun, so it must be the last call of a function.
func eachBackend(t *testing.T, test func(t *testing.T, backend string)) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			test(t, backend)
		})
	}
}

// eachBackendAlone runs a test once per back end, one after the other.
func eachBackendAlone(t *testing.T, test func(t *testing.T, backend string)) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) { test(t, backend) })
	}
}

// router is the program installed on a laboratory's router.
type router struct {
	t       *testing.T
	lab     *netlab.Lab
	backend string
	dir     string // configuration, run directory and table names
	// env is the program's environment; nil is the test's own.
	env []string
}

// newRouter starts a laboratory with the program and a configuration, but does
// not apply it.
func newRouter(t *testing.T, backend string, options netlab.Options, config string) *router {
	t.Helper()
	options.Backend = backend
	r := &router{t: t, lab: netlab.Start(t, options), backend: backend, dir: t.TempDir()}
	r.configure(config)
	return r
}

// configure replaces the configuration.
func (r *router) configure(text string) {
	r.t.Helper()
	dir := filepath.Join(r.dir, "config")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "loadbalance"), []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *router) runDir() string { return filepath.Join(r.dir, "run") }

// args are the arguments of a call with this router's folders.
func (r *router) args(args ...string) []string {
	return append(args, "--config-dir", filepath.Join(r.dir, "config"), "--run-dir", r.runDir(),
		"--rt-tables", filepath.Join(r.dir, "rt_tables.d"), "--iptables", r.backend)
}

// call runs the program on the router and returns its output, its messages
// and its exit code.
func (r *router) call(args ...string) (out, messages string, code int) {
	r.t.Helper()
	cmd := exec.Command(binary, r.args(args...)...)
	cmd.Env = r.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := r.lab.Router.Start(cmd); err != nil {
		r.t.Fatal(err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// must runs the program and fails the test unless it exits with 0.
func (r *router) must(args ...string) (out string) {
	r.t.Helper()
	out, messages, code := r.call(args...)
	if code != 0 {
		r.t.Fatalf("loadbalance %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, messages)
	}
	return out
}

// sh runs a shell command on the router and returns its output.
func (r *router) sh(command string) string {
	r.t.Helper()
	out, err := r.lab.Router.Run("sh", "-c", command)
	if err != nil {
		r.t.Fatalf("%s: %v", command, err)
	}
	return out
}

// members is a configuration with one member per uplink of the laboratory.
// Options are added to each member's section.
func members(lab netlab.Topology, uplinks int, options ...string) string {
	var text strings.Builder
	for i := 1; i <= uplinks; i++ {
		fmt.Fprintf(&text, "config member 'wan%d'\n\toption device '%s'\n", i, deviceName(lab, i))
		if lab == netlab.Campus {
			fmt.Fprintf(&text, "\toption gateway '183.169.79.254'\n")
		}
		for _, o := range options {
			fmt.Fprintf(&text, "\t%s\n", o)
		}
		text.WriteString("\n")
	}
	return text.String()
}

func deviceName(topology netlab.Topology, i int) string {
	if topology == netlab.Campus {
		return fmt.Sprintf("vth%d", i)
	}
	return fmt.Sprintf("wan%d", i)
}
