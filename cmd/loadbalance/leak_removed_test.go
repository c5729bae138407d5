package main

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// TestMembersComeAndGo removes a member, or disables it, and puts it in again, all
// under traffic. No packet may leave a line with the address of another one.
func TestMembersComeAndGo(t *testing.T) {
	const rounds, removed = 10, 2
	for _, nat := range []struct {
		name string
		nat  netlab.NAT
	}{{"masquerade", netlab.Masquerade}, {"fixed SNAT", netlab.FixedSNAT}} {
		t.Run(nat.name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend string) {
				options := netlab.Options{Uplinks: 3, LANHosts: 50, NAT: nat.nat, IPv6: true, NAT66: true}
				all := members(netlab.Separate, 3)
				r := newRouter(t, backend, options, all)
				// What still comes for such a port is passed on to a host, whose
				// answer main sends: the line is not ours any more.
				_, err := r.lab.Client.Run("sysctl", "-w", fmt.Sprintf("net.ipv4.ip_local_reserved_ports=%d", netlab.ForwardedPort))
				check(t, err)
				r.must("apply")
				stop := r.keepBusy(removed)
				for i := range rounds {
					without := sections(1, 3)
					if i%2 > 0 {
						without = all + fmt.Sprintf("config member 'wan%d'\n\toption enabled '0'\n", removed)
					}
					r.configure(without)
					r.must("apply")
					r.configure(all)
					r.must("apply")
				}
				time.Sleep(lost)
				stop()
				r.expectNoSpoofed()
				expectEqual(t, r.lab.Connect(netlab.Traffic{Count: 30}))
			})
		})
	}
}

// keepBusy keeps all kinds of traffic going until the returned function is called:
// 500 new TCP connections each second and 100 of UDP, UDP that nothing answers,
// transfers in both directions, the router's own connections, and for one line
// those that come in there and those of hosts with an address of its prefix.
// Connections that fail meanwhile are nothing to worry about.
func (r *router) keepBusy(uplink int) (stop func()) {
	var running sync.WaitGroup
	done := make(chan struct{})
	keep := func(traffic func()) {
		running.Add(1)
		go func() {
			defer running.Done()
			for {
				select {
				case <-done:
					return
				default:
					traffic()
				}
			}
		}()
	}
	const timeout, open = time.Second, 50 * time.Millisecond
	keep(func() { r.lab.Connect(netlab.Traffic{Count: 250, Rate: 500, Timeout: timeout, Recheck: open}) })
	keep(func() {
		r.lab.Connect(netlab.Traffic{Network: "udp", Count: 50, Rate: 100, Timeout: timeout, Recheck: open})
	})
	keep(func() {
		if err := r.lab.SendUDP(netlab.Traffic{Count: 30}, 50, 20*time.Millisecond); err != nil {
			r.t.Error(err)
		}
	})
	for _, upload := range []bool{false, true} {
		keep(func() {
			// An error says that a connection was cut off.
			_, _ = r.lab.Throughput(netlab.Bulk{Connections: 6, Upload: upload, WarmUp: time.Millisecond, Duration: 8 * open})
		})
	}
	keep(func() {
		r.lab.Connect(netlab.Traffic{From: r.lab.Router, Network: "udp", Count: 50, Rate: 100, Timeout: timeout, Recheck: open})
	})
	for _, network := range []string{"tcp", "udp"} {
		keep(func() {
			r.lab.Inbound(uplink, netlab.Traffic{Network: network, Count: 5, Parallel: 5, Timeout: lost, Recheck: open})
		})
		keep(func() {
			r.lab.Connect(netlab.Traffic{Network: network, Server: server(netlab.Server6(1), netlab.HTTPPort), Sources: r.lab.LANHosts6(uplink),
				Count: 20, Rate: 100, Timeout: timeout, Recheck: open})
		})
	}
	return func() {
		close(done)
		running.Wait()
	}
}
