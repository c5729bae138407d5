package netlab

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestBackground(t *testing.T) {
	l := Start(t, Options{Uplinks: 1})
	p, err := l.Router.Background(exec.Command("sh", "-c", `trap 'exit 3' TERM
echo one line; echo another line >&2
while :; do sleep 0.1; done`))
	must(t, err)
	defer p.End(syscall.SIGKILL) // does nothing after the one below
	eventually(t, "both streams are in the log", func() bool { return p.Log.Count("line") == 2 && p.Log.Count("other", "line") == 1 })
	err = p.End(syscall.SIGTERM)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "another line") {
		t.Errorf("ended with %v", err)
	}
	if err := p.End(syscall.SIGTERM); err != nil {
		t.Errorf("ended again: %v", err)
	}
}
