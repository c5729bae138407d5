package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/netlab"
	"loadbalance/internal/status"
)

// TestFullLine fills a line by a download: the others take the turns in exact
// shares until it has room again, and the download goes on.
func TestFullLine(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		const lines, flows = 3, 60
		r := newRouter(t, backend, netlab.Options{Uplinks: lines, Rate: "20mbit"},
			members(netlab.Separate, lines, "option download '20mbit'", "option upload '20mbit'"))
		notes := filepath.Join(r.dir, "notes")
		check(t, os.MkdirAll(r.eventsDir(), 0o755), os.WriteFile(filepath.Join(r.eventsDir(), "10-notes"), []byte(`echo "$ACTION $MEMBER" >> `+notes+"\n"), 0o644))
		r.must("apply")
		r.startMonitor()
		shares := func() []int {
			tally := r.lab.Connect(netlab.Traffic{Network: "udp", Count: flows})
			return tally.Shares()[:lines]
		}
		conn, in, over := greeted(t, r, firstHost(r), netip.AddrPortFrom(netlab.Server(1), netlab.SourcePort))
		_, err := conn.Write([]byte("more\n"))
		check(t, err)
		ended := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, in)
			ended <- err
		}()
		full := fmt.Sprintf("wan%d", over)
		eventually(t, full+" is full", func() bool {
			return slices.ContainsFunc(r.status().Members, func(m status.Member) bool { return m.Name == full && m.IPv4.Full })
		})
		want := slices.Repeat([]int{flows / (lines - 1)}, lines)
		want[over-1] = 0
		if got := shares(); !slices.Equal(got, want) {
			t.Errorf("while %s is full: %v, want %v", full, got, want)
		}
		if out := r.must("status"); !strings.Contains(out, "its line is full: ") {
			t.Errorf("status does not say why:\n%s", out)
		}
		select {
		case err := <-ended:
			t.Fatalf("the download has ended: %v", err)
		default:
		}
		conn.Close()
		equal := slices.Repeat([]int{flows / lines}, lines)
		eventually(t, full+" has room again", func() bool { return slices.Equal(shares(), equal) })
		eventually(t, "scripts are told", func() bool {
			text, _ := os.ReadFile(notes)
			return string(text) == "full "+full+"\nfree "+full+"\n"
		})
	})
}
