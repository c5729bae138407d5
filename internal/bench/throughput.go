package main

import (
	"fmt"
	"time"

	"loadbalance/internal/netlab"
)

// wantedOfSum is the part of the uplinks' sum that must arrive.
const wantedOfSum = 0.99

// throughput measures five shaped uplinks alone and together, three times, and
// takes the median.
func (b *bench) throughput() error {
	const connections = 50
	r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: 5, Rate: "20mbit"})
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.program.Run("apply"); err != nil {
		return err
	}
	t := newTable(b.out, "run", "sum of five alone", "together", "of the sum")
	var ratios []float64
	for run := 1; run <= 3; run++ {
		alone, err := r.sumAlone(connections / r.Uplinks())
		if err != nil {
			return err
		}
		together, err := r.Throughput(netlab.Bulk{Connections: connections, Duration: 10 * time.Second})
		if err != nil {
			return err
		}
		ratios = append(ratios, together.Mbit/alone)
		t.row(fmt.Sprint(run), fmt.Sprintf("%.2f Mbit/s", alone), fmt.Sprintf("%.2f Mbit/s", together.Mbit), percent(together.Mbit, alone))
	}
	m := median(ratios)
	t.row("median", "", "", percent(m, 1), budget(m >= wantedOfSum, "%.0f %%", 100*wantedOfSum))
	return t.Flush()
}

// sumAlone measures one uplink after another, from sockets of the router that
// are bound to its device.
func (r *rig) sumAlone(connections int) (sum float64, err error) {
	for i := 1; i <= r.Uplinks(); i++ {
		t, err := r.Throughput(netlab.Bulk{
			From: r.Router, Device: r.UplinkDevice(i), Connections: connections, Duration: 4 * time.Second,
		})
		if err != nil {
			return 0, err
		}
		if t.ByUplink[i] < t.Mbit {
			return 0, fmt.Errorf("a socket bound to %s sent over another uplink: %v", r.UplinkDevice(i), t.ByUplink)
		}
		sum += t.Mbit
	}
	return sum, nil
}
