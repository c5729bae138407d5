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

// The folder of the program's package, and the one of the stand-ins for OpenWrt's
// include files, below the top folder.
const (
	programDir = "openwrt/loadbalance"
	sdkDir     = "openwrt/pkg/sdk"
)

// recipe is what a Makefile says about a package.
type recipe struct {
	dir          string // the Makefile's folder, below the top folder
	name         string
	source       string // PKG_NAME, common to the packages of a Makefile
	version      string // with the release, as in 0.1.0-r1
	maintainer   string
	license      string
	licenseFile  string
	section      string
	url          string
	depends      []string
	provides     []string // a name with @ in front is provided without a version
	alternatives []string
	userID       string
	allArch      bool   // runs everywhere: the package is the same for all architectures
	program      string // import path of the main package, or empty
	ldflagsX     string // variables to set, as IMPORT/PATH.NAME=VALUE
	description  string
	conffiles    []string // files of the package that the user may change
	postinst     string   // the package's own scripts, or empty
	prerm        string
	postrm       string
}

// findMakefiles returns the folders below root whose Makefiles describe packages.
func findMakefiles(root string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "openwrt/*/Makefile"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no package: no file openwrt/*/Makefile in %s", root)
	}
	var dirs []string
	for _, file := range files {
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, filepath.ToSlash(dir))
	}
	return dirs, nil
}

// readRecipes evaluates the Makefile in the folder dir below root; metadata is a
// new folder for its answers.
func readRecipes(root, dir, metadata string) ([]*recipe, error) {
	metadata, err := filepath.Abs(metadata)
	if err != nil {
		return nil, err
	}
	if err := callMake(root, dir, "metadata", "METADATA="+metadata); err != nil {
		return nil, err
	}
	names, err := os.ReadFile(filepath.Join(metadata, "PACKAGES"))
	if err != nil {
		return nil, fmt.Errorf("%s/Makefile describes no package: %w", dir, err)
	}
	var recipes []*recipe
	for _, name := range strings.Fields(string(names)) {
		p, err := readRecipe(dir, name, filepath.Join(metadata, name))
		if err != nil {
			return nil, fmt.Errorf("%s/Makefile: %s: %w", dir, name, err)
		}
		recipes = append(recipes, p)
	}
	return recipes, nil
}

func readRecipe(dir, name, metadata string) (*recipe, error) {
	m := metadataReader{dir: metadata}
	depends, err := resolveDepends(m.text("DEPENDS"))
	if err != nil {
		return nil, err
	}
	p := &recipe{
		dir:          dir,
		name:         name,
		source:       m.text("PKG_NAME"),
		version:      m.text("VERSION"),
		maintainer:   m.text("MAINTAINER"),
		license:      m.text("LICENSE"),
		licenseFile:  m.text("LICENSE_FILES"),
		section:      m.text("SECTION"),
		url:          m.text("URL"),
		depends:      depends,
		provides:     strings.Fields(m.text("PROVIDES")),
		alternatives: strings.Fields(m.text("ALTERNATIVES")),
		userID:       m.text("USERID"),
		allArch:      m.text("PKGARCH") == "all",
		program:      m.text("GO_PKG_BUILD_PKG"),
		ldflagsX:     m.text("GO_PKG_LDFLAGS_X"),
		description:  m.text("description"),
		conffiles:    strings.Fields(m.text("conffiles")),
		postinst:     m.text("postinst"),
		prerm:        m.text("prerm"),
		postrm:       m.text("postrm"),
	}
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

// install fills the folder tree by the Makefile's own instructions and returns
// what is in it. Sources is what its target prepare made, programs has the built
// program.
func (p *recipe) install(root, sources, programs, tree string) ([]entry, error) {
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return nil, err
	}
	// It becomes the router's root folder, whatever umask the builder has.
	if err := os.Chmod(tree, 0o755); err != nil {
		return nil, err
	}
	err := callMake(root, p.dir, "install-"+p.name, "PKG_BUILD_DIR="+sources, "GO_PKG_BUILD_BIN_DIR="+programs, "ROOT="+tree)
	if err != nil {
		return nil, err
	}
	for _, name := range p.conffiles {
		if info, err := os.Stat(filepath.Join(tree, name)); err != nil || !info.Mode().IsRegular() {
			return nil, fmt.Errorf("conffiles: the package contains no file %s", name)
		}
	}
	entries, err := treeEntries(tree)
	if err != nil {
		return nil, err
	}
	return entries, translate(entries)
}

// callMake runs a target of the Makefile in the folder dir below root with the
// stand-ins for OpenWrt's include files. Variables are NAME=VALUE, with absolute
// paths.
func callMake(root, dir, target string, variables ...string) error {
	sdk, err := filepath.Abs(filepath.Join(root, sdkDir))
	if err != nil {
		return err
	}
	args := append([]string{"--silent", "--no-print-directory", "-C", filepath.Join(root, dir), target, "TOPDIR=" + sdk}, variables...)
	cmd := exec.Command("make", args...)
	cmd.Env = withoutMake(os.Environ())
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make %s in %s: %w\n%s", target, dir, err, text)
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
