package cli

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// syslogTimeout bounds the wait for a daemon that hangs: the monitor has lines to look after.
const syslogTimeout = 100 * time.Millisecond

// syslogPath is where logd (OpenWrt) and other daemons listen for datagrams.
const syslogPath = "/dev/log"

// Of RFC 3164, section 4.1.1.
const (
	facilityDaemon = 3 << 3
	severityError  = 3
)

// sendToSyslog sends one line; the daemon adds time and host. Package log/syslog would bring
// the whole network dialer, 330 KB of it. Each line has a socket of its own: the daemon may
// not be there yet (at boot) and may be restarted at any time.
func sendToSyslog(path, level, line string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(syslogTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return err
	}
	message := fmt.Appendf(nil, "<%d>loadbalance[%d]: %s", facilityDaemon|(severityError+slices.Index(levels, level)), os.Getpid(), line)
	return unix.Sendto(fd, message, 0, &unix.SockaddrUnix{Name: path})
}
