package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// packageBudget is for mipsle, the smallest routers' architecture, in bytes. The
// program itself moves in steps of 64 KB.
const packageBudget = 1_800_000

// The package's Go and flags: see openwrt/pkg/build.go, which says why.
const packageGo = "GOTOOLCHAIN=go1.23.12"

const packageFlags = "-gcflags=all=-l"

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
			verdict = budget(packed <= packageBudget, "%s", megabytes(packageBudget))
		}
		t.row(arch, megabytes(plain), megabytes(packed), verdict)
	}
	return t.Flush()
}

// packaged builds the program for an architecture as a package does, and returns
// the file.
func (b *bench) packaged(arch string) (string, error) {
	file := filepath.Join(b.dir, "loadbalance-"+arch)
	build := exec.Command("go", "build", "-trimpath", packageFlags, "-ldflags", "-s -w", "-o", file, "./cmd/loadbalance")
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
