package plan_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"loadbalance/internal/config"
	"loadbalance/internal/pipeline"
	"loadbalance/internal/uci"
	"loadbalance/internal/uplink"
)

var update = flag.Bool("update", false, "write the golden plans anew; read the difference before you keep it")

// TestGolden compares what `plan --uplinks` prints for a configuration with a
// file that a person has checked against the design. Each folder has the
// configuration, the state of the uplinks and the plan.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/golden/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("golden plans: %v, %v", dirs, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) { checkGolden(t, dir) })
	}
}

func checkGolden(t *testing.T, dir string) {
	cfg := readConfig(t, read(t, dir, "loadbalance"))
	got := planText(t, cfg, readUplinks(t, read(t, dir, "uplinks.json")))
	if *update {
		if err := os.WriteFile(filepath.Join(dir, "plan"), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := string(read(t, dir, "plan"))
	if got != want {
		t.Errorf("the plan is another one (go test -run Golden -update writes it anew):\n%s", difference(want, got))
	}
	if again := planText(t, cfg, readUplinks(t, read(t, dir, "uplinks.json"))); again != got {
		t.Errorf("the same input gave another plan:\n%s", difference(got, again))
	}
}

// planText is what the command prints: notices, then commands.
func planText(t *testing.T, cfg *config.Config, uplinks uplink.State) string {
	t.Helper()
	changes := pipeline.FromNothing(cfg, uplinks).Changes()
	var text strings.Builder
	for _, notice := range changes.Plan.Notices {
		text.WriteString("# notice: " + notice + "\n")
	}
	return text.String() + foldCascades(changes.Commands())
}

// foldCascades writes a cascade as its targets, many to a line, so that a
// person can read the rest. The rules of a cascade are a chain's last; each
// takes every Nth packet, N one less than in the rule before.
func foldCascades(commands string) string {
	var text strings.Builder
	lines := strings.SplitAfter(commands, "\n")
	for len(lines) > 0 {
		n := cascadeLength(lines)
		if n < 2 {
			text.WriteString(lines[0])
			lines = lines[1:]
			continue
		}
		chain := strings.Fields(lines[0])[1]
		fmt.Fprintf(&text, "(%s deals %d turns", chain, n)
		for i, line := range lines[:n] {
			if i%16 == 0 {
				text.WriteString("\n  ")
			}
			text.WriteString(" " + strings.TrimPrefix(lastWord(line), "lb_member_"))
		}
		text.WriteString(")\n")
		lines = lines[n:]
	}
	return text.String()
}

// cascadeLength returns how many of the lines at the beginning are a whole
// cascade.
func cascadeLength(lines []string) int {
	words := strings.Fields(lines[0])
	const every = 7 // -A CHAIN -m statistic --mode nth --every N
	if len(words) <= every || words[every-1] != "--every" {
		return 0
	}
	slots, err := strconv.Atoi(words[every])
	if err != nil || slots > len(lines) {
		return 0
	}
	chain, mark := words[1], commentOf(lines[0])
	for i := range slots {
		match := fmt.Sprintf("-m statistic --mode nth --every %d --packet 0 ", slots-i)
		if i == slots-1 {
			match = ""
		}
		want := fmt.Sprintf("-A %s %s-m comment --comment %s -g %s\n", chain, match, mark, lastWord(lines[i]))
		if lines[i] != want {
			return 0
		}
	}
	return slots
}

func commentOf(line string) string {
	_, rest, _ := strings.Cut(line, "--comment ")
	comment, _, _ := strings.Cut(rest, " ")
	return comment
}

func lastWord(line string) string {
	words := strings.Fields(line)
	return words[len(words)-1]
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readConfig(t *testing.T, text []byte) *config.Config {
	t.Helper()
	file, err := uci.Parse("loadbalance", text)
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Read(file)
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	return cfg
}

func readUplinks(t *testing.T, text []byte) uplink.State {
	t.Helper()
	var state uplink.State
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&state); err != nil {
		t.Fatal(err)
	}
	return state
}

// difference lists the lines that only one of two texts has.
func difference(want, got string) string {
	count := map[string]int{}
	for _, line := range strings.Split(want, "\n") {
		count[line]++
	}
	for _, line := range strings.Split(got, "\n") {
		count[line]--
	}
	var text strings.Builder
	report := func(sign, all string, direction int) {
		for _, line := range strings.Split(all, "\n") {
			if count[line]*direction > 0 {
				count[line] -= direction
				text.WriteString(sign + line + "\n")
			}
		}
	}
	report("- ", want, 1)
	report("+ ", got, -1)
	if text.Len() == 0 {
		return "the same lines in another order"
	}
	return text.String()
}
