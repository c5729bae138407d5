package probe

import (
	"bufio"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
	"loadbalance/internal/health"
)

const (
	// lateAnswer is how long a connection is tried at least, whatever the timeout:
	// an answer within 5 s still tells loss from latency.
	lateAnswer = 5 * time.Second
	// maxAttempts are open at a time for a target; the oldest gives way, at the
	// shortest interval of 50 ms after 1.6 s, twice the default timeout. At the
	// default interval of 500 ms lateAnswer ends them before.
	maxAttempts = 32
	// synTimeout is the least time after which the kernel repeats a SYN:
	// 1 s (RFC 6298, section 2.1), and some of its ticks less.
	synTimeout = 900 * time.Millisecond
	// maxLine is enough for a status line and for a redirection with a thousand
	// bytes of query. Servers send some 20 header lines; maxLines bounds them.
	maxLine  = 2048
	maxLines = 64
)

// attempt is a connection that tcp or http tries, or a question of dns.
type attempt struct {
	*socket
	path     *pathState
	target   int
	round    uint32
	start    time.Time
	remote   netip.AddrPort
	protocol uint8  // IPPROTO_UDP for dns, otherwise IPPROTO_TCP
	id       uint16 // of the DNS query
	request  []byte // of http, otherwise nil
	status   int    // of http
	url      string // of http
	portal   health.Portal
}

// startAttempt begins to connect, or sends a DNS query; a goroutine awaits the outcome.
func (p *Prober) startAttempt(path *pathState, t *target, probe *Probe) error {
	a := &attempt{
		path: path, target: probe.Target, round: probe.Round, start: time.Now(),
		remote: netip.AddrPortFrom(t.address, t.port), protocol: unix.IPPROTO_TCP,
	}
	kind := unix.SOCK_STREAM
	switch probe.Method {
	case "http":
		a.request, a.status, a.url = request(probe.URL), probe.Status, probe.URL
	case "dns":
		kind, a.protocol, a.id = unix.SOCK_DGRAM, unix.IPPROTO_UDP, uint16(p.random.Uint64())
	}
	var err error
	a.socket, err = openSocket(probe.Method, family.Pick(path.key.Family, unix.AF_INET, unix.AF_INET6), kind, int(a.protocol),
		path.index, func(fd int) error { return bind(fd, probe) })
	if err != nil {
		return err
	}
	if err := a.begin(path.index, max(2*probe.Timeout, lateAnswer)); err != nil {
		a.file.Close()
		return err
	}
	if len(t.attempts) == maxAttempts {
		t.attempts[0].giveUp()
		t.attempts = t.attempts[1:]
	}
	t.attempts = append(t.attempts, a)
	p.goroutines.Add(1)
	go p.await(a)
	return nil
}

// begin connects, until a limit after the start. A connected UDP socket takes packets
// of the target's port only, at a port that the kernel has drawn.
func (a *attempt) begin(index int, limit time.Duration) error {
	err := unix.Connect(a.fd, sockaddr(a.remote, index))
	if err != nil && err != unix.EINPROGRESS {
		return err
	}
	if err := a.file.SetDeadline(a.start.Add(limit)); err != nil || a.protocol != unix.IPPROTO_UDP {
		return err
	}
	message, err := query(a.id)
	if err != nil {
		return err
	}
	_, err = unix.Write(a.fd, message)
	return err
}

// giveUp lets the goroutine of an attempt end. One that is about to end by
// itself has closed its socket, which is no error.
func (a *attempt) giveUp() { a.file.SetDeadline(a.start) }

// bind sets mark and source, that closing sends an RST (so that nothing lingers here
// or at the target), and that ICMP errors are kept apart from a target's RST.
func bind(fd int, probe *Probe) error {
	err := errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(probe.Mark)),
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	if probe.Source.IsValid() {
		err = errors.Join(err, unix.Bind(fd, sockaddr(netip.AddrPortFrom(probe.Source, 0), 0)))
	}
	level := family.Pick(probe.Key.Family, unix.IPPROTO_IP, unix.IPPROTO_IPV6)
	option := family.Pick(probe.Key.Family, unix.IP_RECVERR, unix.IPV6_RECVERR)
	return errors.Join(err, unix.SetsockoptInt(fd, level, option, 1))
}

// await waits for the outcome of an attempt and reports an answer. A connection
// without one, and a DNS query, is also removed from conntrack: entries stay for two
// minutes (nf_conntrack_tcp_timeout_syn_sent) or half a minute (…_udp_timeout), and a
// dead line would collect thousands, which look like connections of its users.
func (p *Prober) await(a *attempt) {
	defer p.goroutines.Done()
	answered := a.outcome()
	at := time.Now()
	local, open := a.state()
	over := a.protocol == unix.IPPROTO_UDP || !answered && !open
	p.mu.Lock()
	t := &a.path.targets[a.target]
	t.attempts = slices.DeleteFunc(t.attempts, func(other *attempt) bool { return other == a })
	p.mu.Unlock()
	a.file.Close() // nothing that could still be lost was written
	if answered || a.portal.Status != 0 {
		p.deliver(Answer{Key: a.path.key, Round: a.round, Target: a.target, At: at, Portal: a.portal})
	}
	if over && local.IsValid() {
		// Not before Close: the socket would repeat its SYN, for a new entry.
		p.forget(a.protocol, local, a.remote)
	}
}

// state returns the local end of an attempt, if it has one, and whether it is open:
// the other end has accepted it, even if too late, and not reset it since.
func (a *attempt) state() (local netip.AddrPort, open bool) {
	_, noPeer := unix.Getpeername(a.fd)
	name, _ := unix.Getsockname(a.fd) // nil after an error
	return addrPort(name), noPeer == nil
}

// outcome reports whether the target answered. All errors mean that it did not:
// the deadline, an unreachable network, a prober that is closed.
func (a *attempt) outcome() bool {
	if a.protocol == unix.IPPROTO_UDP {
		return a.isResponded()
	}
	var state connection
	if a.conn.Write(func(fd uintptr) bool {
		state = connectionState(int(fd), time.Since(a.start))
		return state != connecting
	}) != nil {
		return false
	}
	if a.request == nil {
		return state == connected || state == refused
	}
	return state == connected && a.statusIsRight()
}

// isResponded waits for the response to a DNS query; other packets are guesses.
func (a *attempt) isResponded() bool {
	var buffer [dataSize]byte
	for {
		n, err := a.file.Read(buffer[:])
		if err != nil {
			return false
		}
		if isResponse(buffer[:n], a.id) {
			return true
		}
	}
}

// connection is the state of a connection attempt.
type connection int

const (
	connecting connection = iota
	connected
	refused
	failed
)

func connectionState(fd int, elapsed time.Duration) connection {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	_, noPeer := unix.Getpeername(fd)
	switch {
	case err != nil:
		return failed
	case errno == 0 && noPeer != nil:
		return connecting // a wake-up need not mean anything
	case errno == 0 && answersFirstSYN(fd, elapsed):
		return connected
	case unix.Errno(errno) == unix.ECONNREFUSED && elapsed < synTimeout && !refusedByICMP(fd):
		return refused
	}
	return failed
}

// answersFirstSYN reports whether the target answered the first SYN and not one that
// the kernel repeated: a line that loses every third packet would look perfect. After
// a repetition only the target's echo of the TCP timestamp tells, by which the kernel
// measures the round trip; without one, and after a refusal, the probe counts as lost.
func answersFirstSYN(fd int, elapsed time.Duration) bool {
	if elapsed < synTimeout {
		return true
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false
	}
	return info.Total_retrans == 0 || time.Duration(info.Rtt)*time.Microsecond > elapsed-synTimeout
}

// refusedByICMP reports whether the refusal is an ICMP "port unreachable",
// which a modem or firewall before the target sends when its line is down.
// Linux queues it since 5.9; an RST leaves the queue empty.
func refusedByICMP(fd int) bool {
	_, _, _, _, err := unix.Recvmsg(fd, nil, nil, unix.MSG_ERRQUEUE)
	return err == nil
}

// statusIsRight asks for the URL and looks at the first line of the response. It
// reads on only where that is another's.
func (a *attempt) statusIsRight() bool {
	if _, err := a.file.Write(a.request); err != nil {
		return false
	}
	// After an error the line is what came until then.
	response := bufio.NewReaderSize(a.file, maxLine)
	line, _ := response.ReadSlice('\n')
	status, ok := parseStatus(line)
	if ok && status != a.status {
		a.portal = health.Portal{Status: status, URL: location(response, a.url)}
	}
	return ok && status == a.status
}
