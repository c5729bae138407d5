package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"loadbalance/internal/apply/ipset"
	"loadbalance/internal/kernel"
	"loadbalance/internal/netlab"
)

const (
	entryBudget = 200 * time.Microsecond // from an answer to its entry, median
	// wayBudget is the part of the clients that take the set's way when they
	// connect waited after they have the answer.
	wayBudget   = 0.99
	waited      = time.Millisecond
	learnRounds = 4
	learnNames  = 250 // the laboratory's servers
	floodRate   = 10_000
	floodTime   = 5 * time.Second
)

// domainsConfig has the sets' way be the second uplink.
const domainsConfig = `
config ipset 'films'
	list domain 'films.example'

config rule 'to_films'
	option ipset 'films'
	option use_policy '%s'
`

// domains measures how fast the addresses of DNS answers are entered, which
// way clients take that connect at once, and what many answers cost.
func (b *bench) domains() error {
	r, err := b.newRig(netlab.Options{Uplinks: 3, Backend: "nft"})
	if err != nil {
		return err
	}
	defer r.Close()
	var config bytes.Buffer
	for i := 1; i <= r.Uplinks(); i++ {
		config.WriteString(r.member(i, tracked(1, defaultSettings)))
	}
	fmt.Fprintf(&config, domainsConfig, r.UplinkDevice(2))
	if err := r.reconfigure(config.String()); err != nil {
		return err
	}
	m, err := r.startMonitor()
	if err != nil {
		return err
	}
	defer m.end()
	t := newTable(b.out, "what", "result", "")
	if err := r.addEntryTimes(t); err != nil {
		return err
	}
	for _, delay := range []time.Duration{0, waited / 2, waited} {
		if err := r.addWays(t, delay); err != nil {
			return err
		}
	}
	if err := m.addFlood(t); err != nil {
		return err
	}
	return t.Flush()
}

// answerFor is what a resolver answers for a name with a number in it.
func answerFor(name string, address netip.Addr) ([]byte, error) {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{Response: true})
	owner, err := dnsmessage.NewName(name)
	if err == nil {
		err = errors.Join(b.StartQuestions(),
			b.Question(dnsmessage.Question{Name: owner, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}), b.StartAnswers(),
			b.AResource(dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: 60}, dnsmessage.AResource{A: address.As4()}))
	}
	if err != nil {
		return nil, err
	}
	return b.Finish()
}

// resolver is a socket of the router's port 53.
func (r *rig) resolver() (fd int, err error) {
	err = r.Router.Do(func() error {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Port: 53, Addr: netlab.RouterLAN.As4()})
	})
	return fd, err
}

// forget empties the set, and has no connection continue an earlier one.
func (r *rig) forget() error {
	if _, err := r.Router.Run("ipset", "flush", "lb_films"); err != nil {
		return err
	}
	return r.Router.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
}

// addEntryTimes measures from an answer to its entry.
func (r *rig) addEntryTimes(t table) error {
	resolver, err := r.resolver()
	if err != nil {
		return err
	}
	defer unix.Close(resolver)
	var times []time.Duration
	host := &unix.SockaddrInet4{Port: 4321, Addr: r.LANHosts()[0].As4()}
	for range learnRounds {
		if err := r.forget(); err != nil {
			return err
		}
		err := r.Router.Do(func() error {
			k, err := kernel.Open()
			if err != nil {
				return err
			}
			defer k.Close()
			sets := ipset.New(k)
			for i := 1; i <= learnNames; i++ {
				message, err := answerFor(fmt.Sprintf("n%d.films.example.", i), netlab.Server(i))
				if err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
				start := time.Now()
				if err := unix.Sendto(resolver, message, 0, host); err != nil {
					return err
				}
				for in := false; !in; {
					if in, err = sets.Contains("lb_films", netlab.Server(i)); err != nil {
						return err
					}
					if time.Since(start) > time.Second {
						return fmt.Errorf("%s was not entered", netlab.Server(i))
					}
				}
				times = append(times, time.Since(start))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	middle := median(times)
	t.row("from an answer to its entry, median", fmt.Sprintf("%.3f ms", float64(middle)/1e6), budget(middle <= entryBudget, "%.1f ms", float64(entryBudget)/1e6))
	return nil
}

// addWays lets clients connect some time after they have the answer.
func (r *rig) addWays(t table, delay time.Duration) error {
	resolver, err := r.resolver()
	if err != nil {
		return err
	}
	defer unix.Close(resolver)
	right, all := 0, 0
	for range learnRounds {
		if err := r.forget(); err != nil {
			return err
		}
		var flows []*os.File
		err := r.Client.Do(func() (err error) {
			flows, err = r.clients(resolver, delay)
			return err
		})
		if err != nil {
			return err
		}
		for _, f := range flows {
			uplink, err := r.uplinkOf(f)
			if err != nil {
				return err
			}
			all++
			if uplink == 2 {
				right++
			}
		}
	}
	part := float64(right) / float64(all)
	verdict := ""
	if delay == waited {
		verdict = budget(part >= wayBudget, "%.0f %%", 100*wayBudget)
	}
	t.row(fmt.Sprintf("%d clients that connect %v after they have it: on the set's way", all, delay), percent(part, 1), verdict)
	return nil
}

// clients has each host get an answer and connect. It runs in the LAN.
func (r *rig) clients(resolver int, delay time.Duration) ([]*os.File, error) {
	host := unix.SockaddrInet4{Port: 4321, Addr: r.LANHosts()[0].As4()}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(client)
		err = unix.Bind(client, &host)
	}
	if err != nil {
		return nil, err
	}
	var flows []*os.File
	buffer := make([]byte, 512)
	for i := 1; i <= learnNames; i++ {
		message, err := answerFor(fmt.Sprintf("n%d.films.example.", i), netlab.Server(i))
		if err != nil {
			return nil, err
		}
		time.Sleep(time.Millisecond)
		// A socket belongs to its namespace, whichever thread uses it.
		if err := unix.Sendto(resolver, message, 0, &host); err != nil {
			return nil, err
		}
		if _, _, err := unix.Recvfrom(client, buffer, 0); err != nil {
			return nil, err
		}
		time.Sleep(delay)
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		flows = append(flows, os.NewFile(uintptr(fd), "flow"))
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: netlab.Server(i).As4(), Port: netlab.HTTPPort})
		if err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return nil, err
		}
	}
	return flows, nil
}

// uplinkOf asks the server at the other end which way a connection has come.
func (r *rig) uplinkOf(f *os.File) (int, error) {
	defer f.Close()
	err := f.SetDeadline(time.Now().Add(10 * time.Second))
	if err == nil {
		_, err = f.Write([]byte("?\n"))
	}
	if err != nil {
		return 0, err
	}
	text := make([]byte, 64)
	n, err := f.Read(text)
	if err != nil {
		return 0, err
	}
	seen, err := netip.ParseAddrPort(string(bytes.TrimSpace(text[:n])))
	return r.UplinkOf(seen.Addr()), err
}

// addFlood sends many answers, every other one with a name of the set, and
// measures what the monitor takes and how long others wait.
func (m *running) addFlood(t table) error {
	resolver, err := m.rig.resolver()
	if err != nil {
		return err
	}
	defer unix.Close(resolver)
	quiet, err := m.rig.connectTimes(2000)
	if err != nil {
		return err
	}
	misses, err := m.misses()
	if err != nil {
		return err
	}
	before, err := usageOf(m.Cmd.Process.Pid)
	if err != nil {
		return err
	}
	start := time.Now()
	sent := make(chan int)
	go func() { sent <- flood(resolver, m.rig.LANHosts()[0]) }()
	busy, count, err := m.rig.connectUntil(sent)
	elapsed := time.Since(start)
	if err != nil {
		return err
	}
	after, err := usageOf(m.Cmd.Process.Pid)
	if err != nil {
		return err
	}
	later, err := m.misses()
	if err != nil {
		return err
	}
	t.row(fmt.Sprintf("%.0f answers/s, the monitor's CPU, of one core", float64(count)/elapsed.Seconds()),
		percent((after.own-before.own).Seconds(), elapsed.Seconds()), "")
	t.row("meanwhile: time to connect, median (before)", fmt.Sprintf("%.1f µs (%.1f µs)", median(busy), median(quiet)), "")
	t.row("meanwhile: lines that missed an answer to a probe", fmt.Sprint(later-misses), "")
	return nil
}

// connectUntil opens connections until a flood ends.
func (r *rig) connectUntil(sent <-chan int) (times []float64, count int, err error) {
	for {
		more, failed := r.connectTimes(100)
		times, err = append(times, more...), errors.Join(err, failed)
		select {
		case count := <-sent:
			return times, count, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// flood sends answers at floodRate and returns how many.
func flood(resolver int, host netip.Addr) (count int) {
	to := &unix.SockaddrInet4{Port: 4321, Addr: host.As4()}
	start := time.Now()
	for time.Since(start) < floodTime {
		for float64(count) < time.Since(start).Seconds()*floodRate {
			name := fmt.Sprintf("n%d.films.example.", count)
			if count%2 == 1 {
				name = fmt.Sprintf("n%d.other.example.", count)
			}
			message, err := answerFor(name, netlab.Server(1+count/2%learnNames))
			if err != nil || unix.Sendto(resolver, message, 0, to) != nil {
				return count
			}
			count++
		}
		time.Sleep(time.Millisecond)
	}
	return count
}

// misses counts the lines that did not answer their last probe, or went offline.
func (m *running) misses() (n int, err error) {
	snapshot, err := m.ask()
	for _, p := range snapshot.Paths {
		if p.Misses > 0 || !p.Online {
			n++
		}
		n += p.Flaps
	}
	return n, err
}
