package lifecycle

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"loadbalance/internal/netlab"
)

// programs are copied from this machine into the private root: what OpenWrt has
// too, and the firewall and the product start.
var programs = []string{
	"busybox", "flock", "nft",
	"xtables-nft-multi", "xtables-legacy-multi",
}

// binDir is where they go: busybox's shell finds them before its own commands
// of the same name.
const binDir = "usr/sbin"

// path is the one that OpenWrt's processes have.
const path = "/usr/sbin:/usr/bin:/sbin:/bin"

// buildRoot fills a folder with an OpenWrt of stand-ins. Files that later belong
// to the package are not among them.
func buildRoot(root, backend string) error {
	for _, dir := range []string{
		"dev", "etc/config", "etc/rc.d", "etc/uci-defaults", "etc/hotplug.d/iface", "etc/iproute2", "lib", "proc", "run",
		"tmp", "usr/lib/opkg/info", "usr/share", "var/lock", "var/run/procd", binDir,
	} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	for _, program := range programs {
		if err := copyProgram(root, program); err != nil {
			return err
		}
	}
	if err := copyPlugins(root); err != nil {
		return err
	}
	if err := linkCommands(root, backend); err != nil {
		return err
	}
	return copyTree("testdata/root", root, func(string) fs.FileMode { return 0o755 })
}

// linkCommands makes the names under which busybox and iptables are called;
// iptables without a back end in its name is the chosen one, as the
// alternatives of OpenWrt's packages make it.
func linkCommands(root, backend string) error {
	applets, err := exec.Command("busybox", "--list").Output()
	if err != nil {
		return fmt.Errorf("busybox --list: %w", err)
	}
	links := map[string]string{}
	for _, applet := range strings.Fields(string(applets)) {
		links["bin/"+applet] = "/" + binDir + "/busybox"
	}
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			links[binDir+"/"+name+"-nft"+suffix] = "xtables-nft-multi"
			links[binDir+"/"+name+"-legacy"+suffix] = "xtables-legacy-multi"
			links[binDir+"/"+name+suffix] = "xtables-" + backend + "-multi"
		}
	}
	for name, target := range links {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, file); err != nil {
			return err
		}
	}
	return nil
}

// copyProgram copies a program and the libraries that it names.
func copyProgram(root, name string) error {
	file, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("the test needs the program %s: %w", name, err)
	}
	if err := copyFile(file, filepath.Join(root, binDir, name), 0o755); err != nil {
		return err
	}
	return copyLibraries(root, file)
}

// copyLibraries copies the libraries that programs or plugins name.
func copyLibraries(root string, files ...string) error {
	// It fails where a program is static and needs nothing.
	list, _ := exec.Command("ldd", files...).Output()
	copied := map[string]bool{}
	for _, word := range strings.Fields(string(list)) {
		if !strings.HasPrefix(word, "/") || strings.HasSuffix(word, ":") || copied[word] {
			continue
		}
		if err := copyFile(word, filepath.Join(root, word), 0o755); err != nil {
			return err
		}
		copied[word] = true
	}
	return nil
}

// copyPlugins copies iptables' matches and targets, which it loads by itself.
func copyPlugins(root string) error {
	var plugins []string
	for _, pattern := range []string{"/usr/lib/*/xtables/*.so", "/usr/lib/xtables/*.so", "/usr/lib64/xtables/*.so"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		plugins = append(plugins, found...)
	}
	for _, plugin := range plugins {
		if err := copyFile(plugin, filepath.Join(root, plugin), 0o644); err != nil {
			return err
		}
	}
	return copyLibraries(root, plugins...)
}

// copyTree copies the files of a folder with the modes that mode gives them.
func copyTree(from, to string, mode func(name string) fs.FileMode) error {
	return filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		return copyFile(file, filepath.Join(to, name), mode(name))
	})
}

// copyFile replaces a file, also one that is being executed.
func copyFile(from, to string, mode fs.FileMode) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := netlab.WriteFile(to+".new", text, mode); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}
