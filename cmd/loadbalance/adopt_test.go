package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalance/internal/apply/conntrack"
	"loadbalance/internal/family"
	"loadbalance/internal/netlab"
)

// mixed opens flows of the LAN and of the router, TCP and UDP.
func (r *router) mixed(each int, traffic netlab.Traffic) netlab.Flows {
	r.t.Helper()
	var flows netlab.Flows
	for _, from := range []*netlab.Namespace{r.lab.Client, r.lab.Router} {
		for _, network := range []string{"tcp", "udp"} {
			traffic.From, traffic.Network, traffic.Count = from, network, each
			more, tally := r.lab.Open(traffic)
			expectAll(r.t, tally)
			flows = append(flows, more...)
		}
	}
	return flows
}

// busy lets flows exchange again and again until the returned function is
// called, which returns the number of those that broke.
func busy(flows netlab.Flows) (stop func() (int, error)) {
	type result struct {
		failed int
		err    error
	}
	end, done := make(chan struct{}), make(chan result)
	go func() {
		for {
			failed, err := flows.Check(5 * time.Second)
			select {
			case <-end:
				done <- result{failed, err}
				return
			default:
				if failed > 0 {
					<-end
					done <- result{failed, err}
					return
				}
			}
		}
	}()
	return func() (int, error) {
		close(end)
		r := <-done
		return r.failed, r.err
	}
}

// expectCounted compares the connections that status counts on each line with
// the flows that are on it.
func (r *router) expectCounted(what string, flows netlab.Flows) {
	r.t.Helper()
	want, got := map[string]int{}, map[string]int{}
	for _, f := range flows {
		want[fmt.Sprintf("wan%d", f.Uplink)]++
	}
	s := r.status()
	for _, m := range s.Members {
		if m.IPv4.Connections > 0 {
			got[m.Name] = m.IPv4.Connections
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("%s: status counts %v, the flows are on %v", what, got, want)
	}
}

// TestFirstStart: connections that live before the first start stay where they
// are, are counted there, and leave a line that fails.
func TestFirstStart(t *testing.T) {
	for name, before := range map[string]string{"router_traffic": "", "no router_traffic": withoutRouterTraffic} {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				r := newRouter(t, backend, netlab.Options{Uplinks: 5, LANHosts: 20}, before+members(netlab.Separate, 5))
				quiet := r.mixed(5, netlab.Traffic{})
				// Other lines carry some, too: by an ip rule that is gone at the start.
				for i := 2; i <= 5; i++ {
					r.sh(fmt.Sprintf("ip route add default via %s dev wan%d table %d\nip rule add priority 5000 to 203.0.113.%d lookup %d",
						r.lab.Uplink(i).Gateway, i, 200+i, i, 200+i))
					quiet = append(quiet, r.mixed(1, netlab.Traffic{Server: server(netlab.Server(i), netlab.HTTPPort)})...)
				}
				r.sh("while ip rule del priority 5000 2>/dev/null; do :; done")
				talking := r.mixed(5, netlab.Traffic{})
				all := slices.Concat(quiet, talking)
				defer all.Close()
				stop := busy(talking)
				r.must("apply")
				r.expectCounted("after the start", all)
				if failed, err := stop(); failed > 0 {
					t.Errorf("%d of %d busy connections do not survive the start: %v", failed, len(talking), err)
				}
				if failed, err := quiet.Check(5 * time.Second); failed > 0 {
					t.Errorf("%d of %d quiet connections do not survive the start: %v", failed, len(quiet), err)
				}
				r.expectCounted("when all have talked", all)
				check(t, r.lab.IfDown(1))
				r.must("apply")
				for _, e := range r.entries(family.IPv4, func(e conntrack.Entry) bool { return e.Mark&markMask == memberMark(1) }) {
					t.Errorf("still on the failed uplink: %v", e)
				}
			})
		})
	}
}

// TestOpenedWhileFlushed: likewise what was opened while somebody had emptied
// our chains.
func TestOpenedWhileFlushed(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: 3}, members(netlab.Separate, 3))
		r.must("apply")
		dealt := r.mixed(3, netlab.Traffic{})
		defer dealt.Close()
		r.sh("iptables-" + backend + " -t mangle -F")
		opened := r.mixed(3, netlab.Traffic{Server: server(netlab.Server(2), netlab.HTTPPort)})
		defer opened.Close()
		r.must("apply")
		all := slices.Concat(dealt, opened)
		r.expectCounted("after the repair", all)
		expectCheck(t, all)
	})
}

// TestMaskIsChanged: the service changes its mask while it runs, as with an
// upgrade from the old default. Connections stay on their lines, and nothing of
// the old mask is left.
func TestMaskIsChanged(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		const old = "config globals g\n\toption mark_mask 0x3f00\n"
		r := newRouter(t, backend, netlab.Options{Uplinks: 5}, old+members(netlab.Separate, 5))
		before := r.dump()
		r.must("apply")
		flows := r.mixed(10, netlab.Traffic{})
		for i := 1; i <= 5; i++ {
			inbound, tally := r.lab.Open(netlab.Traffic{From: r.lab.World, Server: server(r.lab.Uplink(i).Public, netlab.EchoPort)})
			expectAll(t, tally)
			for _, f := range inbound {
				f.Uplink = i
			}
			flows = append(flows, inbound...)
		}
		defer flows.Close()
		half := slices.Clone(flows[:len(flows)/2])
		stop := busy(half)
		r.configure(members(netlab.Separate, 5))
		r.must("apply")
		r.expectCounted("with the new mask", flows)
		if failed, err := stop(); failed > 0 {
			t.Errorf("%d of %d busy connections break: %v", failed, len(half), err)
		}
		expectCheck(t, flows)
		for _, e := range r.entries(family.IPv4, func(e conntrack.Entry) bool { return e.Mark&0x3f00 != 0 }) {
			t.Errorf("a mark of the old mask: %#x", e.Mark)
		}
		for what, text := range r.dump() {
			if strings.Contains(text+" ", "/0x3f00 ") && before[what] != text {
				t.Errorf("%s: the old mask is left:\n%s", what, text)
			}
		}
		if out := r.must("plan"); out != "" {
			t.Errorf("plan still finds work:\n%s", out)
		}
		r.must("stop")
		r.expectSame("after stop", before, r.dump())
	})
}
