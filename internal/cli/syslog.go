package cli

import (
	"fmt"
	"net"
	"os"
	"time"
)

// syslogSocket is a connection to the system's log. It connects when there is
// something to write, and anew where the daemon was not there before (at boot)
// or was restarted. The standard library's log/syslog would do, but brings the
// whole network dialer, 330 KB of it.
type syslogSocket struct {
	path string        // where the daemon listens
	conn *net.UnixConn // nil while there is no connection
}

// syslogTimeout bounds the wait for a daemon that hangs: the monitor has uplinks
// to look after.
const syslogTimeout = 100 * time.Millisecond

// syslogPath is where logd (OpenWrt) and other daemons listen for datagrams.
const syslogPath = "/dev/log"

// facilityDaemon and the severities are those of RFC 3164, section 4.1.1.
const facilityDaemon = 3 << 3

var severities = map[string]int{"error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}

func openSyslog(path string) *syslogSocket { return &syslogSocket{path: path} }

// Send sends one line. The daemon adds time and host.
func (s *syslogSocket) Send(level, line string) error {
	message := fmt.Appendf(nil, "<%d>loadbalance[%d]: %s", facilityDaemon|severities[level], os.Getpid(), line)
	if s.conn != nil {
		err := s.write(message)
		if err == nil || os.IsTimeout(err) {
			return err
		}
		s.Close()
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: s.path})
	if err != nil {
		return err
	}
	s.conn = conn
	return s.write(message)
}

func (s *syslogSocket) write(message []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(syslogTimeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(message)
	return err
}

// Close closes the connection.
func (s *syslogSocket) Close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
