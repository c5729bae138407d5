package netlab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func carrier(t *testing.T, l *Lab, i int) bool {
	t.Helper()
	out, err := l.Router.Run("ip", "-o", "link", "show", "dev", l.UplinkDevice(i))
	must(t, err)
	return !strings.Contains(out, "NO-CARRIER") && strings.Contains(out, "LOWER_UP")
}

func TestCutCable(t *testing.T) {
	forEachTopology(t, func(o *Options) { o.IPv6 = true }, func(t *testing.T, l *Lab) {
		must(t, l.CutCable(1))
		eventually(t, "carrier lost", func() bool { return !carrier(t, l, 1) })
		if !carrier(t, l, 2) {
			t.Error("uplink 2 lost its carrier too")
		}
		must(t, l.RestoreCable(1))
		eventually(t, "carrier back", func() bool { return carrier(t, l, 1) })
		for _, server := range []netip.Addr{Server(1), Server6(1)} {
			if tally := l.routerOver(1, Traffic{Server: netip.AddrPortFrom(server, HTTPPort)}); tally.OK() != 1 {
				t.Errorf("after the repair, to %v: %v", server, tally)
			}
		}
	})
}

func TestIfDownAndUp(t *testing.T) {
	forEachTopology(t, func(o *Options) { o.IPv6 = true }, func(t *testing.T, l *Lab) {
		must(t, l.IfDown(1))
		if tally := l.Connect(Traffic{Count: 5}); tally.ByUplink[2] != 5 {
			t.Errorf("uplink 1 down: %v", tally)
		}
		must(t, l.IfUp(1))
		if tally := l.Connect(Traffic{Count: 5}); tally.ByUplink[1] != 5 {
			t.Errorf("uplink 1 up again: %v", tally)
		}
		from1 := Traffic{Server: netip.AddrPortFrom(Server6(1), HTTPPort), Sources: l.LANHosts6(1)}
		if tally := l.Connect(from1); tally.ByUplink[1] != 1 {
			t.Errorf("uplink 1 up again, IPv6: %v", tally)
		}
	})
}

func TestLineFaults(t *testing.T) {
	l := Start(t, Options{Uplinks: 2, IPv6: true})
	quick := Traffic{Network: "udp", Count: 200, Parallel: 200, Timeout: 300 * time.Millisecond}
	quick6 := quick
	quick6.Server, quick6.Sources = netip.AddrPortFrom(Server6(1), DNSPort), l.LANHosts6(1)
	quick.Server = netip.AddrPortFrom(Server(1), DNSPort)
	patient := quick
	patient.Timeout = 0 // the default

	must(t, l.Blackhole(1))
	for _, traffic := range []Traffic{quick, quick6} {
		if tally := l.Connect(traffic); tally.OK() != 0 {
			t.Errorf("blackhole: %v", tally)
		}
	}
	if tally := l.routerOver(2, Traffic{}); tally.OK() != 1 {
		t.Errorf("uplink 2: %v", tally)
	}
	must(t, l.Restore(1))
	if tally := l.Connect(patient); tally.OK() != 200 {
		t.Errorf("after the blackhole: %v", tally)
	}

	must(t, l.LoseUplink(1, 30))
	quick.Timeout = 2 * time.Second // half of them wait for it
	// 0.7 × 0.7 = 49 % of 200 come back; 98 ± 5 standard deviations of 7.
	if tally := l.Connect(quick); tally.OK() < 63 || tally.OK() > 133 {
		t.Errorf("30 %% loss in each direction: %v", tally)
	}
	must(t, l.Restore(1))
	if tally := l.Connect(patient); tally.OK() != 200 {
		t.Errorf("after the loss: %v", tally)
	}
}

func TestDropFirstSYN(t *testing.T) {
	l := Start(t, Options{Uplinks: 2})
	watch, err := l.Watch()
	must(t, err)
	defer watch.Close()
	must(t, l.DropFirstSYN(true))
	tally := l.Connect(Traffic{Count: 100, Parallel: 100})
	if tally.OK() != 100 || tally.Elapsed < 900*time.Millisecond {
		t.Errorf("%v in %v", tally, tally.Elapsed)
	}
	packets, err := watch.Packets()
	must(t, err)
	times := synsBySource(t, packets)
	for source, n := range times {
		if n != 2 {
			t.Errorf("%d SYNs of %v", n, source)
		}
	}
	if len(times) != 100 {
		t.Errorf("SYNs of %d connections", len(times))
	}

	must(t, l.DropFirstSYN(false))
	if tally := l.Connect(Traffic{Count: 100, Parallel: 100}); tally.OK() != 100 {
		t.Errorf("switched off: %v", tally)
	}
	packets, err = watch.Packets()
	must(t, err)
	once := 0 // most of them: where the machine pauses, the kernel repeats a SYN
	for _, n := range synsBySource(t, packets) {
		if n == 1 {
			once++
		}
	}
	if once == 0 {
		t.Error("switched off: every connection took a second SYN")
	}
}

// synsBySource counts the SYNs of each connection to the first server.
func synsBySource(t *testing.T, packets []Packet) map[netip.AddrPort]int {
	t.Helper()
	times := map[netip.AddrPort]int{}
	for _, p := range packets {
		if p.Network != "tcp" || p.Line != 1 || p.Destination != netip.AddrPortFrom(Server(1), HTTPPort) {
			t.Fatalf("unexpected: %+v", p)
		}
		times[p.Source]++
	}
	return times
}
