package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

func TestChildrenTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stat")
	// A name may have blanks and brackets; fields 14 to 17 are 1, 2, 30 and 4.
	text := "7 (a (b) c) S 1 7 7 0 -1 4194560 900 0 0 0 1 2 30 4 20 0 9 0 100 1 2\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := childrenTime(file); err != nil || got != 340*time.Millisecond {
		t.Errorf("children ran for %s, %v; want 340ms", got, err)
	}
}

func TestField(t *testing.T) {
	text := "Name:\tVmRSS:\nVmHWM:\t    9508 kB\nVmRSS:\t    9400 kB\n"
	for name, want := range map[string]string{"VmRSS:": "9400", "VmHWM:": "9508", "RssAnon:": ""} {
		if got := field(name)(text); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
}

func TestUsageOfItself(t *testing.T) {
	u, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.own <= 0 || u.resident <= 0 || u.anonymous <= 0 || u.most < u.resident {
		t.Errorf("this process has used %+v", u)
	}
}

func TestLostPackets(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(seconds ...int) []time.Time {
		var times []time.Time
		for _, s := range seconds {
			times = append(times, start.Add(time.Duration(s)*time.Second))
		}
		return times
	}
	f := udpFlow{sent: at(1, 2, 3, 4, 5), answered: at(1, 5)}
	for since, want := range map[int]int{0: 3, 3: 2, 5: 0, 6: 0} {
		if got := f.lost(start.Add(time.Duration(since) * time.Second)); got != want {
			t.Errorf("since second %d: %d packets lost, want %d", since, got, want)
		}
	}
}

func TestTransitions(t *testing.T) {
	lab, err := netlab.New(netlab.Options{Uplinks: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	m := running{&netlab.Process{Log: &netlab.Log{}}, &rig{Lab: lab}}
	m.Log.Write([]byte("loadbalance: member 'wan1' (ipv4, ipv6): offline: no answer\n" +
		"loadbalance: applied: member 'wan1' (ipv4) is offline\n" +
		"loadbalance: member 'wan2' (ipv4): offline: no answer\n" +
		"loadbalance: member 'wan1' (ipv4, ipv6): online: 6 answers in a row\n"))
	for i, want := range map[int]int{0: 3, 1: 2, 2: 1} {
		if got := m.transitions(i); got != want {
			t.Errorf("uplink %d: %d transitions, want %d", i, got, want)
		}
	}
}
