package dnsmasq

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/plan"
)

// server is a dnsmasq that reads some folders.
type server struct {
	dirs     []string
	restarts int
	failure  error // of a restart
}

func (s *server) Dirs() ([]string, error) { return s.dirs, nil }
func (s *server) Refusal() string         { return "" }
func (s *server) Restart() error          { s.restarts++; return s.failure }

func domains(names ...string) []plan.Domain {
	var list []plan.Domain
	for _, name := range names {
		list = append(list, plan.Domain{Name: name, Sets: []string{"lb_films", "lb_music"}})
	}
	return list
}

// TestRun goes through the life of the file: it is written in every folder,
// only when it differs, and removed when nothing is wanted.
func TestRun(t *testing.T) {
	s := &server{dirs: []string{t.TempDir(), t.TempDir() + "/later"}}
	const text = "# written by loadbalance\nipset=/example.org/lb_films,lb_music\n"
	steps := []struct {
		what     string
		want     []plan.Domain
		text     string
		restarts int
	}{
		{"nothing yet", nil, "", 0},
		{"written", domains("example.org"), text, 1},
		{"the same", domains("example.org"), text, 1},
		{"another", domains("example.org", "example.net"), text + "ipset=/example.net/lb_films,lb_music\n", 2},
		{"removed", nil, "", 3},
	}
	for _, step := range steps {
		have, err := Read(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := Run(Diff(step.want, have), s); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		for _, dir := range s.dirs {
			got, err := os.ReadFile(filepath.Join(dir, fileName))
			if err != nil && (step.text != "" || !errors.Is(err, fs.ErrNotExist)) || string(got) != step.text {
				t.Errorf("%s: %q, %v, want %q", step.what, got, err, step.text)
			}
		}
		if s.restarts != step.restarts {
			t.Errorf("%s: dnsmasq was started anew %d times, want %d", step.what, s.restarts, step.restarts)
		}
	}
}

// TestRunFails: dnsmasq is not started anew with half of the files.
func TestRunFails(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := &server{}
	if err := Run(Change{filepath.Join(blocked, fileName): "text"}, s); err == nil || s.restarts > 0 {
		t.Errorf("error %v, %d restarts", err, s.restarts)
	}
	s.dirs = []string{blocked}
	if _, err := Read(s); err == nil {
		t.Error("a folder that is none can be read")
	}
}

// TestRestartFails: our file goes, so that dnsmasq can start without it, and
// the next run tries again.
func TestRestartFails(t *testing.T) {
	s := &server{dirs: []string{t.TempDir()}, failure: errors.New("no")}
	for try := 1; try <= 2; try++ {
		have, err := Read(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := Run(Diff(domains("example.org"), have), s); !errors.Is(err, s.failure) || s.restarts != try {
			t.Errorf("error %v, %d restarts", err, s.restarts)
		}
		if left, err := os.ReadDir(s.dirs[0]); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}

func TestCommands(t *testing.T) {
	change := Change{"/tmp/b/loadbalance.conf": "", "/tmp/a/loadbalance.conf": "ipset=/example.org/lb_films\n"}
	want := []string{
		"cat >/tmp/a/loadbalance.conf <<'EOF'\nipset=/example.org/lb_films\nEOF",
		"rm /tmp/b/loadbalance.conf",
	}
	if got := change.Commands(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestDirs reads configurations as OpenWrt's init script writes them.
func TestDirs(t *testing.T) {
	tests := []struct {
		name           string
		configurations []string
		want           []string
	}{
		{"not started yet", nil, []string{"/tmp/dnsmasq.d"}},
		{"23.05", []string{"user=dnsmasq\nconf-dir=/tmp/dnsmasq.d\ngroup=dnsmasq\n"}, []string{"/tmp/dnsmasq.d"}},
		{"two instances", []string{"conf-dir=/tmp/dnsmasq.cfg01411c.d\n", "conf-dir=/tmp/dnsmasq.guest.d\n"},
			[]string{"/tmp/dnsmasq.cfg01411c.d", "/tmp/dnsmasq.guest.d"}},
		{"one folder for both", []string{"conf-dir=/etc/d\n", "conf-dir=/etc/d\n"}, []string{"/etc/d"}},
		{"with endings", []string{"conf-dir=/etc/d,*.conf\n"}, []string{"/etc/d"}},
		{"none named", []string{"#conf-dir=/etc/d\nconf-dir=\n"}, []string{"/tmp/dnsmasq.d"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var paths []string
			for i, text := range test.configurations {
				path := filepath.Join(t.TempDir(), "dnsmasq.conf."+string(rune('a'+i)))
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				paths = append(paths, path)
			}
			if got, err := dirsIn(paths); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
	if _, err := dirsIn([]string{t.TempDir() + "/missing"}); err == nil {
		t.Error("a configuration that cannot be read is no error")
	}
}

func TestRefusal(t *testing.T) {
	const version = "Dnsmasq version 2.90  Copyright (c) 2000-2024 Simon Kelley\nCompile time options: IPv6 GNU-getopt DHCP "
	tests := []struct{ name, script, want string }{
		{"full", "echo '" + version + "conntrack ipset nftset auth'", ""},
		{"without", "echo '" + version + "no-conntrack no-ipset no-nftset no-auth'", "this dnsmasq cannot fill ipsets"},
		{"not installed", "", "dnsmasq is not installed"},
		{"broken", "exit 3", "dnsmasq --version fails: exit status 3"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if test.script != "" {
				script := "#!/bin/sh\n" + test.script + "\n"
				if err := os.WriteFile(filepath.Join(dir, "dnsmasq"), []byte(script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", dir)
			got := Folder{}.Refusal()
			if !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestFolder(t *testing.T) {
	var told string
	f := Folder{Path: "/tmp/x", Notice: func(text string) { told = text }}
	if dirs, err := f.Dirs(); err != nil || !slices.Equal(dirs, []string{"/tmp/x"}) {
		t.Errorf("folders %q, %v", dirs, err)
	}
	if err := f.Restart(); err != nil || !strings.Contains(told, "/tmp/x/loadbalance.conf") {
		t.Errorf("told %q, %v", told, err)
	}
}
