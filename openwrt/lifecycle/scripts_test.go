package lifecycle

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestScriptsAreForAsh: the shell of OpenWrt parses every script.
func TestScriptsAreForAsh(t *testing.T) {
	scripts := 0
	for _, dir := range []string{overlay, "testdata"} {
		check(t, filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(file)
			if err != nil || !strings.HasPrefix(string(text), "#!/bin/sh") {
				return err
			}
			scripts++
			if output, err := exec.Command("busybox", "ash", "-n", file).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", file, err, output)
			}
			return nil
		}))
	}
	if scripts < 10 {
		t.Errorf("only %d scripts were found", scripts)
	}
}
