package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeAPK makes a package with a stand-in for the program.
func fakeAPK(t *testing.T, b *builder, key *apkKey) *apk {
	t.Helper()
	pkg, err := makeAPK(program(t, b), "mipsel_24kc", installed(t, b), b.date, key)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

func decode(t *testing.T, file []byte) *decodedPackage {
	t.Helper()
	p, err := decodePackage(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPKInfo(t *testing.T) {
	b := testBuilder(t, root)
	p := program(t, b)
	p.maintainer = "A Person <person@example.org>"
	p.url = "https://example.org/"
	pkg := fakeAPK(t, b, nil)
	if want := "loadbalance-" + p.version + ".apk"; pkg.file.name != want {
		t.Errorf("the package is called %s, want %s", pkg.file.name, want)
	}
	got := decode(t, pkg.file.body).info
	size := uint32(0)
	for _, content := range decode(t, pkg.file.body).content {
		size += uint32(len(content))
	}
	want := decodedInfo{
		name: "loadbalance", version: p.version, hash: got.hash, arch: "mipsel_24kc",
		description: strings.Join(strings.Fields(p.description), " "),
		license:     "MIT", origin: "openwrt/loadbalance", maintainer: p.maintainer, url: p.url,
		installedSize: size,
		depends:       slices.Sorted(slices.Values(p.depends)),
		provides:      []string{"loadbalance-any"},
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// The package has the same files with the same modes as the one for opkg, and
// OpenWrt's lists.
func TestAPKFiles(t *testing.T) {
	b := testBuilder(t, root)
	p := decode(t, fakeAPK(t, b, nil).file.body)
	var want, folders []string
	for _, line := range expectedData(t) {
		f := strings.Fields(line) // mode, owner, day, time, name
		name := strings.TrimPrefix(f[4], ".")
		if strings.HasSuffix(name, "/") {
			folders = append(folders, "0755 root/root "+strings.Trim(name, "/"))
			continue
		}
		mode := map[string]string{"-rw-r--r--": "0644", "-rw-------": "0600", "-rwxr-xr-x": "0755"}[f[0]]
		want = append(want, fmt.Sprintf("%s root/root %d %s", mode, date.Unix(), name))
	}
	for _, suffix := range []string{"conffiles", "conffiles_static", "list"} {
		want = append(want, fmt.Sprintf("0644 root/root %d /lib/apk/packages/loadbalance.%s", date.Unix(), suffix))
	}
	folders = append(folders, "0755 root/root lib/apk", "0755 root/root lib/apk/packages")
	for _, c := range []struct{ got, want []string }{{p.files, want}, {p.dirs, folders}} {
		got := slices.Sorted(slices.Values(c.got))
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
	checkLists(t, p)
}

func checkLists(t *testing.T, p *decodedPackage) {
	t.Helper()
	const lists = "/lib/apk/packages/loadbalance."
	var names []string
	for name := range p.content {
		if !strings.HasPrefix(name, lists) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	config, err := os.ReadFile(filepath.Join(root, "files/etc/config/loadbalance"))
	if err != nil {
		t.Fatal(err)
	}
	for suffix, want := range map[string]string{
		"list":             strings.Join(names, "\n") + "\n",
		"conffiles":        "/etc/config/loadbalance\n",
		"conffiles_static": fmt.Sprintf("/etc/config/loadbalance %x\n", sha256.Sum256(config)),
	} {
		if got := p.content[lists+suffix]; got != want {
			t.Errorf("%s: got %q, want %q", suffix, got, want)
		}
	}
	if p.content["/etc/config/loadbalance"] != string(config) {
		t.Error("/etc/config/loadbalance differs from the one in files/")
	}
}

func TestAPKScripts(t *testing.T) {
	scripts := decode(t, fakeAPK(t, testBuilder(t, root), nil).file.body).scripts
	events := slices.Sorted(maps.Keys(scripts))
	if want := []string{"post-deinstall", "post-install", "post-upgrade", "pre-deinstall"}; !slices.Equal(events, want) {
		t.Errorf("scripts for %q, want %q", events, want)
	}
	upgrade, install := scripts["post-upgrade"], scripts["post-install"]
	if strings.Replace(upgrade, "export PKG_UPGRADE=1\n", "", 1) != install || upgrade == install {
		t.Errorf("post-upgrade must be post-install with PKG_UPGRADE set:\n%s", upgrade)
	}
	if !strings.HasSuffix(install, "add_group_and_user\ndefault_postinst\n") {
		t.Errorf("post-install:\n%s", install)
	}
	deinstall := scripts["pre-deinstall"]
	if !strings.Contains(deinstall, "default_prerm\nif [ -z") || strings.Count(deinstall, "#!/bin/sh") != 1 {
		t.Errorf("pre-deinstall must be OpenWrt's, then ours without its first line:\n%s", deinstall)
	}
	for event, text := range scripts {
		script := writeFile(t, t.TempDir(), file{event, []byte(text)})
		output(t, "busybox", "ash", "-n", script)
	}
}

// What no package of ours needs yet: names that it provides, a user of its own,
// programs that it is an alternative for, and nothing to install.
func TestAPKOfOtherPackages(t *testing.T) {
	p := &recipe{
		name: "other", version: "1.0-r2", allArch: true, depends: []string{"libc", "b", "a", "b"},
		provides: []string{"thing", "@thing-any"}, userID: "thing=400:thing=400", alternatives: []string{"300:/bin/thing:/bin/other", "200:/bin/x:/bin/y"},
		postinst: "true",
	}
	pkg, err := makeAPK(p, "mipsel_24kc", []entry{{name: "./", mode: 0o755}, {name: "./empty", mode: 0o644}}, date, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := decode(t, pkg.file.body)
	if want := []string{"other-any", "thing=1.0-r2", "thing-any"}; !slices.Equal(got.info.provides, want) {
		t.Errorf("provides: got %q, want %q", got.info.provides, want)
	}
	if want := []string{"a", "b", "libc"}; !slices.Equal(got.info.depends, want) || got.info.arch != "noarch" {
		t.Errorf("got %q for %s, want %q for noarch", got.info.depends, got.info.arch, want)
	}
	for name, want := range map[string]string{
		"/lib/apk/packages/other.rusers":       "thing=400:thing=400\n",
		"/lib/apk/packages/other.alternatives": "300:/bin/thing:/bin/other 200:/bin/x:/bin/y\n",
		"/lib/apk/packages/other.list":         "/empty\n/lib/apk/packages/other.alternatives\n/lib/apk/packages/other.rusers\n",
	} {
		if got.content[name] != want {
			t.Errorf("%s: got %q, want %q", name, got.content[name], want)
		}
	}
	if _, ok := got.content["/lib/apk/packages/other.conffiles"]; ok {
		t.Error("a list of conffiles, without conffiles")
	}
	if !strings.HasSuffix(got.scripts["post-install"], "default_postinst\ntrue\n") {
		t.Errorf("post-install:\n%s", got.scripts["post-install"])
	}
}

func TestAPKIndex(t *testing.T) {
	b := testBuilder(t, root)
	p := program(t, b)
	second := *p
	second.name, second.allArch = "a-second", true
	f := &apkFeed{arch: "mipsel_24kc", date: b.date}
	packages := map[string]file{}
	for _, p := range []*recipe{p, &second} {
		pkg, err := f.add(p, installed(t, b))
		if err != nil {
			t.Fatal(err)
		}
		packages[p.name] = pkg
	}
	files, err := f.index()
	if err != nil || len(files) != 1 || files[0].name != "packages.adb" {
		t.Fatalf("got %d files, %v, want packages.adb", len(files), err)
	}
	_, infos, err := decodeIndex(files[0].body)
	if err != nil {
		t.Fatal(err)
	}
	if len(infos) != 2 || infos[0].name != "a-second" || infos[1].name != "loadbalance" {
		t.Fatalf("got %+v, want both packages in the order of names", infos)
	}
	for _, info := range infos {
		pkg := packages[info.name]
		want := decode(t, pkg.body)
		sum := sha256.Sum256(want.database)
		want.info.hash, want.info.fileSize = string(sum[:]), uint32(len(pkg.body))
		if fmt.Sprintf("%+v", info) != fmt.Sprintf("%+v", want.info) {
			t.Errorf("got\n%+v\nwant\n%+v", info, want.info)
		}
		// apk fetches NAME-VERSION.apk from beside the index.
		if got := info.name + "-" + info.version + ".apk"; got != pkg.name {
			t.Errorf("apk will look for %s, and the file is called %s", got, pkg.name)
		}
	}
}

// Whatever byte is wrong, it is noticed: by a hash, by the signature, or by the
// format itself.
func TestAPKDamaged(t *testing.T) {
	key := testAPKKey(t)
	pkg := fakeAPK(t, testBuilder(t, root), key)
	public, err := key.publicPEM()
	if err != nil {
		t.Fatal(err)
	}
	check := func(plain []byte) error {
		f, err := decodePlain(plain)
		if err != nil {
			return err
		}
		if _, err := checkPackage(f); err != nil {
			return err
		}
		return f.verify(public)
	}
	plain, err := inflateFile(pkg.file.body)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(plain); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	for i := range plain {
		damaged := bytes.Clone(plain)
		damaged[i] ^= 1
		if err := check(damaged); err == nil {
			t.Errorf("byte %d of %d (%q) was changed and nobody noticed", i, len(plain), plain[max(0, i-8):min(i+8, len(plain))])
		}
	}
}

// Two packages of the same files are equal, signed ones too.
func TestAPKReproducible(t *testing.T) {
	key := testAPKKey(t)
	first := fakeAPK(t, testBuilder(t, root), key).file.body
	t.Setenv("TZ", "Asia/Tokyo")
	if second := fakeAPK(t, testBuilder(t, root), key).file.body; !bytes.Equal(first, second) {
		t.Errorf("two packages of %d and %d bytes differ", len(first), len(second))
	}
}
