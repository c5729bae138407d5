// Package apply brings the kernel to a plan: it reads what is there of ours,
// compares, and changes the difference in an order in which no packet meets a
// half-built state. Nothing is kept in memory between two runs. Each kind of kernel
// object has a package of its own below this one.
package apply

import (
	"errors"
	"fmt"
	"slices"

	"loadbalance/internal/apply/challenge"
	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/apply/routing"
	"loadbalance/internal/apply/sysctl"
	"loadbalance/internal/family"
	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
)

// lockAttempts is how often a family's chains are tried while another program
// holds the xtables lock, each time for a second: a run in which both families
// wait ends after ten, and the next verdict comes through.
const lockAttempts = 5

// Mangle is one back end of iptables.
type Mangle interface {
	Read(family.Family) (*iptables.Table, error)
	Write(family.Family, iptables.Change) error
}

// OtherBackend is the back end of iptables that is not in use.
type OtherBackend interface {
	// Clear removes what is ours.
	Clear(family.Family) error
	Read(family.Family) (*iptables.Table, error)
}

// nftables looks after the tables behind iptables-nft.
type nftables interface {
	Exists(family.Family) (bool, error)
	Delete(family.Family) error
}

// resets make LAN clients notice that their connections' uplink is gone.
type resets interface {
	Send(flows []challenge.Flow, uplinks []string) (challenge.Result, error)
}

// connections is the kernel's connection table.
type connections interface {
	// Delete deletes the entries that match and returns how many those were.
	Delete(family.Family, func(conntrack.Entry) bool) (int, error)
	// Mark sets bits of the entries' marks to what the function returns.
	Mark(f family.Family, bits uint32, mark func(conntrack.Entry) uint32) error
}

// Engine reads and changes all kinds of kernel objects of which we own some.
type Engine struct {
	Mangle Mangle
	// Other is the back end that Mangle is not, given what Mangle said of
	// itself; leftovers of ours there are removed.
	Other       func(legacy bool) OtherBackend
	NFTables    nftables
	Routing     routing.Kernel
	Sets        ipset.Kernel
	Sysctls     sysctl.Files
	Connections connections
	Resets      resets
	Run         rundir.Dir
	// NamesDir is where table names go, /etc/iproute2/rt_tables.d.
	NamesDir string
	// Notice tells the user what failed and keeps nothing else from being done.
	Notice func(string)
}

// Apply makes the changes and reports what became of them. In a family in which
// anything could not be added, the chains and what they lead to stay as they were.
// All errors are returned together; what does not decide over a packet's way is only
// a notice.
func (e *Engine) Apply(c *Changes) (*Report, error) {
	done := *c // less what is only worth a notice
	report := &Report{Changes: &done, Connections: map[family.Family]Cleaned{}}
	minor := func(err error) bool {
		if err != nil {
			e.Notice(err.Error())
		}
		return err == nil
	}
	// Before the kernel changes: after a crash the next run must know which
	// index was whose, which connections to clean, and what sysctls were before.
	minor(e.saveState(c.state))
	var failed []error
	note := func(err error) bool {
		if err != nil {
			failed = append(failed, err)
		}
		return err == nil
	}
	if !minor(e.setSysctls(c.Sysctls.Set)) {
		done.Sysctls.Set = nil
	}
	var ready []family.Family
	for _, f := range family.All {
		routing := c.Families[f].Routing
		if note(c.Families[f].unread) && note(e.route(routing.AddRoutes)) && note(e.route(routing.AddRules)) {
			ready = append(ready, f)
		}
	}
	setsReady := note(e.updateSets(c.Sets.Update))
	if !setsReady {
		ready = nil
	}
	complete, cleaned := e.writeFamilies(ready, c, report, note)
	report.Complete = complete[family.IPv4] && complete[family.IPv6]
	if report.Complete {
		// Chains in the other back end may still name the sets.
		note(e.clearOthers(c))
		done.Sets.Destroy = slices.DeleteFunc(slices.Clone(c.Sets.Destroy), func(op ipset.Op) bool {
			return !minor(op.Run(e.Sets)) // another program's rule may name it
		})
	}
	for _, f := range family.All {
		// While connections carry a removed member's mark, its rules keep them
		// from leaving by another line.
		if complete[f] && (cleaned[f] || !c.Families[f].clean) {
			note(e.route(c.Families[f].Routing.DeleteRules))
			note(e.route(c.Families[f].Routing.DeleteRoutes))
		}
	}
	report.state = c.result(complete, cleaned)
	if report.Complete && minor(e.setSysctls(c.Sysctls.Restore)) {
		report.state.Sysctls = c.Sysctls.After
	} else if report.Complete {
		done.Sysctls.Restore = nil
	}
	minor(e.saveState(report.state))
	minor(e.writeNames(c.Plan.Members))
	return report, errors.Join(failed...)
}

// writeFamilies writes the chains of families and cleans their connections, and
// returns in which. One that waits for the xtables lock keeps no other waiting.
func (e *Engine) writeFamilies(ready []family.Family, c *Changes, report *Report, note func(error) bool) (written, cleaned map[family.Family]bool) {
	written, cleaned = map[family.Family]bool{}, map[family.Family]bool{}
	for attempt := 1; len(ready) > 0; attempt++ {
		var done, busy []family.Family
		for _, f := range ready {
			e.adopt(f, c, false)
			err := e.writeChains(f, c.Families[f].Mangle)
			if errors.Is(err, iptables.ErrBusy) && attempt < lockAttempts {
				busy = append(busy, f)
			} else if note(err) {
				done = append(done, f)
			}
		}
		for _, f := range done {
			written[f] = true
			e.adopt(f, c, true) // what came up meanwhile
			cleaned[f] = c.Families[f].clean && note(e.cleanConnections(f, c, report))
		}
		ready = busy
	}
	return written, cleaned
}

func (e *Engine) writeChains(f family.Family, change iptables.Change) error {
	if change.Empty() {
		return nil
	}
	return e.Mangle.Write(f, change)
}

// adopt marks the connections that are older than our chains with the members by
// which they leave, so that they stay there and are counted; without access to them
// they keep main's route. Marks of a former mask go only once no chain looks at them.
func (e *Engine) adopt(f family.Family, c *Changes, written bool) {
	if !c.Families[f].adopt {
		return
	}
	of := c.Plan.Connections[f]
	bits := of.Mask
	if written {
		bits |= of.Former
	}
	err := e.Connections.Mark(f, uint32(bits), func(c conntrack.Entry) uint32 {
		return of.Adopt(c.Mark, c.Answered, plan.Ends{Source: c.Original.Source, Destination: c.Original.Destination},
			plan.Ends{Source: c.Reply.Source, Destination: c.Reply.Destination})
	})
	if err != nil && !written {
		e.Notice(fmt.Sprintf("connections (%s): %v", f, err))
	}
}

// result is what the next run has to know, where this one left things otherwise
// than planned: in a family whose chains could not be written the old ones go on
// counting, and where the connections were cleaned nothing is left to do.
func (c *Changes) result(complete, cleaned map[family.Family]bool) rundir.State {
	state := c.state
	state.Families = map[family.Family]rundir.Family{}
	state.Unfinished = nil
	for _, f := range family.All {
		after, before := c.state.Families[f], c.before.Families[f]
		if !complete[f] {
			after.Starts, after.Policies, after.Dealing = before.Starts, before.Policies, before.Dealing
		}
		state.Families[f] = after
		if unfinished, wanted := c.state.Unfinished[f]; wanted && !cleaned[f] {
			state.Unfinish(f, unfinished)
		}
	}
	return state
}

func (e *Engine) saveState(state rundir.State) error {
	if err := e.Run.SaveState(state); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	return nil
}

func (e *Engine) setSysctls(ops []sysctl.Op) error {
	var failed []error
	for _, op := range ops {
		failed = append(failed, op.Run(e.Sysctls))
	}
	return errors.Join(failed...)
}

func (e *Engine) route(ops []routing.Op) error {
	var failed []error
	for _, op := range ops {
		if err := op.Run(e.Routing); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (e *Engine) updateSets(ops []ipset.Op) error {
	for _, op := range ops {
		if err := op.Run(e.Sets); err != nil {
			return err
		}
	}
	return nil
}

// Rehearse loads the sets and chains of a plan. It is meant for a network
// namespace in which nothing else is.
func (e *Engine) Rehearse(c *Changes) error {
	if err := e.updateSets(c.Sets.Update); err != nil {
		return err
	}
	for _, f := range family.All {
		if err := e.writeChains(f, c.Families[f].Mangle); err != nil {
			return err
		}
	}
	return nil
}

// cleanConnections deletes the entries of connections whose mark leads nowhere any
// more, so that their next packet is dealt anew, and has the LAN's TCP clients send
// one. Before the chains are written, an entry would come back with the old mark.
func (e *Engine) cleanConnections(f family.Family, c *Changes, report *Report) error {
	var clients []challenge.Flow
	deleted, err := e.Connections.Delete(f, func(entry conntrack.Entry) bool {
		fate := c.fate(f, entry)
		if fate == plan.ForgetAndReset && hasWaitingClient(entry) {
			clients = append(clients, flowOf(entry))
		}
		return fate != plan.Keep
	})
	cleaned := Cleaned{Deleted: deleted}
	if len(clients) > 0 {
		var resetErr error
		cleaned.Result, resetErr = e.Resets.Send(clients, c.devices(f))
		if resetErr != nil {
			// The connections are dealt anew in any case, only later.
			e.Notice(fmt.Sprintf("connections (%s): %v", f, resetErr))
		}
	}
	report.Connections[f] = cleaned
	if err != nil {
		return fmt.Errorf("connections (%s): %w", f, err)
	}
	return nil
}
