package sysctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
	"loadbalance/internal/shell"
)

// fileName is the record's name in the run directory.
const fileName = "sysctls.json"

// Record is a setting that we changed.
type Record struct {
	// Original is the value that we found and overwrote.
	Original string `json:"original"`
	// Ours is the value that we wrote.
	Ours string `json:"ours"`
}

// Keeper knows the original values of the settings that we changed. It is not
// safe for use by several goroutines; the apply lock keeps processes apart.
type Keeper struct {
	files   Files
	dir     rundir.Dir
	records map[string]Record // by path
	// Lost says that there were records that cannot be read.
	Lost bool
}

// Without returns a keeper without records, for a kernel that nobody has
// changed. Its changes must not be run.
func Without(files Files) *Keeper {
	return &Keeper{files: files, records: map[string]Record{}}
}

// Open reads the records from the run directory. No file means no records. A
// damaged file is an error that names it, along with a Keeper that can be used
// and has no records.
func Open(dir string, files Files) (*Keeper, error) {
	k := Without(files)
	k.dir = rundir.Dir(dir)
	content, err := k.dir.Load(fileName)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		k.Lost = true
		return k, err
	}
	var records map[string]Record
	if err := json.Unmarshal(content, &records); err != nil {
		k.Lost = true
		return k, fmt.Errorf("original sysctl values: %s in %s is damaged: %w", fileName, dir, err)
	}
	maps.Copy(k.records, records)
	return k, nil
}

// Op is one change of one setting.
type Op struct {
	path  string
	value string
	// record is what to remember, nil to forget.
	record *Record
	// write is false where only the record changes.
	write bool
}

// String returns the command that a person would type for the same change, ""
// where only our record of the setting changes.
func (o Op) String() string {
	if !o.write {
		return ""
	}
	return "sysctl -w " + shell.Quote(name(o.path)+"="+o.value)
}

// Changes are operations in two steps: what is wanted, and what is restored.
type Changes struct {
	Set     []Op
	Restore []Op
}

// Empty says that all settings are as wanted. Records may be missing all the same.
func (c Changes) Empty() bool {
	return !slices.ContainsFunc(slices.Concat(c.Set, c.Restore), func(o Op) bool { return o.write })
}

// Diff returns what gives every wanted setting its value and restores those
// that we once changed and that are no longer wanted.
//
// A setting is restored only while it has the value that we wrote: a value
// that somebody else gave it since then is theirs and stays. Settings of
// devices that are gone are forgotten.
//
// assumeOurs says that the kernel holds other objects of ours, so that we ran
// before; a wanted setting without a record that has the wanted value already
// then counts as changed by us, with conf.default's value as its original.
// Otherwise such a value is the administrator's and stays for ever.
func (k *Keeper) Diff(wanted []plan.Sysctl, assumeOurs bool) (Changes, error) {
	var c Changes
	keep := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		if keep[w.Path] {
			continue
		}
		keep[w.Path] = true
		op, err := k.set(w, assumeOurs)
		if err != nil {
			return Changes{}, err
		}
		if op != nil {
			c.Set = append(c.Set, *op)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(k.records)) {
		if keep[path] {
			continue
		}
		op, err := k.restore(path)
		if err != nil {
			return Changes{}, err
		}
		c.Restore = append(c.Restore, op)
	}
	return c, nil
}

// set returns the operation for a wanted setting, nil if there is nothing to
// do or the device does not exist.
func (k *Keeper) set(w plan.Sysctl, assumeOurs bool) (*Op, error) {
	current, err := k.files.Read(w.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	record, known := k.records[w.Path]
	original := current
	switch {
	case current == w.Value && (known || !assumeOurs):
		return nil, nil
	case current == w.Value:
		var found bool
		if original, found, err = k.defaultValue(w.Path); err != nil || !found {
			return nil, err
		}
	case known && current == record.Ours:
		original = record.Original // we want another value than before
	}
	return &Op{path: w.Path, value: w.Value, record: &Record{Original: original, Ours: w.Value}, write: current != w.Value}, nil
}

// restore returns the operation for a setting that is no longer wanted.
func (k *Keeper) restore(path string) (Op, error) {
	record := k.records[path]
	current, err := k.files.Read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Op{}, err
	}
	mine := err == nil && current == record.Ours
	return Op{path: path, value: record.Original, write: mine && current != record.Original}, nil
}

func (k *Keeper) defaultValue(path string) (value string, found bool, err error) {
	source, ok := defaultOf(path)
	if !ok {
		return "", false, nil
	}
	value, err = k.files.Read(source)
	return value, err == nil, err
}

// Run makes the changes. The records of original values are on the disk before
// any setting changes, and are deleted only after all were restored, so that a
// run that is killed in between loses nothing. Where they cannot be kept, the
// settings change all the same: packets depend on them. A setting that cannot be
// written does not keep the others from being written.
func (k *Keeper) Run(ops ...Op) error {
	dirty := k.Lost
	for _, o := range ops {
		if o.record != nil {
			k.records[o.path] = *o.record
			dirty = true
		}
	}
	var failed []error
	if dirty {
		// Without records a stop leaves what it cannot know.
		failed = append(failed, k.save())
	}
	known := len(k.records)
	for _, o := range ops {
		if o.write {
			err := k.files.Write(o.path, o.value)
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // the device may have gone in between
				failed = append(failed, err)
				continue
			}
		}
		if o.record == nil {
			delete(k.records, o.path)
		}
	}
	if len(k.records) < known {
		failed = append(failed, k.save())
	}
	return errors.Join(failed...)
}

func (k *Keeper) save() error {
	var content []byte
	if len(k.records) > 0 {
		content, _ = json.MarshalIndent(k.records, "", "\t") // of strings: never fails
	}
	if err := k.dir.Save(fileName, content); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	return nil
}
