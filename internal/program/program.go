// Package program asks other programs: none can keep the caller waiting, fill
// its memory, or go on without it.
package program

import (
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
	// pipeDelay is how long what a program has left behind may keep the pipe to
	// us open. Its own output is read within a millisecond; up to three programs
	// run before new chains are there, which may come a second late.
	pipeDelay = 200 * time.Millisecond
	// maxOutput is the most that a program may print, in bytes: 50,000 rules of
	// 160 bytes, or 4,000 interfaces of netifd. Tables of 60 members take 100 KB.
	maxOutput = 8 << 20
	// maxMessage is how much of its messages an error shows: a few lines.
	maxMessage = 500
)

// Run runs a program on the calling thread, and so in its network namespace, and
// returns what it prints. An error matches exec.ErrNotFound or *exec.ExitError
// where it is one, and has what the program said to it on one line.
func Run(limit time.Duration, input, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = pipeDelay
	cmd.Stdin = strings.NewReader(input)
	output, messages := Head{Most: maxOutput, full: cancel}, Head{Most: maxMessage}
	cmd.Stdout, cmd.Stderr = &output, &messages
	// A group of its own, so that the limit also ends what it started. If we are
	// killed, it must not go on and write behind the back of the next apply. The
	// kernel watches the thread for that, so it is kept.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, fmt.Errorf("printed more than %d MB", maxOutput>>20)
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return output.Text, nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, err
	case ctx.Err() != nil:
		return nil, fmt.Errorf("no answer within %s", limit)
	}
	return nil, fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(string(messages.Text)), " "))
}

// Head keeps the beginning of what is written to it.
type Head struct {
	Text []byte
	Most int    // bytes
	full func() // called when there is more; may be nil
}

// Write keeps what still fits and discards the rest. It never fails.
func (h *Head) Write(p []byte) (int, error) {
	kept := min(len(p), h.Most-len(h.Text))
	h.Text = append(h.Text, p[:kept]...)
	if kept < len(p) && h.full != nil {
		h.full()
	}
	return len(p), nil
}
