package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The scripts that OpenWrt puts into every package. They run the package's own,
// which have the suffix -pkg, and then enable and start its services, or stop
// and disable them.
const (
	defaultPostinst = `#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_postinst $0 $@
`
	defaultPrerm = `#!/bin/sh
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_prerm $0 $@
`
)

// packIPK writes the package for opkg and renews the index of its folder.
func packIPK(p *recipe, t target, tree, dir, _ string, date time.Time) (string, error) {
	entries, err := treeEntries(tree)
	if err != nil {
		return "", err
	}
	ipk, err := makeIPK(p, t.arch, entries, date)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, fmt.Sprintf("%s_%s_%s.ipk", p.name, p.version, t.arch))
	if err := os.WriteFile(file, ipk, 0o644); err != nil {
		return "", err
	}
	return file, writeIndex(dir)
}

// makeIPK makes the package's file: a compressed archive of three members, of
// which two are compressed archives.
func makeIPK(p *recipe, arch string, tree []entry, date time.Time) ([]byte, error) {
	archive, err := makeTar(tree, date)
	if err != nil {
		return nil, err
	}
	data, err := compress(archive)
	if err != nil {
		return nil, err
	}
	control, err := makeTarGz(p.controlEntries(arch, len(archive), date), date)
	if err != nil {
		return nil, err
	}
	return makeTarGz([]entry{
		{name: "./debian-binary", mode: 0o644, body: []byte("2.0\n")},
		{name: "./data.tar.gz", mode: 0o644, body: data},
		{name: "./control.tar.gz", mode: 0o644, body: control},
	}, date)
}

// controlEntries returns the control archive's content in the order of names.
func (p *recipe) controlEntries(arch string, installedSize int, date time.Time) []entry {
	entries := []entry{
		{name: "./", mode: 0o755},
		{name: "./control", mode: 0o644, body: []byte(p.control(arch, installedSize, date))},
		{name: "./postinst", mode: 0o755, body: []byte(defaultPostinst)},
		{name: "./prerm", mode: 0o755, body: []byte(defaultPrerm)},
	}
	if len(p.conffiles) > 0 {
		text := strings.Join(slices.Sorted(slices.Values(p.conffiles)), "\n") + "\n"
		entries = append(entries, entry{name: "./conffiles", mode: 0o644, body: []byte(text)})
	}
	if p.postinst != "" {
		entries = append(entries, entry{name: "./postinst-pkg", mode: 0o755, body: []byte(p.postinst + "\n")})
	}
	if p.prerm != "" {
		entries = append(entries, entry{name: "./prerm-pkg", mode: 0o755, body: []byte(p.prerm + "\n")})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return entries
}

// control returns the control file. Empty fields are left out.
func (p *recipe) control(arch string, installedSize int, date time.Time) string {
	var b strings.Builder
	for _, field := range []struct{ name, value string }{
		{"Package", p.name},
		{"Version", p.version},
		{"Depends", strings.Join(p.depends, ", ")},
		{"Source", feedDir},
		{"SourceName", p.name},
		{"License", p.license},
		{"LicenseFiles", p.licenseFile},
		{"Section", p.section},
		{"SourceDateEpoch", fmt.Sprint(date.Unix())},
		{"URL", p.url},
		{"Maintainer", p.maintainer},
		{"Architecture", arch},
		{"Installed-Size", fmt.Sprint(installedSize)},
	} {
		if field.value != "" {
			fmt.Fprintf(&b, "%s: %s\n", field.name, field.value)
		}
	}
	b.WriteString("Description: ")
	for _, line := range strings.Split(p.description, "\n") {
		fmt.Fprintf(&b, " %s\n", strings.TrimSpace(line))
	}
	return b.String()
}
