package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

// dealtTo reports whether a family's policy deals to a member. It reads a save,
// which needs no lock.
func (r *router) dealtTo(program, member string) bool {
	r.t.Helper()
	for _, line := range strings.Split(r.sh(program+"-save -t mangle"), "\n") {
		if strings.HasPrefix(line, "-A lb_policy_balanced") && strings.HasSuffix(line, "lb_member_"+member) {
			return true
		}
	}
	return false
}

// blackout has a line lose everything and waits until each program's family deals
// it nothing. It returns how long each took.
func (r *router) blackout(line int, programs ...string) []time.Duration {
	r.t.Helper()
	start := time.Now()
	check(r.t, r.lab.Blackhole(line))
	took := make([]time.Duration, len(programs))
	for i, program := range programs {
		eventually(r.t, fmt.Sprintf("%s deals nothing to wan%d", program, line), func() bool {
			return !r.dealtTo(program, fmt.Sprintf("wan%d", line))
		})
		took[i] = time.Since(start)
	}
	return took
}

// TestBlackoutWhileOthersHang: a load file that nobody writes to, and programs
// that leave children behind which keep the pipe, do not delay a failover.
func TestBlackoutWhileOthersHang(t *testing.T) {
	eachBackendAlone(t, func(t *testing.T, backend string) {
		config := members(netlab.Separate, 2, tracked...)
		r := newRouter(t, backend, netlab.Options{Uplinks: 2}, config)
		pipe := filepath.Join(r.dir, "pipe")
		check(t, syscall.Mkfifo(pipe, 0o600))
		r.configure(config + "config ipset streaming\n\toption loadfile '" + pipe + "'\n")
		p := newPrograms(t)
		p.link("sleep")
		for _, name := range iptablesPrograms(backend) {
			p.script(name, "sleep 5 &\nexec REAL \"$@\"")
		}
		r.env = p.env()
		r.must("apply")
		r.startMonitor()
		took := r.blackout(2, "iptables-"+backend)[0]
		t.Logf("new chains after %s", took)
		// 2.8 s at most, and up to a second for the pipes.
		if took > 4*time.Second {
			t.Errorf("new chains after %s", took)
		}
	})
}

// holdLock has another program hold the xtables lock. It returns when the lock
// is held.
func (r *router) holdLock(seconds int) {
	r.t.Helper()
	holder := exec.Command("sh", "-c", fmt.Sprintf("exec flock \"$XTABLES_LOCKFILE\" sleep %d", seconds))
	_, err := r.lab.Router.Background(holder)
	check(r.t, err)
	eventually(r.t, "the xtables lock is held", func() bool {
		_, err := r.lab.Router.Run("sh", "-c", "flock -n \"$XTABLES_LOCKFILE\" true")
		return err != nil
	})
}

// TestBlackoutWhileLockIsHeld: the log says so, the family that needs no lock is
// served at once, and the other one as soon as the lock is free.
func TestBlackoutWhileLockIsHeld(t *testing.T) {
	const seconds = 4
	options := append(tracked[:len(tracked):len(tracked)], fastest...)
	options = append(options, "list track_ip '2001:db8:ffff::1'")
	for ipv6, backend := range map[string]string{"legacy": "legacy", "nft": "auto"} {
		t.Run("IPv6 with "+ipv6, func(t *testing.T) {
			r := newRouter(t, "legacy", netlab.Options{Uplinks: 2, IPv6: true}, members(netlab.Separate, 2, options...))
			r.backend = backend
			p := newPrograms(t)
			for _, suffix := range []string{"", "-save", "-restore"} {
				p.link("iptables-legacy"+suffix, "ip6tables-legacy"+suffix, "ip6tables-nft"+suffix)
				p.script("iptables"+suffix, "exec iptables-legacy"+suffix+" \"$@\"")
				p.script("ip6tables"+suffix, "exec ip6tables-"+ipv6+suffix+" \"$@\"")
			}
			r.env = p.env()
			r.must("apply")
			m := r.startMonitor()
			eventually(t, "both families are probed", func() bool { return r.probedLines() == 4 })
			began := time.Now()
			r.holdLock(seconds)
			free := time.Now().Add(seconds * time.Second) // at the latest
			took := r.blackout(2, "ip6tables-"+ipv6)[0]
			if wait := time.Until(free); ipv6 == "nft" && wait < seconds*time.Second/2 {
				t.Errorf("IPv6 was served after %s", took)
			}
			eventually(t, "IPv4 is served", func() bool { return !r.dealtTo("iptables-legacy", "wan2") })
			late := time.Since(free)
			t.Logf("IPv6 after %s, IPv4 %s after the lock was free", took, late)
			if time.Since(began) < seconds*time.Second || late > 2*time.Second {
				t.Errorf("IPv4 was served %s after the lock was free", late)
			}
			eventually(t, "all is in the kernel", func() bool { return r.status().InSync })
			if m.Log.Count("refused") > 0 {
				t.Errorf("the log calls it a refusal")
			}
		})
	}
}
