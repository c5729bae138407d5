// Package dnsmasq lets dnsmasq enter the addresses of domains into our sets. It
// owns one file, loadbalance.conf, in the folders from which dnsmasq reads more
// of its configuration, and knows how dnsmasq is made to read it.
package dnsmasq

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
	"loadbalance/internal/shell"
)

// fileName is our file; dnsmasq reads every file of the folder.
const fileName = "loadbalance.conf"

// Server is the dnsmasq whose files we write.
type Server interface {
	// Dirs are the folders from which it reads more of its configuration.
	Dirs() ([]string, error)
	// Refusal says why it cannot fill sets; "" if it can.
	Refusal() string
	// Restart makes it read them anew.
	Restart() error
}

// Files are the texts of our file, by path; "" where there is none.
type Files map[string]string

// None are the files of a dnsmasq that has none of ours.
func None() Files { return Files{filepath.Join(fallback, fileName): ""} }

// Read reads what is there of ours.
func Read(s Server) (Files, error) {
	dirs, err := s.Dirs()
	if err != nil {
		return nil, err
	}
	files := Files{}
	for _, dir := range dirs {
		path := filepath.Join(dir, fileName)
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		files[path] = string(text)
	}
	return files, nil
}

// Change is what brings the files to a plan: their new texts, "" for those to
// be removed.
type Change Files

// Diff compares a plan with what is there.
func Diff(want []plan.Domain, have Files) Change {
	text := Text(want)
	change := Change{}
	for path, old := range have {
		if old != text {
			change[path] = text
		}
	}
	return change
}

// Empty says that dnsmasq has what the plan wants.
func (c Change) Empty() bool { return len(c) == 0 }

// Commands writes the change as the commands that a person would type.
func (c Change) Commands() []string {
	var commands []string
	for _, path := range slices.Sorted(maps.Keys(c)) {
		if c[path] == "" {
			commands = append(commands, "rm "+shell.Quote(path))
			continue
		}
		commands = append(commands, shell.Input("cat >"+shell.Quote(path), c[path]))
	}
	return commands
}

// Text is the file as dnsmasq reads it; "" when no domain is wanted. A domain
// stands for the names below it too.
func Text(domains []plan.Domain) string {
	if len(domains) == 0 {
		return ""
	}
	var text strings.Builder
	text.WriteString("# written by loadbalance\n")
	for _, d := range domains {
		fmt.Fprintf(&text, "ipset=/%s/%s\n", d.Name, strings.Join(d.Sets, ","))
	}
	return text.String()
}

// Run makes the change, and lets dnsmasq read it. The sets must be there: what
// dnsmasq has in its cache it does not enter later. When dnsmasq cannot be
// restarted, our files go: they may be the reason, and the next run shall try
// again.
func Run(c Change, s Server) error {
	if c.Empty() {
		return nil
	}
	for path, text := range c {
		if err := write(path, text); err != nil {
			return err
		}
	}
	err := s.Restart()
	if err == nil {
		return nil
	}
	for path, text := range c {
		if text != "" {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

func write(path, text string) error {
	if text == "" {
		return os.Remove(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return rundir.WriteFile(path, []byte(text))
}
