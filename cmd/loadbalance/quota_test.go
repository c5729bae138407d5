package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/netlab"
	"loadbalance/internal/quota"
)

func (r *router) usageFile() string { return filepath.Join(r.dir, "loadbalance.d", "usage.json") }

// used is what a member has used, counted now: each apply is followed by a count.
func (r *router) used(member string) int64 {
	r.t.Helper()
	r.must("hotplug", "ifup", "wan2")
	time.Sleep(300 * time.Millisecond)
	var known struct{ Usage []quota.Usage }
	check(r.t, json.Unmarshal([]byte(r.must("usage", member, "--json")), &known))
	return known.Usage[0].Bytes
}

// TestQuota uses up a quota by a download and looks who is dealt connections,
// also after a restart of the monitor and a correction.
func TestQuota(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for _, c := range []struct{ action, state, events string }{
			{"last", "standby", "quota wan1\ninactive wan1\nactive wan2\n"},
			{"off", "offline", "quota wan1\ninactive wan1\noffline wan1\nactive wan2\n"},
		} {
			quotaIn(t, backend, c.action, c.state, c.events)
		}
	})
}

func quotaIn(t *testing.T, backend, action, state, events string) {
	r := newRouter(t, backend, netlab.Options{Uplinks: 2}, "config member 'wan1'\n\toption device 'wan1'\n\toption quota '2MB'\n"+
		"\toption quota_action '"+action+"'\nconfig member 'wan2'\n\toption device 'wan2'\n\toption metric '2'\n")
	notes := filepath.Join(r.dir, "notes")
	check(t, os.MkdirAll(r.eventsDir(), 0o755), os.WriteFile(filepath.Join(r.eventsDir(), "10-notes"), []byte(`echo "$ACTION $MEMBER" >> `+notes+"\n"), 0o644))
	r.must("apply")
	m := r.startMonitor()
	const flows = 10
	expect := func(when string, uplink int) {
		t.Helper()
		var tally netlab.Tally
		eventually(t, fmt.Sprintf("%s: %s new connections leave by uplink %d", action, when, uplink), func() bool {
			tally = r.lab.Connect(netlab.Traffic{Count: flows})
			return tally.Shares()[uplink-1] == flows
		})
	}
	expect("at first", 1)
	conn, in, over := greeted(t, r, firstHost(r), netip.AddrPortFrom(netlab.Server(1), netlab.SourcePort))
	if over != 1 {
		t.Fatalf("%s: the download takes uplink %d", action, over)
	}
	_, err := conn.Write([]byte("more\n"))
	check(t, err)
	_, err = io.CopyN(io.Discard, in, 2_200_000)
	check(t, err)
	used := r.used("wan1")
	if used < 2_200_000 || used > 30_000_000 { // what waits to be read is used, too
		t.Errorf("%s: %d bytes are used", action, used)
	}
	expect("without quota", 2)
	s := r.status()
	const why = "its quota of 0.002 GB is used up"
	if stateOf(s, "wan1") != state || s.Members[0].IPv4.Reason != why || len(s.Usage) != 1 || s.Usage[0].Quota != 2e6 {
		t.Errorf("%s: wan1 is %s: %+v", action, stateOf(s, "wan1"), s)
	}
	if out := r.must("explain", "--src", "192.168.1.2", "--dst", netlab.Server(1).String()); !strings.Contains(out, "member 'wan1': "+why) {
		t.Errorf("%s: explain does not say why:\n%s", action, out)
	}
	if out := r.must("metrics"); !strings.Contains(out, `loadbalance_quota_used_bytes{member="wan1"} `) {
		t.Errorf("%s: metrics:\n%s", action, out)
	}
	// The download goes on, or ends as on a line that has failed.
	check(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.CopyN(io.Discard, in, 50_000_000)
	if reset := errors.Is(err, syscall.ECONNRESET); reset != (action == "off") || !reset && err != nil {
		t.Errorf("%s: the download: %v", action, err)
	}
	conn.Close()
	eventually(t, action+": scripts are told", func() bool {
		text, _ := os.ReadFile(notes) // there is none at first
		return string(text) == events
	})

	if _, err := os.Stat(r.usageFile()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: usage.json is written within 15 minutes (%v)", action, err)
	}
	used = r.used("wan1")
	check(t, m.End(syscall.SIGTERM))
	written, err := os.Stat(r.usageFile())
	check(t, err)
	if written.Mode().Perm() != 0o600 {
		t.Errorf("%s: mode of usage.json: %v", action, written.Mode())
	}
	m = r.startMonitor()
	expect("after a restart", 2)
	if now := r.used("wan1"); now < used || now > used+200_000 {
		t.Errorf("%s: %d bytes were used before the restart, %d after it", action, used, now)
	}
	if again, err := os.Stat(r.usageFile()); err != nil || !again.ModTime().Equal(written.ModTime()) {
		t.Errorf("%s: usage.json is written again (%v)", action, err)
	}
	r.must("usage", "wan1", "0")
	expect("with a new quota", 1)
	if used := r.used("wan1"); used > 200_000 {
		t.Errorf("%s: %d bytes are used after the correction", action, used)
	}
	r.must("usage", "wan1", "2MB")
	expect("after another correction", 2)
	check(t, m.End(syscall.SIGTERM))
}

// TestQuotaOfADeviceThatGoesAndComes: its counter begins with 0 each time.
func TestQuotaOfADeviceThatGoesAndComes(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, members(netlab.Separate, 2)+
		"config member 'lte'\n\toption device 'lte0'\n\toption gateway '100.64.0.1'\n\toption quota '50GB'\n")
	r.must("apply")
	r.startMonitor()
	const packets, size = 50, 1442 // with the headers of UDP, IP and Ethernet
	for i := range 3 {
		r.sh("ip link add lte0 type veth peer name lte1 && ip addr add 100.64.0.2/24 dev lte0 && ip link set lte0 up && ip link set lte1 up &&" +
			" ip neigh add 100.64.0.1 lladdr 02:00:5e:00:53:01 dev lte0")
		r.waitState("lte", "active")
		r.used("lte") // from here on it is known
		// Nobody answers.
		check(t, r.lab.Router.Do(func() error {
			conn, err := net.Dial("udp", "100.64.0.1:9")
			if err != nil {
				return err
			}
			defer conn.Close()
			for range packets {
				if _, err := conn.Write(make([]byte, 1400)); err != nil {
					return err
				}
			}
			return nil
		}))
		if used, want := r.used("lte"), int64((i+1)*packets*size); used < want || used > want+10_000 {
			t.Errorf("%d bytes are used after %d devices, want %d", used, i+1, want)
		}
		r.sh("ip link del lte0")
		r.waitState("lte", "down")
	}
}
