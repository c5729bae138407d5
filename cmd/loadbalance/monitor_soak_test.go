package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"loadbalance/internal/netlab"
)

const (
	// soakUplinks: the first always works, so that there is one to judge the
	// others by.
	soakUplinks = 4
	// soakBurst is how many events come without a pause long enough for the
	// monitor to finish its work.
	soakBurst = 15
)

// soakEvents is how many events there are. LOADBALANCE_SOAK_EVENTS asks for
// another number: 1000 take five minutes for each back end.
func soakEvents(t *testing.T) int {
	text := os.Getenv("LOADBALANCE_SOAK_EVENTS")
	if text == "" {
		return 6 * soakBurst
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("LOADBALANCE_SOAK_EVENTS: %v", err)
	}
	return n
}

// soak is a laboratory in which everything happens at random.
type soak struct {
	*router
	monitor           *netlab.Process
	random            *rand.Rand
	dark, cut, downed [soakUplinks + 1]bool
	weight            int
	addresses         map[string]bool
}

// TestSoak lets events happen at random, more than the monitor can follow one
// by one. After each burst the kernel must come to equal the plan, and in the
// end nothing may have grown.
func TestSoak(t *testing.T) {
	const seed = 5 // logged: a failure can be run again with the same events
	eachBackend(t, func(t *testing.T, backend string) {
		s := &soak{
			router: newRouter(t, backend, netlab.Options{Uplinks: soakUplinks}, ""),
			random: rand.New(rand.NewPCG(seed, seed)), weight: 1, addresses: map[string]bool{},
		}
		s.configure(s.config())
		s.must("apply")
		s.monitor = s.startMonitor()
		s.settle("at the start")
		start := s.resources()
		events := soakEvents(t)
		t.Logf("seed %d, %d events", seed, events)
		for done := 0; done < events && !t.Failed(); done += soakBurst {
			var burst []string
			for range soakBurst {
				burst = append(burst, s.event())
				time.Sleep(time.Duration(s.random.Int64N(int64(60 * time.Millisecond))))
			}
			s.settle(strings.Join(burst, "; "))
		}
		s.calm()
		s.settle("at the end")
		s.expectApplied("at the end", s.pictureAfresh())
		s.expectNoGrowth(start)
	})
}

// config is the configuration with the weight of the moment.
func (s *soak) config() string {
	return members(netlab.Separate, soakUplinks, append(tracked[:len(tracked):len(tracked)], fastest...)...) +
		fmt.Sprintf("config policy 'other'\n\tlist use_member 'wan1 weight=%d'\n\tlist use_member 'wan2'\n", s.weight)
}

// event makes one event happen and says which.
func (s *soak) event() string {
	i := 2 + s.random.IntN(soakUplinks-1)
	iptables := "iptables-" + s.backend + " -t mangle "
	switch s.random.IntN(12) {
	case 0, 1:
		s.toggle(i, &s.dark[i], s.lab.Blackhole, s.lab.Restore)
		return fmt.Sprintf("line %d dark %v", i, s.dark[i])
	case 2:
		if !s.downed[i] { // to restore one would undo the other
			s.toggle(i, &s.cut[i], s.lab.CutCable, s.lab.RestoreCable)
		}
		return fmt.Sprintf("cable %d cut %v", i, s.cut[i])
	case 3:
		if !s.cut[i] {
			s.toggle(i, &s.downed[i], s.lab.IfDown, s.lab.IfUp)
		}
		return fmt.Sprintf("interface %d down %v", i, s.downed[i])
	case 4:
		address := fmt.Sprintf("10.77.%d.1/24", s.random.IntN(5))
		verb := "add"
		if s.addresses[address] {
			verb = "del"
		}
		s.addresses[address] = verb == "add"
		s.sh("ip addr " + verb + " " + address + " dev lan")
		return verb + " " + address
	case 5:
		destination := fmt.Sprintf("172.16.%d.0/24", s.random.IntN(20))
		s.sh("ip route replace " + destination + " dev lan")
		return "route " + destination
	case 6:
		s.weight = 1 + s.random.IntN(5)
		s.configure(s.config())
		s.must("apply")
		return "apply"
	case 7:
		s.weight = 1 + s.random.IntN(5)
		s.configure(s.config())
		check(s.t, s.monitor.Process.Signal(syscall.SIGHUP))
		return "SIGHUP"
	case 8:
		s.sh(iptables + "-F; " + iptables + "-X || true")
		return "mangle flushed"
	case 9:
		s.sh(fmt.Sprintf("ip rule del priority %d || true", 9000+i))
		return "ip rule deleted"
	case 10:
		s.sh(fmt.Sprintf("ip route flush table %d", 300+i))
		return "table flushed"
	}
	s.sh("ipset flush lb_local || true")
	return "set flushed"
}

// toggle makes uplink i fail in one way, or work again.
func (s *soak) toggle(i int, failed *bool, fail, restore func(int) error) {
	change := fail
	if *failed {
		change = restore
	}
	check(s.t, change(i))
	*failed = !*failed
}

// settle waits until the kernel equals the plan and every line is judged as it
// is.
func (s *soak) settle(after string) {
	s.t.Helper()
	eventually(s.t, "the kernel equals the plan after: "+after, func() bool {
		now := s.status()
		if !now.InSync || !now.Monitor.Running {
			return false
		}
		for i, m := range now.Members {
			i++
			held := m.IPv4.Health != nil && m.IPv4.Health.Hold > 0
			switch {
			case s.cut[i] || s.downed[i]:
				if m.IPv4.State != "down" {
					return false
				}
			case s.dark[i] || held && m.IPv4.State == "offline":
				if m.IPv4.State != "offline" {
					return false
				}
			case m.IPv4.State != "active":
				return false
			}
		}
		return true
	})
}

// calm takes everything back but the verdicts of lines that flapped.
func (s *soak) calm() {
	for i := 2; i <= soakUplinks; i++ {
		if s.dark[i] {
			check(s.t, s.lab.Restore(i))
		}
		if s.cut[i] {
			check(s.t, s.lab.RestoreCable(i))
		}
		if s.downed[i] {
			check(s.t, s.lab.IfUp(i))
		}
		s.dark[i], s.cut[i], s.downed[i] = false, false, false
	}
}

// pictureAfresh is what a new start gives the kernel, with the verdicts of the
// monitor.
func (s *soak) pictureAfresh() dump {
	s.t.Helper()
	s.must("stop")
	s.must("apply")
	s.settle("stop and apply")
	return s.dump().sorted()
}

// resources are what a process can leak.
type resources struct{ descriptors, threads, memory int }

// resources returns those of the monitor. Memory is in kB.
func (s *soak) resources() resources {
	s.t.Helper()
	dir := fmt.Sprintf("/proc/%d/", s.monitor.Process.Pid)
	descriptors, err := os.ReadDir(dir + "fd")
	check(s.t, err)
	text, err := os.ReadFile(dir + "status")
	check(s.t, err)
	found := resources{descriptors: len(descriptors)}
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		value, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "Threads:":
			found.threads = value
		case "RssAnon:":
			found.memory = value
		}
	}
	return found
}

// expectNoGrowth compares what the monitor holds with what it held at the
// start, and lets it print its goroutines.
func (s *soak) expectNoGrowth(start resources) {
	s.t.Helper()
	end := s.resources()
	_ = s.monitor.End(syscall.SIGQUIT) // Go's runtime then prints all goroutines
	goroutines := s.monitor.Log.Count("goroutine ", "[")
	s.t.Logf("from %+v to %+v, %d goroutines", start, end, goroutines)
	if end.descriptors > start.descriptors+2 || end.threads > start.threads+6 || goroutines > 25 || end.memory > start.memory+8<<10 {
		s.t.Errorf("the monitor grew from %+v to %+v, %d goroutines", start, end, goroutines)
	}
}
