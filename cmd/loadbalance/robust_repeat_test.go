package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// TestApplyTwice applies the same configuration a second time.
func TestApplyTwice(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 5, IPv6: true}, members(netlab.Separate, 5))
		p := newPrograms(t)
		p.count()
		r.env = p.env()
		if out := r.must("apply"); out == "" {
			t.Error("the first apply prints nothing")
		}
		// A save and a restore for each family, and two to spare.
		if started := p.started(); len(started) > 6 {
			t.Errorf("the first apply starts %d programs:\n%s", len(started), strings.Join(started, "\n"))
		}

		cascade := r.cascade()
		sequence := r.connectInTurn(7)
		counters, picture := r.counters(), r.dump()
		for range 3 {
			out, messages, code := r.call("apply")
			if out != "" || messages != "" || code != 0 {
				t.Errorf("apply again: exit code %d\n%s%s", code, out, messages)
			}
			started := p.started()
			if len(started) > 2 {
				t.Errorf("apply again starts %d programs:\n%s", len(started), strings.Join(started, "\n"))
			}
			if slices.ContainsFunc(started, func(s string) bool { return !strings.Contains(s, "-save ") }) {
				t.Errorf("apply again does more than look:\n%s", strings.Join(started, "\n"))
			}
		}
		r.expectCounters("apply again", counters)
		r.expectSame("apply again", picture, r.dump())

		sequence = append(sequence, r.connectInTurn(8)...)
		r.expectCascade("over an apply without work", cascade, 0, sequence)
	})
}

// TestPositionSurvives writes chains anew between connections: the turns go
// on where they stood.
func TestPositionSurvives(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		config := members(netlab.Separate, 3)
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, config)
		r.must("apply")
		cascade := r.cascade()
		sequence := r.connectInTurn(4)
		for i, more := range []string{
			"config policy other\n\tlist use_member wan1\n",
			"config globals g\n\tlist bypass 192.0.2.0/24\n",
			"",
		} {
			r.configure(config + more)
			if out := r.must("apply"); out == "" {
				t.Errorf("apply %d changes nothing", i)
			}
			sequence = append(sequence, r.connectInTurn(4+i)...)
		}
		r.sh("iptables-" + backend + " -t mangle -D lb_policy_balanced 1 && iptables-" + backend + " -t mangle -I lb_policy_balanced -j RETURN")
		r.must("apply")
		if now := r.cascade(); !slices.Equal(smallestTurns(now), smallestTurns(cascade)) {
			t.Errorf("the repaired cascade is %v, it was %v", now, cascade)
		}
		r.expectCascade("over applies with work", cascade, 0, sequence)
	})
}

// connectInTurn opens connections one after the other and returns the uplinks.
func (r *router) connectInTurn(count int) []int {
	r.t.Helper()
	tally := r.lab.Connect(netlab.Traffic{Count: count})
	if tally.Failed > 0 {
		r.t.Fatalf("connections: %v", tally.Err)
	}
	return tally.Sequence
}

// expectCascade fails the test unless connections took the turns of a cascade
// in order.
func (r *router) expectCascade(what string, cascade []int, first int, sequence []int) {
	r.t.Helper()
	for i, uplink := range sequence {
		if want := cascade[(first+i)%len(cascade)]; uplink != want {
			r.t.Errorf("%s: connection %d took uplink %d, want %d\n%v\ncascade %v", what, i, uplink, want, sequence, cascade)
			return
		}
	}
}

func smallestTurns(cascade []int) []string {
	var slots []string
	for _, uplink := range cascade {
		slots = append(slots, fmt.Sprint(uplink))
	}
	return smallestRotation(slots)
}

// TestApplyUnderLoad changes the weights again and again while connections are
// opened at a high rate and held.
func TestApplyUnderLoad(t *testing.T) {
	const (
		rate    = 2000 // new connections per second
		count   = 8000
		applies = 20
	)
	eachBackendAlone(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Topology: netlab.Campus, Uplinks: 5}, members(netlab.Campus, 5))
		r.must("apply")
		result := make(chan netlab.Tally)
		go func() {
			result <- r.lab.Connect(netlab.Traffic{Count: count, Rate: rate, Parallel: count, Recheck: time.Second,
				Timeout: 30 * time.Second})
		}()
		// The applies are spread over the time that the opening takes.
		next := time.NewTicker(count * time.Second / rate / applies)
		defer next.Stop()
		for i := range applies {
			<-next.C
			r.configure(members(netlab.Campus, 5, fmt.Sprintf("option weight %d", 1+i%2)) + weights(i))
			if out := r.must("apply"); out == "" {
				t.Errorf("apply %d changes nothing", i)
			}
		}
		tally := <-result
		t.Logf("%d connections in %v, with %d applies: %v", count, tally.Elapsed, applies, tally)
		if tally.Failed > 0 {
			t.Errorf("%d connections failed or changed their uplink: %v", tally.Failed, tally.Err)
		}
		r.expectNoSpoofed()
	})
}

// weights is a policy 'balanced' with other weights for every i.
func weights(i int) string {
	return fmt.Sprintf("config policy balanced\n\tlist use_member 'wan1 weight=%d'\n\tlist use_member 'wan2 weight=%d'\n"+
		"\tlist use_member wan3\n\tlist use_member wan4\n\tlist use_member wan5\n", 2+i%7, 1+i%5)
}
