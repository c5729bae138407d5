package sysctl

import (
	"errors"
	"io/fs"
	"maps"
	"slices"

	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
	"loadbalance/internal/shell"
)

// Op writes a setting.
type Op struct{ path, value string }

// String returns the command that a person would type for the same change.
func (o Op) String() string { return "sysctl -w " + shell.Quote(name(o.path)+"="+o.value) }

// Run makes the change. That the device has gone is no error.
func (o Op) Run(files Files) error {
	if err := files.Write(o.path, o.value); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Changes are operations in two steps: what is wanted, and what is restored.
type Changes struct {
	Set     []Op
	Restore []Op
	// Records are those to have before anything changes, so that a run that is
	// killed loses nothing, and After those to have when all was restored.
	Records, After map[string]rundir.Sysctl
}

// Empty says that all settings are as wanted.
func (c Changes) Empty() bool { return len(c.Set)+len(c.Restore) == 0 }

// Diff returns what gives every wanted setting its value and restores those
// that we once changed, as the records tell, and that are no longer wanted.
//
// A setting is restored only while it has the value that we wrote: a value
// that somebody else gave it since then is theirs and stays. Settings of
// devices that are gone are forgotten.
//
// lost says that we ran before and that the records of that are gone: a wanted
// setting without a record that has the wanted value already then counts as
// changed by us, with conf.default's value as its original. Otherwise such a value
// is the administrator's and stays for ever.
func Diff(read func(path string) (string, error), records map[string]rundir.Sysctl, wanted []plan.Sysctl, lost bool) Changes {
	c := Changes{Records: map[string]rundir.Sysctl{}}
	maps.Copy(c.Records, records)
	keep := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		if !keep[w.Path] {
			keep[w.Path] = true
			c.set(read, w, lost)
		}
	}
	c.After = maps.Clone(c.Records)
	for _, path := range slices.Sorted(maps.Keys(records)) {
		if keep[path] {
			continue
		}
		delete(c.After, path)
		record := records[path]
		if current, err := read(path); err == nil && current == record.Ours && current != record.Original {
			c.Restore = append(c.Restore, Op{path, record.Original})
		}
	}
	return c
}

// set gives a setting its value, if its device exists. One that cannot be read is
// written all the same: the error says why.
func (c *Changes) set(read func(path string) (string, error), w plan.Sysctl, lost bool) {
	current, err := read(w.Path)
	record, known := c.Records[w.Path]
	original := current
	switch {
	case errors.Is(err, fs.ErrNotExist), current == w.Value && (known || !lost):
		return
	case current == w.Value:
		if original, err = read(defaultOf(w.Path)); err != nil {
			return
		}
	case known && current == record.Ours:
		original = record.Original // we want another value than before
	}
	c.Records[w.Path] = rundir.Sysctl{Original: original, Ours: w.Value}
	if current != w.Value {
		c.Set = append(c.Set, Op{w.Path, w.Value})
	}
}
