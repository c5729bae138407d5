package plan_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loadbalance/internal/family"
	"loadbalance/internal/plan"
)

// TestGoldenVerdicts compares plans under verdicts of the health check with
// files that a person has checked against the design. Each folder has the
// configuration, the state of the uplinks, the verdicts and the plan: the
// members and the chains that deal out connections.
func TestGoldenVerdicts(t *testing.T) {
	dirs, err := filepath.Glob("testdata/verdicts/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("golden plans: %v, %v", dirs, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := planUnderVerdicts(t, dir)
			if *update {
				if err := os.WriteFile(filepath.Join(dir, "plan"), []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(read(t, dir, "plan")); got != want {
				t.Errorf("the plan is another one (go test -run Golden -update writes it anew):\n%s", difference(want, got))
			}
		})
	}
}

func planUnderVerdicts(t *testing.T, dir string) string {
	t.Helper()
	cfg := readConfig(t, read(t, dir, "loadbalance"))
	var verdicts struct {
		Offline plan.Verdicts
		Held    map[family.Family]map[string]bool
	}
	if err := json.Unmarshal(read(t, dir, "verdicts.json"), &verdicts); err != nil {
		t.Fatal(err)
	}
	p := plan.Build(plan.Input{Config: cfg, Uplinks: readUplinks(t, read(t, dir, "uplinks.json")),
		Verdicts: verdicts.Offline, State: &plan.State{Held: verdicts.Held}})
	var text strings.Builder
	for _, notice := range p.Notices {
		fmt.Fprintf(&text, "# notice: %s\n", notice)
	}
	for _, f := range family.All {
		writeFamily(&text, p, f)
	}
	return text.String()
}

func writeFamily(text *strings.Builder, p *plan.Plan, f family.Family) {
	for _, m := range p.Members {
		s := m.State(f)
		fmt.Fprintf(text, "%s %s: up %v, online %v, portal %v, active %v, held %v, share %.2f %s\n",
			f, m.Name, s.Up, s.Online, s.Portal, s.Active, s.Held, s.Share, s.Reason)
	}
	for _, chain := range p.Family(f).Chains {
		if chain.Name != "lb_hook" && chain.Policy == "" && !strings.HasPrefix(chain.Name, "lb_rule") {
			continue
		}
		fmt.Fprintf(text, "%s %s\n", f, chain.Name)
		for _, rule := range chain.Rules {
			fmt.Fprintf(text, "  %s\n", rule.Args(""))
		}
		for _, lot := range chain.Lots {
			fmt.Fprintf(text, "  (draws lots: %d for %s)\n", lot.Weight, lot.Target)
		}
		turns := map[string]int{}
		for _, target := range chain.Cascade {
			turns[target]++
		}
		for _, m := range p.Members {
			for target, n := range turns {
				if target == plan.MemberChain(m.Name) || strings.HasSuffix(target, fmt.Sprintf("_%d", m.Index)) {
					fmt.Fprintf(text, "  (deals %d of %d turns to %s)\n", n, len(chain.Cascade), target)
				}
			}
		}
	}
}
