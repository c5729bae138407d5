package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"loadbalance/internal/netlab"
)

// Budgets after the verdict.
const (
	resetBudget   = 500 * time.Millisecond
	udpLostBudget = 5 // packets of a flow: a tenth of a second of a voice call
)

// failoverKinds are the transfers of the dying line.
var failoverKinds = []struct {
	name string
	port uint16
	move func(net.Conn) error
}{
	{"download", netlab.SourcePort, func(conn net.Conn) error {
		if _, err := conn.Write([]byte("?\n")); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, conn)
		return err
	}},
	{"upload", netlab.SinkPort, func(conn net.Conn) error {
		block := make([]byte, 16<<10)
		for {
			if _, err := conn.Write(block); err != nil {
				return err
			}
		}
	}},
}

// failovers is what the connections of a line went through after the verdict,
// over all rounds.
type failovers struct {
	kernel       []time.Duration
	reset, retry [2][]time.Duration // by kind
	lost         []int              // packets of each UDP flow since the verdict
	lostKernel   []int              // and since the new state was in the kernel
	others       int
	disturbed    int64
}

// failover lets one of five lines fall silent under 10 downloads, 10 uploads
// and 10 UDP flows, beside 40 connections of the other lines.
func (b *bench) failover() error {
	results, err := withOneBackendAtATime(b.failovers)
	if err != nil {
		return err
	}
	t := newTable(b.out, "back end", "after the verdict", "median", "worst", "")
	for k, backend := range backends {
		f := results[k]
		t.row(backend, "new state in the kernel", milliseconds(median(f.kernel)), milliseconds(greatest(f.kernel)))
		for i, kind := range failoverKinds {
			worst := greatest(f.reset[i])
			t.row(backend, kind.name+" reset", milliseconds(median(f.reset[i])), milliseconds(worst),
				budget(worst <= resetBudget, "%.1f s", resetBudget.Seconds()))
			t.row(backend, kind.name+" answered again", milliseconds(median(f.retry[i])), milliseconds(greatest(f.retry[i])))
		}
		worst := slices.Max(f.lost)
		t.row(backend, fmt.Sprintf("packets lost of a UDP flow, one each %d ms", udpInterval.Milliseconds()), fmt.Sprint(median(f.lost)), fmt.Sprint(worst),
			budget(worst <= udpLostBudget, "%d", udpLostBudget))
		t.row(backend, "of them since the new state", fmt.Sprint(median(f.lostKernel)), fmt.Sprint(slices.Max(f.lostKernel)))
		t.row(backend, fmt.Sprintf("disturbed of %d connections of other lines", f.others), "", fmt.Sprint(f.disturbed),
			budget(f.disturbed == 0, "0"))
	}
	return t.Flush()
}

func (b *bench) failovers(backend string) (result failovers, err error) {
	const rounds = 5
	r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: 5, IPv6: true, Rate: "20mbit", Backend: backend, LANHosts: 50})
	if err != nil {
		return result, err
	}
	defer r.Close()
	if err := r.track(tracked(2, defaultSettings)); err != nil {
		return result, err
	}
	m, err := r.startMonitor()
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, m.end()) }()
	for round := range rounds {
		if err := m.failoverRound(1+round%r.Uplinks(), &result); err != nil {
			return result, fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return result, nil
}

// failoverRound lets a line die and come back.
func (m *running) failoverRound(dying int, result *failovers) error {
	const each = 10
	// The transfers last, as a line that they fill loses single packets.
	packets, err := m.rig.udpFlows(each, dying)
	if err != nil {
		return err
	}
	others, err := m.rig.talk(25, func(uplink int) bool { return uplink != dying })
	if err != nil {
		return err
	}
	var transfers []*transfer
	for _, kind := range failoverKinds {
		opened, err := m.rig.transfers(kind.port, each, dying)
		if err != nil {
			return err
		}
		for _, x := range opened {
			defer x.conn.Close()
			go x.run(kind.move)
		}
		transfers = append(transfers, opened...)
	}
	time.Sleep(2 * time.Second) // the transfers have filled the line
	d, err := m.letDie(dying, defaultSettings)
	if err != nil {
		return err
	}
	for i := range failoverKinds {
		for _, x := range transfers[i*each : (i+1)*each] {
			if err := x.await(); err != nil {
				return fmt.Errorf("%s: %w; the monitor says:\n%s", failoverKinds[i].name, err, m.Log)
			}
			result.reset[i] = append(result.reset[i], x.broken.Sub(d.verdict))
			result.retry[i] = append(result.retry[i], x.again.Sub(d.verdict))
		}
	}
	for _, f := range packets {
		f.end()
		result.lost = append(result.lost, f.lost(d.verdict))
		result.lostKernel = append(result.lostKernel, f.lost(d.kernel))
	}
	_, disturbed := others.end()
	result.kernel = append(result.kernel, d.kernel.Sub(d.verdict))
	result.others += len(others.flows)
	result.disturbed += disturbed
	return m.comeBack(dying)
}

// transfer is a TCP connection of a LAN host.
type transfer struct {
	rig    *rig
	source netip.Addr
	port   uint16
	conn   net.Conn
	done   chan struct{} // closed when what follows is known
	err    error
	broken time.Time // reset
	again  time.Time // the answer to another attempt
}

// transfers opens connections until so many of them leave by an uplink.
func (r *rig) transfers(port uint16, count, uplink int) ([]*transfer, error) {
	var found []*transfer
	hosts := r.LANHosts()
	for n := 0; len(found) < count; n++ {
		x := &transfer{rig: r, source: hosts[n%len(hosts)], port: port, done: make(chan struct{})}
		conn, over, err := x.dial()
		if err != nil {
			return nil, err
		}
		if over != uplink {
			conn.Close()
			continue
		}
		x.conn = conn
		found = append(found, x)
	}
	return found, nil
}

// dial opens a connection and returns it with the uplink that it takes.
func (x *transfer) dial() (net.Conn, int, error) {
	var conn net.Conn
	err := x.rig.Client.Do(func() (err error) {
		// A keep-alive would find out, too.
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: x.source.AsSlice()}, Timeout: 10 * time.Second, KeepAlive: -1}
		conn, err = dialer.Dial("tcp", netip.AddrPortFrom(netlab.Server(1), x.port).String())
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	seen, err := greeting(conn)
	if err != nil {
		conn.Close()
		return nil, 0, err
	}
	return conn, x.rig.UplinkOf(seen.Addr()), nil
}

// greeting returns the source that the server sees.
func greeting(conn net.Conn) (netip.AddrPort, error) {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := conn.Write([]byte("?\n")); err != nil {
		return netip.AddrPort{}, err
	}
	// It cannot read ahead: the server waits for more before it sends more.
	line, err := bufio.NewReaderSize(io.LimitReader(conn, 64), 64).ReadString('\n')
	if err != nil {
		return netip.AddrPort{}, err
	}
	seen, err := netip.ParseAddrPort(strings.TrimSpace(line))
	return seen, errors.Join(err, conn.SetDeadline(time.Time{}))
}

// run moves data until the connection breaks, and then tries again as a program
// does that is told so.
func (x *transfer) run(move func(net.Conn) error) {
	defer close(x.done)
	x.err = move(x.conn)
	x.broken = time.Now()
	if !errors.Is(x.err, syscall.ECONNRESET) {
		return
	}
	conn, _, err := x.dial()
	x.again, x.err = time.Now(), err
	if err == nil {
		conn.Close()
	}
}

func (x *transfer) await() error {
	const tooLong = 30 * time.Second
	select {
	case <-x.done:
		return x.err
	case <-time.After(tooLong):
		return fmt.Errorf("not reset after %s", tooLong)
	}
}

// udpInterval is the interval of voice calls: one packet of G.711 each 20 ms.
const udpInterval = 20 * time.Millisecond

// udpFlow sends packets all the time to a server that answers each of them.
type udpFlow struct {
	conn           net.Conn
	quit           chan struct{}
	wait           sync.WaitGroup
	sent, answered []time.Time
}

// udpFlows opens flows until so many of them leave by an uplink.
func (r *rig) udpFlows(count, uplink int) ([]*udpFlow, error) {
	var found []*udpFlow
	for len(found) < count {
		var conn net.Conn
		err := r.Client.Do(func() (err error) {
			conn, err = net.Dial("udp", netip.AddrPortFrom(netlab.Server(1), netlab.DNSPort).String())
			return err
		})
		if err != nil {
			return nil, err
		}
		seen, err := greeting(conn)
		if err != nil {
			conn.Close()
			return nil, err
		}
		if r.UplinkOf(seen.Addr()) != uplink {
			conn.Close()
			continue
		}
		f := &udpFlow{conn: conn, quit: make(chan struct{})}
		f.wait.Add(2)
		go f.send()
		go f.receive()
		found = append(found, f)
	}
	return found, nil
}

func (f *udpFlow) send() {
	defer f.wait.Done()
	ticker := time.NewTicker(udpInterval)
	defer ticker.Stop()
	for {
		select {
		case <-f.quit:
			return
		case <-ticker.C:
			_, _ = f.conn.Write([]byte("?\n")) // one that is refused is lost like others
			f.sent = append(f.sent, time.Now())
		}
	}
}

func (f *udpFlow) receive() {
	defer f.wait.Done()
	for answer := make([]byte, 64); ; {
		_, err := f.conn.Read(answer)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err == nil {
			f.answered = append(f.answered, time.Now())
		}
	}
}

// end stops sending and waits for the last answers.
func (f *udpFlow) end() {
	close(f.quit)
	_ = f.conn.SetReadDeadline(time.Now().Add(time.Second)) // it is open
	f.wait.Wait()
	f.conn.Close()
}

// lost is how many packets were sent since a time when nothing came through any
// more, and not answered.
func (f *udpFlow) lost(since time.Time) int {
	later := func(times []time.Time) int {
		count := 0
		for _, t := range times {
			if !t.Before(since) {
				count++
			}
		}
		return count
	}
	return later(f.sent) - later(f.answered)
}
