package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
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
	netifd            *netifd
	stopped           []*exec.Cmd // runs that are stopped, perhaps with the lock
}

// TestSoak lets events happen at random, more than the monitor can follow one
// by one, and breaks what is around it: netifd, the run directory and its files,
// runs that stop, files that are none. After each burst the kernel must come to equal the plan, and in the
// end nothing may have grown.
func TestSoak(t *testing.T) {
	const seed = 5 // logged: a failure can be run again with the same events
	eachBackend(t, func(t *testing.T, backend string) {
		s := &soak{
			router: newRouter(t, backend, netlab.Options{Uplinks: soakUplinks}, ""),
			random: rand.New(rand.NewPCG(seed, seed)), weight: 1, addresses: map[string]bool{},
		}
		s.mountRunDir(64)
		s.netifd = s.startNetifd()
		s.tellNetifd()
		s.mendFiles()
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
				if s.random.IntN(3) == 0 {
					burst = append(burst, s.fault())
				} else {
					burst = append(burst, s.event())
				}
				time.Sleep(time.Duration(s.random.Int64N(int64(60 * time.Millisecond))))
			}
			s.mend()
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
	var text strings.Builder
	for i := 1; i <= soakUplinks; i++ {
		fmt.Fprintf(&text, "config member 'wan%d'\n\toption interface 'line%d'\n\t%s\n\n", i, i,
			strings.Join(append(tracked[:len(tracked):len(tracked)], fastest...), "\n\t"))
	}
	fmt.Fprintf(&text, "config policy 'other'\n\tlist use_member 'wan1 weight=%d'\n\tlist use_member 'wan2'\n", s.weight)
	fmt.Fprintf(&text, "config ipset 'list'\n\toption loadfile '%s'\n", s.list())
	return text.String()
}

// list is the file of a set.
func (s *soak) list() string { return filepath.Join(s.dir, "list") }

// tellNetifd lets netifd know which interfaces are up.
func (s *soak) tellNetifd() {
	s.t.Helper()
	var interfaces []string
	for i := 1; i <= soakUplinks; i++ {
		name := fmt.Sprintf("line%d", i)
		if s.downed[i] {
			interfaces = append(interfaces, isDown(name))
		} else {
			interfaces = append(interfaces, onUplink(name, s.lab.Uplink(i)))
		}
	}
	s.netifd.answer(interfaces...)
}

// fault breaks something around the program, for a while or until mend.
func (s *soak) fault() string {
	file := filepath.Join(s.runDir(), []string{"accepted", "state.json", "verdicts.json", "result.json"}[s.random.IntN(4)])
	switch s.random.IntN(8) {
	case 0:
		silence := silences[s.random.IntN(len(silences))]
		s.netifd.fail(silence.ubus)
		return "netifd " + silence.name
	case 1:
		s.netifd.fail("")
		return "netifd answers"
	case 2:
		s.sh("cat /dev/zero > " + s.runDir() + "/filler 2> /dev/null || true")
		return "run directory full"
	case 3:
		s.sh("head -c 100 /dev/urandom > " + file + " || true")
		return file + " damaged"
	case 4:
		s.sh("rm -rf " + file)
		return file + " gone"
	case 5:
		cmd := exec.Command(binary, s.args("apply")...)
		cmd.Env = s.env
		check(s.t, s.lab.Router.Start(cmd))
		time.Sleep(time.Duration(s.random.Int64N(int64(40 * time.Millisecond))))
		check(s.t, cmd.Process.Signal(syscall.SIGSTOP))
		s.stopped = append(s.stopped, cmd)
		return "an apply stopped"
	case 6:
		s.sh("until rm -rf " + s.dir + "/rt_tables.d && true > " + s.dir + "/rt_tables.d; do :; done; rm -rf " + s.list() + "; mkfifo " + s.list() + " || true")
		return "a file for the names of tables, a pipe for the set, " + s.reload()
	}
	s.mendFiles()
	return "names and set mended, " + s.reload()
}

// reload is what follows whenever somebody changes what the configuration names:
// where the accepted one is lost, status goes by the file at once, the monitor by
// its next full look.
func (s *soak) reload() string {
	check(s.t, s.monitor.Process.Signal(syscall.SIGHUP))
	return "SIGHUP"
}

func (s *soak) mendFiles() {
	s.sh("rm -rf " + s.dir + "/rt_tables.d " + s.list() + "; echo 203.0.113.200 > " + s.list())
}

// mend takes back what stays broken otherwise. Runs that are stopped stay so: who
// has the lock is for the monitor to end.
func (s *soak) mend() {
	s.netifd.fail("")
	s.sh("rm -f " + s.runDir() + "/filler")
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
			s.tellNetifd()
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
		_, _, _ = s.call("apply") // which may find no answer of netifd yet
		return "apply"
	case 7:
		s.weight = 1 + s.random.IntN(5)
		s.configure(s.config())
		return s.reload()
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
	defer func() {
		if s.t.Failed() {
			s.t.Log(s.must("status"))
		}
	}()
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
	s.tellNetifd()
	s.mendFiles()
	for _, cmd := range s.stopped {
		_ = cmd.Process.Kill() // if the monitor has not
		_ = cmd.Wait()
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
