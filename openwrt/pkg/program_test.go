package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maxPackage is the most that the package may take of a router's flash, in
// bytes: routers with 16 MB have 3 or 4 left.
const maxPackage = 1800000

// build makes a package with the real program and returns both files.
func build(t *testing.T, b *builder, arch string) (ipk, binary string) {
	t.Helper()
	target, err := newTarget(arch)
	if err != nil {
		t.Fatal(err)
	}
	p := program(t, b)
	tree, err := b.install(p, target)
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := makeIPK(p, arch, tree, b.date)
	if err != nil {
		t.Fatal(err)
	}
	ipk = writeFile(t, t.TempDir(), pkg.file)
	data, _ := unpack(t, ipk)
	return ipk, filepath.Join(data, "usr/sbin/loadbalance")
}

// Two builds of the real package, in two folders, are equal, and small.
func TestProgramReproducible(t *testing.T) {
	var packages [2][]byte
	for i := range packages {
		ipk, _ := build(t, testBuilder(t, root), "mipsel_24kc")
		content, err := os.ReadFile(ipk)
		if err != nil {
			t.Fatal(err)
		}
		packages[i] = content
	}
	if !bytes.Equal(packages[0], packages[1]) {
		t.Errorf("two builds of %d and %d bytes differ", len(packages[0]), len(packages[1]))
	}
	t.Logf("the package for mipsel_24kc has %d bytes", len(packages[0]))
	if len(packages[0]) > maxPackage {
		t.Errorf("the package for mipsel_24kc has %d bytes, more than %d", len(packages[0]), maxPackage)
	}
}

// result is all that a run of the program shows.
type result struct {
	stdout, stderr string
	code           int
}

// runs are the commands that need nothing of a network, in a folder with the
// sample. The emulator lacks the messages of ip rules and sets.
var runs = []struct {
	args []string
	code int
	want string // a part of standard output or standard error
}{
	{[]string{"version"}, 0, "loadbalance "},
	{[]string{"--version"}, 0, "loadbalance "},
	{[]string{"check", "--config-only", "--config-dir", "config"}, 0, ""},
	{[]string{"check", "--config-only", "--config-dir", "none"}, 2, "none/loadbalance"},
	{[]string{"plan", "--config-dir", "config", "--uplinks", "uplinks.json"}, 0, "-A lb_policy_balanced"},
	{[]string{"unknown"}, 2, "unknown command 'unknown'"},
}

// start runs a program, through an emulator if there is one.
func start(t *testing.T, emulator, program string, args []string) result {
	t.Helper()
	command := append([]string{program}, args...)
	if emulator != "" {
		command = append([]string{emulator}, command...)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = "testdata"
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// The programs for other processors do what the one for this processor does.
func TestProgramEmulated(t *testing.T) {
	b := testBuilder(t, root)
	_, reference := build(t, b, "x86_64")
	want := make([]result, len(runs))
	for i, run := range runs {
		want[i] = start(t, "", reference, run.args)
		if got := want[i]; got.code != run.code || !strings.Contains(got.stdout+got.stderr, run.want) {
			t.Errorf("x86_64: %q: got %+v, want exit code %d and %q", run.args, got, run.code, run.want)
		}
	}
	for _, c := range []struct{ arch, emulator string }{
		{"aarch64_cortex-a53", "qemu-aarch64-static"},
		{"arm_cortex-a9", "qemu-arm-static"},
		{"arm_cortex-a7_neon-vfpv4", "qemu-arm-static"},
		{"mips64_octeonplus", "qemu-mips64-static"},
		{"mips_24kc", "qemu-mips-static"},
		{"mipsel_24kc", "qemu-mipsel-static"},
		{"riscv64_generic", "qemu-riscv64-static"},
	} {
		t.Run(c.arch, func(t *testing.T) {
			_, binary := build(t, b, c.arch)
			for i, run := range runs {
				if got := start(t, c.emulator, binary, run.args); got != want[i] {
					t.Errorf("%q: got\n%+v\nwant, as on x86_64,\n%+v", run.args, got, want[i])
				}
			}
		})
	}
}

// test.sh and test-version.sh are what the packages feed's CI runs; they take the
// program from PATH.
func TestFeedTests(t *testing.T) {
	b := testBuilder(t, root)
	_, binary := build(t, b, "x86_64")
	version, _, _ := strings.Cut(program(t, b).version, "-")
	for _, c := range []struct {
		script, pkg, version string
		ok                   bool
	}{
		{"test.sh", "loadbalance", version, true},
		{"test.sh", "luci-app-loadbalance", version, true},
		{"test-version.sh", "loadbalance", version, true},
		{"test-version.sh", "loadbalance", "9.9.9", false},
		{"test-version.sh", "luci-app-loadbalance", version, false},
	} {
		t.Run(c.script+" "+c.pkg+" "+c.version, func(t *testing.T) {
			cmd := exec.Command("busybox", "ash", filepath.Join(root, programDir, c.script), c.pkg, c.version)
			cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"),
				"PKG_NAME="+c.pkg, "PKG_VERSION="+c.version)
			out, err := cmd.CombinedOutput()
			if (err == nil) != c.ok {
				t.Errorf("got %v, want success %v:\n%s", err, c.ok, out)
			}
		})
	}
}

// A program that plans nothing does not pass test.sh.
func TestFeedTestFails(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "loadbalance"), "#!/bin/sh\nexit 0\n", 0o755, date)
	cmd := exec.Command("busybox", "ash", filepath.Join(root, programDir, "test.sh"), "loadbalance", "1")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "PKG_NAME=loadbalance")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "does not contain") {
		t.Errorf("got %v:\n%s", err, out)
	}
}
