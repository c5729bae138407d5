package main

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// TestRuleLogs: a rule with option log writes each new connection that it
// matches into the kernel's log, and nothing else.
func TestRuleLogs(t *testing.T) {
	config := ruleBase + `
config rule 'bank'
	list dest_ip '203.0.113.10'
	list dest_ip '2001:db8:ffff::a'
	option use_policy 'wan2'
	option log '1'

config rule 'quiet'
	list dest_ip '203.0.113.11'
	list dest_ip '2001:db8:ffff::b'
	option use_policy 'wan2'
`
	letNamespacesLog(t)
	// There is one log for all namespaces.
	eachBackendAlone(t, func(t *testing.T, backend string) {
		r := newRuleRouter(t, backend, config)
		r.must("apply")
		shots := newPacketRange(t, r.lab)
		for _, f := range family.All {
			log := openKernelLog(t)
			shots.expect("no log", f, 2, []packet{tcp(3, 11, 7083)})
			shots.expect("no rule", f, unmatched, []packet{tcp(3, 12, 7083)})
			shots.expect("log", f, 2, []packet{tcp(3, 10, 7083)})
			source, destination := tcp(3, 10, 7083).addresses(r.lab, f)
			log.expectFirst("DPT=7083 ", "lb bank: IN=lan OUT= ",
				"SRC="+source.StringExpanded()+" DST="+destination.StringExpanded()+" ", "PROTO=TCP SPT=40000 ")
		}
	})
}

// letNamespacesLog lets rules outside the first network namespace log, too,
// until the test ends. Only the first namespace has the switch.
func letNamespacesLog(t *testing.T) {
	t.Helper()
	fd, err := unix.Open("/proc/sys/net/netfilter/nf_log_all_netns", unix.O_RDWR|unix.O_CLOEXEC, 0)
	check(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	// Another run of the test must not take what this one has set for what
	// was there before. The lock ends with the descriptor.
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(fd, unix.LOCK_EX)
	}
	check(t, err)
	before := make([]byte, 16)
	n, err := unix.Pread(fd, before, 0)
	check(t, err)
	t.Cleanup(func() {
		if _, err := unix.Pwrite(fd, before[:n], 0); err != nil {
			t.Errorf("nf_log_all_netns: %v", err)
		}
	})
	_, err = unix.Pwrite(fd, []byte("1\n"), 0)
	check(t, err)
}

// kernelLog is the kernel's log from the moment when it was opened.
type kernelLog struct {
	t  *testing.T
	fd int
}

func openKernelLog(t *testing.T) *kernelLog {
	t.Helper()
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	check(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	_, err = unix.Seek(fd, 0, unix.SEEK_END)
	check(t, err)
	return &kernelLog{t, fd}
}

// expectFirst waits for the first record with a text and checks that it has
// others as well.
func (l *kernelLog) expectFirst(text string, others ...string) {
	l.t.Helper()
	var record string
	eventually(l.t, "the kernel logged "+text, func() bool {
		record = l.next()
		return strings.Contains(record, text)
	})
	for _, other := range others {
		if !strings.Contains(record, other) {
			l.t.Errorf("the kernel logged %q, want it to contain %q", record, other)
		}
	}
}

// next returns the next record, "" if there is none yet.
func (l *kernelLog) next() string {
	l.t.Helper()
	record := make([]byte, 8192) // one read is one record, of at most this size
	n, err := unix.Read(l.fd, record)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), errors.Is(err, unix.EPIPE): // EPIPE: the oldest are gone
		return ""
	case err != nil:
		l.t.Fatalf("/dev/kmsg: %v", err)
	}
	return string(record[:n])
}
