package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o077) // a builder's; nothing of it may come into a package
	os.Exit(m.Run())
}

// date is an arbitrary moment, the one of all files in the tests' packages.
var date = time.Unix(1700000000, 0).UTC()

// testBuilder is ready to make packages of the checkout in the folder root; its
// intermediate files go with the test.
func testBuilder(t *testing.T, root string) *builder {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", strconv.FormatInt(date.Unix(), 10))
	b := &builder{root: root, goProgram: "go", work: t.TempDir(), out: io.Discard}
	if err := b.prepare(); err != nil {
		t.Fatal(err)
	}
	return b
}

// program returns the package of the program itself.
func program(t *testing.T, b *builder) *recipe {
	t.Helper()
	p, err := b.programPackage()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// installed returns the content of the program's package, with a stand-in for
// the program.
func installed(t *testing.T, b *builder) []entry {
	t.Helper()
	programs := t.TempDir()
	if err := os.WriteFile(filepath.Join(programs, "loadbalance"), []byte("the program"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := program(t, b)
	tree, err := p.install(b.root, b.sources(p.dir), programs, filepath.Join(t.TempDir(), "root"))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// writeFile writes a file of a feed into a folder, and returns its name.
func writeFile(t *testing.T, dir string, f file) string {
	t.Helper()
	name := filepath.Join(dir, f.name)
	if err := os.WriteFile(name, f.body, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// fakeIPK makes a package with a stand-in for the program, and returns its file.
func fakeIPK(t *testing.T, b *builder, arch string) string {
	t.Helper()
	pkg, err := makeIPK(program(t, b), arch, installed(t, b), b.date)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, t.TempDir(), pkg.file)
}

// output runs a program and returns its standard output.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	return string(out)
}

// unpack unpacks a package with the system's tar, as opkg does: the outer
// archive first, then the two in it.
func unpack(t *testing.T, ipk string) (data, control string) {
	t.Helper()
	dir := t.TempDir()
	output(t, "tar", "-xzf", ipk, "-C", dir)
	for _, member := range []string{"data", "control"} {
		if err := os.Mkdir(filepath.Join(dir, member), 0o755); err != nil {
			t.Fatal(err)
		}
		output(t, "tar", "-xzpf", filepath.Join(dir, member+".tar.gz"), "-C", filepath.Join(dir, member))
	}
	return filepath.Join(dir, "data"), filepath.Join(dir, "control")
}

// list returns an archive's members, one line each: mode, owner, date, name.
func list(t *testing.T, archive string) []string {
	t.Helper()
	text := output(t, "tar", "--numeric-owner", "--full-time", "-tvzf", archive)
	var members []string
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.Fields(line) // mode, owner, size, day, time, name
		members = append(members, strings.Join([]string{f[0], f[1], f[3], f[4], f[5]}, " "))
	}
	return members
}

const stamp = "0/0 2023-11-14 22:13:20"

func TestOuterArchive(t *testing.T) {
	b := testBuilder(t, root)
	ipk := fakeIPK(t, b, "mipsel_24kc")
	if want := "loadbalance_" + program(t, b).version + "_mipsel_24kc.ipk"; filepath.Base(ipk) != want {
		t.Errorf("the package is called %s, want %s", filepath.Base(ipk), want)
	}
	want := []string{
		"-rw-r--r-- " + stamp + " ./debian-binary",
		"-rw-r--r-- " + stamp + " ./data.tar.gz",
		"-rw-r--r-- " + stamp + " ./control.tar.gz",
	}
	if got := list(t, ipk); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := output(t, "tar", "-xzOf", ipk, "./debian-binary"); got != "2.0\n" {
		t.Errorf("debian-binary: got %q", got)
	}
}

// expectedMode is the mode of a file of the package, by the folder it lies in.
func expectedMode(name string) string {
	for folder, mode := range map[string]string{
		"etc/config/":       "-rw-------",
		"etc/init.d/":       "-rwxr-xr-x",
		"etc/uci-defaults/": "-rwxr-xr-x",
		"usr/libexec/":      "-rwxr-xr-x",
		"usr/sbin/":         "-rwxr-xr-x",
	} {
		if strings.HasPrefix(name, folder) {
			return mode
		}
	}
	return "-rw-r--r--"
}

// expectedData lists what the data archive must contain: the program, and all
// of files/.
func expectedData(t *testing.T) []string {
	t.Helper()
	members := map[string]string{"./usr/sbin/loadbalance": "-rwxr-xr-x"}
	overlay := os.DirFS(filepath.Join(root, "files"))
	err := fs.WalkDir(overlay, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			members["./"+name] = expectedMode(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range members {
		for folder := filepath.Dir(name); ; folder = filepath.Dir(folder) {
			members["./"+strings.TrimPrefix(folder+"/", "./")] = "drwxr-xr-x"
			if folder == "." {
				break
			}
		}
	}
	var lines []string
	for name, mode := range members {
		lines = append(lines, mode+" "+stamp+" "+name)
	}
	slices.SortFunc(lines, func(a, b string) int {
		return strings.Compare(a[strings.Index(a, " ./"):], b[strings.Index(b, " ./"):])
	})
	return lines
}

func TestData(t *testing.T) {
	b := testBuilder(t, root)
	ipk := fakeIPK(t, b, "mipsel_24kc")
	outer := t.TempDir()
	output(t, "tar", "-xzf", ipk, "-C", outer)
	got, want := list(t, filepath.Join(outer, "data.tar.gz")), expectedData(t)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// The contract: these are there, whatever else is.
	for _, line := range []string{
		"-rwxr-xr-x " + stamp + " ./usr/sbin/loadbalance",
		"-rw------- " + stamp + " ./etc/config/loadbalance",
		"-rwxr-xr-x " + stamp + " ./etc/init.d/loadbalance",
		"-rw-r--r-- " + stamp + " ./etc/hotplug.d/iface/25-loadbalance",
	} {
		if !slices.Contains(got, line) {
			t.Errorf("missing: %s", line)
		}
	}
	data, _ := unpack(t, ipk)
	for _, name := range []string{"etc/config/loadbalance", "etc/init.d/loadbalance"} {
		packed, err := os.ReadFile(filepath.Join(data, name))
		if err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile(filepath.Join(root, "files", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(packed, source) {
			t.Errorf("%s differs from the one in files/", name)
		}
	}
}

// The SDK packs with GNU tar; its archive of the same files has the same
// members in the same order, and the size that the control file must name.
func TestDataAsGNUTar(t *testing.T) {
	b := testBuilder(t, root)
	ipk := fakeIPK(t, b, "mipsel_24kc")
	data, control := unpack(t, ipk)
	theirs := filepath.Join(t.TempDir(), "data.tar")
	output(t, "tar", "--format=gnu", "--numeric-owner", "--owner=0", "--group=0", "--sort=name",
		"--mtime=@"+strconv.FormatInt(date.Unix(), 10), "-C", data, "-cpf", theirs, ".")
	info, err := os.Stat(theirs)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(control, "control"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("\nInstalled-Size: %d\n", info.Size()); !strings.Contains(string(text), want) {
		t.Errorf("the control file does not contain %q:\n%s", want, text)
	}
	output(t, "gzip", "-n", theirs)
	outer := t.TempDir()
	output(t, "tar", "-xzf", ipk, "-C", outer)
	if got, want := list(t, filepath.Join(outer, "data.tar.gz")), list(t, theirs+".gz"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nGNU tar makes\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestControl(t *testing.T) {
	b := testBuilder(t, root)
	p := program(t, b)
	p.maintainer = "A Person <person@example.org>"
	p.url = "https://example.org/"
	want := `Package: loadbalance
Version: ` + p.version + `
Depends: libc, iptables, ip6tables, iptables-mod-conntrack-extra, iptables-mod-ipopt, iptables-mod-cluster, kmod-ipt-conntrack, kmod-ipt-ipset, kmod-nf-conntrack-netlink
Source: openwrt/loadbalance
SourceName: loadbalance
License: MIT
LicenseFiles: LICENSE
Section: net
SourceDateEpoch: 1700000000
URL: https://example.org/
Maintainer: A Person <person@example.org>
Architecture: mipsel_24kc
Installed-Size: 4711
Description:  Deals`
	got := p.control("mipsel_24kc", 4711, date)
	fields, description, _ := strings.Cut(got, " new connections")
	if fields != want {
		t.Errorf("got\n%s\nwant\n%s", fields, want)
	}
	for _, line := range strings.Split(strings.TrimSuffix(description, "\n"), "\n")[1:] {
		if !strings.HasPrefix(line, " ") || strings.HasPrefix(line, "  ") {
			t.Errorf("the description's line %q must start with one blank", line)
		}
	}
	p.maintainer, p.url = "", ""
	if got := p.control("x86_64", 1, date); strings.Contains(got, "Maintainer") || strings.Contains(got, "URL") {
		t.Errorf("fields without a value must be left out:\n%s", got)
	}
}

func TestControlArchive(t *testing.T) {
	b := testBuilder(t, root)
	ipk := fakeIPK(t, b, "aarch64_cortex-a53")
	outer := t.TempDir()
	output(t, "tar", "-xzf", ipk, "-C", outer)
	want := []string{
		"drwxr-xr-x " + stamp + " ./",
		"-rw-r--r-- " + stamp + " ./conffiles",
		"-rw-r--r-- " + stamp + " ./control",
		"-rwxr-xr-x " + stamp + " ./postinst",
		"-rwxr-xr-x " + stamp + " ./postrm",
		"-rwxr-xr-x " + stamp + " ./prerm",
		"-rwxr-xr-x " + stamp + " ./prerm-pkg",
	}
	if got := list(t, filepath.Join(outer, "control.tar.gz")); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	_, control := unpack(t, ipk)
	for name, want := range map[string]string{
		"conffiles": "/etc/config/loadbalance\n",
		"postinst":  defaultPostinst,
		"prerm":     defaultPrerm,
	} {
		got, err := os.ReadFile(filepath.Join(control, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
}

// prerm-pkg deletes the firewall's include when the package is removed, not
// when it is upgraded, and not in an image under construction.
func TestPrerm(t *testing.T) {
	b := testBuilder(t, root)
	_, control := unpack(t, fakeIPK(t, b, "x86_64"))
	script := filepath.Join(control, "prerm-pkg")
	for _, c := range []struct {
		name string
		env  string
		want string
	}{
		{"remove", "PKG_UPGRADE=", "uci -q delete firewall.loadbalance\nuci commit firewall\n"},
		{"upgrade", "PKG_UPGRADE=1", ""},
		{"image", "IPKG_INSTROOT=/some/root", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			bin := t.TempDir()
			fake := "#!/bin/sh\necho \"uci $*\"\n"
			if err := os.WriteFile(filepath.Join(bin, "uci"), []byte(fake), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("busybox", "ash", script)
			cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", c.env}
			got, err := cmd.CombinedOutput()
			if err != nil || string(got) != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

// postrm removes what the service has made when the package is removed, not when
// it is upgraded, and not in an image under construction.
func TestPostrm(t *testing.T) {
	_, control := unpack(t, fakeIPK(t, testBuilder(t, root), "x86_64"))
	for env, want := range map[string]string{
		"PKG_UPGRADE=":             "rm -rf /var/run/loadbalance /etc/loadbalance.d/usage.json\nrmdir /etc/loadbalance.d /usr/share/loadbalance\n",
		"PKG_UPGRADE=1":            "",
		"IPKG_INSTROOT=/some/root": "",
	} {
		// Functions, so that nothing of this machine is removed.
		cmd := exec.Command("busybox", "ash", "-c", `rm() { echo "rm $*"; }; rmdir() { echo "rmdir $*"; }; . "$0"`, filepath.Join(control, "postrm"))
		cmd.Env = []string{"PATH=/usr/bin:/bin", env}
		if got, err := cmd.CombinedOutput(); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", env, got, err, want)
		}
	}
}

// The uci-defaults script and prerm speak of the same section of the firewall.
func TestFirewallSection(t *testing.T) {
	b := testBuilder(t, root)
	scripts, err := filepath.Glob(filepath.Join(root, "files/etc/uci-defaults/*"))
	if err != nil {
		t.Fatal(err)
	}
	var added string
	for _, name := range scripts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		added += string(text)
	}
	if !strings.Contains(added, "uci set firewall.loadbalance='include'") {
		t.Errorf("no script in files/etc/uci-defaults adds firewall.loadbalance:\n%s", added)
	}
	if !strings.Contains(program(t, b).prerm, "uci -q delete firewall.loadbalance") {
		t.Errorf("prerm does not delete firewall.loadbalance:\n%s", program(t, b).prerm)
	}
}

// Two packages of the same files are equal, whatever times and modes the files
// have in the checkout and whatever the time zone is.
func TestReproducible(t *testing.T) {
	first, err := os.ReadFile(fakeIPK(t, testBuilder(t, root), "mipsel_24kc"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TZ", "Asia/Tokyo")
	b := testBuilder(t, root)
	old := time.Now().Add(-24 * time.Hour)
	err = filepath.WalkDir(b.sources(programDir), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"files/etc/config/loadbalance", "files/etc/init.d/loadbalance"} {
		if err := os.Chmod(filepath.Join(b.sources(programDir), name), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	second, err := os.ReadFile(fakeIPK(t, b, "mipsel_24kc"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Errorf("two packages of %d and %d bytes differ", len(first), len(second))
	}
}

func TestConffileMissing(t *testing.T) {
	b := testBuilder(t, root)
	if err := os.Remove(filepath.Join(b.sources(programDir), "files/etc/config/loadbalance")); err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	if err := os.WriteFile(filepath.Join(programs, "loadbalance"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	p := program(t, b)
	_, err := p.install(b.root, b.sources(p.dir), programs, filepath.Join(t.TempDir(), "root"))
	if err == nil || !strings.Contains(err.Error(), "/etc/config/loadbalance") {
		t.Errorf("got %v, want an error that names the missing conffile", err)
	}
}
