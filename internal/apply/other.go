package apply

import (
	"errors"
	"os"
	"slices"
	"strings"

	"loadbalance/internal/apply/iptables"
	"loadbalance/internal/family"
)

// clearOthers removes what a run with the other back end has left. To look costs a
// process: it is done unless the run directory says that this one was used last.
func (e *Engine) clearOthers(c *Changes) error {
	var failed []error
	for _, f := range family.All {
		legacy := c.Families[f].Mangle.Legacy
		if !c.Families[f].clearOther || !e.otherHolds(f, legacy) {
			continue
		}
		if err := e.Other(legacy).Clear(f); !errors.Is(err, iptables.ErrMissing) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// otherHolds says without starting a program whether the other back end has a
// mangle table at all. Its programs would create one by looking.
func (e *Engine) otherHolds(f family.Family, legacy bool) bool {
	if legacy {
		exists, err := e.NFTables.Exists(f)
		return err == nil && exists
	}
	text, _ := os.ReadFile("/proc/thread-self/net/" + family.Pick(f, "ip_tables_names", "ip6_tables_names"))
	return slices.Contains(strings.Fields(string(text)), "mangle") // without the file there are no legacy tables
}
