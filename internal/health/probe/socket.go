package probe

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket receives the answers to the probes of one kind, on a goroutine of its
// own that the runtime's poller wakes.
type socket struct {
	fd   int // for sending; valid while the prober, or the path, is open
	file *os.File
	conn syscall.RawConn
	in   message
	size int
	err  unix.Errno
}

// newSocket opens a socket, sets it up and passes every datagram to handle.
func (p *Prober) newSocket(name string, domain, kind, protocol int, setUp func(fd int) error, handle func(*socket)) (*socket, error) {
	fd, err := unix.Socket(domain, kind|nonBlocking, protocol)
	if err != nil {
		return nil, fmt.Errorf("%s socket: %w", name, err)
	}
	if err := setUp(fd); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s socket: %w", name, err)
	}
	file, err := newFile(fd, name)
	if err != nil {
		return nil, err
	}
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s socket: %w", name, err)
	}
	s := &socket{fd: fd, file: file, conn: conn}
	p.goroutines.Add(1)
	go func() {
		defer p.goroutines.Done()
		p.receive(s, handle)
	}()
	return s, nil
}

// receive reads until the socket is closed.
func (p *Prober) receive(s *socket, handle func(*socket)) {
	read := s.read // once, since a method value is allocated
	for s.conn.Read(read) == nil {
		if s.err == 0 {
			handle(s)
			continue
		}
		// Out of memory or the like. It must not become a busy loop.
		select {
		case <-p.closed:
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// read receives one datagram; false lets the poller wait for the next.
func (s *socket) read(fd uintptr) bool {
	s.size, s.err = s.in.receive(int(fd))
	return s.err != unix.EAGAIN && s.err != unix.EINTR
}

func (s *socket) data() []byte { return s.in.data[:s.size] }

// attachFilter drops the packets that a classic BPF program returns 0 for
// before they wake anybody.
func attachFilter(fd int, program []unix.SockFilter) error {
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// Opcodes of classic BPF that x/sys names only in parts.
const (
	loadHalf        = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
	loadHalfIndexed = unix.BPF_LD | unix.BPF_H | unix.BPF_IND
	loadIPv4Length  = unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH // X = 4*(P[k]&0xf)
	and             = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	jumpIfEqual     = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	accept          = unix.BPF_RET | unix.BPF_K
	wholePacket     = 0xffff
)

// answer returns the answer to a round of a target, if address is the
// target's.
func (path *pathState) answer(target int, address netip.Addr, round uint32) (Answer, bool) {
	if target >= len(path.targets) || path.targets[target].address != address {
		return Answer{}, false
	}
	return Answer{Key: path.key, Round: round, Target: target, At: time.Now()}, true
}
