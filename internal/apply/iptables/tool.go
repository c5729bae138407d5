package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"loadbalance/internal/family"
)

// Backend chooses the programs: "auto" takes iptables-save and
// iptables-restore as the system's alternatives have them, "nft" and "legacy"
// take the ones of that back end by name.
type Backend string

// The back ends that --iptables takes.
const (
	Auto   Backend = "auto"
	NFT    Backend = "nft"
	Legacy Backend = "legacy"
)

const (
	// lockSeconds is how long iptables waits for others that hold the xtables
	// lock. fw3 and docker hold it for well under a second each.
	lockSeconds = "5"
	// timeout bounds one run of a program, lock included. A full table of 60
	// members is loaded in well under a second on a PC; a slow router gets
	// fifty times that.
	timeout = 30 * time.Second
)

// Tool runs the programs of one back end.
type Tool struct {
	Backend Backend
}

// ErrMissing says that a program is not installed.
var ErrMissing = errors.New("is not installed (on OpenWrt: packages iptables-nft and ip6tables-nft)")

// name returns a program's name, such as ip6tables-nft-restore.
func (t Tool) name(f family.Family, suffix string) string {
	name := "iptables"
	if f == family.IPv6 {
		name = "ip6tables"
	}
	if t.Backend == NFT || t.Backend == Legacy {
		name += "-" + string(t.Backend)
	}
	return name + suffix
}

// Read returns our part of the mangle table.
func (t Tool) Read(f family.Family) (*Table, error) { return t.BeginRead(f)() }

// BeginRead is Read in two parts, so that both families and the rest of the
// kernel can be read at the same time. The returned function waits for the
// result; it must be called once, by the same goroutine.
func (t Tool) BeginRead(f family.Family) (wait func() (*Table, error)) {
	save := t.start(t.name(f, "-save"), "", "-c", "-t", "mangle")
	return func() (*Table, error) {
		output, err := save.wait()
		var table *Table
		if err == nil {
			table, err = Parse(output)
		}
		if err != nil {
			return nil, fmt.Errorf("mangle save (%s): %w", f, err)
		}
		return table, nil
	}
}

// Write runs a transaction. If it is refused, nothing has changed, and the
// error is an *InputError.
func (t Tool) Write(f family.Family, change Change) error {
	_, wait := t.BeginWrite(f, change)
	return wait()
}

// A transaction under way is looked at every inEffectEvery, since Go does not
// sleep for less, and less often the longer it takes, lest a slow processor be
// kept from it.
const (
	inEffectEvery = time.Millisecond
	inEffectPart  = 16 // of the time that it has taken
)

// BeginWrite is Write in two parts, as BeginRead is Read. inEffect may be called
// before wait: it returns true as soon as packets go by the new chains, false if
// the transaction was refused.
//
// With nftables that is long before the program ends: when it closes its socket,
// the kernel has it wait until no packet can use the old rules any more, some
// 10 ms (nft_rcv_nl_event in net/netfilter/nf_tables_api.c). The generation tells
// only that there was a transaction, so another program's may be taken for ours:
// inEffect is for what does no harm when it is done too early.
func (t Tool) BeginWrite(f family.Family, change Change) (inEffect func() bool, wait func() error) {
	input := change.Input()
	kernel := openGenerations()
	before := kernel.current()
	began := time.Now()
	restore := t.start(t.name(f, "-restore"), input, "--noflush", "-w", lockSeconds)
	var result error
	waited := false
	wait = func() error {
		if !waited {
			waited, result = true, restore.result(f, input)
			kernel.close()
		}
		return result
	}
	inEffect = func() bool {
		for !change.Legacy && before != 0 && !restore.ended() {
			if now := kernel.current(); now != 0 && now != before {
				return true
			}
			time.Sleep(max(inEffectEvery, time.Since(began)/inEffectPart))
		}
		return wait() == nil
	}
	return inEffect, wait
}

// result waits for the end of iptables-restore.
func (p *program) result(f family.Family, input string) error {
	_, err := p.wait()
	var refused *exec.ExitError
	if errors.As(err, &refused) {
		return &InputError{Family: f, Input: input, Err: err}
	}
	if err != nil {
		return fmt.Errorf("mangle restore (%s): %w", f, err)
	}
	return nil
}

// Version tells which iptables answers, such as "1.8.9".
func (t Tool) Version(f family.Family) (string, error) {
	name := t.name(f, "")
	output, err := t.run(name, "", "--version")
	if err != nil {
		return "", err
	}
	version, err := parseVersion(string(output))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return version, nil
}

// parseVersion reads "iptables v1.8.9 (nf_tables)". Before 1.8 nothing follows
// the number.
func parseVersion(output string) (string, error) {
	fields := strings.Fields(output)
	if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") {
		return "", fmt.Errorf("version: unexpected answer %q", output)
	}
	return fields[1][1:], nil
}

func (t Tool) run(name, input string, args ...string) ([]byte, error) {
	return t.start(name, input, args...).wait()
}

// program is a program that runs.
type program struct {
	name             string
	cmd              *exec.Cmd
	limit            context.Context
	cancel           func()
	err              error // why it did not start
	output, messages bytes.Buffer
}

// start starts a program on the calling thread, and so in its network
// namespace. wait must be called once, by the same goroutine.
func (t Tool) start(name, input string, args ...string) *program {
	p := &program{name: name}
	p.limit, p.cancel = context.WithTimeout(context.Background(), timeout)
	p.cmd = exec.CommandContext(p.limit, name, args...)
	p.cmd.Stdin = strings.NewReader(input)
	// If we are killed, the program must not go on and write behind the back
	// of the next apply. The kernel watches the thread, so it is kept.
	runtime.LockOSThread()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.messages
	p.err = p.cmd.Start()
	if input != "" {
		runtime.Gosched() // to the goroutine that writes the input
	}
	return p
}

// ended says, before wait, whether the program has ended.
func (p *program) ended() bool {
	if p.err != nil {
		return true
	}
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err != nil && err != unix.EINTR || info.Signo != 0
}

// wait waits for the end and returns the output.
func (p *program) wait() ([]byte, error) {
	defer p.cancel()
	defer runtime.UnlockOSThread()
	err := p.err
	if err == nil {
		err = p.cmd.Wait()
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%s %w", p.name, ErrMissing)
	case p.limit.Err() != nil:
		return nil, fmt.Errorf("%s did not end within %s", p.name, timeout)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %s", p.name, err, strings.TrimSpace(p.messages.String()))
	}
	return p.output.Bytes(), nil
}

// InputError says that iptables-restore refused a transaction. The message is
// short; Numbered gives the log what the line number in it refers to.
type InputError struct {
	Family family.Family
	Input  string
	Err    error
}

func (e *InputError) Error() string { return fmt.Sprintf("mangle restore (%s): %v", e.Family, e.Err) }
func (e *InputError) Unwrap() error { return e.Err }

// Numbered returns the input with line numbers.
func (e *InputError) Numbered() string {
	var text strings.Builder
	for i, line := range strings.Split(strings.TrimSuffix(e.Input, "\n"), "\n") {
		fmt.Fprintf(&text, "%4d  %s\n", i+1, line)
	}
	return text.String()
}
