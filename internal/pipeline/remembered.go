package pipeline

import (
	"encoding/json"
	"time"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/rundir"
)

// remembered is the back end of iptables with what it has printed last, for
// whoever looks every few seconds and must not start programs each time. An
// apply knows by itself what the tables hold after it.
type remembered struct {
	iptables.Tool
	run rundir.Dir
	// maxAge is how old what is read may be; 0: nothing old.
	maxAge time.Duration
	tables [len(family.All)]*iptables.Table // read by this run
}

// Read returns the table of a family. While nothing has been applied since boot,
// a table that may be old is empty.
func (r *remembered) Read(f family.Family) (*iptables.Table, error) {
	if r.maxAge > 0 && !r.run.Exists() {
		return &iptables.Table{}, nil
	}
	if table := r.load(f); table != nil {
		return table, nil
	}
	began := time.Now()
	table, err := r.Tool.Read(f)
	if err != nil {
		return nil, err
	}
	table.Taken = began
	r.tables[f] = table
	if r.maxAge == 0 {
		return table, nil
	}
	if newer := r.load(f); newer != nil {
		return newer, nil // of an apply that has ended meanwhile
	}
	r.save(f, table)
	return table, nil
}

// Write runs a transaction. In a rehearsal, for which nothing is read, nothing is
// remembered.
func (r *remembered) Write(f family.Family, change iptables.Change) error {
	before := r.tables[f]
	if before != nil {
		r.save(f, nil)
	}
	err := r.Tool.Write(f, change)
	if before != nil && err == nil {
		r.save(f, before.After(change))
	}
	return err
}

func fileOf(f family.Family) string { return "mangle-" + f.String() + ".json" }

// load returns what is young enough; nil if nothing is.
func (r *remembered) load(f family.Family) (table *iptables.Table) {
	if r.maxAge == 0 {
		return nil
	}
	text, err := r.run.Load(fileOf(f))
	if err != nil || json.Unmarshal(text, &table) != nil {
		return nil
	}
	if age := time.Since(table.Taken); age < 0 || age > r.maxAge {
		return nil
	}
	return table
}

// save keeps a table; nil: forgets it. What cannot be kept is read again.
func (r *remembered) save(f family.Family, table *iptables.Table) {
	var text []byte
	if table != nil {
		text, _ = json.Marshal(table) // has nothing that JSON has not
	}
	_ = r.run.Save(fileOf(f), text)
}
