package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the checkout, seen from the folder of this package.
const root = "../.."

func TestRecipe(t *testing.T) {
	// A surrounding `make ipk PKG_VERSION=9.9` must not reach the package.
	t.Setenv("MAKEFLAGS", "-- PKG_VERSION=9.9 PKG_NAME=other")
	recipes, err := readRecipes(root, programDir, filepath.Join(t.TempDir(), "metadata"))
	if err != nil || len(recipes) != 1 {
		t.Fatalf("got %d packages, %v, want 1", len(recipes), err)
	}
	p := recipes[0]
	for _, c := range []struct{ what, got, want string }{
		{"name", p.name, "loadbalance"},
		{"license", p.license, "MIT"},
		{"license file", p.licenseFile, "LICENSE"},
		{"section", p.section, "net"},
		{"program", p.program, "loadbalance/cmd/loadbalance"},
		{"conffiles", strings.Join(p.conffiles, " "), "/etc/config/loadbalance"},
		{"depends", strings.Join(p.depends, " "), "libc iptables ip6tables iptables-mod-conntrack-extra " +
			"iptables-mod-ipopt iptables-mod-cluster kmod-ipt-conntrack kmod-ipt-ipset kmod-nf-conntrack-netlink"},
		{"maintainer", p.maintainer, ""},
		{"url", p.url, ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
		}
	}
	// The form of versions that apk accepts, and opkg too.
	if !regexp.MustCompile(`^[0-9]+(\.[0-9]+)*(_(alpha|beta|rc)[0-9]*)?-r[0-9]+$`).MatchString(p.version) {
		t.Errorf("version %q is not one that apk accepts", p.version)
	}
	version, _, _ := strings.Cut(p.version, "-")
	if want := "loadbalance/internal/cli.Version=" + version; p.ldflagsX != want {
		t.Errorf("ldflags: got %q, want %q", p.ldflagsX, want)
	}
	if version == "9.9" {
		t.Error("the version is that of the surrounding make")
	}
}

func TestResolveDepends(t *testing.T) {
	got, err := resolveDepends("@(arm||mips) +a +IPV6:b @!SMALL_FLASH c")
	if want := []string{"libc", "a", "b", "c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if got, err := resolveDepends("+PACKAGE_x:y"); err == nil {
		t.Errorf("an unknown condition: got %v, want an error", got)
	}
}

// makefileInFeed puts the package's Makefile alone into a packages feed, as a feed
// maintainer would, and returns its folder.
func makefileInFeed(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "net/loadbalance")
	golang := "lang/golang/golang-package.mk"
	for to, from := range map[string]string{
		filepath.Join(dir, "Makefile"): filepath.Join(root, programDir, "Makefile"),
		filepath.Join(top, golang):     filepath.Join("sdk/feeds/packages", golang),
	} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// evaluate reads a Makefile and returns what it says, and make's output.
func evaluate(t *testing.T, dir string, variables ...string) (metadataReader, string, error) {
	t.Helper()
	sdk, err := filepath.Abs("sdk")
	if err != nil {
		t.Fatal(err)
	}
	metadata := t.TempDir()
	args := append([]string{"-C", dir, "metadata", "TOPDIR=" + sdk, "METADATA=" + metadata}, variables...)
	cmd := exec.Command("make", args...)
	cmd.Env = withoutMake(os.Environ())
	out, err := cmd.CombinedOutput()
	return metadataReader{dir: filepath.Join(metadata, "loadbalance")}, string(out), err
}

func TestReleaseTarball(t *testing.T) {
	dir := makefileInFeed(t)
	m, out, err := evaluate(t, dir,
		"LOADBALANCE_SOURCE_URL=https://example.org/releases/", "LOADBALANCE_HASH=0123abcd",
		"LOADBALANCE_MAINTAINER=A Person <person@example.org>", "LOADBALANCE_URL=https://example.org/")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, want := range map[string]string{
		"PKG_SOURCE":     "loadbalance-" + m.text("PKG_VERSION") + ".tar.gz",
		"PKG_SOURCE_URL": "https://example.org/releases/",
		"PKG_HASH":       "0123abcd",
		"MAINTAINER":     "A Person <person@example.org>",
		"URL":            "https://example.org/",
	} {
		if got := m.text(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestReleaseTarballUnknown(t *testing.T) {
	dir := makefileInFeed(t)
	for _, variables := range [][]string{
		nil,
		{"LOADBALANCE_HASH=0123abcd"},
		{"LOADBALANCE_SOURCE_URL=https://example.org/releases/"},
	} {
		_, out, err := evaluate(t, dir, variables...)
		if err == nil || !strings.Contains(out, "set LOADBALANCE_SOURCE_URL to the folder") {
			t.Errorf("%q: got %v and %q, want an error that names LOADBALANCE_SOURCE_URL", variables, err, out)
		}
	}
	// The scan of a feed reads every Makefile; this one must not break it.
	if _, out, err := evaluate(t, dir, "DUMP=1"); err != nil {
		t.Errorf("while the feed is scanned: %v\n%s", err, out)
	}
}

// In a checkout nothing is downloaded, and the whole program can be built from
// what Build/Prepare copies: compile in package_test.go does.
func TestCheckoutHasNoSource(t *testing.T) {
	m, out, err := evaluate(t, filepath.Join(root, programDir))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"PKG_SOURCE", "PKG_SOURCE_URL", "PKG_HASH"} {
		if got := m.text(name); got != "" {
			t.Errorf("%s: got %q, want nothing", name, got)
		}
	}
	for name, want := range map[string]string{
		"PKG_BUILD_FLAGS": "no-mips16", "PKG_BUILD_DEPENDS": "golang/host",
		"CATEGORY": "Network", "SUBMENU": "Routing and Redirection",
	} {
		if got := m.text(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// checkoutWith makes a checkout with the packager and a package of the given
// Makefile and files, and returns its top folder.
func checkoutWith(t *testing.T, name, makefile string, files fs.FS) string {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "openwrt", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(here, filepath.Join(top, "openwrt/pkg")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, files); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, file{"Makefile", []byte(makefile)})
	return top
}

// What the stand-ins do not know stops the build; nothing is left out in silence.
func TestMakefileRefused(t *testing.T) {
	const frame = `include $(TOPDIR)/rules.mk
PKG_NAME:=x
PKG_VERSION:=1
PKG_RELEASE:=1
include $(INCLUDE_DIR)/package.mk
define Package/x
  %s
endef
%s
$(eval $(call BuildPackage,x))
`
	for _, c := range []struct{ field, script, want string }{
		{"CONFLICTS:=y", "", "x: CONFLICTS is not known here"},
		{"EXTRA_DEPENDS:=y (>=1)", "", "x: EXTRA_DEPENDS is not known here"},
		{"DEPENDS:=+FOO:y", "", "condition 'FOO' is not known here"},
		{"", "define Package/x/preinst\ntrue\nendef", "x: preinst is not known here"},
	} {
		top := checkoutWith(t, "x", fmt.Sprintf(frame, c.field, c.script), os.DirFS(t.TempDir()))
		_, err := readRecipes(top, "openwrt/x", filepath.Join(t.TempDir(), "metadata"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%s: got %v, want an error with %q", c.field, c.script, err, c.want)
		}
	}
}

// A package has what its own definition says, and nothing of the one before it.
func TestPackagesOfOneMakefile(t *testing.T) {
	const makefile = `include $(TOPDIR)/rules.mk
PKG_NAME:=x
PKG_VERSION:=1
PKG_RELEASE:=2
PKG_MAINTAINER:=A Person <person@example.org>
PKG_LICENSE:=MIT
include $(INCLUDE_DIR)/package.mk
define Package/x
  SECTION:=net
  DEPENDS:=+a
  PROVIDES:=thing @other
  ALTERNATIVES:=300:/bin/thing:/bin/x
  USERID:=thing=400:thing=400
  MAINTAINER:=B Person <b@example.org>
  VERSION:=7
endef
define Package/x/conffiles
/etc/x
endef
define Package/y
  PKGARCH:=all
endef
$(eval $(call BuildPackage,x))
$(eval $(call BuildPackage,y))
`
	top := checkoutWith(t, "x", makefile, os.DirFS(t.TempDir()))
	recipes, err := readRecipes(top, "openwrt/x", filepath.Join(t.TempDir(), "metadata"))
	if err != nil {
		t.Fatal(err)
	}
	want := []recipe{
		{
			dir: "openwrt/x", name: "x", source: "x", version: "7", maintainer: "B Person <b@example.org>", license: "MIT", section: "net",
			depends: []string{"libc", "a"}, provides: []string{"thing", "@other"}, alternatives: []string{"300:/bin/thing:/bin/x"},
			userID: "thing=400:thing=400", conffiles: []string{"/etc/x"},
		},
		{
			dir: "openwrt/x", name: "y", source: "x", version: "1-r2", maintainer: "A Person <person@example.org>", license: "MIT",
			depends: []string{"libc"}, allArch: true,
		},
	}
	if len(recipes) != len(want) {
		t.Fatalf("got %d packages, want %d", len(recipes), len(want))
	}
	for i, p := range recipes {
		if fmt.Sprintf("%+v", *p) != fmt.Sprintf("%+v", want[i]) {
			t.Errorf("got\n%+v\nwant\n%+v", *p, want[i])
		}
	}
	control := recipes[0].control("mipsel_24kc", 1, date)
	for _, field := range []string{"Provides: thing, other\n", "Alternatives: 300:/bin/thing:/bin/x\n", "Require-User: thing=400:thing=400\n"} {
		if !strings.Contains(control, field) {
			t.Errorf("the control file lacks %q:\n%s", field, control)
		}
	}
}

// Installing writes into the folder that is asked for and nowhere else; once it
// left its metadata in the file system's root.
func TestInstallLeavesNothing(t *testing.T) {
	installed(t, testBuilder(t, root))
	for _, name := range []string{"/PACKAGES", "/loadbalance"} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}

// OpenWrt's scan of a feed takes any file called Makefile for a package, some
// folders deep.
func TestNoOtherMakefiles(t *testing.T) {
	packages, err := findMakefiles(root)
	if err != nil {
		t.Fatal(err)
	}
	err = walkSources(root, func(name string, _ fs.FileInfo) error {
		if dir := path.Dir(name); path.Base(name) == "Makefile" && dir != "." && !slices.Contains(packages, dir) {
			t.Errorf("%s is no package", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
