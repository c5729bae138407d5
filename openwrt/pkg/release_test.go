package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clone copies the sources of this checkout, committed or not, into a repository
// of their own.
func clone(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := walkSources(root, func(name string, info fs.FileInfo) error {
		content, err := os.ReadFile(filepath.Join(root, name))
		write(t, filepath.Join(dir, name), string(content), info.Mode().Perm(), time.Now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, dir, date)
	return dir
}

// runMake runs a target of the top-level Makefile, and returns what it prints.
func runMake(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("make", append([]string{"-C", dir, "--no-print-directory"}, args...)...)
	cmd.Env = append(withoutMake(os.Environ()), append(env, "SOURCE_DATE_EPOCH=")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// contentOf returns the files of a folder, by name.
func contentOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files[name] = read(t, dir, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Releases of two clones are the same byte for byte, also where another release
// of Go runs the packager, and the source tarball gives the same packages without
// git. All signatures and sums are right.
func TestRelease(t *testing.T) {
	keyDir := filepath.Join(t.TempDir(), "keys")
	first, second := clone(t), clone(t)
	runMake(t, first, nil, "keys", "KEYS="+keyDir)
	runMake(t, first, nil, "release", "ARCH=mipsel_24kc", "KEYS="+keyDir)
	runMake(t, second, []string{"GOTOOLCHAIN=" + toolchain, "TZ=Asia/Tokyo"}, "release", "ARCH=mipsel_24kc", "KEYS="+keyDir)
	release := contentOf(t, filepath.Join(first, "dist/release"))
	compare(t, "the second clone", contentOf(t, filepath.Join(second, "dist/release")), release)
	checkRelease(t, filepath.Join(first, "dist/release"), release, keyDir)

	tarball := program(t, testBuilder(t, root)).tarball()
	unpacked := t.TempDir()
	output(t, "tar", "-xzf", filepath.Join(first, "dist/release", tarball+".tar.gz"), "-C", unpacked)
	sources := filepath.Join(unpacked, tarball)
	runMake(t, sources, nil, "ipk", "apk", "ARCH=mipsel_24kc", "KEYS="+keyDir)
	feed := map[string][]byte{}
	for name, content := range release {
		if base, ok := strings.CutPrefix(name, "mipsel_24kc/"); ok {
			feed[base] = content
		}
	}
	compare(t, "the tarball's feed", contentOf(t, filepath.Join(sources, "dist/mipsel_24kc")), feed)
	runMake(t, sources, nil, "release", "ARCH=mipsel_24kc", "KEYS="+keyDir)
	compare(t, "the tarball's release", contentOf(t, filepath.Join(sources, "dist/release")), release)
}

func compare(t *testing.T, what string, got, want map[string][]byte) {
	t.Helper()
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s lacks %s", what, name)
		}
	}
	for name, content := range got {
		if !bytes.Equal(content, want[name]) {
			t.Errorf("%s: %s differs", what, name)
		}
	}
}

// checkRelease checks a release as who gets it would.
func checkRelease(t *testing.T, dir string, release map[string][]byte, keyDir string) {
	t.Helper()
	p := program(t, testBuilder(t, root))
	want := []string{
		"SHA256SUMS", "SHA256SUMS.sig", p.tarball() + ".tar.gz", "loadbalance.pem", "loadbalance.pub",
		"mipsel_24kc/Packages", "mipsel_24kc/Packages.gz", "mipsel_24kc/Packages.sig", "mipsel_24kc/packages.adb",
		"mipsel_24kc/loadbalance-" + p.version + ".apk", "mipsel_24kc/loadbalance_" + p.version + "_mipsel_24kc.ipk",
	}
	for _, name := range want {
		if release[name] == nil {
			t.Errorf("the release lacks %s", name)
		}
	}
	sums := exec.Command("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
	sums.Dir = dir
	if out, err := sums.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	if lines := bytes.Count(release["SHA256SUMS"], []byte("\n")); lines != len(release)-2 {
		t.Errorf("SHA256SUMS has %d lines, for %d files", lines, len(release)-2)
	}
	for name, key := range map[string]string{"loadbalance.pub": "key-build.pub", "loadbalance.pem": "public-key.pem"} {
		if !bytes.Equal(release[name], read(t, keyDir, key)) {
			t.Errorf("%s is not the public key", name)
		}
	}
	checkSignatures(t, release)
	checkIndices(t, release)
}

// checkSignatures checks all signatures, and that they do not fit anything else.
func checkSignatures(t *testing.T, release map[string][]byte) {
	t.Helper()
	changed := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 1
		return b
	}
	for _, name := range []string{"SHA256SUMS", "mipsel_24kc/Packages"} {
		public, signature := release["loadbalance.pub"], release[name+".sig"]
		if err := verifyUsign(public, release[name], signature); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := verifyUsign(public, changed(release[name]), signature); err == nil {
			t.Errorf("%s: a byte was changed and the signature still fits", name)
		}
	}
	for name, content := range release {
		if !strings.HasSuffix(name, ".apk") && !strings.HasSuffix(name, ".adb") {
			continue
		}
		f, err := decodeFile(content)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := f.verify(release["loadbalance.pem"]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.database = changed(f.database)
		if err := f.verify(release["loadbalance.pem"]); err == nil {
			t.Errorf("%s: a byte was changed and the signature still fits", name)
		}
	}
}

// checkIndices checks that the index for apk is about the signed package; the one
// for opkg is made of the file.
func checkIndices(t *testing.T, release map[string][]byte) {
	t.Helper()
	_, infos, err := decodeIndex(release["mipsel_24kc/packages.adb"])
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		pkg := release["mipsel_24kc/"+info.name+"-"+info.version+".apk"]
		p := decode(t, pkg)
		if int(info.fileSize) != len(pkg) || info.installedSize != p.info.installedSize {
			t.Errorf("%s: the index says %d and %d bytes, the package has %d and %d",
				info.name, info.fileSize, info.installedSize, len(pkg), p.info.installedSize)
		}
	}
	packages := output(t, "gzip", "-dc", writeFile(t, t.TempDir(), file{"Packages.gz", release["mipsel_24kc/Packages.gz"]}))
	if packages != string(release["mipsel_24kc/Packages"]) {
		t.Error("Packages.gz is not Packages")
	}
}
