package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// apkFeed is a repository for apk.
type apkFeed struct {
	arch string
	date time.Time
	key  *apkKey // nil: neither packages nor the index are signed

	packages []apkInfo
}

func (f *apkFeed) add(p *recipe, tree []entry) (file, error) {
	pkg, err := makeAPK(p, f.arch, tree, f.date, f.key)
	if err != nil {
		return file{}, err
	}
	f.packages = append(f.packages, pkg.info)
	return pkg.file, nil
}

// index returns the list of packages. It has their sizes and sums, which vouch
// for them whether they are signed or not.
func (f *apkFeed) index() ([]file, error) {
	slices.SortFunc(f.packages, func(a, b apkInfo) int { return strings.Compare(a.name, b.name) })
	d := newDatabase()
	var packages []value
	for _, info := range f.packages {
		packages = append(packages, d.info(info))
	}
	const description = 0 // left out
	d.finish(d.object(description, d.array(packages...)))
	body, err := d.encode(schemaIndex, f.key, nil)
	return []file{{"packages.adb", body}}, err
}

// apk is a package for apk.
type apk struct {
	file file
	info apkInfo // as the index has it
}

// apkInfo is what apk knows about a package before it has it.
type apkInfo struct {
	name, version, description, arch string
	license, origin, maintainer, url string
	hash                             []byte
	installedSize                    uint32
	fileSize                         uint32 // 0 in the package itself
	depends, provides                []dependency
}

// dependency is the name of a package, or with a version exactly this one of it.
type dependency struct{ name, version string }

// makeAPK makes the package's file.
func makeAPK(p *recipe, arch string, tree []entry, date time.Time, key *apkKey) (*apk, error) {
	info := p.apkInfo(arch)
	dirs := apkDirs(append(slices.Clone(tree), p.packageLists(tree)...))
	for _, dir := range dirs {
		for _, f := range dir.files {
			info.installedSize += uint32(len(f.body))
		}
	}
	// 0 would be a package without content, of which apk installs nothing.
	info.installedSize = max(info.installedSize, 1)

	d := newDatabase()
	// The package's name for itself is a part of the sum of all, made while it is
	// still zero.
	info.hash = make([]byte, 20)
	id := d.blob(info.hash)
	d.finish(d.object(d.info(info), d.paths(dirs, uint32(date.Unix())), d.scripts(p.apkScripts())))
	sum := sha256.Sum256(d.data)
	copy(d.data[id&offsetMask+1:], sum[:len(info.hash)])

	body, err := d.encode(schemaPackage, key, contents(dirs))
	if err != nil {
		return nil, err
	}
	identity := sha256.Sum256(d.data)
	info.hash = identity[:]
	info.fileSize = uint32(len(body))
	name := fmt.Sprintf("%s-%s.apk", p.name, p.version)
	return &apk{file: file{name, body}, info: info}, nil
}

// apkInfo returns the package's fields as OpenWrt's build fills them. The name
// with -any is provided without a version, so that other packages can provide it
// too.
func (p *recipe) apkInfo(arch string) apkInfo {
	if p.allArch {
		arch = "noarch"
	}
	info := apkInfo{
		name:        p.name,
		version:     p.version,
		description: strings.Join(strings.Fields(p.description), " "),
		arch:        arch,
		license:     p.license,
		origin:      p.dir,
		maintainer:  p.maintainer,
		url:         p.url,
		provides:    []dependency{{name: p.name + "-any"}},
	}
	for _, name := range p.depends {
		info.depends = append(info.depends, dependency{name: name})
	}
	for _, name := range p.provides {
		if virtual, ok := strings.CutPrefix(name, "@"); ok {
			info.provides = append(info.provides, dependency{name: virtual})
		} else {
			info.provides = append(info.provides, dependency{name, p.version})
		}
	}
	return info
}

// info stores a package's description.
func (d *database) info(i apkInfo) value {
	const absent = 0
	fileSize := value(absent)
	if i.fileSize > 0 {
		fileSize = d.integer(i.fileSize)
	}
	return d.object(
		d.text(i.name), d.text(i.version), d.blob(i.hash), d.text(i.description), d.text(i.arch),
		d.text(i.license), d.text(i.origin), d.text(i.maintainer), d.text(i.url),
		absent, // commit
		absent, // time of the build
		d.integer(i.installedSize), fileSize,
		absent, // priority among packages that provide the same
		d.dependencies(i.depends), d.dependencies(i.provides),
	)
}

// dependencies stores a list in the order of names, each once.
func (d *database) dependencies(list []dependency) value {
	byName := func(a, b dependency) int { return strings.Compare(a.name, b.name) }
	list = slices.SortedFunc(slices.Values(list), byName)
	list = slices.CompactFunc(list, func(a, b dependency) bool { return a.name == b.name })
	var items []value
	for _, dep := range list {
		items = append(items, d.object(d.text(dep.name), d.text(dep.version)))
	}
	return d.array(items...)
}

// apkDir is a folder with its files; the root's path is empty.
type apkDir struct {
	path  string
	mode  uint32
	files []entry
}

// apkDirs sorts a tree into folders, in the order that apk wants: folders by
// their whole path, files by name. It lists every folder, as apk mkpkg does for
// the sake of the first releases of apk 3.
func apkDirs(tree []entry) []*apkDir {
	byPath := map[string]*apkDir{}
	for _, e := range tree {
		if e.isDir() {
			dir := apkPath(e.name)
			byPath[dir] = &apkDir{path: dir, mode: uint32(e.mode)}
		}
	}
	for _, e := range tree {
		if !e.isDir() {
			dir := byPath[apkPath(path.Dir(e.name))]
			dir.files = append(dir.files, e)
		}
	}
	var dirs []*apkDir
	for _, dir := range byPath {
		slices.SortFunc(dir.files, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
		dirs = append(dirs, dir)
	}
	slices.SortFunc(dirs, func(a, b *apkDir) int { return cmp.Compare(a.path, b.path) })
	return dirs
}

// apkPath turns an entry's name into a path as apk has it, without a slash at
// either end.
func apkPath(name string) string { return strings.Trim(strings.TrimPrefix(name, "."), "/") }

// paths stores folders and files. All of them have the time of the sources.
func (d *database) paths(dirs []*apkDir, mtime uint32) value {
	var paths []value
	for _, dir := range dirs {
		var files []value
		for _, f := range dir.files {
			sum := sha256.Sum256(f.body)
			files = append(files, d.object(d.text(path.Base(f.name)), d.owner(uint32(f.mode)),
				d.integer(uint32(len(f.body))), d.integer(mtime), d.blob(sum[:])))
		}
		paths = append(paths, d.object(d.text(dir.path), d.owner(dir.mode), d.array(files...)))
	}
	return d.array(paths...)
}

func (d *database) owner(mode uint32) value {
	return d.object(d.integer(mode), d.text("root"), d.text("root"))
}

// contents returns the data blocks: for each file that is not empty, where it is
// in the list of folders and in its folder, both counted from 1, and its content.
func contents(dirs []*apkDir) [][]byte {
	var blocks [][]byte
	for i, dir := range dirs {
		for j, f := range dir.files {
			if len(f.body) == 0 {
				continue
			}
			block := binary.LittleEndian.AppendUint32(nil, uint32(i+1))
			block = binary.LittleEndian.AppendUint32(block, uint32(j+1))
			blocks = append(blocks, append(block, f.body...))
		}
	}
	return blocks
}

// apkScripts are what apk runs when it installs, upgrades and removes a package.
type apkScripts struct{ postInstall, preDeinstall, postDeinstall, postUpgrade string }

// scripts stores them by apk's events.
func (d *database) scripts(s apkScripts) value {
	const absent = 0 // trigger, before install, before upgrade
	after := value(absent)
	if s.postDeinstall != "" {
		after = d.text(s.postDeinstall)
	}
	return d.object(absent, absent, d.text(s.postInstall), d.text(s.preDeinstall), after, absent, d.text(s.postUpgrade))
}

// apkScripts returns OpenWrt's scripts, the package's own joined to them. Unlike
// opkg, apk runs the package's postinst after the services were started, and
// nothing of the old package when it is replaced.
func (p *recipe) apkScripts() apkScripts {
	functions := `[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
export root="${IPKG_INSTROOT}"
export pkgname="` + p.name + `"
`
	install := `[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
` + functions + `add_group_and_user
default_postinst
` + withoutShebang(p.postinst)
	return apkScripts{
		postInstall:   "#!/bin/sh\n" + install,
		postUpgrade:   "#!/bin/sh\nexport PKG_UPGRADE=1\n" + install,
		preDeinstall:  "#!/bin/sh\n" + functions + "default_prerm\n" + withoutShebang(p.prerm),
		postDeinstall: p.postrm,
	}
}

// withoutShebang returns a script without the line that names its interpreter.
func withoutShebang(script string) string {
	if strings.HasPrefix(script, "#!") {
		_, script, _ = strings.Cut(script, "\n")
	}
	if script == "" {
		return ""
	}
	return script + "\n"
}

// packageLists returns the files in which OpenWrt's scripts look up what belongs
// to a package, which of it the user may have changed, which users it needs, and
// for which programs it is an alternative.
func (p *recipe) packageLists(tree []entry) []entry {
	const dir = "./lib/apk/packages/"
	lists := []entry{{name: "./lib/", mode: 0o755}, {name: "./lib/apk/", mode: 0o755}, {name: dir, mode: 0o755}}
	add := func(suffix, text string) {
		if text != "" {
			lists = append(lists, entry{name: dir + p.name + suffix, mode: 0o644, body: []byte(text)})
		}
	}
	add(".rusers", lines(p.userID))
	add(".alternatives", lines(strings.Join(p.alternatives, " ")))
	var names, sums []string
	for _, e := range append(slices.Clone(tree), lists...) {
		if e.isDir() {
			continue
		}
		name := strings.TrimPrefix(e.name, ".")
		names = append(names, name)
		if slices.Contains(p.conffiles, name) {
			sums = append(sums, fmt.Sprintf("%s %x", name, sha256.Sum256(e.body)))
		}
	}
	slices.Sort(names)
	add(".list", lines(names...))
	add(".conffiles", lines(p.conffiles...))
	add(".conffiles_static", lines(sums...))
	return lists
}

// lines joins lines to a text; nothing is no line.
func lines(list ...string) string {
	var b bytes.Buffer
	for _, line := range list {
		if line != "" {
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}
