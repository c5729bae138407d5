package main

import (
	"fmt"
	"strings"

	"loadbalance/internal/netlab"
)

func (b *bench) shares() error {
	const count, members = 1000, 5
	t := newTable(b.out, "back end", "connections by member", "")
	for _, backend := range backends {
		r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: members, Backend: backend})
		if err != nil {
			return err
		}
		tally := netlab.Tally{}
		if _, err = r.program.Run("apply"); err == nil {
			tally = r.Connect(netlab.Traffic{Count: count, Parallel: 10})
		}
		r.Close()
		if err != nil {
			return err
		}
		if tally.Failed > 0 {
			return fmt.Errorf("%s: %d connections failed: %w", backend, tally.Failed, tally.Err)
		}
		exact := true
		for _, n := range tally.Shares() {
			exact = exact && n >= count/members-1 && n <= count/members+1
		}
		t.row(backend, strings.Trim(fmt.Sprint(tally.Shares()), "[]"), budget(exact, "%d each, ±1", count/members))
	}
	return t.Flush()
}
