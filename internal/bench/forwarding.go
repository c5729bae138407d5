package main

import (
	"fmt"
	"time"

	"loadbalance/internal/netlab"
)

// forwarding measures one router in three states, in turn, and compares within
// each turn, so that a slow moment of the machine meets all of them.
func (b *bench) forwarding() error {
	const rounds = 9
	t := newTable(b.out, "back end", "", "packets/s", "of plain", "Mbit/s", "of plain")
	for _, backend := range backends {
		r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: 5, WireSized: true, Backend: backend})
		if err != nil {
			return err
		}
		states := r.states()
		for round := range rounds {
			for i := range states {
				// Another one first in each round.
				s := &states[(round+i)%len(states)]
				if err := r.measureState(s); err != nil {
					r.Close()
					return fmt.Errorf("%s, %s: %w", backend, s.name, err)
				}
			}
		}
		r.Close()
		plain := states[0]
		for _, s := range states {
			t.row(backend, s.name,
				fmt.Sprintf("%.0f", median(s.packets)), percent(medianRatio(s.packets, plain.packets), 1),
				fmt.Sprintf("%.0f", median(s.mbit)), percent(medianRatio(s.mbit, plain.mbit), 1))
		}
	}
	return t.Flush()
}

// state is a way in which a router forwards.
type state struct {
	name          string
	enter, leave  func() error
	packets, mbit []float64
}

func (r *rig) states() []state {
	nothing := func() error { return nil }
	call := func(command string) func() error {
		return func() error { _, err := r.program.Run(command); return err }
	}
	return []state{
		{name: "plain: one uplink, no rules", enter: nothing, leave: nothing},
		{name: "recipe, 5 uplinks", leave: r.removeRecipe,
			enter: func() error { _, err := r.Router.Run("sh", r.recipe.load); return err }},
		{name: "ours, 5 uplinks", enter: call("apply"), leave: call("stop")},
	}
}

func (r *rig) measureState(s *state) error {
	if err := s.enter(); err != nil {
		return err
	}
	_, received, err := r.PacketRate(netlab.Packets{Flows: 10, Duration: time.Second})
	if err != nil {
		return err
	}
	t, err := r.Throughput(netlab.Bulk{Connections: 10, WarmUp: 200 * time.Millisecond, Duration: time.Second})
	if err != nil {
		return err
	}
	s.packets, s.mbit = append(s.packets, received), append(s.mbit, t.Mbit)
	return s.leave()
}

// medianRatio compares round by round.
func medianRatio(values, references []float64) float64 {
	var ratios []float64
	for i := range values {
		ratios = append(ratios, values[i]/references[i])
	}
	return median(ratios)
}
