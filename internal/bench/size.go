package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Budgets for mipsle, the smallest routers' architecture, in bytes.
const (
	binaryBudget  = 4_500_000
	packageBudget = 1_500_000
)

// The package's Go and flags: see openwrt/pkg/build.go, which says why.
const packageGo = "GOTOOLCHAIN=go1.23.12"

var packageFlags = []string{"-gcflags=all=-l", "-gcflags=runtime/...=", "-gcflags=internal/runtime/...="}

// size builds the program for routers as a package does.
func (b *bench) size() error {
	t := newTable(b.out, "architecture", "program", "gzipped, about the size of an .ipk", "")
	for _, arch := range []string{"amd64", "arm64", "mips", "mipsle"} {
		file, err := b.packaged(arch)
		if err != nil {
			return err
		}
		plain, packed, err := sizes(file)
		if err != nil {
			return err
		}
		verdict := ""
		if arch == "mipsle" {
			verdict = budget(plain <= binaryBudget, "%s", megabytes(binaryBudget)) + ", " +
				budget(packed <= packageBudget, "%s", megabytes(packageBudget))
		}
		t.row(arch, megabytes(plain), megabytes(packed), verdict)
	}
	return t.Flush()
}

// packaged builds the program for an architecture as a package does, and returns
// the file.
func (b *bench) packaged(arch string) (string, error) {
	file := filepath.Join(b.dir, "loadbalance-"+arch)
	args := append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", file}, packageFlags...)
	build := exec.Command("go", append(args, "./cmd/loadbalance")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOMIPS=softfloat", packageGo)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build for %s: %w: %s", arch, err, out)
	}
	return file, nil
}

// sizes returns the size of a file, and of the file packed as an .ipk is.
func sizes(file string) (plain, packed int64, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, 0, err
	}
	archive, err := exec.Command("gzip", "-9nc", file).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("gzip: %w", err)
	}
	return info.Size(), int64(len(archive)), nil
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.2f MB", float64(bytes)/1e6) }
