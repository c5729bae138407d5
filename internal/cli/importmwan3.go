package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"loadbalance/internal/mwan3"
	"loadbalance/internal/uci"
)

// importMWAN3Command prints mwan3's configuration as one of ours. It changes nothing.
func importMWAN3Command(in *invocation) int {
	path := filepath.Join(in.configDir, "mwan3")
	if len(in.words) > 0 {
		path = in.words[0]
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return in.fail(configError{fmt.Errorf("import-mwan3: %w", err)})
	}
	// The file need not be called as configurations are: people keep copies.
	result, err := mwan3.Convert(filepath.Base(path), text)
	var refused *uci.SyntaxError
	if errors.As(err, &refused) {
		err = configError{err}
	}
	if err != nil {
		return in.fail(fmt.Errorf("import-mwan3: %w", err))
	}
	if _, err := io.WriteString(in.out, result.Text); err != nil {
		return in.fail(fmt.Errorf("import-mwan3: %w", err))
	}
	if result.Notes > 0 {
		in.log.Notice(fmt.Sprintf("import-mwan3: what is different or was left out stands behind 'NOTE:' in the result (%d times)", result.Notes))
	}
	return exitDone
}
