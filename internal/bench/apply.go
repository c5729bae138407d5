package main

import (
	"fmt"
	"strings"
	"time"

	"loadbalance/internal/netlab"
)

// Budgets of an apply.
const (
	processesFromNothing = 6 // with 5 members, both families
	processesNothingToDo = 2
)

// overBare is the time that an apply may take beyond the bare runs of iptables
// that it contains, by number of members.
var overBare = map[int]time.Duration{5: 20 * time.Millisecond, 60: 60 * time.Millisecond}

func (b *bench) apply() error {
	var results []applyResult
	for _, backend := range backends {
		for _, uplinks := range []int{2, 5, 20, 60} {
			result, err := b.applyOnce(backend, uplinks)
			if err != nil {
				return fmt.Errorf("%s, %d uplinks: %w", backend, uplinks, err)
			}
			results = append(results, result)
		}
	}
	if err := b.printFromNothing(results); err != nil {
		return err
	}
	return b.printNothingToDo(results)
}

// applyResult holds medians. The recipe balances IPv4 only; ours are both
// families.
type applyResult struct {
	backend string
	uplinks int
	fromNothing, nothingToDo,
	recipeLoad, recipeAgain applyFigures
}

// applyFigures are those of one command.
type applyFigures struct {
	time      time.Duration
	bare      time.Duration // the iptables programs that it runs, by themselves
	over      time.Duration // what it takes beyond them
	processes int           // that it starts
}

func (b *bench) applyOnce(backend string, uplinks int) (applyResult, error) {
	result := applyResult{backend: backend, uplinks: uplinks}
	r, err := b.newRig(netlab.Options{Topology: netlab.Campus, Uplinks: uplinks, IPv6: true, Backend: backend})
	if err != nil {
		return result, err
	}
	defer r.Close()
	replay, err := r.trace(&result)
	if err != nil {
		return result, err
	}
	rounds := 7
	if uplinks >= 20 {
		rounds = 3 // the recipe takes seconds
	}
	var samples []applyResult
	for range rounds {
		sample := applyResult{}
		if err := r.round(&sample, replay); err != nil {
			return result, err
		}
		samples = append(samples, sample)
	}
	for _, f := range []func(*applyResult) *applyFigures{
		func(a *applyResult) *applyFigures { return &a.fromNothing },
		func(a *applyResult) *applyFigures { return &a.nothingToDo },
		func(a *applyResult) *applyFigures { return &a.recipeLoad },
		func(a *applyResult) *applyFigures { return &a.recipeAgain },
	} {
		medians(f(&result), samples, f)
	}
	return result, nil
}

// medians writes the medians of samples to figures.
func medians(figures *applyFigures, samples []applyResult, of func(*applyResult) *applyFigures) {
	var total, bare, over []time.Duration
	for i := range samples {
		f := of(&samples[i])
		total, bare, over = append(total, f.time), append(bare, f.bare), append(over, f.time-f.bare)
	}
	figures.time, figures.bare, figures.over = median(total), median(bare), median(over)
}

// replay holds the runs of iptables that an apply contains.
type replay struct {
	fromNothing, nothingToDo [][]string
	input                    map[string]string // of iptables-restore and ip6tables-restore
}

// trace counts the processes that each command starts, and learns what iptables
// is asked to do.
func (r *rig) trace(result *applyResult) (replay, error) {
	var re replay
	plan, err := r.program.Run("plan")
	if err != nil {
		return re, err
	}
	re.input = restoreInputs(plan)
	apply := r.program.Command("apply")
	for _, t := range []struct {
		command []string
		figures *applyFigures
		started *[][]string
	}{
		{apply, &result.fromNothing, &re.fromNothing},
		{apply, &result.nothingToDo, &re.nothingToDo},
	} {
		if *t.started, err = r.started(t.command); err != nil {
			return re, err
		}
		t.figures.processes = len(*t.started)
	}
	if _, err := r.program.Run("stop"); err != nil {
		return re, err
	}
	for script, figures := range map[string]*applyFigures{r.recipe.load: &result.recipeLoad, r.recipe.again: &result.recipeAgain} {
		if script == r.recipe.again {
			if _, err := r.Router.Run("sh", r.recipe.load); err != nil {
				return re, err
			}
		}
		started, err := r.started([]string{"sh", script})
		if err != nil {
			return re, err
		}
		figures.processes = len(started)
		if err := r.removeRecipe(); err != nil {
			return re, err
		}
	}
	return re, nil
}

// restoreInputs takes what iptables-restore would read from the output of
// `loadbalance plan`, by program.
func restoreInputs(plan string) map[string]string {
	inputs := map[string]string{}
	for _, program := range []string{"iptables-restore", "ip6tables-restore"} {
		_, rest, found := strings.Cut(plan, "\n"+program+" --noflush <<'EOF'\n")
		if found {
			inputs[program], _, _ = strings.Cut(rest, "\nEOF\n")
			inputs[program] += "\n"
		}
	}
	return inputs
}

// round measures every command once.
func (r *rig) round(sample *applyResult, re replay) error {
	var err error
	measure := func(d *time.Duration, command ...string) {
		if err == nil {
			*d, err = r.timed(command)
		}
	}
	do := func(f func() error) {
		if err == nil {
			err = f()
		}
	}
	measure(&sample.recipeLoad.time, "sh", r.recipe.load)
	measure(&sample.recipeAgain.time, "sh", r.recipe.again)
	do(r.removeRecipe)
	measure(&sample.fromNothing.time, r.program.Command("apply")...)
	measure(&sample.nothingToDo.time, r.program.Command("apply")...)
	do(func() error { return r.replay(&sample.nothingToDo.bare, re.nothingToDo, nil) })
	// The rules refer to sets, which must be there: only the chains go.
	do(r.flushMangle)
	do(func() error { return r.replay(&sample.fromNothing.bare, re.fromNothing, re.input) })
	do(func() error { _, err := r.program.Run("stop"); return err })
	return err
}

// replay runs programs as an apply did and adds up their time.
func (r *rig) replay(total *time.Duration, commands [][]string, inputs map[string]string) error {
	for _, command := range commands {
		input := ""
		if strings.HasSuffix(command[0], "-restore") {
			program := strings.NewReplacer("-nft", "", "-legacy", "").Replace(command[0])
			if input = inputs[program]; input == "" {
				return fmt.Errorf("no input for %s in the output of 'plan'", command[0])
			}
		}
		start := time.Now()
		_, err := r.Router.RunInput(input, command[0], command[1:]...)
		*total += time.Since(start)
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) flushMangle() error {
	for _, program := range []string{"iptables-" + r.backend, "ip6tables-" + r.backend} {
		for _, option := range []string{"-F", "-X"} {
			if _, err := r.Router.Run(program, "-w", "-t", "mangle", option); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) printFromNothing(results []applyResult) error {
	fmt.Fprintln(b.out, "   from nothing (the recipe: IPv4; ours: both families)")
	t := newTable(b.out, "uplinks", "back end", "recipe", "ours", "recipe/ours", "processes", "bare iptables", "beyond it", "")
	for _, r := range results {
		verdict := ""
		if limit, ok := overBare[r.uplinks]; ok {
			verdict = budget(r.fromNothing.over <= limit, "+%d ms", limit.Milliseconds())
		}
		if r.uplinks == 5 {
			verdict += ", " + budget(r.fromNothing.processes <= processesFromNothing, "%d processes", processesFromNothing)
		}
		t.row(append(r.cells(r.recipeLoad, r.fromNothing), verdict)...)
	}
	return t.Flush()
}

func (b *bench) printNothingToDo(results []applyResult) error {
	fmt.Fprintln(b.out, "\n   again, with nothing to do (the recipe has to remove and load everything)")
	t := newTable(b.out, "uplinks", "back end", "recipe", "ours", "recipe/ours", "processes", "bare iptables", "beyond it", "")
	for _, r := range results {
		verdict := budget(r.nothingToDo.processes <= processesNothingToDo, "%d processes", processesNothingToDo)
		t.row(append(r.cells(r.recipeAgain, r.nothingToDo), verdict)...)
	}
	return t.Flush()
}

func (r applyResult) cells(recipe, ours applyFigures) []string {
	return []string{
		fmt.Sprint(r.uplinks), r.backend,
		milliseconds(recipe.time), milliseconds(ours.time), times(recipe.time, ours.time),
		fmt.Sprintf("%d : %d", recipe.processes, ours.processes),
		milliseconds(ours.bare), milliseconds(ours.over),
	}
}
