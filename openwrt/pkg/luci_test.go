package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// exampleApp is a checkout with a LuCI application and its translation.
func exampleApp(t *testing.T) string {
	t.Helper()
	files := os.DirFS("testdata/luci-app-example")
	makefile, err := fs.ReadFile(files, "feed.mk")
	if err != nil {
		t.Fatal(err)
	}
	return checkoutWith(t, "luci-app-example", string(makefile), files)
}

// A folder with a Makefile is enough for two more packages, for opkg and for apk.
func TestLuCI(t *testing.T) {
	b := testBuilder(t, exampleApp(t))
	for _, format := range []string{"ipk", "apk"} {
		dir := t.TempDir()
		targets, err := parseTargets([]string{"mipsel_24kc", "x86_64"})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.makeFeeds(targets, dir, format); err != nil {
			t.Fatal(err)
		}
		want := map[string][]string{
			"ipk": {"Packages", "Packages.gz", "luci-app-example_1.2.3-r1_all.ipk", "luci-i18n-example-zh-cn_1.2.3-r1_all.ipk"},
			"apk": {"luci-app-example-1.2.3-r1.apk", "luci-i18n-example-zh-cn-1.2.3-r1.apk", "packages.adb"},
		}[format]
		for _, arch := range []string{"mipsel_24kc", "x86_64"} {
			if got := names(t, filepath.Join(dir, arch)); !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", arch, got, want)
			}
		}
		for _, name := range want {
			if name == "packages.adb" || strings.HasPrefix(name, "Packages") {
				continue
			}
			if !bytes.Equal(read(t, dir, "mipsel_24kc", name), read(t, dir, "x86_64", name)) {
				t.Errorf("%s differs between architectures", name)
			}
		}
	}
}

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// luciPackages makes the example's packages for apk, by name.
func luciPackages(t *testing.T) map[string]*decodedPackage {
	t.Helper()
	b := testBuilder(t, exampleApp(t))
	packages := map[string]*decodedPackage{}
	for _, p := range b.recipes {
		tree, err := b.install(p, target{})
		if err != nil {
			t.Fatal(err)
		}
		pkg, err := makeAPK(p, "mipsel_24kc", tree, b.date, nil)
		if err != nil {
			t.Fatal(err)
		}
		packages[p.name] = decode(t, pkg.file.body)
	}
	return packages
}

func TestLuCIApplication(t *testing.T) {
	p := luciPackages(t)["luci-app-example"]
	if p == nil {
		t.Fatal("no package luci-app-example")
	}
	want := decodedInfo{
		name: "luci-app-example", version: "1.2.3-r1", hash: p.info.hash, description: "Shows how an application is packed.",
		arch: "noarch", license: "MIT", origin: "openwrt/luci-app-example", installedSize: p.info.installedSize,
		depends: []string{"libc", "loadbalance", "luci-base"}, provides: []string{"luci-app-example-any"},
	}
	if fmt.Sprintf("%+v", p.info) != fmt.Sprintf("%+v", want) {
		t.Errorf("got\n%+v\nwant\n%+v", p.info, want)
	}
	for name, source := range map[string]string{
		"/www/luci-static/resources/view/example/overview.js": "htdocs/luci-static/resources/view/example/overview.js",
		"/usr/share/luci/menu.d/luci-app-example.json":        "root/usr/share/luci/menu.d/luci-app-example.json",
	} {
		if want := read(t, "testdata/luci-app-example", source); p.content[name] != string(want) {
			t.Errorf("%s: got %q, want the content of %s", name, p.content[name], source)
		}
	}
	for _, f := range p.files {
		if !strings.HasPrefix(f, "0644 root/root ") {
			t.Errorf("%s: want mode 0644", f)
		}
	}
	// The menu must be read anew, and rpcd must learn who may call what.
	script := p.scripts["post-install"]
	for _, line := range []string{"default_postinst\n[ -n \"${IPKG_INSTROOT}\" ] || {\n", "/tmp/luci-indexcache*", "/etc/init.d/rpcd reload"} {
		if !strings.Contains(script, line) {
			t.Errorf("post-install lacks %q:\n%s", line, script)
		}
	}
	output(t, "busybox", "ash", "-n", writeFile(t, t.TempDir(), file{"post-install", []byte(script)}))
}

func TestLuCITranslation(t *testing.T) {
	p := luciPackages(t)["luci-i18n-example-zh-cn"]
	if p == nil {
		t.Fatal("no package luci-i18n-example-zh-cn")
	}
	if want := []string{"libc", "luci-app-example"}; !slices.Equal(p.info.depends, want) || p.info.arch != "noarch" {
		t.Errorf("got %q for %s, want %q for noarch", p.info.depends, p.info.arch, want)
	}
	want := "uci set luci.languages.zh_cn='简体中文 (Chinese Simplified)'; uci commit luci\n"
	if got := p.content["/etc/uci-defaults/luci-i18n-example-zh-cn"]; got != want {
		t.Errorf("uci-defaults: got %q, want %q", got, want)
	}
	// The second is what LuCI's own po2lmo makes of the example.
	if got, want := p.content["/usr/lib/lua/luci/i18n/example.zh-cn.lmo"], read(t, "testdata/example.zh-cn.lmo"); got != string(want) {
		t.Errorf("example.zh-cn.lmo: got\n% x\nwant\n% x", got, want)
	}
	if len(p.files) != 3 { // with the list of these
		t.Errorf("got the files %q", p.files)
	}
}

func TestTranslationRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":        {"", "translates nothing"},
		"comments":     {"# x\n#~ msgid \"a\"\n", "translates nothing"},
		"no quotation": {"msgid \"a\"\nmsgstr b\n", "line 2: no text"},
		"not closed":   {"msgid \"a\n", "line 1: no text"},
		"no keyword":   {"\"a\"\n", "line 1: no text"},
		"unknown":      {"msgfoo \"a\"\n", "line 1: unknown word 'msgfoo'"},
	} {
		err := translate([]entry{{name: i18nDir + "x.zh-cn.po", body: []byte(c.text)}})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "x.zh-cn.po") {
			t.Errorf("%s: got %v, want an error with %q and the file", name, err, c.want)
		}
	}
	// A .po elsewhere is nobody's translation.
	tree := []entry{{name: "./etc/x.po", body: []byte("x")}}
	if err := translate(tree); err != nil || tree[0].name != "./etc/x.po" {
		t.Errorf("got %v, %+v", err, tree[0])
	}
}

// Only LuCI's own repository makes up a version.
func TestLuCIWithoutVersion(t *testing.T) {
	top := checkoutWith(t, "luci-app-x", "include $(TOPDIR)/rules.mk\ninclude $(TOPDIR)/feeds/luci/luci.mk\n", os.DirFS(t.TempDir()))
	_, err := readRecipes(top, "openwrt/luci-app-x", filepath.Join(t.TempDir(), "metadata"))
	if err == nil || !strings.Contains(err.Error(), "luci-app-x: PKG_VERSION is needed") {
		t.Errorf("no version: got %v", err)
	}
}

// TestOurLuCI: the pages' package has what is in htdocs and root, and none of
// their tests; the other one has each translation.
func TestOurLuCI(t *testing.T) {
	const dir = root + "/openwrt/luci-app-loadbalance"
	var want []string
	for top, below := range map[string]string{"htdocs": "./www/", "root": "./"} {
		err := filepath.WalkDir(filepath.Join(dir, top), func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				want = append(want, below+strings.TrimPrefix(filepath.ToSlash(name), dir+"/"+top+"/"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	po, err := parsePO(read(t, dir, "po/zh_Hans/loadbalance.po"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	b := testBuilder(t, root)
	found := 0
	for _, p := range b.recipes {
		if p.dir != "openwrt/luci-app-loadbalance" {
			continue
		}
		found++
		tree, err := b.install(p, target{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range tree {
			if e.isDir() {
				continue
			}
			got = append(got, e.name)
			// An index entry has 16 bytes; a text is 4 at least.
			if strings.HasSuffix(e.name, ".lmo") && len(e.body) < 20*(len(po)-20) {
				t.Errorf("%s has only %d bytes for %d texts", e.name, len(e.body), len(po))
			}
		}
		slices.Sort(got)
		if p.name == "luci-app-loadbalance" && !slices.Equal(got, want) {
			t.Errorf("the package has\n%q, want\n%q", got, want)
		}
		if p.name == "luci-i18n-loadbalance-zh-cn" && !slices.Contains(got, "./usr/lib/lua/luci/i18n/loadbalance.zh-cn.lmo") {
			t.Errorf("no translation: %q", got)
		}
	}
	if found != 2 {
		t.Errorf("%d packages, want 2", found)
	}
}
