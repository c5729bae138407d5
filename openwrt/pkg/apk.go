package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// findAPK checks for the programs that packAPK needs: the format of apk v3 is
// what apk-tools 3 writes, and nothing else is documented to write it.
func findAPK() error {
	text, err := exec.Command("apk", "--version").Output()
	if err != nil {
		return fmt.Errorf("an apk package is made by the program 'apk' of apk-tools 3, which cannot be run (%w): "+
			"OpenWrt's SDK and ImageBuilder have it in staging_dir/host/bin; put that folder into PATH", err)
	}
	version := strings.TrimSpace(string(text))
	if !strings.HasPrefix(version, "apk-tools 3.") {
		return fmt.Errorf("an apk package is made by apk-tools 3, but the 'apk' in PATH is '%s': "+
			"OpenWrt's SDK and ImageBuilder have the right one in staging_dir/host/bin", version)
	}
	if os.Getuid() == 0 {
		return nil
	}
	if _, err := exec.LookPath("fakeroot"); err != nil {
		return errors.New("the files of a package belong to root: install 'fakeroot', or run this as root")
	}
	return nil
}

// packAPK writes the package for apk.
func packAPK(p *recipe, t target, tree, dir, work string, date time.Time) (string, error) {
	if err := p.addPackageLists(tree); err != nil {
		return "", err
	}
	file := filepath.Join(dir, fmt.Sprintf("%s-%s.apk", p.name, p.version))
	args := []string{"apk", "mkpkg"}
	for _, info := range p.apkInfo(t.arch) {
		args = append(args, "--info", info)
	}
	scripts := p.apkScripts()
	for _, event := range slices.Sorted(maps.Keys(scripts)) {
		path := filepath.Join(work, event)
		if err := os.WriteFile(path, []byte(scripts[event]), 0o755); err != nil {
			return "", err
		}
		args = append(args, "--script", event+":"+path)
	}
	args = append(args, "--files", tree, "--output", file)
	if os.Getuid() != 0 {
		args = append([]string{"fakeroot"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", date.Unix()))
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("apk mkpkg: %w\n%s", err, text)
	}
	return file, nil
}

// apkInfo returns the package's fields, as NAME:VALUE.
func (p *recipe) apkInfo(arch string) []string {
	fields := []string{
		"name:" + p.name,
		"version:" + p.version,
		"description:" + strings.Join(strings.Fields(p.description), " "),
		"arch:" + arch,
		"license:" + p.license,
		"origin:" + feedDir,
		"url:" + p.url,
		"maintainer:" + p.maintainer,
		"depends:" + strings.Join(p.depends, " "),
	}
	return slices.DeleteFunc(fields, func(f string) bool { return strings.HasSuffix(f, ":") })
}

// apkScripts returns OpenWrt's scripts by apk's event, the package's own joined
// to them. Unlike opkg, apk runs the package's postinst after the services were
// started, and nothing of the old package when it is replaced.
func (p *recipe) apkScripts() map[string]string {
	functions := `[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
export root="${IPKG_INSTROOT}"
export pkgname="` + p.name + `"
`
	install := `[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
` + functions + `add_group_and_user
default_postinst
` + withoutShebang(p.postinst)
	return map[string]string{
		"post-install":  "#!/bin/sh\n" + install,
		"post-upgrade":  "#!/bin/sh\nexport PKG_UPGRADE=1\n" + install,
		"pre-deinstall": "#!/bin/sh\n" + functions + "default_prerm\n" + withoutShebang(p.prerm),
	}
}

// withoutShebang returns a script's lines after the first.
func withoutShebang(script string) string {
	_, body, found := strings.Cut(script, "\n")
	if !found {
		return ""
	}
	return body + "\n"
}

// addPackageLists adds the files in which OpenWrt's scripts look up what
// belongs to a package, and which of it the user may have changed.
func (p *recipe) addPackageLists(tree string) error {
	var files, static strings.Builder
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, tree)
		fmt.Fprintln(&files, name)
		if !slices.Contains(p.conffiles, name) {
			return nil
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(&static, "%s %x\n", name, sha256.Sum256(content))
		return err
	})
	if err != nil {
		return err
	}
	dir := filepath.Join(tree, "lib/apk/packages")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lists := map[string]string{
		".list":             files.String(),
		".conffiles":        strings.Join(p.conffiles, "\n") + "\n",
		".conffiles_static": static.String(),
	}
	for suffix, text := range lists {
		if err := os.WriteFile(filepath.Join(dir, p.name+suffix), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
