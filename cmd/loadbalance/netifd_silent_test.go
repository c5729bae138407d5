package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// silences are ways in which netifd does not answer: what stands in for ubus then,
// and what is told of it.
var silences = []struct{ name, ubus, told string }{
	{"hangs", "exec sleep 100", "no answer within 700ms"},
	{"exits with 4", "echo 'Command failed: Not found' >&2; exit 4", "exit status 4: Command failed: Not found"},
	{"exits with 255", "echo 'Failed to connect to ubus' >&2; exit 255", "exit status 255: Failed to connect to ubus"},
	{"exits with 7", "exit 7", "exit status 7"},
	{"prints noise", "head -c 3000 /dev/urandom", "invalid character"},
	{"has no interface", `echo '{"interface": []}'`, "the answer has no interface"},
}

// TestBlackoutWhileNetifdIsSilent has a line die while netifd does not answer, in
// each way another one: it is taken out as fast as ever, the others go on, and
// status tells the fault.
func TestBlackoutWhileNetifdIsSilent(t *testing.T) {
	lines := len(silences) + 2
	eachBackend(t, func(t *testing.T, backend string) {
		r := newRouter(t, backend, netlab.Options{Uplinks: lines, LANHosts: 20}, "")
		n := r.startNetifd()
		var config strings.Builder
		var interfaces []string
		for i := 1; i <= lines; i++ {
			// No interface is called as its device.
			fmt.Fprintf(&config, "config member 'line%d'\n\t%s\n\n", i, strings.Join(tracked, "\n\t"))
			interfaces = append(interfaces, onUplink(fmt.Sprintf("line%d", i), r.lab.Uplink(i)))
		}
		r.configure(config.String())
		n.answer(interfaces...)
		r.must("apply")
		m := r.startMonitor()
		flows := r.openOver(1, 10)
		defer flows.Close()
		watched := watchFlows(flows)
		for i, fault := range silences {
			line := i + 2
			n.fail(fault.ubus)
			time.Sleep(time.Duration(i) * 300 * time.Millisecond) // whenever it is asked
			start := time.Now()
			check(t, r.lab.Blackhole(line))
			eventually(t, "the dead line is out", func() bool {
				return m.Log.Count(fmt.Sprintf("'line%d'", line), "offline: no answer") > 0
			})
			took := time.Since(start)
			t.Logf("netifd %s: from blackout to new chains %s", fault.name, took.Round(time.Millisecond))
			if took > 6*time.Second {
				t.Errorf("netifd %s: the line was out after %s", fault.name, took)
			}
			if tally := r.lab.Connect(netlab.Traffic{Count: 20}); tally.Failed > 0 || tally.ByUplink[line] > 0 {
				t.Errorf("netifd %s: %d of 20 connections failed, %d took the dead line", fault.name, tally.Failed, tally.ByUplink[line])
			}
			r.expectSilence(fault.told)
			if i == 0 {
				start := time.Now()
				r.sh(fmt.Sprintf("ip link set wan%d down", lines))
				eventually(t, "the link is noticed", func() bool { return m.Log.Count(fmt.Sprintf("'line%d'", lines), "is down") > 0 })
				t.Logf("netifd %s: from a link that went to new chains %s", fault.name, time.Since(start).Round(time.Millisecond))
			}
			n.fail("")
			eventually(t, "the monitor hears netifd", func() bool { return m.Log.Count("netifd answers again") == i+1 })
			if s := r.status(); s.Uplinks.NetifdSilent != "" {
				t.Errorf("netifd answers, and status says %q", s.Uplinks.NetifdSilent)
			}
		}
		if err := watched(); err != nil {
			t.Errorf("a connection on another line: %v", err)
		}
		if told := m.Log.Count("netifd does not answer"); told != len(silences) {
			t.Errorf("%d faults were logged in %d lines", len(silences), told)
		}
	})
}

// expectSilence: status, check and metrics say that netifd does not answer and
// why, and that nothing would change.
func (r *router) expectSilence(told string) {
	r.t.Helper()
	s := r.status()
	if said := s.Uplinks.NetifdSilent; !s.InSync || !strings.HasPrefix(said, "netifd does not answer: what it said ") || !strings.Contains(said, told) {
		r.t.Errorf("in sync: %v; status says %q, not %q", s.InSync, said, told)
	}
	_, messages, code := r.call("check")
	for what, text := range map[string]string{"status": r.must("status"), "check": messages} {
		if !strings.Contains(text, "netifd does not answer: what it said ") {
			r.t.Errorf("%s (exit code %d) says nothing of netifd:\n%s", what, code, text)
		}
	}
	if metrics := r.must("metrics"); !strings.Contains(metrics, "\nloadbalance_netifd_silent 1\n") {
		r.t.Error("metrics say nothing of netifd")
	}
}

// fail lets the program ubus do something else; nothing: answer.
func (n *netifd) fail(body string) {
	n.t.Helper()
	if body == "" {
		body = "cat " + filepath.Join(n.dir, "dump")
	}
	n.write("ubus", "#!/bin/sh\n"+body+"\n")
}

// openOver opens connections that take one uplink.
func (r *router) openOver(uplink, count int) netlab.Flows {
	r.t.Helper()
	var kept netlab.Flows
	for len(kept) < count {
		f, err := r.lab.Dial(netlab.Traffic{})
		check(r.t, err)
		if f.Uplink != uplink {
			f.Close()
			continue
		}
		kept = append(kept, f)
	}
	return kept
}

// TestNetifdNeverAnswered: where the file network names an interface, its name is
// not taken for a device. What the kernel holds stays if nothing is known.
func TestNetifdNeverAnswered(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, "config member 'wan1'\n\nconfig member 'wan2'\n")
	n := r.startNetifd()
	check(t, netlab.WriteFile(filepath.Join(r.dir, "config", "network"), []byte("config interface 'wan1'\n\nconfig interface 'wan2'\n"), 0o644))
	n.fail("exit 4")
	_, messages, code := r.call("apply")
	for _, want := range []string{"netifd does not answer, and no earlier answer is known", "member 'wan1' is left out: nothing is known of interface 'wan1'"} {
		if code != 0 || !strings.Contains(messages, want) {
			t.Errorf("exit code %d, messages %q, want %q", code, messages, want)
		}
	}
	if got := stateOf(r.status(), "wan1"); got != "down" {
		t.Errorf("wan1 is %s", got)
	}
	m := r.startMonitor()
	n.answer(onUplink("wan1", r.lab.Uplink(2)), onUplink("wan2", r.lab.Uplink(1)))
	n.fail("")
	start := time.Now()
	eventually(t, "the monitor hears netifd", func() bool { return m.Log.Count("netifd answers again") > 0 })
	r.waitState("wan1", "active")
	t.Logf("netifd was heard after %s", time.Since(start).Round(time.Millisecond))
	expectShares(t, r.lab.Connect(netlab.Traffic{Count: 20}), 0, 10, 10)
	if device := r.status().Members[0].IPv4.Device; device != "wan2" {
		t.Errorf("interface wan1 is on device %s", device)
	}
	before := r.dump()
	check(t, m.End(syscall.SIGTERM))
	r.sh("rm -r " + r.runDir())
	n.fail("exit 4")
	if _, messages, code := r.call("apply"); code != 1 || !strings.Contains(messages, "netifd is not there") {
		t.Errorf("nothing is known: exit code %d, messages %q", code, messages)
	}
	r.expectSame("nothing is known", before, r.dump())
}

// TestInterfaceComesUpInSteps: the kernel has the address before netifd calls the
// interface up, which it does twice. No hook tells of it.
func TestInterfaceComesUpInSteps(t *testing.T) {
	r := newRouter(t, "nft", netlab.Options{Uplinks: 2}, "config member 'dsl'\n\nconfig member 'lte'\n")
	n := r.startNetifd()
	u := r.lab.Uplink(2)
	other, up := onUplink("dsl", r.lab.Uplink(1)), onUplink("lte", u)
	const down = `{"interface": "lte", "up": false, "pending": false, "available": true, "autostart": true, "device": "wan2"}`
	n.answer(other, up)
	r.must("apply")
	m := r.startMonitor()
	for _, pause := range []time.Duration{100 * time.Millisecond, 700 * time.Millisecond, 1500 * time.Millisecond} {
		n.answer(other, down)
		r.sh("ip addr del " + u.Address.String() + " dev " + u.Device)
		r.waitState("lte", "down")
		time.Sleep(time.Second) // it has been down for a while
		r.sh("ip addr add " + u.Address.String() + " dev " + u.Device)
		for _, answer := range []string{down, up, down} {
			n.answer(other, answer)
			time.Sleep(pause)
		}
		n.answer(other, up)
		start := time.Now()
		r.waitState("lte", "active")
		took := time.Since(start)
		t.Logf("steps of %s: in use %s after the last one", pause, took.Round(time.Millisecond))
		if took > 4*time.Second {
			t.Errorf("steps of %s: it stayed out for %s", pause, took)
		}
	}
	if m.Log.Count("netifd does not answer") > 0 {
		t.Error("netifd was taken for silent")
	}
}
