package lifecycle

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// binaries are two versions of the program, built once from this checkout.
var binaries struct{ old, next string }

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // as OpenWrt's init has it, whatever this machine's user has
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "loadbalance-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries.old, binaries.next = filepath.Join(dir, "1.0"), filepath.Join(dir, "1.1")
	for _, file := range []string{binaries.old, binaries.next} {
		build := exec.Command("go", "build", "-o", file,
			"-ldflags", "-X loadbalance/internal/cli.Version="+filepath.Base(file), "loadbalance/cmd/loadbalance")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, output)
			return 1
		}
	}
	return m.Run()
}

// overlay is what the package puts into the root file system, besides the
// program.
const overlay = "../../files"

// conffile is kept when the package is upgraded or removed.
const conffile = "etc/config/loadbalance"

// mode is the one that a file of the package has: that of INSTALL_BIN,
// INSTALL_CONF or INSTALL_DATA.
func mode(name string) fs.FileMode {
	switch strings.Split(name, "/")[1] {
	case "init.d", "uci-defaults", "libexec":
		return 0o755
	case "config":
		return 0o600
	}
	return 0o644
}

// unpack puts the files of the package in place and lists them, as opkg does
// before it runs the scripts. A configuration that is there stays.
func (d *device) unpack(binary string) {
	d.t.Helper()
	var list []string
	err := filepath.WalkDir(overlay, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(overlay, file)
		if err != nil {
			return err
		}
		list = append(list, "/"+name)
		if _, err := os.Stat(d.file(name)); name == conffile && err == nil {
			return nil
		}
		return copyFile(file, d.file(name), mode(name))
	})
	check(d.t, err)
	check(d.t, copyFile(binary, d.file("usr/sbin/loadbalance"), 0o755))
	for script, file := range map[string]string{"prerm": "prerm-pkg", "postrm": "postrm"} {
		text, err := packageScript(script)
		check(d.t, err)
		d.write("usr/lib/opkg/info/loadbalance."+file, text)
	}
	list = append(list, "/usr/sbin/loadbalance")
	d.write("usr/lib/opkg/info/loadbalance.list", strings.Join(list, "\n")+"\n")
}

// packageScript is a script of the package, as its Makefile defines it.
func packageScript(name string) (string, error) {
	text, err := os.ReadFile("../loadbalance/Makefile")
	if err != nil {
		return "", err
	}
	_, script, found := strings.Cut(string(text), "define Package/loadbalance/"+name+"\n")
	script, _, ended := strings.Cut(script, "endef\n")
	if !found || !ended {
		return "", fmt.Errorf("the package has no %s", name)
	}
	return strings.ReplaceAll(script, "$$", "$"), nil
}

// install installs the package.
func (d *device) install() {
	d.t.Helper()
	d.unpack(binaries.old)
	d.sh(". /lib/functions.sh; default_postinst loadbalance.postinst")
}

// upgrade replaces it by the next version, as opkg does.
func (d *device) upgrade() {
	d.t.Helper()
	d.sh(". /lib/functions.sh; default_prerm loadbalance.prerm", "PKG_UPGRADE=1")
	d.unpack(binaries.next)
	d.sh(". /lib/functions.sh; default_postinst loadbalance.postinst", "PKG_UPGRADE=1")
}

// upgradeByAPK replaces it by another build, as apk does, which runs no script of
// the version before.
func (d *device) upgradeByAPK() {
	d.t.Helper()
	d.unpack(binaries.old)
	d.sh(". /lib/functions.sh; default_postinst loadbalance.postinst", "PKG_UPGRADE=1")
}

// remove removes it; an edited configuration stays.
func (d *device) remove() {
	d.t.Helper()
	d.sh(". /lib/functions.sh; default_prerm loadbalance.prerm")
	d.sh("grep -v '^/" + conffile + "$' /usr/lib/opkg/info/loadbalance.list | xargs rm -f; " +
		"sh /usr/lib/opkg/info/loadbalance.postrm; rm -f /usr/lib/opkg/info/loadbalance.*")
}
