package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/rundir"
)

// TestRunningConfiguration: what runs while a file is refused, and why.
func TestRunningConfiguration(t *testing.T) {
	const good, better = "config member 'wan1'\n", "config member 'wan2'\n"
	const bad = "config member 'wan1'\n\toption weight '0'\n\toption wieght '1'\n\toption metric 'x'\n"
	problems := []string{
		"loadbalance:2: member 'wan1': option 'weight': '0' is out of range (1 to 1000)",
		"loadbalance:4: member 'wan1': option 'metric': 'x' is not a whole number",
	}
	for _, tt := range []struct {
		name, file, accepted string
		member               string // of what runs
		refused              []string
		unread               bool
	}{
		{"the file", good, good, "wan1", nil, false},
		{"a file that nobody has read", better, good, "wan2", nil, true},
		{"a refused file", bad, better, "wan2", problems, true},
		{"a file that libuci refuses", "config member 'wan1\n", better, "wan2",
			[]string{"loadbalance:1: syntax error: the quote ' that is opened here is never closed"}, true},
		{"no file", "", better, "wan2", []string{"there is no configuration: "}, false},
		{"nothing accepted yet", good, "", "wan1", nil, false},
		{"nothing accepted yet, and mistakes", better + bad, "", "wan2", nil, false},
		{"nothing at all", "", "", "", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			run := rundir.Dir(filepath.Join(dir, "run"))
			if err := run.Create(); err != nil {
				t.Fatal(err)
			}
			if tt.accepted != "" {
				if err := run.Accept([]byte(tt.accepted)); err != nil {
					t.Fatal(err)
				}
			}
			if tt.file != "" {
				if err := os.WriteFile(filepath.Join(dir, configName), []byte(tt.file), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := Unread(run, dir); got != tt.unread {
				t.Errorf("unread: %v", got)
			}
			cfg, refusal, err := RunningConfiguration(run, dir)
			if tt.member == "" {
				if err == nil {
					t.Error("no error")
				}
				return
			}
			if err != nil || len(cfg.Members) != 1 || cfg.Members[0].Name != tt.member {
				t.Fatalf("runs %+v, error %v", cfg, err)
			}
			var refused []string
			if refusal != nil {
				refused = refusal.Problems
				if refusal.Since.IsZero() != (tt.file == "") || !Written(dir).Equal(refusal.Since) {
					t.Errorf("since %v", refusal.Since)
				}
			}
			if !slices.EqualFunc(refused, tt.refused, strings.HasPrefix) {
				t.Errorf("refused: %q, want %q", refused, tt.refused)
			}
		})
	}
}
