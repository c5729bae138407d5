package netlab

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// Traffic describes flows to an answering server. The zero value is one TCP
// connection from the first LAN host to Server(1), port 80.
type Traffic struct {
	Network string         // "tcp" (default) or "udp"
	Server  netip.AddrPort // default Server(1), HTTPPort
	From    *Namespace     // default Client
	// Sources are the addresses to bind to, used in turn. Default: for Client
	// LANHosts, or its ULA addresses towards an IPv6 server; for World
	// Server(1) or Server6(1); elsewhere none, which lets the kernel choose.
	Sources []netip.Addr
	Device  string // bind to this device
	Mark    uint32 // SO_MARK

	Count    int // default 1
	Parallel int // flows that wait for an answer or for Recheck at a time; default 1, with Rate unlimited
	// Rate is the number of flows opened per second; 0: as many as Parallel
	// allows.
	Rate float64
	// Recheck, if not 0, keeps each flow open for so long and then lets it
	// exchange again; it fails if the server no longer sees the same source.
	Recheck time.Duration
	// Timeout is for each exchange, connecting included; default 10 s: three
	// retransmissions of a SYN, and far more than a busy machine pauses.
	Timeout time.Duration
}

func (l *Lab) complete(t Traffic) Traffic {
	if t.Network == "" {
		t.Network = "tcp"
	}
	if !t.Server.IsValid() {
		t.Server = netip.AddrPortFrom(Server(1), HTTPPort)
	}
	if t.From == nil {
		t.From = l.Client
	}
	if t.Sources == nil {
		t.Sources = l.defaultSources(t.From, t.Server.Addr().Is6())
	}
	t.Count = max(t.Count, 1)
	if t.Parallel == 0 {
		t.Parallel = 1
		if t.Rate > 0 {
			t.Parallel = t.Count
		}
	}
	if t.Timeout == 0 {
		t.Timeout = 10 * time.Second
	}
	return t
}

func (l *Lab) defaultSources(from *Namespace, ipv6 bool) []netip.Addr {
	switch {
	case from == l.Client && ipv6:
		return l.LANHosts6(0)
	case from == l.Client:
		return l.LANHosts()
	case from == l.World && ipv6:
		return []netip.Addr{Server6(1)}
	case from == l.World:
		return []netip.Addr{Server(1)}
	}
	return nil
}

func (t Traffic) source(j int) netip.Addr {
	if len(t.Sources) == 0 {
		return netip.Addr{}
	}
	return t.Sources[j%len(t.Sources)]
}

// Tally is the result of many flows.
type Tally struct {
	// Sequence holds the uplink of each flow in the order of opening, 0 where
	// it failed or came over no uplink.
	Sequence []int
	// ByUplink counts the flows that worked; index 0: over no uplink.
	ByUplink []int
	Failed   int
	// Err is the first failure's error.
	Err     error
	Elapsed time.Duration
}

// OK returns the number of flows that worked.
func (t Tally) OK() int {
	sum := 0
	for _, n := range t.ByUplink {
		sum += n
	}
	return sum
}

// Shares returns ByUplink without index 0: Shares()[0] is uplink 1.
func (t Tally) Shares() []int { return t.ByUplink[1:] }

// String returns the result in one line, for messages.
func (t Tally) String() string {
	s := fmt.Sprintf("%d flows by uplink %v", t.OK(), t.Shares())
	if t.ByUplink[0] > 0 {
		s += fmt.Sprintf(", %d over none", t.ByUplink[0])
	}
	if t.Failed > 0 {
		s += fmt.Sprintf(", %d failed: %v", t.Failed, t.Err)
	}
	return s
}

// Connect opens t.Count flows, waits for the answer of each and closes it.
func (l *Lab) Connect(t Traffic) Tally {
	_, tally := l.run(t, false)
	return tally
}

// Inbound opens flows from the World to the router, by default to EchoPort of
// uplink i's public address. Each that works was answered over uplink i: an
// answer with its address over another uplink is dropped there, and one with
// another address belongs to no connection.
func (l *Lab) Inbound(i int, t Traffic) Tally {
	t.From = l.World
	if !t.Server.IsValid() {
		t.Server = netip.AddrPortFrom(l.Uplink(i).Public, EchoPort)
	}
	return l.Connect(t)
}

// Flows are flows that are open.
type Flows []*Flow

// Open is Connect without the closing. Flows that failed are left out.
func (l *Lab) Open(t Traffic) (Flows, Tally) { return l.run(t, true) }

// Close closes all flows.
func (fs Flows) Close() {
	for _, f := range fs {
		f.Close()
	}
}

// Check lets all flows exchange again at the same time and returns the number
// of those that failed, and the first error.
func (fs Flows) Check(timeout time.Duration) (failed int, err error) {
	errs := make([]error, len(fs))
	var wait sync.WaitGroup
	for k, f := range fs {
		wait.Add(1)
		go func() {
			defer wait.Done()
			errs[k] = f.Check(timeout)
		}()
	}
	wait.Wait()
	for _, e := range errs {
		if e == nil {
			continue
		}
		failed++
		if err == nil {
			err = e
		}
	}
	return failed, err
}

// run opens flows from one thread in the namespace, since connecting does not
// block, and lets a goroutine for each wait for the answer.
func (l *Lab) run(t Traffic, keep bool) (Flows, Tally) {
	t = l.complete(t)
	start := time.Now()
	flows, errs := make([]*Flow, t.Count), make([]error, t.Count)
	sequence := make([]int, t.Count)
	slots := make(chan struct{}, t.Parallel)
	var wait sync.WaitGroup
	err := t.From.Do(func() error {
		for j := range t.Count {
			if t.Rate > 0 {
				time.Sleep(time.Until(start.Add(time.Duration(float64(j) / t.Rate * 1e9))))
			}
			slots <- struct{}{}
			file, err := l.open(t, t.source(j))
			if err != nil {
				errs[j] = err
				<-slots
				continue
			}
			wait.Add(1)
			go func() {
				defer wait.Done()
				f, err := l.live(file, t)
				if err == nil {
					sequence[j] = f.Uplink
				}
				flows[j], errs[j] = f, err
				if f != nil && !keep {
					f.Close()
				}
				<-slots
			}()
		}
		return nil
	})
	wait.Wait()
	tally := l.tally(flows, sequence, errs)
	tally.Elapsed = time.Since(start)
	if err != nil {
		tally.Failed, tally.Err = t.Count, err
	}
	return slices.DeleteFunc(flows, func(f *Flow) bool { return f == nil || !keep }), tally
}

// live waits for the first answer of a flow and, with Recheck, for the second.
func (l *Lab) live(file *os.File, t Traffic) (*Flow, error) {
	f, err := l.greet(file, t.Timeout)
	if err != nil || t.Recheck == 0 {
		return f, err
	}
	time.Sleep(t.Recheck)
	if err := f.Check(t.Timeout); err != nil {
		f.Close()
		return nil, fmt.Errorf("uplink %d, second exchange: %w", f.Uplink, err)
	}
	return f, nil
}

func (l *Lab) tally(flows []*Flow, sequence []int, errs []error) Tally {
	t := Tally{Sequence: sequence, ByUplink: make([]int, l.Uplinks()+1)}
	for j, err := range errs {
		if err == nil && flows[j] != nil {
			t.ByUplink[sequence[j]]++
			continue
		}
		t.Failed++
		if t.Err == nil {
			t.Err = fmt.Errorf("flow %d: %w", j, err)
		}
	}
	return t
}
