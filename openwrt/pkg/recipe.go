package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The folders of the feed package and of the stand-ins, below the top folder.
const (
	feedDir = "openwrt/loadbalance"
	sdkDir  = "openwrt/pkg/sdk"
)

// recipe is what the feed package's Makefile says about the package.
type recipe struct {
	name        string
	version     string // with the release, as in 0.1.0-r1
	maintainer  string
	license     string
	licenseFile string
	section     string
	url         string
	depends     []string
	program     string // import path of the main package
	ldflagsX    string // variables to set, as IMPORT/PATH.NAME=VALUE
	description string
	conffiles   []string // files of the package that the user may change
	postinst    string   // the package's own scripts, or empty
	prerm       string
}

// readRecipe evaluates the Makefile; metadata is a folder for its answers.
func readRecipe(root, metadata string) (*recipe, error) {
	if err := os.MkdirAll(metadata, 0o755); err != nil {
		return nil, err
	}
	if err := callMake(root, "metadata", "METADATA="+metadata); err != nil {
		return nil, err
	}
	m := metadataReader{dir: metadata}
	p := &recipe{
		name:        m.text("PKG_NAME"),
		version:     m.text("PKG_VERSION") + "-r" + m.text("PKG_RELEASE"),
		maintainer:  m.text("PKG_MAINTAINER"),
		license:     m.text("PKG_LICENSE"),
		licenseFile: m.text("PKG_LICENSE_FILES"),
		section:     m.text("SECTION"),
		url:         m.text("URL"),
		program:     m.text("GO_PKG_BUILD_PKG"),
		ldflagsX:    m.text("GO_PKG_LDFLAGS_X"),
		description: m.text("description"),
		conffiles:   strings.Fields(m.text("conffiles")),
		postinst:    m.text("postinst"),
		prerm:       m.text("prerm"),
	}
	depends, err := resolveDepends(m.text("DEPENDS"))
	if err != nil {
		return nil, err
	}
	p.depends = depends
	return p, m.err
}

// metadataReader reads what the Makefile's evaluation left, one file each.
type metadataReader struct {
	dir string
	err error
}

func (m *metadataReader) text(name string) string {
	text, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.err = errors.Join(m.err, err)
	}
	return strings.TrimRight(string(text), "\n")
}

// resolveDepends turns DEPENDS of a Makefile into names of packages: `+name`
// is needed, `+CONDITION:name` under a condition of the build configuration,
// and `@name` is such a condition itself. Every OpenWrt release is built with
// IPv6. The C library is what OpenWrt adds to every package.
func resolveDepends(text string) ([]string, error) {
	names := []string{"libc"}
	for _, word := range strings.Fields(text) {
		if strings.HasPrefix(word, "@") {
			continue
		}
		condition, name, conditional := strings.Cut(strings.TrimPrefix(word, "+"), ":")
		if !conditional {
			name = condition
		} else if condition != "IPV6" {
			return nil, fmt.Errorf("DEPENDS: '%s': condition '%s' is not known here", word, condition)
		}
		names = append(names, name)
	}
	return names, nil
}

// install fills the folder tree by the Makefile's own instructions. Sources has
// files/, programs the built program.
func (p *recipe) install(root, sources, programs, tree string) error {
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return err
	}
	err := callMake(root, "install", "PKG_BUILD_DIR="+sources, "GO_PKG_BUILD_BIN_DIR="+programs, "ROOT="+tree)
	if err != nil {
		return err
	}
	for _, name := range p.conffiles {
		if info, err := os.Stat(filepath.Join(tree, name)); err != nil || !info.Mode().IsRegular() {
			return fmt.Errorf("conffiles: the package contains no file %s", name)
		}
	}
	return nil
}

// callMake runs a target of the feed package's Makefile with the stand-ins for
// OpenWrt's include files. Variables are NAME=VALUE, with absolute paths.
func callMake(root, target string, variables ...string) error {
	sdk, err := filepath.Abs(filepath.Join(root, sdkDir))
	if err != nil {
		return err
	}
	args := append([]string{"--silent", "--no-print-directory", "-C", filepath.Join(root, feedDir), target, "TOPDIR=" + sdk}, variables...)
	cmd := exec.Command("make", args...)
	cmd.Env = withoutMake(os.Environ())
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make %s in %s: %w\n%s", target, feedDir, err, text)
	}
	return nil
}

// withoutMake drops what a surrounding make hands down: its flags and the
// variables of its command line would apply to ours.
func withoutMake(env []string) []string {
	var kept []string
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MAKEFILES", "DUMP":
		default:
			kept = append(kept, variable)
		}
	}
	return kept
}
