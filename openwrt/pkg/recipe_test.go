package main

import (
	"os"
	"os/exec"
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
	p, err := readRecipe(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
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

// feed puts the package's Makefile alone into a packages feed, as a feed
// maintainer would, and returns its folder.
func feed(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "net/loadbalance")
	golang := "lang/golang/golang-package.mk"
	for to, from := range map[string]string{
		filepath.Join(dir, "Makefile"): filepath.Join(root, feedDir, "Makefile"),
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
	return metadataReader{dir: metadata}, string(out), err
}

func TestReleaseTarball(t *testing.T) {
	dir := feed(t)
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
		"PKG_MAINTAINER": "A Person <person@example.org>",
		"URL":            "https://example.org/",
	} {
		if got := m.text(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestReleaseTarballUnknown(t *testing.T) {
	dir := feed(t)
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
	m, out, err := evaluate(t, filepath.Join(root, feedDir))
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
