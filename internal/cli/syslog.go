package cli

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syslogSocket is a connection to the system's log. The standard library's
// log/syslog would do, but brings the whole network dialer, 330 KB of it.
type syslogSocket struct{ fd int }

// syslogPath is where logd (OpenWrt) and other daemons listen for datagrams.
const syslogPath = "/dev/log"

// facilityDaemon and the severities are those of RFC 3164, section 4.1.1.
const facilityDaemon = 3 << 3

var severities = map[string]int{"error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}

func openSyslog() (*syslogSocket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: syslogPath}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect %s: %w", syslogPath, err)
	}
	return &syslogSocket{fd}, nil
}

// Send sends one line. The daemon adds time and host.
func (s *syslogSocket) Send(level, line string) error {
	message := fmt.Sprintf("<%d>loadbalance[%d]: %s", facilityDaemon|severities[level], os.Getpid(), line)
	_, err := unix.Write(s.fd, []byte(message))
	return err
}

// Close closes the connection.
func (s *syslogSocket) Close() { unix.Close(s.fd) }
