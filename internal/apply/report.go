package apply

import (
	"fmt"
	"strings"

	"loadbalance/internal/apply/challenge"
	"loadbalance/internal/family"
	"loadbalance/internal/rundir"
)

// Report is what Apply did.
type Report struct {
	// Changes are those that were wanted, but for what failed with a notice only.
	Changes *Changes
	// Complete says that the chains of both families, and all that they need, are
	// in the kernel.
	Complete bool
	// Connections is what became of each family's connections.
	Connections map[family.Family]Cleaned
	state       rundir.State // what the run directory holds since
}

// Cleaned counts what an apply did to the connections of one family.
type Cleaned struct {
	Deleted int
	challenge.Result
}

// Summary tells in a line per family what there is to change, for a person or
// the log.
func (c *Changes) Summary() []string { return (&Report{Changes: c}).Summary() }

// Summary tells in a line per family what an apply changed, for a person or
// the log.
func (r *Report) Summary() []string {
	c := r.Changes
	var summary []string
	for _, f := range family.All {
		fc := c.Families[f]
		var parts []string
		count := func(n int, object, verb string) {
			if n > 0 {
				parts = append(parts, plural(n, object)+" "+verb)
			}
		}
		count(len(fc.Mangle.Write), "chain", "written")
		count(len(fc.Mangle.Delete), "chain", "deleted")
		count(len(fc.Mangle.AddJumps), "jump", "set")
		count(len(fc.Routing.AddRules), "ip rule", "added")
		count(len(fc.Routing.DeleteRules), "ip rule", "deleted")
		count(len(fc.Routing.AddRoutes), "route", "set")
		count(len(fc.Routing.DeleteRoutes), "route", "deleted")
		cleaned := r.Connections[f]
		count(cleaned.Deleted, "connection", "freed")
		count(cleaned.Challenged, "TCP connection", "reset")
		count(cleaned.NotFound, "TCP client", "not found")
		if fc.unread != nil {
			parts = append(parts, fc.unread.Error())
		}
		if len(parts) > 0 {
			summary = append(summary, f.String()+": "+strings.Join(parts, ", "))
		}
	}
	if n := len(c.Sets.Update) + len(c.Sets.Destroy); n > 0 {
		summary = append(summary, "sets: "+plural(n, "change"))
	}
	if n := len(c.Sysctls.Set) + len(c.Sysctls.Restore); n > 0 {
		summary = append(summary, "sysctls: "+plural(n, "change"))
	}
	return summary
}

// plural writes a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
