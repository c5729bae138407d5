package netlab

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestWatchSeesUDP(t *testing.T) {
	l := Start(t, Options{Uplinks: 1, IPv6: true})
	watch, err := l.Watch()
	must(t, err)
	defer watch.Close()
	for _, traffic := range []Traffic{
		{Server: netip.AddrPortFrom(Server(3), DNSPort)},
		{Server: netip.AddrPortFrom(Server6(3), DNSPort), Sources: l.LANHosts6(1)},
	} {
		traffic.Network, traffic.Count = "udp", 4
		if tally := l.Connect(traffic); tally.OK() != 4 {
			t.Fatal(tally)
		}
		packets, err := watch.Packets()
		must(t, err)
		if len(packets) != 4 {
			t.Fatalf("%d packets: %v", len(packets), packets)
		}
		for _, p := range packets {
			if p.Network != "udp" || p.Line != 1 || p.Destination != traffic.Server || l.UplinkOf(p.Source.Addr()) != 1 {
				t.Errorf("unexpected: %+v", p)
			}
		}
	}
}

func TestRecheckNoticesLostConnection(t *testing.T) {
	l := Start(t, Options{Uplinks: 2})
	flows, tally := l.Open(Traffic{Count: 50, Parallel: 50})
	defer flows.Close()
	if tally.OK() != 50 || len(flows) != 50 {
		t.Fatal(tally)
	}
	if failed, err := flows.Check(10 * time.Second); failed != 0 {
		t.Errorf("%d failed: %v", failed, err)
	}
	tally = l.Connect(Traffic{Count: 100, Rate: 500, Recheck: 100 * time.Millisecond})
	if tally.OK() != 100 || tally.Elapsed < 280*time.Millisecond {
		t.Errorf("%v in %v", tally, tally.Elapsed)
	}
	must(t, l.IfDown(1))
	if failed, err := flows.Check(500 * time.Millisecond); failed != 50 || err == nil {
		t.Errorf("without uplink 1: %d failed: %v", failed, err)
	}
}

func TestShaping(t *testing.T) {
	l := Start(t, Options{Topology: Campus, Uplinks: 2, Rate: "20mbit"})
	for _, upload := range []bool{false, true} {
		// A machine that pauses finds too little, or a backlog at once. A line
		// that is shaped wrongly is so each time.
		wrong := ""
		for range 5 {
			if wrong = shapedWrongly(t, l, upload); wrong == "" {
				break
			}
		}
		if wrong != "" {
			t.Errorf("upload %v: %s", upload, wrong)
		}
	}
}

// shapedWrongly transfers for two seconds, the warm-up included, over line 1,
// which has 20 Mbit/s, and says what is wrong with that.
func shapedWrongly(t *testing.T, l *Lab, upload bool) string {
	t.Helper()
	// In bytes. The burst is 32 KiB; as much may be on its way.
	const perSecond, burst = 20e6 / 8, 64 << 10
	start := time.Now()
	down, up, err := l.LineBytes(1)
	must(t, err)
	got, err := l.Throughput(Bulk{Connections: 4, Upload: upload, WarmUp: 500 * time.Millisecond, Duration: 1500 * time.Millisecond})
	must(t, err)
	down2, up2, err := l.LineBytes(1)
	must(t, err)
	elapsed := time.Since(start).Seconds()
	carried := float64(map[bool]uint64{false: down2 - down, true: up2 - up}[upload])
	if carried > perSecond*elapsed+burst { // whatever the machine does meanwhile
		t.Errorf("upload %v: the line carried %.0f bytes in %.1f s", upload, carried, elapsed)
	}
	if got.ByUplink[1] != got.Mbit || got.Connections[1] != 4 {
		t.Errorf("upload %v: %+v", upload, got)
	}
	// 19.1 Mbit/s of payload; a retransmission that fills a gap delivers what
	// has waited behind it, at most 250 KB, at once.
	if got.Mbit < 17.5 || got.Mbit > 20.5 {
		return fmt.Sprintf("%+v", got)
	}
	if carried < 0.9*2*perSecond {
		return fmt.Sprintf("the line carried %.0f bytes", carried)
	}
	return ""
}

func TestPacketRate(t *testing.T) {
	l := Start(t, Options{Uplinks: 1})
	sent, received, err := l.PacketRate(Packets{Flows: 10, Duration: 300 * time.Millisecond})
	must(t, err)
	t.Logf("%.0f packets/s sent, %.0f received", sent, received)
	if received < 1000 || received < 0.9*sent || received > 1.01*sent {
		t.Errorf("%.0f packets/s sent, %.0f received", sent, received)
	}
}

func TestSendUDP(t *testing.T) {
	l := Start(t, Options{Uplinks: 2})
	watch, err := l.Watch()
	must(t, err)
	defer watch.Close()
	must(t, l.SendUDP(Traffic{Count: 5}, 3, time.Millisecond))
	var packets []Packet // the last ones may be on their way
	eventually(t, "15 packets arrive", func() bool {
		more, err := watch.Packets()
		must(t, err)
		packets = append(packets, more...)
		return len(packets) >= 15
	})
	bySource := map[netip.AddrPort]int{}
	for _, p := range packets {
		bySource[p.Source]++
	}
	if len(bySource) != 5 || len(packets) != 15 {
		t.Errorf("%d packets of %d sockets", len(packets), len(bySource))
	}
}

func TestSendInvalid(t *testing.T) {
	l := Start(t, Options{Uplinks: 1})
	_, err := l.Router.RunInput(`*mangle
-A PREROUTING -p tcp -m conntrack --ctstate INVALID -m comment --comment invalid
-A PREROUTING -p tcp -m comment --comment all
COMMIT
`, "iptables-nft-restore")
	must(t, err)
	must(t, l.SendInvalid(100))
	counted := func(comment string) uint64 {
		saved, err := l.Router.Run("iptables-nft-save", "-c", "-t", "mangle")
		must(t, err)
		n, err := ruleCounter(saved, "--comment "+comment)
		must(t, err)
		return n
	}
	eventually(t, "100 packets arrive", func() bool { return counted("all") >= 100 })
	for _, comment := range []string{"invalid", "all"} {
		if n := counted(comment); n != 100 {
			t.Errorf("%s: %d packets", comment, n)
		}
	}
}

func TestManyFlows(t *testing.T) {
	l := Start(t, Options{Topology: Campus, Uplinks: 5})
	tally := l.Connect(Traffic{Count: 5000, Parallel: 200})
	t.Log(tally.Elapsed)
	if tally.ByUplink[1] != 5000 || len(tally.Sequence) != 5000 {
		t.Error(tally)
	}
}

// TestUDPSocketsNeverShareAPort: by chance 500 sockets would, in 98 of 100 runs.
func TestUDPSocketsNeverShareAPort(t *testing.T) {
	l := Start(t, Options{Uplinks: 1})
	must(t, l.Router.Do(func() error {
		taken, err := net.ListenPacket("udp4", fmt.Sprintf(":%d", firstPort+7))
		if err == nil {
			t.Cleanup(func() { taken.Close() })
		}
		return err
	}))
	seen := map[uint16]bool{}
	for range 500 {
		f, err := l.Dial(Traffic{Network: "udp", From: l.Router})
		must(t, err)
		f.Close()
		if seen[f.Seen.Port()] {
			t.Fatalf("port %d twice, after %d sockets", f.Seen.Port(), len(seen))
		}
		seen[f.Seen.Port()] = true
	}
	if seen[firstPort+7] {
		t.Errorf("port %d was in use", firstPort+7)
	}
}
