package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOpkgIndex(t *testing.T) {
	b := testBuilder(t, root)
	p := program(t, b)
	second := *p
	second.name, second.allArch = "loadbalance-second", true
	f := &opkgFeed{arch: "mipsel_24kc", date: b.date}
	dir := t.TempDir()
	var want []string
	for _, p := range []*recipe{p, &second} {
		pkg, err := f.add(p, installed(t, b))
		if err != nil {
			t.Fatal(err)
		}
		_, control := unpack(t, writeFile(t, dir, pkg))
		text, err := os.ReadFile(filepath.Join(control, "control"))
		if err != nil {
			t.Fatal(err)
		}
		place := fmt.Sprintf("Filename: %s\nSize: %d\nSHA256sum: %x\nDescription:", pkg.name, len(pkg.body), sha256.Sum256(pkg.body))
		want = append(want, strings.Replace(string(text), "Description:", place, 1)+"\n")
	}
	files, err := f.index()
	if err != nil {
		t.Fatal(err)
	}
	list, packed := files[0], files[1]
	if got := string(list.body); list.name != "Packages" || got != strings.Join(want, "") {
		t.Errorf("got in %s\n%s\nwant\n%s", list.name, got, strings.Join(want, ""))
	}
	if got := output(t, "gzip", "-dc", writeFile(t, dir, packed)); packed.name != "Packages.gz" || got != string(list.body) {
		t.Errorf("%s contains\n%s\nwant\n%s", packed.name, got, list.body)
	}
}

// A list that is not signed must not keep the signature of the one before it.
func TestOpkgSignatureGone(t *testing.T) {
	b := testBuilder(t, exampleApp(t))
	dir := t.TempDir()
	targets := []target{{arch: "x86_64"}}
	b.keys.usign = testUsignKey(t)
	if err := b.makeFeeds(targets, dir, "ipk"); err != nil {
		t.Fatal(err)
	}
	if err := verifyUsign(b.keys.usign.publicText(), read(t, dir, "x86_64/Packages"), read(t, dir, "x86_64/Packages.sig")); err != nil {
		t.Error(err)
	}
	b.keys.usign = nil
	if err := b.makeFeeds(targets, dir, "ipk"); err != nil {
		t.Fatal(err)
	}
	if got := names(t, filepath.Join(dir, "x86_64")); slices.Contains(got, "Packages.sig") {
		t.Errorf("got %q, want no Packages.sig", got)
	}
}
