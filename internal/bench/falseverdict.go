package main

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"loadbalance/internal/netlab"
)

// roundTripLoss is the part of probes and answers that is lost: a bad line
// that still is of use.
const roundTripLoss = 0.10

// falseVerdicts counts the transitions of lines that work, badly: they lose
// packets, or are filled by downloads and uploads.
func (b *bench) falseVerdicts() error {
	t := newTable(b.out, "lines", "settings", "for", "loss of probes, worst line", "latency, worst line", "transitions", "")
	for _, f := range []func(*bench) ([]falseVerdict, error){(*bench).lossyLines, (*bench).fullLines} {
		rows, err := f(b)
		if err != nil {
			return err
		}
		for _, row := range rows {
			verdict := ""
			if row.settings.name == defaultSettings.name {
				verdict = budget(row.transitions == 0, "0")
			}
			t.row(row.lines, row.settings.name, row.duration.String(), percent(row.loss, 1),
				milliseconds(row.latency), fmt.Sprint(row.transitions), verdict)
		}
	}
	return t.Flush()
}

// falseVerdict is a row of the table.
type falseVerdict struct {
	lines       string
	settings    settings
	duration    time.Duration
	transitions int
	loss        float64
	latency     time.Duration
}

// lossyLines measures both settings at the same time: probes are all that the
// lines carry.
func (b *bench) lossyLines() ([]falseVerdict, error) {
	both := []settings{defaultSettings, fastestSettings}
	rows, errs := make([]falseVerdict, len(both)), make([]error, len(both))
	var wait sync.WaitGroup
	for i, s := range both {
		wait.Add(1)
		go func() {
			defer wait.Done()
			rows[i] = falseVerdict{lines: fmt.Sprintf("lose %.0f %% of round trips", 100*roundTripLoss), settings: s, duration: 5 * time.Minute}
			errs[i] = b.underTrouble(&rows[i], netlab.Options{}, func(r *rig, duration time.Duration) error {
				for i := 1; i <= r.Uplinks(); i++ {
					// It is lost on the way there or on the way back.
					if err := r.LoseUplink(i, 100*(1-math.Sqrt(1-roundTripLoss))); err != nil {
						return err
					}
				}
				time.Sleep(duration)
				return nil
			})
		}()
	}
	wait.Wait()
	return rows, errors.Join(errs...)
}

// fullLines fills the lines in both directions at once.
func (b *bench) fullLines() ([]falseVerdict, error) {
	var rows []falseVerdict
	for _, s := range []settings{defaultSettings, fastestSettings} {
		row := falseVerdict{settings: s, duration: time.Minute}
		var down, up netlab.Throughput
		err := b.underTrouble(&row, netlab.Options{Rate: "20mbit"}, func(r *rig, duration time.Duration) error {
			var errDown, errUp error
			var wait sync.WaitGroup
			wait.Add(1)
			go func() {
				defer wait.Done()
				down, errDown = r.Throughput(netlab.Bulk{Connections: 25, Duration: duration})
			}()
			up, errUp = r.Throughput(netlab.Bulk{Connections: 25, Duration: duration, Upload: true})
			wait.Wait()
			return errors.Join(errDown, errUp)
		})
		if err != nil {
			return nil, err
		}
		row.lines = fmt.Sprintf("full: %.0f Mbit/s down, %.0f up", down.Mbit, up.Mbit)
		rows = append(rows, row)
	}
	return rows, nil
}

// underTrouble counts the transitions of five lines that are in trouble.
func (b *bench) underTrouble(row *falseVerdict, options netlab.Options, trouble func(*rig, time.Duration) error) (err error) {
	options.Topology, options.Uplinks, options.Backend = netlab.Campus, 5, "nft"
	r, err := b.newRig(options)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.track(tracked(2, row.settings)); err != nil {
		return err
	}
	m, err := r.startMonitor()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.end()) }()
	if err := trouble(r, row.duration); err != nil {
		return err
	}
	row.transitions = m.transitions(0)
	snapshot, err := m.ask()
	for _, report := range snapshot.Paths {
		for _, target := range report.Targets {
			row.loss = max(row.loss, target.Loss)
			row.latency = max(row.latency, target.Latency)
		}
	}
	return err
}
