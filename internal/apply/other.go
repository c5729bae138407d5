package apply

import (
	"errors"
	"os"
	"slices"
	"strings"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
)

// clearOthers removes what a run with the other back end has left. It is only
// looked for when the run directory does not say that this back end was used
// last, since looking costs a process.
func (e *Engine) clearOthers(c *Changes) error {
	var failed []error
	for _, f := range family.All {
		if c.Families[f].clearOther {
			failed = append(failed, e.clearOther(f, c.Families[f].legacy))
		}
	}
	return errors.Join(failed...)
}

// clearOther removes our chains from the back end that is not in use.
func (e *Engine) clearOther(f family.Family, legacy bool) error {
	if !e.otherHolds(f, legacy) {
		return nil
	}
	err := e.Other(legacy).Clear(f)
	if errors.Is(err, iptables.ErrMissing) {
		return nil
	}
	return err
}

// otherHolds says without starting a program whether the other back end has a
// mangle table at all. Its programs would create one by looking.
func (e *Engine) otherHolds(f family.Family, legacy bool) bool {
	if legacy {
		exists, err := e.NFTables.Exists(f)
		return err == nil && exists
	}
	names := "/proc/thread-self/net/ip_tables_names"
	if f == family.IPv6 {
		names = "/proc/thread-self/net/ip6_tables_names"
	}
	text, err := os.ReadFile(names)
	if err != nil {
		return false // no legacy tables in this kernel
	}
	return slices.Contains(strings.Fields(string(text)), "mangle")
}
