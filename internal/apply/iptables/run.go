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
)

const (
	// timeout bounds one run of a program, lock included. A full table of 60
	// members is loaded in well under a second on a PC; a slow router gets
	// fifty times that.
	timeout = 30 * time.Second
	// pipeDelay is how long what a program has left behind may keep the pipe to
	// us open. What the program itself printed is in the pipe when it ends, and
	// read within a millisecond; up to three programs run before new chains are
	// there, which may come a second late.
	pipeDelay = 250 * time.Millisecond
	// maxOutput is the most that a program may print, in bytes: 50,000 rules of
	// 160 bytes. Tables of 60 members take 100 KB.
	maxOutput = 8 << 20
	// maxMessage is how much of its messages an error shows: a few lines.
	maxMessage = 500
)

// runProgram runs a program on the calling thread, and so in its network namespace,
// and returns what it prints.
func runProgram(name, input string, args ...string) ([]byte, error) {
	limit, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(limit, name, args...)
	cmd.WaitDelay = pipeDelay
	cmd.Stdin = strings.NewReader(input)
	output, messages := head{limit: maxOutput, full: cancel}, head{limit: maxMessage, full: func() {}}
	cmd.Stdout, cmd.Stderr = &output, &messages
	// If we are killed, the program must not go on and write behind the back
	// of the next apply. The kernel watches the thread, so it is kept.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	switch {
	case errors.Is(limit.Err(), context.Canceled):
		return nil, fmt.Errorf("%s printed more than %d MB", name, maxOutput>>20)
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return output.text, nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%s %w", name, ErrMissing)
	case limit.Err() != nil:
		return nil, fmt.Errorf("%s did not end within %s", name, timeout)
	}
	// All versions say so in these words, and exit with 4, which means more.
	if bytes.Contains(messages.text, []byte("holding the xtables lock")) {
		return nil, ErrBusy
	}
	return nil, fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(messages.text))
}

// head keeps the beginning of what is written to it, and calls full when there
// is more.
type head struct {
	text  []byte
	limit int
	full  func()
}

// Write keeps what still fits and discards the rest. It never fails.
func (h *head) Write(p []byte) (int, error) {
	kept := min(len(p), h.limit-len(h.text))
	h.text = append(h.text, p[:kept]...)
	if kept < len(p) {
		h.full()
	}
	return len(p), nil
}
