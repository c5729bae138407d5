package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// builder makes packages of one checkout.
type builder struct {
	root      string // top folder of the checkout
	goProgram string
	work      string // empty folder for intermediate files
	keys      keys
	out       io.Writer

	date    time.Time
	recipes []*recipe
}

// prepare reads the Makefiles and has each copy its sources, as OpenWrt does
// before it builds.
func (b *builder) prepare() error {
	var err error
	if b.date, err = sourceDate(b.root); err != nil {
		return err
	}
	dirs, err := findMakefiles(b.root)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		recipes, err := readRecipes(b.root, dir, filepath.Join(b.work, "metadata", dir))
		if err != nil {
			return err
		}
		b.recipes = append(b.recipes, recipes...)
		if err := callMake(b.root, dir, "prepare", "PKG_BUILD_DIR="+b.sources(dir)); err != nil {
			return err
		}
	}
	return nil
}

// sources is the folder with the prepared sources of a Makefile.
func (b *builder) sources(dir string) string { return filepath.Join(b.work, "sources", dir) }

// file is what is written into a feed: a package, or part of the index. Without a
// body it is one that must not be there.
type file struct {
	name string
	body []byte
}

// feed is what a package manager reads of one architecture.
type feed interface {
	// add makes a package with the given content, and remembers it for the index.
	add(p *recipe, tree []entry) (file, error)
	// index returns the files of the index of all packages that were added.
	index() ([]file, error)
}

func (b *builder) newFeed(format, arch string) feed {
	if format == "ipk" {
		return &opkgFeed{arch: arch, date: b.date, key: b.keys.usign}
	}
	return &apkFeed{arch: arch, date: b.date, key: b.keys.apk}
}

// makeFeeds makes all packages and their index for each architecture, in folders
// of their names below dir.
func (b *builder) makeFeeds(targets []target, dir, format string) error {
	for _, t := range targets {
		if err := b.makeFeed(b.newFeed(format, t.arch), t, filepath.Join(dir, t.arch)); err != nil {
			return fmt.Errorf("%s: %w", t.arch, err)
		}
	}
	return nil
}

func (b *builder) makeFeed(f feed, t target, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range b.recipes {
		tree, err := b.install(p, t)
		if err != nil {
			return err
		}
		pkg, err := f.add(p, tree)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := b.write(dir, pkg); err != nil {
			return err
		}
	}
	files, err := f.index()
	if err != nil {
		return err
	}
	return b.write(dir, files...)
}

// install builds a package's program, if it has one, and returns its content.
func (b *builder) install(p *recipe, t target) ([]entry, error) {
	programs := ""
	if p.program != "" {
		var err error
		if programs, err = b.compile(p, t); err != nil {
			return nil, err
		}
	}
	tree, err := os.MkdirTemp(b.work, "root-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tree)
	return p.install(b.root, b.sources(p.dir), programs, filepath.Join(tree, p.name))
}

// write writes files into a folder and says so.
func (b *builder) write(dir string, files ...file) error {
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if f.body == nil {
			if err := os.RemoveAll(name); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(name, f.body, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(b.out, "%s: %d bytes\n", name, len(f.body))
	}
	return nil
}

// toolchain is the Go of OpenWrt 24.10, the last release with opkg. One fixed
// version gives everybody the same bytes, and this one 7 % fewer of them than Go
// 1.26 does. The go command fetches it where it is another one itself.
const toolchain = "go1.23.12"

// inliningOff are the compiler's flags without inlining. For mipsel, that makes
// the package a tenth smaller, and the program spends its time in the kernel and
// in iptables. Go's runtime relies on inlining on mips64 alone: netpollinit
// crashes there without, where a buffer is then not aligned.
func inliningOff(t target) []string {
	flags := []string{"-gcflags=all=-l"}
	if slices.ContainsFunc(t.env, func(v string) bool { return strings.HasPrefix(v, "GOARCH=mips64") }) {
		flags = append(flags, "-gcflags=runtime/...=", "-gcflags=internal/runtime/...=")
	}
	return flags
}

// compile builds the program and returns the folder that it is in; once for all
// architectures with the same settings. Without cgo one file runs with the C
// library of every release; -trimpath and -buildvcs=false leave out what differs
// between two checkouts of the same sources.
func (b *builder) compile(p *recipe, t target) (string, error) {
	programs := filepath.Join(b.work, "bin", strings.Join(t.env, ","))
	out := filepath.Join(programs, p.name)
	if _, err := os.Stat(out); err == nil {
		return programs, nil
	}
	ldflags := []string{"-s", "-w"} // outside the SDK nobody else strips
	for _, variable := range strings.Fields(p.ldflagsX) {
		ldflags = append(ldflags, "-X", variable)
	}
	args := append([]string{"build", "-trimpath", "-buildvcs=false"}, inliningOff(t)...)
	args = append(args, "-ldflags="+strings.Join(ldflags, " "), "-o", out, p.program)
	cmd := exec.Command(b.goProgram, args...)
	cmd.Dir = b.sources(p.dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOTOOLCHAIN="+toolchain)
	cmd.Env = append(cmd.Env, t.env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, text)
	}
	return programs, nil
}
