package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"loadbalance/internal/netlab"
)

// flapping lets two of five lines go up and down, one with fast settings and
// one with the defaults, while connections run over the other three.
func (b *bench) flapping() (err error) {
	const (
		duration, phase = 5 * time.Minute, time.Second
		fast, slow      = 1, 2 // the uplinks that flap
	)
	r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: 5, Backend: "nft", LANHosts: 50})
	if err != nil {
		return err
	}
	defer r.Close()
	var config strings.Builder
	for i := 1; i <= r.Uplinks(); i++ {
		s := defaultSettings
		if i == fast {
			s = fastSettings
		}
		config.WriteString(r.member(i, tracked(2, s)))
	}
	if err := r.reconfigure(config.String()); err != nil {
		return err
	}
	m, err := r.startMonitor()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.end()) }()
	others, err := r.talk(50, func(uplink int) bool { return uplink != fast && uplink != slow })
	if err != nil {
		return err
	}
	for end := time.Now().Add(duration); time.Now().Before(end); {
		for _, change := range []func(int) error{r.Blackhole, r.Restore} {
			next := time.Now().Add(phase)
			if err := errors.Join(change(fast), change(slow)); err != nil {
				others.end()
				return err
			}
			time.Sleep(time.Until(next))
		}
	}
	exchanges, disturbed := others.end()
	t := newTable(b.out, "line that flaps", "went down", "transitions", "others' connections", "exchanges", "disturbed", "")
	for _, line := range []struct {
		uplink int
		settings
	}{{slow, defaultSettings}, {fast, fastSettings}} {
		t.row("with "+line.name+" settings", fmt.Sprint(int(duration/(2*phase)), " times"), fmt.Sprint(m.transitions(line.uplink)),
			fmt.Sprint(len(others.flows)), fmt.Sprint(exchanges), fmt.Sprint(disturbed), budget(disturbed == 0, "0 disturbed"))
	}
	return t.Flush()
}

// talk are connections that exchange all the time.
type talk struct {
	flows     netlab.Flows
	quit      chan struct{}
	wait      sync.WaitGroup
	exchanges atomic.Int64
	disturbed atomic.Int64
}

// talk opens TCP and UDP connections, so many of each, and keeps those of the
// wanted uplinks.
func (r *rig) talk(count int, wanted func(uplink int) bool) (*talk, error) {
	t := &talk{quit: make(chan struct{})}
	for _, network := range []string{"tcp", "udp"} {
		flows, tally := r.Open(netlab.Traffic{Network: network, Count: count, Parallel: count})
		if tally.Failed > 0 {
			flows.Close()
			t.flows.Close()
			return nil, fmt.Errorf("%d of %d connections: %w", tally.Failed, count, tally.Err)
		}
		for _, f := range flows {
			if wanted(f.Uplink) {
				t.flows = append(t.flows, f)
			} else {
				f.Close()
			}
		}
	}
	for _, f := range t.flows {
		t.wait.Add(1)
		go t.run(f)
	}
	return t, nil
}

// run lets one connection exchange until it is disturbed: an answer is missing,
// which with UDP is one lost packet, or the server sees another source.
func (t *talk) run(f *netlab.Flow) {
	defer t.wait.Done()
	const pause = 100 * time.Millisecond
	for {
		select {
		case <-t.quit:
			return
		case <-time.After(pause):
		}
		if f.Check(2*time.Second) != nil {
			t.disturbed.Add(1)
			return
		}
		t.exchanges.Add(1)
	}
}

// end closes the connections, and returns how many exchanges there were and how
// many connections were disturbed.
func (t *talk) end() (exchanges, disturbed int64) {
	close(t.quit)
	t.wait.Wait()
	t.flows.Close()
	return t.exchanges.Load(), t.disturbed.Load()
}
