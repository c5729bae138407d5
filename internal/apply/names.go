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

// writeNames keeps the file of table names. It lies on flash, so it is written
// only when it changes.
func (e *Engine) writeNames(names []plan.TableName) error {
	path := filepath.Join(e.NamesDir, namesFile)
	old, err := rundir.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(names) == 0 {
		if err == nil {
			return os.Remove(path)
		}
		return nil
	}
	var text strings.Builder
	text.WriteString("# written by loadbalance\n")
	for _, n := range names {
		fmt.Fprintf(&text, "%d\t%s\n", n.Table, n.Name)
	}
	if text.String() == string(old) {
		return nil
	}
	if err := os.MkdirAll(e.NamesDir, 0o755); err != nil {
		return err
	}
	return rundir.WriteFile(path, []byte(text.String()), 0o644)
}
