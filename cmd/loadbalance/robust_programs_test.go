package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
)

// programs is a folder that takes the place of PATH: what is not in it cannot
// be started by name.
type programs struct {
	t   *testing.T
	dir string
}

// newPrograms makes an empty folder.
func newPrograms(t *testing.T) programs { return programs{t, t.TempDir()} }

// env is an environment with the folder as PATH.
func (p programs) env() []string { return []string{"PATH=" + p.bin()} }

func (p programs) bin() string { return filepath.Join(p.dir, "bin") }

// link lets programs be started as they are.
func (p programs) link(names ...string) {
	p.t.Helper()
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err == nil {
			err = errors.Join(os.MkdirAll(p.bin(), 0o755), os.Symlink(path, filepath.Join(p.bin(), name)))
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// script puts a shell script in the place of a program. "$0" is its name and
// REAL in the text becomes the program's path.
func (p programs) script(name, text string) {
	p.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		p.t.Fatal(err)
	}
	text = "#!/bin/sh\n" + strings.ReplaceAll(text, "REAL", path) + "\n"
	// A script that is replaced may be running.
	file := filepath.Join(p.bin(), name)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(p.bin(), 0o755), netlab.WriteFile(file, []byte(text), 0o755)); err != nil {
		p.t.Fatal(err)
	}
}

// iptablesPrograms are those of one back end for both families.
func iptablesPrograms(backend string) []string {
	var names []string
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			names = append(names, family+"-"+backend+suffix)
		}
	}
	return names
}

// count makes every program that an apply could possibly start note its start.
func (p programs) count() {
	p.t.Helper()
	names := slices.Concat(iptablesPrograms("nft"), iptablesPrograms("legacy"),
		[]string{"iptables", "ip6tables", "iptables-save", "ip6tables-save", "iptables-restore", "ip6tables-restore",
			"ip", "ipset", "nft", "conntrack", "tc", "sysctl", "modprobe", "sh"})
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			p.script(name, fmt.Sprintf("echo \"${0##*/} $*\" >> %s\nexec REAL \"$@\"", p.log()))
		}
	}
}

func (p programs) log() string { return filepath.Join(p.dir, "log") }

// started returns what was started since the last call, one in each line.
func (p programs) started() []string {
	p.t.Helper()
	text, err := os.ReadFile(p.log())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Remove(p.log())
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// record makes the restore programs of a back end keep their input before
// they do their work.
func (p programs) record(backend string) {
	p.t.Helper()
	p.link("iptables-"+backend+"-save", "ip6tables-"+backend+"-save")
	cat, err := exec.LookPath("cat")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, name := range []string{"iptables-" + backend + "-restore", "ip6tables-" + backend + "-restore"} {
		input := filepath.Join(p.dir, "input.$$")
		p.script(name, fmt.Sprintf("%s > %s\nexec REAL \"$@\" < %s", cat, input, input))
	}
}

// inputs returns the inputs recorded since the last call, in no certain order.
func (p programs) inputs() []string {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "input.*"))
	if err != nil {
		p.t.Fatal(err)
	}
	var inputs []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err = errors.Join(err, os.Remove(file)); err != nil {
			p.t.Fatal(err)
		}
		inputs = append(inputs, string(text))
	}
	slices.Sort(inputs)
	return inputs
}
