package iptables

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"loadbalance/internal/family"
	"loadbalance/internal/program"
)

// Backend chooses the programs: "auto" takes those that the system's alternatives
// have, "nft" and "legacy" the ones of that back end by name.
type Backend string

// The back ends that --iptables takes.
const (
	Auto   Backend = "auto"
	NFT    Backend = "nft"
	Legacy Backend = "legacy"
)

// lockSeconds is how long iptables waits for others that hold the xtables
// lock. fw3 and docker hold it for well under a second each; whoever holds it
// longer shall not keep the other family waiting, so the caller tries again.
const lockSeconds = 1

// timeout bounds one run of a program, lock included. A full table of 60 members is
// loaded in well under a second on a PC; a slow router gets fifty times that.
const timeout = 30 * time.Second

// Tool runs the programs of one back end.
type Tool struct {
	Backend Backend
}

// ErrMissing says that a program is not installed.
var ErrMissing = errors.New("is not installed (on OpenWrt: packages iptables-nft and ip6tables-nft)")

// ErrBusy says that another program holds the xtables lock.
var ErrBusy = errors.New("another program holds the xtables lock")

// name returns a program's name, such as ip6tables-nft-restore.
func (t Tool) name(f family.Family, suffix string) string {
	name := family.Pick(f, "iptables", "ip6tables")
	if t.Backend == NFT || t.Backend == Legacy {
		name += "-" + string(t.Backend)
	}
	return name + suffix
}

// runProgram runs a program and returns what it prints.
func runProgram(name, input string, args ...string) ([]byte, error) {
	output, err := program.Run(timeout, input, name, args...)
	switch {
	case err == nil:
		return output, nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%s %w", name, ErrMissing)
	case strings.Contains(err.Error(), "holding the xtables lock"):
		return nil, ErrBusy // all versions say so; they exit with 4, which means more
	}
	return nil, fmt.Errorf("%s: %w", name, err)
}

// Read returns our part of the mangle table.
func (t Tool) Read(f family.Family) (table *Table, err error) {
	output, err := runProgram(t.name(f, "-save"), "", "-c", "-t", "mangle")
	if err == nil {
		table, err = Parse(output)
	}
	if err == nil && table.unnamed {
		table.Legacy, err = t.isLegacy(f)
	}
	if err != nil {
		return nil, fmt.Errorf("mangle save (%s): %w", f, err)
	}
	return table, nil
}

// isLegacy asks the programs whether they are of iptables-legacy, each program file
// once: a file keeps its back end, while names are the system's alternatives.
func (t Tool) isLegacy(f family.Family) (bool, error) {
	name := t.name(f, "")
	file, err := exec.LookPath(name)
	if err != nil {
		return false, fmt.Errorf("%s %w", name, ErrMissing)
	}
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return false, err
	}
	asked.Lock()
	defer asked.Unlock()
	if legacy, known := asked.legacy[file]; known {
		return legacy, nil
	}
	output, err := runProgram(name, "", "--version")
	if err != nil {
		return false, err
	}
	if !bytes.Contains(output, []byte(" v")) {
		return false, fmt.Errorf("%s --version printed no version: %.40q", name, output)
	}
	asked.legacy[file] = !bytes.Contains(output, []byte(nftMode))
	return asked.legacy[file], nil
}

// asked has the program files that were asked for their back end.
var asked = struct {
	sync.Mutex
	legacy map[string]bool
}{legacy: map[string]bool{}}

// Write runs a transaction. If it fails, nothing has changed; the error is an
// *InputError if it was refused, and ErrBusy if the lock was not to be had.
func (t Tool) Write(f family.Family, change Change) error {
	input := change.Input()
	_, err := runProgram(t.name(f, "-restore"), input, "--noflush", "-w", strconv.Itoa(lockSeconds))
	if err == nil {
		return nil
	}
	err = fmt.Errorf("mangle restore (%s): %w", f, err)
	if refused := (*exec.ExitError)(nil); errors.As(err, &refused) && !errors.Is(err, ErrBusy) {
		return &InputError{err, input}
	}
	return err
}

// InputError says that iptables-restore refused a transaction. The message is
// short; Numbered gives the log what the line number in it refers to.
type InputError struct {
	Err   error
	Input string
}

func (e *InputError) Error() string { return e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// Numbered returns the input with line numbers.
func (e *InputError) Numbered() string {
	var text strings.Builder
	for i, line := range strings.Split(strings.TrimSuffix(e.Input, "\n"), "\n") {
		fmt.Fprintf(&text, "%4d  %s\n", i+1, line)
	}
	return text.String()
}
