package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/plan"
)

// fakeFiles holds settings in memory. A path that is not there does not exist.
type fakeFiles struct {
	values  map[string]string
	onWrite func() // called before each write
}

func (f *fakeFiles) Read(path string) (string, error) {
	value, ok := f.values[path]
	if !ok {
		return "", fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return value, nil
}

func (f *fakeFiles) Write(path, value string) error {
	if f.onWrite != nil {
		f.onWrite()
	}
	if _, ok := f.values[path]; !ok {
		return fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	f.values[path] = value
	return nil
}

const (
	wan1 = "net/ipv4/conf/wan1/rp_filter"
	wan2 = "net/ipv4/conf/wan2/rp_filter"
	arp  = "net/ipv4/conf/all/arp_ignore"
)

func fresh() *fakeFiles {
	return &fakeFiles{values: map[string]string{
		wan1: "1", wan2: "0", arp: "0",
		"net/ipv4/conf/default/rp_filter":  "1",
		"net/ipv4/conf/default/arp_ignore": "0",
	}}
}

func want(pairs ...string) []plan.Sysctl {
	var list []plan.Sysctl
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, plan.Sysctl{Path: pairs[i], Value: pairs[i+1]})
	}
	return list
}

// apply opens the records anew, as another process would, and returns the
// commands that it printed.
func apply(t *testing.T, dir string, files Files, wanted []plan.Sysctl, assumeOurs bool) []string {
	t.Helper()
	k, err := Open(dir, files)
	if err != nil {
		t.Fatal(err)
	}
	c, err := k.Diff(wanted, assumeOurs)
	if err != nil {
		t.Fatal(err)
	}
	var printed []string
	for _, op := range slices.Concat(c.Set, c.Restore) {
		if text := op.String(); text != "" {
			printed = append(printed, text)
		}
	}
	if err := k.Run(slices.Concat(c.Set, c.Restore)...); err != nil {
		t.Fatal(err)
	}
	if again, err := k.Diff(wanted, assumeOurs); err != nil || !again.Empty() {
		t.Fatalf("a second run has something to do: %v %v, error %v", again.Set, again.Restore, err)
	}
	return printed
}

func TestSetAndRestore(t *testing.T) {
	dir, files := t.TempDir(), fresh()
	before := maps.Clone(files.values)
	got := apply(t, dir, files, want(wan1, "2", wan2, "2", arp, "1", wan1, "2"), false)
	if want := []string{
		"sysctl -w net.ipv4.conf.wan1.rp_filter=2",
		"sysctl -w net.ipv4.conf.wan2.rp_filter=2",
		"sysctl -w net.ipv4.conf.all.arp_ignore=1",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got = apply(t, dir, files, want(wan1, "2"), false)
	if want := []string{
		"sysctl -w net.ipv4.conf.all.arp_ignore=0",
		"sysctl -w net.ipv4.conf.wan2.rp_filter=0",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	apply(t, dir, files, nil, false)
	if !maps.Equal(files.values, before) {
		t.Errorf("after the stop: %v, before the start: %v", files.values, before)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("files are left in the run directory: %v", left)
	}
}

func TestCases(t *testing.T) {
	tests := map[string]struct {
		run  func(t *testing.T, dir string, files *fakeFiles)
		want map[string]string // values after a stop
	}{
		"a value that is as wanted from the beginning is never touched": {
			run: func(t *testing.T, dir string, files *fakeFiles) {
				files.values[wan1] = "2"
				apply(t, dir, files, want(wan1, "2"), false)
			},
			want: map[string]string{wan1: "2"},
		},
		"somebody changed it after us: his value stays": {
			run: func(t *testing.T, dir string, files *fakeFiles) {
				apply(t, dir, files, want(arp, "1"), false)
				files.values[arp] = "8"
			},
			want: map[string]string{arp: "8"},
		},
		"somebody changed it and we set it again: his value is the original": {
			run: func(t *testing.T, dir string, files *fakeFiles) {
				apply(t, dir, files, want(arp, "1"), false)
				files.values[arp] = "8"
				apply(t, dir, files, want(arp, "1"), false)
			},
			want: map[string]string{arp: "8"},
		},
		"we want another value: the original stays the first one": {
			run: func(t *testing.T, dir string, files *fakeFiles) {
				apply(t, dir, files, want(wan1, "2"), false)
				apply(t, dir, files, want(wan1, "0"), false)
			},
			want: map[string]string{wan1: "1"},
		},
		"the device vanished": {
			run: func(t *testing.T, dir string, files *fakeFiles) {
				apply(t, dir, files, want(wan1, "2"), false)
				delete(files.values, wan1)
				apply(t, dir, files, want(wan1, "2"), false)
			},
			want: map[string]string{},
		},
		"the device came back with another value": {
			run: func(t *testing.T, dir string, files *fakeFiles) {
				apply(t, dir, files, want(wan2, "2"), false)
				files.values[wan2] = "1"
				apply(t, dir, files, want(wan2, "2"), false)
			},
			want: map[string]string{wan2: "1"},
		},
		"the records were lost: conf.default": {
			run: func(t *testing.T, dir string, files *fakeFiles) {
				apply(t, dir, files, want(wan2, "2", arp, "1"), false)
				if err := os.Remove(filepath.Join(dir, fileName)); err != nil {
					t.Fatal(err)
				}
				apply(t, dir, files, want(wan2, "2", arp, "1"), true)
			},
			want: map[string]string{wan2: "1", arp: "0"},
		},
		"a killed run wrote the record only": {
			run: func(t *testing.T, dir string, files *fakeFiles) {
				k, err := Open(dir, files)
				if err != nil {
					t.Fatal(err)
				}
				k.records[wan1] = Record{Original: "1", Ours: "2"}
				if err := k.save(); err != nil {
					t.Fatal(err)
				}
			},
			want: map[string]string{wan1: "1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir, files := t.TempDir(), fresh()
			tt.run(t, dir, files)
			apply(t, dir, files, nil, false)
			for path, value := range tt.want {
				if files.values[path] != value {
					t.Errorf("%s is %q after the stop, want %q", path, files.values[path], value)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, fileName)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("records are left: %v", err)
			}
		})
	}
}

func TestRecordIsWrittenFirst(t *testing.T) {
	dir, files := t.TempDir(), fresh()
	var seen string
	files.onWrite = func() {
		content, _ := os.ReadFile(filepath.Join(dir, fileName))
		seen = string(content)
	}
	apply(t, dir, files, want(wan1, "2"), false)
	if !strings.Contains(seen, wan1) || !strings.Contains(seen, `"original": "1"`) {
		t.Errorf("the file held %q when the setting was changed", seen)
	}
	seen = ""
	apply(t, dir, files, nil, false)
	if !strings.Contains(seen, wan1) {
		t.Errorf("the file held %q when the setting was restored", seen)
	}
}

func TestDamagedRecords(t *testing.T) {
	for _, content := range []string{"", "{", "[]", `{"a": 1}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		k, err := Open(dir, fresh())
		if err == nil || !strings.Contains(err.Error(), fileName) {
			t.Errorf("%q: error %v does not name the file", content, err)
		}
		if c, err := k.Diff(want(wan1, "2"), false); err != nil || len(c.Set) != 1 {
			t.Errorf("%q: the keeper is not usable: %v, %v", content, c, err)
		}
	}
}

// TestUnwritableDirectory: packets depend on the setting, nobody on the record.
func TestUnwritableDirectory(t *testing.T) {
	files := fresh()
	k, err := Open(filepath.Join(t.TempDir(), "missing"), files)
	if err != nil {
		t.Fatal(err)
	}
	c, err := k.Diff(want(wan1, "2"), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Run(c.Set...); err == nil {
		t.Error("no error")
	}
	if files.values[wan1] != "2" {
		t.Errorf("the setting is %s", files.values[wan1])
	}
	files.values[wan2] = "2"
	if c, err = k.Diff(want(wan1, "2", wan2, "2"), true); err != nil || !c.Empty() {
		t.Errorf("a record that is missing is a change: %v, %v", c, err)
	}
}

func TestName(t *testing.T) {
	for path, want := range map[string]string{
		"net/ipv4/conf/wan1/rp_filter":     "net.ipv4.conf.wan1.rp_filter",
		"net/ipv4/conf/eth0.100/rp_filter": "net.ipv4.conf.eth0/100.rp_filter",
	} {
		if got := name(path); got != want {
			t.Errorf("%s is printed as %s, want %s", path, got, want)
		}
	}
}
