package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// builder makes packages of one checkout.
type builder struct {
	root      string // top folder of the checkout
	goProgram string
	toolchain string // GOTOOLCHAIN; "" leaves it to the Go that is called
	work      string // empty folder for intermediate files
	date      time.Time

	recipe  *recipe
	sources string
}

// prepare reads the recipe and has the Makefile copy the sources, as OpenWrt
// does before it builds.
func (b *builder) prepare() error {
	var err error
	if b.recipe, err = readRecipe(b.root, filepath.Join(b.work, "metadata")); err != nil {
		return err
	}
	b.sources = filepath.Join(b.work, "sources")
	return callMake(b.root, "prepare", "PKG_BUILD_DIR="+b.sources)
}

// makePackage builds the program for one architecture and packs it into the
// folder dir. It returns the package's file name.
func (b *builder) makePackage(t target, pack packFunc, dir string) (string, error) {
	programs, err := b.compile(t)
	if err != nil {
		return "", err
	}
	work := filepath.Join(b.work, t.arch)
	tree := filepath.Join(work, "root")
	if err := b.recipe.install(b.root, b.sources, programs, tree); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return pack(b.recipe, t, tree, dir, work, b.date)
}

// opkgToolchain is the Go of OpenWrt 24.10, the last release with opkg. One
// fixed version gives everybody the same bytes, and this one 7 % fewer of them
// than Go 1.26 does. The go command fetches it where it is another one itself.
const opkgToolchain = "go1.23.12"

// smaller turns inlining off. For mipsel, that makes the package 7 % smaller,
// and the program spends its time in the
// kernel and in iptables. Not so in Go's runtime, which relies on inlining: its
// netpollinit crashes without on mips64, where a buffer is then not aligned.
var smaller = []string{"-gcflags=all=-l", "-gcflags=runtime/...=", "-gcflags=internal/runtime/...="}

// compile builds the program and returns the folder that it is in; once for all
// architectures with the same settings. Without cgo one file runs with the C
// library of every release; -trimpath and -buildvcs=false leave out what differs
// between two checkouts of the same sources.
func (b *builder) compile(t target) (string, error) {
	programs := filepath.Join(b.work, "bin", strings.Join(t.env, ","))
	out := filepath.Join(programs, b.recipe.name)
	if _, err := os.Stat(out); err == nil {
		return programs, nil
	}
	ldflags := []string{"-s", "-w"} // outside the SDK nobody else strips
	for _, variable := range strings.Fields(b.recipe.ldflagsX) {
		ldflags = append(ldflags, "-X", variable)
	}
	args := append([]string{"build", "-trimpath", "-buildvcs=false"}, smaller...)
	args = append(args, "-ldflags="+strings.Join(ldflags, " "), "-o", out, b.recipe.program)
	cmd := exec.Command(b.goProgram, args...)
	cmd.Dir = b.sources
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=")
	cmd.Env = append(cmd.Env, t.env...)
	if b.toolchain != "" {
		cmd.Env = append(cmd.Env, "GOTOOLCHAIN="+b.toolchain)
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, text)
	}
	return programs, nil
}
