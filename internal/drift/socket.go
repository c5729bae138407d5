package drift

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// dumpBuffer holds what the kernel gives out at once in a dump at most
	// (32 KiB, netlink_dump in net/netlink/af_netlink.c).
	dumpBuffer = 32 << 10
	// The kernel interrupts a dump when what it lists changes meanwhile. Five
	// attempts is what the CNI plug-ins use, too.
	dumpAttempts = 5
	// The kernel answers at once, or after whoever holds its lock. The limit in
	// seconds only keeps a bug from hanging us.
	answerSeconds = 10
)

// errInterrupted says that what a dump lists changed meanwhile, every time.
var errInterrupted = errors.New("the list changed again and again while it was read")

// socket asks the kernel through netlink. The library's requests would do, but
// every answer costs them a fresh buffer of 64 KiB, which is too much for
// something that is asked all the time. It is not safe for concurrent use.
type socket struct {
	fd       int
	sequence uint32
	request  []byte
	answer   []byte
}

func openSocket(protocol int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{fd: fd, answer: make([]byte, dumpBuffer)}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerSeconds}); err != nil {
		s.close()
		return nil, os.NewSyscallError("setsockopt", err)
	}
	return s, nil
}

func (s *socket) close() { unix.Close(s.fd) }

// sum dumps objects and returns the sum of the digests that digestOf gives;
// what is not wanted it leaves out. Of a kind that the kernel does not have the
// sum is 0.
func (s *socket) sum(kind uint16, body []byte, digestOf func(body []byte) (d digest, wanted bool, err error)) (uint64, error) {
	var err error
	for range dumpAttempts {
		total := uint64(0)
		err = s.exchange(kind, unix.NLM_F_DUMP, body, func(m message) error {
			d, wanted, err := digestOf(m.body)
			if wanted {
				total += d.addend()
			}
			return err
		})
		if err == nil {
			return total, nil
		}
		if isAbsent(err) {
			return 0, nil
		}
		if !errors.Is(err, errInterrupted) {
			return 0, err
		}
	}
	return 0, err
}

// isAbsent says whether an error means that the kernel lacks the table, the
// address family or the subsystem.
func isAbsent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)
}

// exchange sends one request and calls each for every message of the answer,
// whose body is valid during the call only. The answer is read to its end,
// also after an error of each.
func (s *socket) exchange(kind, flags uint16, body []byte, each func(message) error) error {
	s.sequence++
	s.encode(kind, flags, body)
	if err := unix.Sendto(s.fd, s.request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	a := answer{sequence: s.sequence, each: each}
	for {
		b, err := s.receive()
		if err != nil {
			return err
		}
		if complete, err := a.take(b); complete || err != nil {
			return err
		}
	}
}

// answer is what has come of the answer to one request.
type answer struct {
	sequence    uint32
	each        func(message) error
	failed      error // the first error of each
	interrupted bool
}

// take takes the next messages and says whether the answer is complete.
func (a *answer) take(b []byte) (complete bool, err error) {
	for len(b) > 0 {
		var m message
		if m, b, err = cutMessage(b); err != nil {
			return false, err
		}
		if m.sequence != a.sequence {
			continue // left over from a request that failed half-way
		}
		a.interrupted = a.interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
		if m.kind == unix.NLMSG_DONE || m.kind == unix.NLMSG_ERROR {
			return true, a.result(m.errno())
		}
		if a.failed == nil {
			a.failed = a.each(m)
		}
		if m.flags&unix.NLM_F_MULTI == 0 {
			return true, a.result(nil)
		}
	}
	return false, nil
}

func (a *answer) result(err error) error {
	if err == nil {
		err = a.failed
	}
	if err == nil && a.interrupted {
		return errInterrupted
	}
	return err
}

func (s *socket) encode(kind, flags uint16, body []byte) {
	b := s.request[:0]
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|flags)
	b = binary.NativeEndian.AppendUint32(b, s.sequence)
	b = binary.NativeEndian.AppendUint32(b, 0) // from: the kernel knows
	s.request = append(b, body...)
}

// receive returns what the kernel gives out next; what others send is left
// out.
func (s *socket) receive() ([]byte, error) {
	for {
		n, from, err := unix.Recvfrom(s.fd, s.answer, unix.MSG_TRUNC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		if n > len(s.answer) {
			return nil, fmt.Errorf("an answer of the kernel has %d bytes, more than fit", n)
		}
		if fromKernel(from) {
			return s.answer[:n], nil
		}
	}
}

// fromKernel says whether a message was sent by the kernel, whose port is 0.
func fromKernel(from unix.Sockaddr) bool {
	sender, ok := from.(*unix.SockaddrNetlink)
	return ok && sender.Pid == 0
}
