package program

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func shell(limit time.Duration, input, script string) ([]byte, error) {
	return Run(limit, input, "sh", "-c", script)
}

func TestRun(t *testing.T) {
	output, err := shell(time.Minute, "a\nb\n", "cat; echo said >&2")
	if string(output) != "a\nb\n" || err != nil {
		t.Errorf("%q, %v", output, err)
	}
	_, err = shell(time.Minute, "", "echo ignored; printf 'one\\ntwo\\n' >&2; exit 7")
	var exit *exec.ExitError
	if err == nil || err.Error() != "exit status 7: one two" || !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("error %v", err)
	}
	if _, err := Run(time.Minute, "", "no-such-program"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

// TestLargestOutput: the limit itself is still read, and no more.
func TestLargestOutput(t *testing.T) {
	input := strings.Repeat("x", maxOutput)
	if output, err := shell(time.Minute, input, "cat"); len(output) != maxOutput || err != nil {
		t.Errorf("%d bytes, %v", len(output), err)
	}
	if output, err := shell(time.Minute, input, "cat; echo; sleep 60"); output != nil || err == nil || err.Error() != "printed more than 8 MB" {
		t.Errorf("%d bytes, %v", len(output), err)
	}
}

// TestLimitEndsTheGroup: what a program has started ends with it, so that it
// cannot write later.
func TestLimitEndsTheGroup(t *testing.T) {
	file := t.TempDir() + "/late"
	start := time.Now()
	_, err := shell(200*time.Millisecond, "", "(sleep 1; echo > "+file+") & wait")
	if err == nil || err.Error() != "no answer within 200ms" || time.Since(start) > 900*time.Millisecond {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
	time.Sleep(1200 * time.Millisecond)
	if output, _ := exec.Command("cat", file).CombinedOutput(); !bytes.Contains(output, []byte("No such file")) {
		t.Errorf("it wrote %q", output)
	}
}
