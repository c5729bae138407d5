package mwan3

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/uci"
)

var update = flag.Bool("update", false, "write the golden results anew; read the difference before you keep it")

// TestGolden converts the files of testdata: mwan3's shipped configuration, the
// examples of its documentation (both lines of both families in use, a rule of
// each kind), larger ones, what its port to nftables adds, and spellings of
// addresses that iptables takes. None may make our own check complain. Each folder has the file and the result, which a
// person has checked.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*")
	if err != nil || len(dirs) < 8 {
		t.Fatalf("%d folders, %v", len(dirs), err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(dir, "mwan3"))
			if err != nil {
				t.Fatal(err)
			}
			got := convert(t, string(text)).Text
			if _, problems := readBack(t, got); len(problems) > 0 {
				t.Errorf("the result makes check complain: %v", problems)
			}
			golden := filepath.Join(dir, "loadbalance")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the result is another one (go test -run Golden -update writes it anew):\n%s", got)
			}
		})
	}
}

// convert converts a text twice and checks that both results are the same, and
// that our own configuration takes them.
func convert(t *testing.T, text string) Result {
	t.Helper()
	result, err := Convert("mwan3", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Convert("mwan3", []byte(text))
	if err != nil || again != result {
		t.Errorf("the same file gave another result (%v):\n%s", err, again.Text)
	}
	if _, problems := readBack(t, result.Text); problems.HasErrors() {
		t.Errorf("the result has errors: %v\n%s", problems, result.Text)
	}
	if notes := strings.Count(result.Text, "# NOTE:"); notes != result.Notes {
		t.Errorf("%d notes are announced, there are %d", result.Notes, notes)
	}
	return result
}

func readBack(t *testing.T, text string) (*config.Config, config.Problems) {
	t.Helper()
	file, err := uci.Parse("loadbalance", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return config.Read(file)
}
