package pipeline

import (
	"encoding/json"
	"time"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
	"loadbalance/internal/rundir"
)

// remembered is the back end of iptables with what was read last, by any run. It
// is for whoever looks every few seconds and must not start programs each time.
// After a change the monitor looks soon, and then it is there again.
type remembered struct {
	tool iptables.Tool
	run  rundir.Dir
	// maxAge is how old what is read may be; 0: nothing old.
	maxAge time.Duration
}

func (r *remembered) file(f family.Family) string { return "mangle-" + f.String() + ".json" }

// Read returns the table of a family. One that may be old is empty while nothing
// was applied since boot, when there is nowhere to keep it.
func (r *remembered) Read(f family.Family) (*iptables.Table, error) {
	now := time.Now()
	if r.maxAge > 0 {
		var table iptables.Table
		text, err := r.run.Load(r.file(f))
		known := err == nil && json.Unmarshal(text, &table) == nil
		if age := now.Sub(table.Taken); known && age >= 0 && age <= r.maxAge || !r.run.Exists() {
			return &table, nil
		}
	}
	table, err := r.tool.Read(f)
	if err != nil {
		return nil, err
	}
	table.Taken = now
	text, _ := json.Marshal(table)  // has nothing that JSON has not
	_ = r.run.Save(r.file(f), text) // what cannot be kept is read again
	return table, nil
}

// Write runs a transaction.
func (r *remembered) Write(f family.Family, change iptables.Change) error {
	_ = r.run.Save(r.file(f), nil)
	return r.tool.Write(f, change)
}
