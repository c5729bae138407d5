package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// syslogSocket is a connection to the system's log. The standard library's
// log/syslog would do, but brings the whole network dialer, 330 KB of it. It
// connects when there is something to write, and anew where the daemon was not
// there before (at boot) or was restarted.
type syslogSocket struct {
	path string // where the daemon listens
	fd   int    // -1 while there is no connection
}

// syslogTimeout bounds the wait for a daemon that hangs: the monitor has lines
// to look after.
const syslogTimeout = 100 * time.Millisecond

// syslogPath is where logd (OpenWrt) and other daemons listen for datagrams.
const syslogPath = "/dev/log"

// Of RFC 3164, section 4.1.1.
const (
	facilityDaemon = 3 << 3
	severityError  = 3
)

func openSyslog(path string) *syslogSocket { return &syslogSocket{path: path, fd: -1} }

// Send sends one line. The daemon adds time and host.
func (s *syslogSocket) Send(level, line string) error {
	message := fmt.Appendf(nil, "<%d>loadbalance[%d]: %s", facilityDaemon|(severityError+slices.Index(levels, level)), os.Getpid(), line)
	if s.fd >= 0 {
		_, err := unix.Write(s.fd, message)
		if err == nil || errors.Is(err, unix.EAGAIN) {
			return err
		}
		s.Close()
	}
	if err := s.connect(); err != nil {
		return err
	}
	_, err := unix.Write(s.fd, message)
	return err
}

func (s *syslogSocket) connect() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	limit := unix.NsecToTimeval(syslogTimeout.Nanoseconds())
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: s.path})
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("connect %s: %w", s.path, err)
	}
	s.fd = fd
	return nil
}

// Close closes the connection.
func (s *syslogSocket) Close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}
