package main

import (
	"fmt"
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

// ipk is a package for opkg.
type ipk struct {
	file    file
	control string // its control file
}

// makeIPK makes the package's file: a compressed archive of three members, of
// which two are compressed archives.
func makeIPK(p *recipe, arch string, tree []entry, date time.Time) (*ipk, error) {
	if p.allArch {
		arch = "all"
	}
	archive, err := makeTar(tree, date)
	if err != nil {
		return nil, err
	}
	data, err := compress(archive)
	if err != nil {
		return nil, err
	}
	control := p.control(arch, len(archive), date)
	members, err := makeTarGz(p.controlEntries(control), date)
	if err != nil {
		return nil, err
	}
	outer, err := makeTarGz([]entry{
		{name: "./debian-binary", mode: 0o644, body: []byte("2.0\n")},
		{name: "./data.tar.gz", mode: 0o644, body: data},
		{name: "./control.tar.gz", mode: 0o644, body: members},
	}, date)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s_%s_%s.ipk", p.name, p.version, arch)
	return &ipk{file: file{name, outer}, control: control}, nil
}

// controlEntries returns the control archive's content in the order of names.
func (p *recipe) controlEntries(control string) []entry {
	entries := []entry{
		{name: "./", mode: 0o755},
		{name: "./control", mode: 0o644, body: []byte(control)},
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
	if p.postrm != "" {
		entries = append(entries, entry{name: "./postrm", mode: 0o755, body: []byte(p.postrm + "\n")})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return entries
}

// control returns the control file. Empty fields are left out.
func (p *recipe) control(arch string, installedSize int, date time.Time) string {
	var provides []string
	for _, name := range p.provides {
		provides = append(provides, strings.TrimPrefix(name, "@"))
	}
	var b strings.Builder
	for _, field := range []struct{ name, value string }{
		{"Package", p.name},
		{"Version", p.version},
		{"Depends", strings.Join(p.depends, ", ")},
		{"Provides", strings.Join(provides, ", ")},
		{"Alternatives", strings.Join(p.alternatives, ", ")},
		{"Source", p.dir},
		{"SourceName", p.source},
		{"License", p.license},
		{"LicenseFiles", p.licenseFile},
		{"Section", p.section},
		{"Require-User", p.userID},
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
