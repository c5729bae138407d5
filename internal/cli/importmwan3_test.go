package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const mwan3Config = "config interface 'wan'\n\toption enabled '1'\n"

func TestImportMWAN3(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("mwan3", mwan3Config)
	copied := write("mwan3.old~", mwan3Config+"\toption colour 'red'\n")
	broken := write("broken", "config interface 'wan\n")
	skipped := write("skipped", mwan3Config+"\toption a b c\n")
	tests := []struct {
		name          string
		args          []string
		code          int
		out, messages string
	}{
		{"from --config-dir", []string{"import-mwan3", "--config-dir", dir}, 0, "config member 'wan'", ""},
		{"from a file of any name", []string{"import-mwan3", copied}, 0, "NOTE: member 'wan': option 'colour' is left out", "stands behind 'NOTE:' in the result (1 times)"},
		{"with a line that mwan3 skips", []string{"import-mwan3", skipped}, 0, "'option a b c', has a mistake", "(1 times)"},
		{"nothing to read", []string{"import-mwan3", broken}, 2, "", "import-mwan3: broken:1: "},
		{"missing", []string{"import-mwan3", filepath.Join(dir, "none")}, 2, "", "no such file"},
		{"too many words", []string{"import-mwan3", "a", "b"}, 2, "", "unexpected argument 'b'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, messages bytes.Buffer
			code := Run(tt.args, &out, &messages)
			if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(messages.String(), tt.messages) {
				t.Errorf("exit code %d, output %q, messages %q", code, out.String(), messages.String())
			}
			if code != 0 && out.Len() > 0 || tt.messages == "" && messages.Len() > 0 {
				t.Errorf("output %q, messages %q", out.String(), messages.String())
			}
		})
	}
}

// TestImportMWAN3WritesAll reports when the result cannot be written, such as
// to a full file system.
func TestImportMWAN3WritesAll(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mwan3"), []byte(mwan3Config), 0o644); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	var messages bytes.Buffer
	if code := Run([]string{"import-mwan3", "--config-dir", dir}, full, &messages); code != 1 {
		t.Errorf("exit code %d, messages %q", code, messages.String())
	}
}
