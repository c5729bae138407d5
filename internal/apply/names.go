package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"loadbalance/internal/plan"
	"loadbalance/internal/rundir"
)

// namesFile holds the names of our tables for `ip route show table NAME`.
const namesFile = "loadbalance.conf"

// writeNames keeps the file of the names of members' tables. It lies on flash, so it is written
// only when it changes.
func (e *Engine) writeNames(members []plan.Member) error {
	path := filepath.Join(e.NamesDir, namesFile)
	old, err := rundir.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(members) == 0 {
		if err == nil {
			return os.Remove(path)
		}
		return nil
	}
	var text strings.Builder
	text.WriteString("# written by loadbalance\n")
	for _, m := range members {
		fmt.Fprintf(&text, "%d\t%s\n", m.Table, m.Name)
	}
	if text.String() == string(old) {
		return nil
	}
	if err := os.MkdirAll(e.NamesDir, 0o755); err != nil {
		return err
	}
	return rundir.WriteFile(path, []byte(text.String()), 0o644, 0)
}
