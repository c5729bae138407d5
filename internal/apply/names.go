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
	if len(members) == 0 {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	var text strings.Builder
	text.WriteString("# written by loadbalance\n")
	for _, m := range members {
		fmt.Fprintf(&text, "%d\t%s\n", m.Table, m.Name)
	}
	if old, err := rundir.ReadFile(path); err == nil && text.String() == string(old) {
		return nil
	}
	if err := os.MkdirAll(e.NamesDir, 0o755); err != nil {
		return err
	}
	return rundir.WriteFile(path, []byte(text.String()), 0o644, 0)
}
