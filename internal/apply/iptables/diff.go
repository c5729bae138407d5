package iptables

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"loadbalance/internal/plan"
)

// Change is what brings one family's mangle table to the plan, in one
// transaction.
type Change struct {
	// Write are chains whose content changes; Delete are chains and parts of
	// ours that the plan no longer has.
	Write  []plan.Chain
	Delete []string
	// AddJumps and DeleteJumps are rules of built-in chains.
	AddJumps    []plan.Jump
	DeleteJumps []Jump
	// Starts are the turns after which the written cascades begin, by chain.
	Starts map[string]uint64
	// Legacy says which back end holds the table.
	Legacy bool
}

// Empty says that the kernel already holds what the plan wants.
func (c Change) Empty() bool {
	return len(c.Write)+len(c.Delete)+len(c.AddJumps)+len(c.DeleteJumps) == 0
}

// Diff compares a plan with the kernel. starts are the slots at which the kernel's
// cascades began; one that is written again goes on where the old one stands.
func Diff(want plan.Family, have *Table, starts map[string]uint64) Change {
	change := Change{Starts: map[string]uint64{}, Legacy: have.Legacy}
	planned := map[string]bool{}
	for _, chain := range want.Chains {
		for _, written := range chain.Written(0) {
			planned[written.Name] = true
		}
		if old := have.Chains[chain.Name]; !old.Holds(chain) {
			change.Write = append(change.Write, chain)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have.Chains)) {
		for _, there := range append([]string{name}, have.Chains[name].Parts...) {
			if !planned[there] {
				change.Delete = append(change.Delete, there)
			}
		}
	}
	if !sameJumps(want.Jumps, have.Jumps) {
		change.AddJumps, change.DeleteJumps = want.Jumps, have.Jumps
	}
	if have.Legacy && !change.Empty() {
		change.addCascades(want.Chains)
	}
	for _, chain := range change.Write {
		if len(chain.Cascade) == 0 {
			continue
		}
		change.Starts[chain.Name] = starts[chain.Name]
		if old := have.Chains[chain.Name]; old != nil {
			change.Starts[chain.Name] += old.Turns()
		}
	}
	return change
}

// StartsAfter returns the slots at which the kernel's cascades began to be
// dealt once the change is made, given those before it.
func (c Change) StartsAfter(before map[string]uint64) map[string]uint64 {
	after := map[string]uint64{}
	maps.Copy(after, before)
	maps.Copy(after, c.Starts)
	for _, name := range c.Delete {
		delete(after, name)
	}
	return after
}

// addCascades adds all cascades to what is written: the legacy back end loads the
// whole table anew, counters too. Written again, they go on where they stood.
func (c *Change) addCascades(chains []plan.Chain) {
	for _, chain := range chains {
		written := slices.ContainsFunc(c.Write, func(w plan.Chain) bool { return w.Name == chain.Name })
		if len(chain.Cascade) > 0 && !written {
			c.Write = append(c.Write, chain)
		}
	}
}

// Holds reports whether a chain in the kernel, or nil, is as wanted.
func (c *Chain) Holds(want plan.Chain) bool {
	return c != nil && c.Rules == want.Len() && (c.Rules == 0 || c.Comment == want.Fingerprint())
}

// sameJumps reports whether the built-in chains hold each wanted jump exactly
// once and no other jump of ours.
func sameJumps(want []plan.Jump, have []Jump) bool {
	if len(want) != len(have) {
		return false
	}
	return !slices.ContainsFunc(want, func(w plan.Jump) bool { return !slices.Contains(have, Jump{w.Chain, w.Rule.Args("")}) })
}

// Input is the transaction as iptables-restore --noflush reads it. Naming a
// chain empties it; chains that are not named stay as they are.
func (c Change) Input() string {
	var text strings.Builder
	text.WriteString("*mangle\n")
	for _, chain := range c.Write {
		for _, written := range chain.Written(c.Starts[chain.Name]) {
			fmt.Fprintf(&text, ":%s - [0:0]\n", written.Name)
		}
	}
	for _, name := range c.Delete {
		fmt.Fprintf(&text, ":%s - [0:0]\n", name)
	}
	for _, chain := range c.Write {
		mark := chain.Fingerprint()
		for _, written := range chain.Written(c.Starts[chain.Name]) {
			for _, rule := range written.Rules {
				fmt.Fprintf(&text, "-A %s %s\n", written.Name, rule.Args(mark))
			}
		}
	}
	for _, jump := range c.DeleteJumps {
		fmt.Fprintf(&text, "-D %s %s\n", jump.Chain, jump.Rule)
	}
	for _, jump := range c.AddJumps {
		fmt.Fprintf(&text, "-A %s %s\n", jump.Chain, jump.Rule.Args(""))
	}
	for _, name := range c.Delete {
		fmt.Fprintf(&text, "-X %s\n", name)
	}
	text.WriteString("COMMIT\n")
	return text.String()
}
