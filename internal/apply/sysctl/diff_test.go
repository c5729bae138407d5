package sysctl

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
)

// fakeFiles holds settings in memory. A path that is not there does not exist.
type fakeFiles struct {
	values map[string]string
}

func (f *fakeFiles) Read(path string) (string, error) {
	value, ok := f.values[path]
	if !ok {
		return "", fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return value, nil
}

func (f *fakeFiles) Write(path, value string) error {
	if _, ok := f.values[path]; !ok {
		return fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	f.values[path] = value
	return nil
}

// unreadable are settings that can only be written.
type unreadable struct{ *fakeFiles }

func (unreadable) Read(path string) (string, error) {
	return "", fmt.Errorf("%s: %w", path, fs.ErrPermission)
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

// apply makes the changes, records what is to be recorded, and returns the commands
// that it printed.
func apply(t *testing.T, records *map[string]rundir.Sysctl, files Files, wanted []plan.Sysctl, lost bool) []string {
	t.Helper()
	c := Diff(files.Read, *records, wanted, lost)
	var printed []string
	for _, op := range slices.Concat(c.Set, c.Restore) {
		printed = append(printed, op.String())
		if err := op.Run(files); err != nil {
			t.Fatal(err)
		}
	}
	if again := Diff(files.Read, c.Records, wanted, lost); !again.Empty() {
		t.Fatalf("a second run has something to do: %v %v", again.Set, again.Restore)
	}
	*records = c.After
	return printed
}

func TestSetAndRestore(t *testing.T) {
	records, files := map[string]rundir.Sysctl{}, fresh()
	before := maps.Clone(files.values)
	got := apply(t, &records, files, want(wan1, "2", wan2, "2", arp, "1", wan1, "2"), false)
	if want := []string{
		"sysctl -w net.ipv4.conf.wan1.rp_filter=2",
		"sysctl -w net.ipv4.conf.wan2.rp_filter=2",
		"sysctl -w net.ipv4.conf.all.arp_ignore=1",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got = apply(t, &records, files, want(wan1, "2"), false)
	if want := []string{
		"sysctl -w net.ipv4.conf.all.arp_ignore=0",
		"sysctl -w net.ipv4.conf.wan2.rp_filter=0",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	apply(t, &records, files, nil, false)
	if !maps.Equal(files.values, before) {
		t.Errorf("after the stop: %v, before the start: %v", files.values, before)
	}
	if len(records) != 0 {
		t.Errorf("records are left: %v", records)
	}
}

func TestCases(t *testing.T) {
	tests := map[string]struct {
		run  func(t *testing.T, records *map[string]rundir.Sysctl, files *fakeFiles)
		want map[string]string // values after a stop
	}{
		"a value that is as wanted from the beginning is never touched": {
			run: func(t *testing.T, records *map[string]rundir.Sysctl, files *fakeFiles) {
				files.values[wan1] = "2"
				apply(t, records, files, want(wan1, "2"), false)
			},
			want: map[string]string{wan1: "2"},
		},
		"somebody changed it after us: his value stays": {
			run: func(t *testing.T, records *map[string]rundir.Sysctl, files *fakeFiles) {
				apply(t, records, files, want(arp, "1"), false)
				files.values[arp] = "8"
			},
			want: map[string]string{arp: "8"},
		},
		"somebody changed it and we set it again: his value is the original": {
			run: func(t *testing.T, records *map[string]rundir.Sysctl, files *fakeFiles) {
				apply(t, records, files, want(arp, "1"), false)
				files.values[arp] = "8"
				apply(t, records, files, want(arp, "1"), false)
			},
			want: map[string]string{arp: "8"},
		},
		"we want another value: the original stays the first one": {
			run: func(t *testing.T, records *map[string]rundir.Sysctl, files *fakeFiles) {
				apply(t, records, files, want(wan1, "2"), false)
				apply(t, records, files, want(wan1, "0"), false)
			},
			want: map[string]string{wan1: "1"},
		},
		"the device vanished": {
			run: func(t *testing.T, records *map[string]rundir.Sysctl, files *fakeFiles) {
				apply(t, records, files, want(wan1, "2"), false)
				delete(files.values, wan1)
				apply(t, records, files, want(wan1, "2"), false)
			},
			want: map[string]string{},
		},
		"the device came back with another value": {
			run: func(t *testing.T, records *map[string]rundir.Sysctl, files *fakeFiles) {
				apply(t, records, files, want(wan2, "2"), false)
				files.values[wan2] = "1"
				apply(t, records, files, want(wan2, "2"), false)
			},
			want: map[string]string{wan2: "1"},
		},
		"the records were lost: conf.default": {
			run: func(t *testing.T, records *map[string]rundir.Sysctl, files *fakeFiles) {
				apply(t, records, files, want(wan2, "2", arp, "1"), false)
				*records = nil
				apply(t, records, files, want(wan2, "2", arp, "1"), true)
			},
			want: map[string]string{wan2: "1", arp: "0"},
		},
		"a killed run wrote the record only": {
			run: func(t *testing.T, records *map[string]rundir.Sysctl, files *fakeFiles) {
				(*records)[wan1] = rundir.Sysctl{Original: "1", Ours: "2"}
			},
			want: map[string]string{wan1: "1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			records, files := map[string]rundir.Sysctl{}, fresh()
			tt.run(t, &records, files)
			apply(t, &records, files, nil, false)
			for path, value := range tt.want {
				if files.values[path] != value {
					t.Errorf("%s is %q after the stop, want %q", path, files.values[path], value)
				}
			}
			if len(records) != 0 {
				t.Errorf("records are left: %v", records)
			}
		})
	}
}

// TestUnreadable: one that cannot be read is written, and is never restored.
func TestUnreadable(t *testing.T) {
	files := unreadable{fresh()}
	c := Diff(files.Read, nil, want(wan1, "2"), false)
	if len(c.Set) != 1 || c.Set[0].Run(files) != nil || files.values[wan1] != "2" {
		t.Errorf("%v, then %s", c.Set, files.values[wan1])
	}
	if c = Diff(files.Read, c.Records, nil, false); !c.Empty() {
		t.Errorf("restored: %v", c.Restore)
	}
}

// TestMissingRecord: one that is missing is no change.
func TestMissingRecord(t *testing.T) {
	files := fresh()
	files.values[wan2] = "2"
	c := Diff(files.Read, nil, want(wan2, "2"), true)
	if !c.Empty() || c.Records[wan2] != (rundir.Sysctl{Original: "1", Ours: "2"}) {
		t.Errorf("%v, records %v", c, c.Records)
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
