package main

import (
	"sync"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// TestBlackoutFreesConnections has one of five lines die silently under
// traffic: transfers over it are reset and succeed again, UDP goes on, what
// came in waits, and nobody else notices anything.
func TestBlackoutFreesConnections(t *testing.T) {
	const dead = 3
	eachBackendAlone(t, func(t *testing.T, backend string) {
		for _, nat := range []struct {
			name string
			nat  netlab.NAT
		}{{"masquerade", netlab.Masquerade}, {"fixed SNAT", netlab.FixedSNAT}} {
			t.Run(nat.name, func(t *testing.T) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 5, LANHosts: 50, NAT: nat.nat},
					members(netlab.Separate, 5, append(tracked[:len(tracked):len(tracked)], fastest...)...))
				r.must("apply")
				m := r.startMonitor()
				cut := transfers(t, r, firstHost(r), netlab.Server(1), dead)
				others := r.openElsewhere(dead, 40)
				defer others.Close()
				streams := r.streams(dead, 5)
				in, err := r.lab.Dial(netlab.Traffic{From: r.lab.World, Server: server(r.lab.Uplink(dead).Public, netlab.ForwardedPort)})
				check(t, err)
				defer in.Close()

				watched := watchFlows(others)
				check(t, r.lab.Blackhole(dead))
				eventually(t, "the verdict is announced", func() bool { return m.Log.Count("'wan3'", "offline: no answer") > 0 })
				announced := time.Now() // the kernel had it some milliseconds before
				verdict := r.eachFamily(dead)[0].Health.Since
				for _, x := range cut {
					x.expectReset(t, verdict)
				}
				expectAll(t, r.lab.Connect(netlab.Traffic{Count: 20}))
				for i, s := range streams {
					if lost := s.end(announced); lost > 2 {
						t.Errorf("UDP stream %d lost %d packets after the verdict was in the kernel", i, lost)
					}
				}
				if err := watched(); err != nil {
					t.Errorf("a connection on another line: %v", err)
				}
				check(t, r.lab.Restore(dead))
				r.waitState("wan3", "active")
				if err := in.Check(20 * time.Second); err != nil {
					t.Errorf("the connection that came in over the dead line: %v", err)
				}
				r.expectNoSpoofed()
			})
		}
	})
}

// openElsewhere opens connections that do not take one uplink.
func (r *router) openElsewhere(uplink, count int) netlab.Flows {
	r.t.Helper()
	var kept netlab.Flows
	for len(kept) < count {
		f, err := r.lab.Dial(netlab.Traffic{})
		check(r.t, err)
		if f.Uplink == uplink {
			f.Close()
			continue
		}
		kept = append(kept, f)
	}
	return kept
}

// watchFlows lets flows exchange again and again until the returned function
// is called, which returns the first failure.
func watchFlows(flows netlab.Flows) (stop func() error) {
	done, result := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			if _, err := flows.Check(10 * time.Second); err != nil {
				result <- err
				return
			}
			select {
			case <-done:
				result <- nil
				return
			default:
			}
		}
	}()
	return func() error {
		close(done)
		return <-result
	}
}

// stream is a UDP socket that sends all the time and notes what was lost.
type stream struct {
	flow *netlab.Flow
	mu   sync.Mutex
	lost []time.Time // when packets without an answer were sent
	ok   time.Time   // when the last one with an answer was sent
	done chan struct{}
	over chan struct{}
}

// streams starts UDP streams over one uplink.
func (r *router) streams(uplink, count int) []*stream {
	r.t.Helper()
	var all []*stream
	for len(all) < count {
		f, err := r.lab.Dial(netlab.Traffic{Network: "udp"})
		check(r.t, err)
		if f.Uplink != uplink {
			f.Close()
			continue
		}
		s := &stream{flow: f, done: make(chan struct{}), over: make(chan struct{})}
		r.t.Cleanup(f.Close)
		go s.send()
		all = append(all, s)
	}
	return all
}

func (s *stream) send() {
	defer close(s.over)
	for {
		sent := time.Now()
		_, err := s.flow.Exchange(200 * time.Millisecond)
		s.mu.Lock()
		if err != nil {
			s.lost = append(s.lost, sent)
		} else {
			s.ok = sent
		}
		s.mu.Unlock()
		select {
		case <-s.done:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end waits until the stream works again, ends it, and returns how many packets
// were lost that were sent after a time.
func (s *stream) end(after time.Time) int {
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		works := s.ok.After(after)
		s.mu.Unlock()
		if works {
			break
		}
	}
	close(s.done)
	<-s.over
	lost := 0
	for _, sent := range s.lost {
		if sent.After(after) {
			lost++
		}
	}
	return lost
}
