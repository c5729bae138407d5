package sysctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"loadbalance/internal/plan"
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
	dir     string
	records map[string]Record // by path
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
	k := &Keeper{files: files, dir: dir, records: map[string]Record{}}
	content, err := os.ReadFile(k.file())
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, fmt.Errorf("original sysctl values: %w", err)
	}
	if err := json.Unmarshal(content, &k.records); err != nil {
		k.records = map[string]Record{}
		return k, fmt.Errorf("original sysctl values: %s is damaged: %w", k.file(), err)
	}
	if k.records == nil {
		k.records = map[string]Record{} // the file said null
	}
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
	return "sysctl -w " + name(o.path) + "=" + o.value
}

// Changes are operations in two steps: what is wanted, and what is restored.
type Changes struct {
	Set     []Op
	Restore []Op
}

// Empty says that all settings are as wanted.
func (c Changes) Empty() bool { return len(c.Set)+len(c.Restore) == 0 }

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
	for _, path := range k.paths() {
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
	switch {
	case current == w.Value && known:
		return nil, nil
	case current == w.Value && !assumeOurs:
		return nil, nil
	case current == w.Value:
		original, found, err := k.defaultValue(w.Path)
		if err != nil || !found {
			return nil, err
		}
		return &Op{path: w.Path, value: w.Value, record: &Record{Original: original, Ours: w.Value}}, nil
	case known && current == record.Ours:
		// We want another value than before; the original stays.
		return &Op{path: w.Path, value: w.Value, record: &Record{Original: record.Original, Ours: w.Value}, write: true}, nil
	}
	return &Op{path: w.Path, value: w.Value, record: &Record{Original: current, Ours: w.Value}, write: true}, nil
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
// run that is killed in between loses nothing. A setting that cannot be
// written does not keep the others from being written.
func (k *Keeper) Run(ops ...Op) error {
	dirty := false
	for _, o := range ops {
		if o.record != nil {
			k.records[o.path] = *o.record
			dirty = true
		}
	}
	if dirty {
		if err := k.save(); err != nil {
			return err
		}
	}
	var failed []error
	dirty = false
	for _, o := range ops {
		if err := k.write(o); err != nil {
			failed = append(failed, err)
			continue
		}
		if o.record == nil {
			delete(k.records, o.path)
			dirty = true
		}
	}
	if dirty {
		failed = append(failed, k.save())
	}
	return errors.Join(failed...)
}

func (k *Keeper) write(o Op) error {
	if !o.write {
		return nil
	}
	err := k.files.Write(o.path, o.value)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the device has gone in between
	}
	return err
}

func (k *Keeper) save() error {
	if err := k.replaceFile(); err != nil {
		return fmt.Errorf("original sysctl values: %w", err)
	}
	return nil
}

func (k *Keeper) replaceFile() error {
	if len(k.records) == 0 {
		err := os.Remove(k.file())
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	content, err := json.MarshalIndent(k.records, "", "\t")
	if err != nil {
		return err
	}
	temporary := k.file() + ".new"
	if err := os.WriteFile(temporary, append(content, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, k.file())
}

func (k *Keeper) file() string { return filepath.Join(k.dir, fileName) }

func (k *Keeper) paths() []string {
	paths := make([]string, 0, len(k.records))
	for path := range k.records {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}
