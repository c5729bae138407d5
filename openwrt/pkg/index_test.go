package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIndex(t *testing.T) {
	b := testBuilder(t)
	dir := t.TempDir()
	var want []string
	for _, arch := range []string{"mipsel_24kc", "x86_64"} {
		file := fakeIPK(t, b, arch, dir)
		ipk, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, control := unpack(t, file)
		text, err := os.ReadFile(filepath.Join(control, "control"))
		if err != nil {
			t.Fatal(err)
		}
		place := fmt.Sprintf("Filename: %s\nSize: %d\nSHA256sum: %x\nDescription:", filepath.Base(file), len(ipk), sha256.Sum256(ipk))
		want = append(want, strings.Replace(string(text), "Description:", place, 1)+"\n")
	}
	index, err := os.ReadFile(filepath.Join(dir, "Packages"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(index); got != strings.Join(want, "") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, ""))
	}
	if got := output(t, "gzip", "-dc", filepath.Join(dir, "Packages.gz")); got != string(index) {
		t.Errorf("Packages.gz contains\n%s\nwant\n%s", got, index)
	}
}

func TestIndexOfBrokenPackage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "broken_1_all.ipk"), []byte("no archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeIndex(dir); err == nil || !strings.Contains(err.Error(), "broken_1_all.ipk") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}
