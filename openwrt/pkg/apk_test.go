package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeAPK puts a stand-in for apk into PATH. It writes its arguments, one a
// line, into the file that it is asked to make.
func fakeAPK(t *testing.T, version string) {
	t.Helper()
	script := `#!/bin/sh
[ "$1" = --version ] && echo "` + version + `" && exit 0
for out; do :; done
printf '%s\n' "date $SOURCE_DATE_EPOCH" "$@" > "$out"
`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "apk"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestFindAPK(t *testing.T) {
	t.Run("missing", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := packer("apk"); err == nil || !strings.Contains(err.Error(), "staging_dir/host/bin") {
			t.Errorf("got %v, want an error that tells where apk is found", err)
		}
	})
	t.Run("version 2", func(t *testing.T) {
		fakeAPK(t, "apk-tools 2.14.4, compiled for x86_64.")
		if _, err := packer("apk"); err == nil || !strings.Contains(err.Error(), "apk-tools 2.14.4") {
			t.Errorf("got %v, want an error that names the version found", err)
		}
	})
	t.Run("version 3", func(t *testing.T) {
		fakeAPK(t, "apk-tools 3.0.1, compiled for x86_64.")
		if _, err := packer("apk"); err != nil {
			t.Error(err)
		}
	})
}

func TestPackAPK(t *testing.T) {
	fakeAPK(t, "apk-tools 3.0.1")
	b := testBuilder(t)
	b.recipe.maintainer = "A Person <person@example.org>"
	target, err := newTarget("mipsel_24kc")
	if err != nil {
		t.Fatal(err)
	}
	tree, dir, work := installed(t, b), t.TempDir(), t.TempDir()
	file, err := packAPK(b.recipe, target, tree, dir, work, date)
	if err != nil {
		t.Fatal(err)
	}
	if want := "loadbalance-" + b.recipe.version + ".apk"; filepath.Base(file) != want {
		t.Errorf("the package is called %s, want %s", filepath.Base(file), want)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"date 1700000000", "mkpkg",
		"--info", "name:loadbalance",
		"--info", "version:" + b.recipe.version,
		"--info", "description:" + strings.Join(strings.Fields(b.recipe.description), " "),
		"--info", "arch:mipsel_24kc",
		"--info", "license:MIT",
		"--info", "origin:openwrt/loadbalance",
		"--info", "maintainer:A Person <person@example.org>",
		"--info", "depends:" + strings.Join(b.recipe.depends, " "),
		"--script", "post-install:" + filepath.Join(work, "post-install"),
		"--script", "post-upgrade:" + filepath.Join(work, "post-upgrade"),
		"--script", "pre-deinstall:" + filepath.Join(work, "pre-deinstall"),
		"--files", tree, "--output", file, "",
	}, "\n")
	if got := string(text); got != want {
		t.Errorf("apk was called with\n%s\nwant\n%s", got, want)
	}
	checkAPKFiles(t, tree, work)
}

// checkAPKFiles checks the lists that the package contains and its scripts.
func checkAPKFiles(t *testing.T, tree, work string) {
	t.Helper()
	read := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	lists := filepath.Join(tree, "lib/apk/packages")
	for _, name := range []string{"/etc/config/loadbalance", "/etc/init.d/loadbalance", "/usr/sbin/loadbalance"} {
		if list := read(lists, "loadbalance.list"); !strings.Contains("\n"+list, "\n"+name+"\n") {
			t.Errorf("loadbalance.list lacks %s:\n%s", name, list)
		}
	}
	if got := read(lists, "loadbalance.conffiles"); got != "/etc/config/loadbalance\n" {
		t.Errorf("loadbalance.conffiles: got %q", got)
	}
	sum, _, _ := strings.Cut(output(t, "sha256sum", filepath.Join(root, "files/etc/config/loadbalance")), " ")
	if got := read(lists, "loadbalance.conffiles_static"); got != "/etc/config/loadbalance "+sum+"\n" {
		t.Errorf("loadbalance.conffiles_static: got %q, want the sum %s", got, sum)
	}
	upgrade, install := read(work, "post-upgrade"), read(work, "post-install")
	if strings.Replace(upgrade, "export PKG_UPGRADE=1\n", "", 1) != install || upgrade == install {
		t.Errorf("post-upgrade must be post-install with PKG_UPGRADE set:\n%s", upgrade)
	}
	if !strings.HasSuffix(install, "add_group_and_user\ndefault_postinst\n") {
		t.Errorf("post-install:\n%s", install)
	}
	deinstall := read(work, "pre-deinstall")
	if !strings.Contains(deinstall, "default_prerm\nif [ -z") || strings.Count(deinstall, "#!/bin/sh") != 1 {
		t.Errorf("pre-deinstall must be OpenWrt's, then ours without its first line:\n%s", deinstall)
	}
	for _, name := range []string{"post-install", "post-upgrade", "pre-deinstall"} {
		output(t, "busybox", "ash", "-n", filepath.Join(work, name))
	}
}
