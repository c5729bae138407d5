package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Namespace is an anonymous network namespace.
type Namespace struct {
	// Name is for messages; the system does not know it.
	Name string
	fd   int
	// lock is a file without a name, the xtables lock of the namespace.
	lock int
}

func newNamespace(name string) (*Namespace, error) {
	ns := &Namespace{Name: name, fd: -1, lock: -1}
	err := onThread(func() error {
		if err := unshare(); err != nil {
			return err
		}
		fd, err := openCurrent()
		ns.fd = fd
		return err
	})
	if err == nil {
		ns.lock, err = unix.MemfdCreate("xtables.lock", unix.MFD_CLOEXEC)
	}
	if err != nil {
		ns.close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return ns, nil
}

// FreshNamespace moves a test into a network namespace of its own. The thread
// stays locked, so it ends with the test's goroutine and takes the namespace
// along.
func FreshNamespace(t TB) {
	t.Helper()
	runtime.LockOSThread()
	err := unshare()
	if err == nil {
		err = writeSysctl(disableIPv6, "0")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// disableIPv6 switches IPv6 off, as it may be in the host's namespace, from where
// others have it by net.core.devconf_inherit_init_net.
const disableIPv6 = "net/ipv6/conf/all/disable_ipv6"

// unshare moves the thread into a new namespace.
func unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("create namespace (needs root): %w", err)
	}
	return nil
}

func (ns *Namespace) close() {
	for _, fd := range []*int{&ns.fd, &ns.lock} {
		if *fd >= 0 {
			unix.Close(*fd)
		}
		*fd = -1
	}
}

// Path names the namespace as a file, for "nsenter --net=PATH", from any process
// and as long as this one lives.
func (ns *Namespace) Path() string { return filePath(ns.fd) }

func filePath(fd int) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd) }

// environment completes that of a process in the namespace. The legacy back end
// of iptables has one lock for all namespaces, and gives up at once if somebody
// else on the machine has it (xtables_lock in iptables/xshared.c): here each
// namespace has its own. Messages are in English on every machine.
func (ns *Namespace) environment(env []string) []string {
	if env == nil {
		env = os.Environ()
	}
	return append(slices.Clip(env), "XTABLES_LOCKFILE="+filePath(ns.lock), "LC_ALL=C")
}

// Do runs f on a thread that is inside the namespace. Sockets that f opens and
// processes that it starts belong to the namespace, and so does what f reads in
// /proc/thread-self/net and /proc/sys/net; /proc/net and /sys show the host's.
// Goroutines that f starts are outside.
func (ns *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace %s: %w", ns.Name, err)
		}
		return f()
	})
}

// onThread runs f, which may change the thread's namespace, on a locked thread
// and brings the thread back. A thread that cannot go back stays locked; the
// runtime ends it together with its goroutine, for which reason f runs on a
// goroutine of its own.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errors.New("panic or Goexit inside a namespace")
		defer func() { result <- err }()
		runtime.LockOSThread()
		home, openErr := openCurrent()
		if openErr != nil {
			err = openErr
			return
		}
		defer unix.Close(home)
		err = f()
		if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
			err = errors.Join(err, fmt.Errorf("leave namespace: %w", back))
			return
		}
		runtime.UnlockOSThread()
	}()
	return <-result
}

func openCurrent() (int, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open own namespace: %w", err)
	}
	return fd, nil
}

// Command returns a command that will run in the namespace, for callers that
// need pipes, signals or a context. It costs one more execve than Run: nsenter,
// which then becomes the command in the same process.
func (ns *Namespace) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + ns.Path(), "--", name}, args...)...)
	cmd.Env = ns.environment(nil)
	return cmd
}

// Start starts cmd in the namespace, without nsenter.
func (ns *Namespace) Start(cmd *exec.Cmd) error {
	cmd.Env = ns.environment(cmd.Env)
	return ns.Do(cmd.Start)
}

// Run runs a command in the namespace and returns its output, both streams
// together. The error holds the output as well.
func (ns *Namespace) Run(name string, args ...string) (string, error) {
	return ns.RunInput("", name, args...)
}

// RunInput is Run with a standard input.
func (ns *Namespace) RunInput(input, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var out strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	err := ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s: %s %s: %w: %s", ns.Name, name, strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return out.String(), err
}

// batch runs one command with the lines as its standard input, unless there are
// none. The error names the line that the command refused.
func (ns *Namespace) batch(lines string, command ...string) error {
	if lines == "" {
		return nil
	}
	out, err := ns.RunInput(lines, command[0], command[1:]...)
	if err != nil {
		return fmt.Errorf("%w: %s", err, refusedLine(out, lines))
	}
	return nil
}

// refusedLine finds the line whose number a message of ip or tc ("Command
// failed -:12") or of iptables-restore ("line 12 failed", "at line: 12") gives.
func refusedLine(message, lines string) string {
	for _, before := range []string{"Command failed -:", "at line: ", "line "} {
		_, rest, found := strings.Cut(message, before)
		if !found {
			continue
		}
		number := 0
		if _, err := fmt.Sscanf(rest, "%d", &number); err != nil {
			continue
		}
		if all := strings.Split(lines, "\n"); number >= 1 && number <= len(all) {
			return all[number-1]
		}
	}
	return lines
}

// ip runs lines of "ip" commands in one process.
func (ns *Namespace) ip(lines string) error { return ns.batch(lines, "ip", "-batch", "-") }

// Sysctl writes a value, named as in "net/ipv4/ip_forward", below /proc/sys.
func (ns *Namespace) Sysctl(name, value string) error {
	return ns.Do(func() error {
		if err := writeSysctl(name, value); err != nil {
			return fmt.Errorf("%s: %w", ns.Name, err)
		}
		return nil
	})
}

// writeSysctl is Sysctl in the namespace of the calling thread.
func writeSysctl(name, value string) error {
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		return fmt.Errorf("sysctl %s=%s: %w", name, value, err)
	}
	return nil
}

// awaitAddresses waits until the kernel lets all IPv6 addresses be used, which it
// does asynchronously, even without duplicate address detection.
func (ns *Namespace) awaitAddresses() error {
	return ns.Do(func() error {
		for end := time.Now().Add(SettleTimeout); ; time.Sleep(time.Millisecond) {
			tentative, err := tentativeAddress()
			if tentative == "" || err != nil {
				return err
			}
			if time.Now().After(end) {
				return fmt.Errorf("%s: address still tentative: %s", ns.Name, tentative)
			}
		}
	})
}

// tentativeAddress returns the line of an address that cannot be used yet.
func tentativeAddress() (string, error) {
	data, err := os.ReadFile("/proc/thread-self/net/if_inet6")
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(data), "\n") {
		fields := strings.Fields(line) // address, index, length, scope, flags, device
		if len(fields) < 6 {
			continue
		}
		flags, err := strconv.ParseUint(fields[4], 16, 32)
		if err != nil {
			return "", fmt.Errorf("if_inet6: %w", err)
		}
		if flags&unix.IFA_F_TENTATIVE != 0 {
			return line, nil
		}
	}
	return "", nil
}
