package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// release fills the folder dir anew with what is published: for each architecture
// a folder that is a feed for opkg and for apk, the sources, the public keys and
// the sums of everything.
func (b *builder) release(targets []target, dir string) error {
	if err := checkClean(b.root); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, format := range []string{"ipk", "apk"} {
		if err := b.makeFeeds(targets, dir, format); err != nil {
			return err
		}
	}
	program, err := b.programPackage()
	if err != nil {
		return err
	}
	name := program.tarball()
	tarball, err := sourceTarball(b.root, name, b.date)
	if err != nil {
		return err
	}
	files := []file{{name + ".tar.gz", tarball}}
	public, err := b.keys.public()
	if err != nil {
		return err
	}
	if err := b.write(dir, append(files, public...)...); err != nil {
		return err
	}
	sums, err := sumsOf(dir)
	if err != nil {
		return err
	}
	files = []file{{"SHA256SUMS", sums}}
	if b.keys.usign != nil {
		files = append(files, file{"SHA256SUMS.sig", b.keys.usign.sign(sums)})
	}
	return b.write(dir, files...)
}

// programPackage returns the package of the program itself.
func (b *builder) programPackage() (*recipe, error) {
	for _, p := range b.recipes {
		if p.dir == programDir {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no package in %s", programDir)
}

// tarball returns the name of the source tarball that the Makefile expects,
// without its ending: it has the version without the package's release.
func (p *recipe) tarball() string {
	version, _, _ := strings.Cut(p.version, "-")
	return p.source + "-" + version
}

// public returns the files that a router needs to check the signatures.
func (k keys) public() ([]file, error) {
	if k.usign == nil {
		return nil, nil
	}
	apk, err := k.apk.publicPEM()
	return []file{{"loadbalance.pub", k.usign.publicText()}, {"loadbalance.pem", apk}}, err
}

// sumsOf returns the sums of all files below dir, as sha256sum checks them.
func sumsOf(dir string) ([]byte, error) {
	var sums []byte
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path.Clean(name)))
		sums = fmt.Appendf(sums, "%x  %s\n", sha256.Sum256(content), name)
		return err
	})
	return sums, err
}
