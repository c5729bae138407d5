package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"loadbalance/internal/netlab"
)

// ruleCounts are the numbers of rules; the first one is what the others are
// compared with.
var ruleCounts = []int{0, 1, 20, 100}

// rules measures what rules cost that a new connection meets and that do not
// match, which is the worst case: each is looked at.
func (b *bench) rules() error {
	t := newTable(b.out, "back end", "rules", "looked at by a new connection", "by a known one", "time per connection", "of none", "")
	for _, backend := range backends {
		r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: 5, Backend: backend})
		if err != nil {
			return err
		}
		err = r.addRules(t)
		r.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", backend, err)
		}
	}
	return t.Flush()
}

// ruleCost is what was measured with so many rules.
type ruleCost struct {
	first, known float64   // rules looked at by a packet
	each         []float64 // time per connection in ns, by round
}

func (r *rig) addRules(t table) error {
	const rounds = 7
	// A rule that only counts, as in addTraversal.
	if _, err := r.Router.Run("iptables-"+r.backend, "-w", "-t", "raw", "-A", "PREROUTING"); err != nil {
		return err
	}
	costs := make([]ruleCost, len(ruleCounts))
	for round := range rounds {
		for turn := range costs {
			// Another one first in each round.
			i := (round + turn) % len(costs)
			if err := r.measureRules(ruleCounts[i], &costs[i]); err != nil {
				return fmt.Errorf("%d rules: %w", ruleCounts[i], err)
			}
		}
	}
	for i, c := range costs {
		t.row(r.backend, fmt.Sprint(ruleCounts[i]), fmt.Sprintf("%.1f", c.first), fmt.Sprintf("%.2f", c.known),
			fmt.Sprintf("%.1f µs", median(c.each)/1000), percent(medianRatio(c.each, costs[0].each), 1),
			budget(c.known <= rulesPerPacket, "%d by a known one", rulesPerPacket))
	}
	return nil
}

func (r *rig) measureRules(count int, cost *ruleCost) error {
	if err := r.program.Configure(r.members() + unmatchedRules(count)); err != nil {
		return err
	}
	if _, err := r.program.Run("apply"); err != nil {
		return err
	}
	const connections = 3000
	before, err := r.counters()
	if err != nil {
		return err
	}
	tally := r.Connect(netlab.Traffic{Count: connections, Parallel: 10})
	if tally.Failed > 0 {
		return fmt.Errorf("%d connections failed: %w", tally.Failed, tally.Err)
	}
	cost.each = append(cost.each, float64(tally.Elapsed/time.Nanosecond)/connections)
	after, err := r.counters()
	if err != nil {
		return err
	}
	_, perPacket := compared(before, after)
	if _, cost.known, err = r.rulesPerPacket(); err != nil {
		return err
	}
	// All packets but each connection's first are those of a known one.
	packets := float64(after.arrived - before.arrived)
	cost.first = (perPacket*packets - rulesPerPacket*(packets-connections)) / connections
	return nil
}

// unmatchedRules are rules of one line each, for services that nobody uses.
func unmatchedRules(count int) string {
	var text strings.Builder
	for i := range count {
		network := netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
		fmt.Fprintf(&text, "config rule\n\toption dest_ip '%s'\n\toption proto 'tcp'\n\toption dest_port '443'\n\toption use_policy 'balanced'\n", network)
	}
	return text.String()
}
