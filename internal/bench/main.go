// Command bench measures loadbalance in laboratories of network namespaces and
// prints a table per subject, with the project's budgets beside the figures. It
// compares within one run: with the recipe (one process per rule), with the bare
// runs of iptables, with plain forwarding. Absolute times depend on the machine.
// It does not fail when a budget is missed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"loadbalance/internal/netlab"
)

// parts are the subjects, in the order in which they are measured.
var parts = []struct {
	name, title string
	measure     func(*bench) error
}{
	{"a", "apply, against the recipe and the bare runs of iptables (3 minutes)", (*bench).apply},
	{"b", "50 connections over five uplinks of 20 Mbit/s (2 minutes)", (*bench).throughput},
	{"c", "forwarding, against a router without balancing and the recipe (2 minutes)", (*bench).forwarding},
	{"d", "rules traversed by a packet of a known connection", (*bench).traversal},
	{"e", "size of the program, stripped", (*bench).size},
	{"f", "share of each of five members over 1000 connections", (*bench).shares},
	{"g", "ifdown of one of five uplinks, against the recipe's full re-run for the other four", (*bench).ifdown},
	{"h", "silent blackout of one of five, 20 times: time to the verdict and to the new state in the kernel (6 minutes)", (*bench).blackout},
	{"i", "transitions of lines that work badly: losing packets, full (8 minutes)", (*bench).falseVerdicts},
	{"j", "lines that are up for a second and down for a second, in turn (5 minutes)", (*bench).flapping},
	{"k", "the monitor: processor and memory (7 minutes)", (*bench).cost},
	{"l", "connections of a line that falls silent, and of the others (3 minutes)", (*bench).failover},
	{"n", "a new connection: rules of its policy that it passes, rules in mangle, time to connect, against the recipe (1 minute)", (*bench).draw},
	{"o", "domains: from a DNS answer to its entry, clients that connect at once, 10,000 answers a second (1 minute)", (*bench).domains},
	{"p", "downloads at half load, with and without stated rates (13 minutes)", (*bench).loadedLines},
	{"r", "a new and a known connection behind rules that do not match (1 minute)", (*bench).rules},
}

var backends = []string{"nft", "legacy"}

// bench is one run.
type bench struct {
	out     io.Writer
	program string
	dir     string // for everything that is written
}

func main() {
	program := flag.String("program", "bin/loadbalance", "the program to measure")
	selected := flag.String("parts", "", "which parts to run, such as a,e; empty: all")
	flag.Parse()
	if err := run(*program, *selected); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(program, selected string) error {
	names, err := choose(selected)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "loadbalance-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// The namespaces end with this process; the folder does not.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		os.RemoveAll(dir)
		os.Exit(130) // as a shell reports it: 128 and the signal
	}()
	b := &bench{out: os.Stdout, program: program, dir: dir}
	for _, p := range parts {
		if !slices.Contains(names, p.name) {
			continue
		}
		fmt.Fprintf(b.out, "\n%s. %s\n\n", p.name, p.title)
		if err := p.measure(b); err != nil {
			return fmt.Errorf("part %s: %w", p.name, err)
		}
	}
	return nil
}

// choose returns the names of the parts to run.
func choose(selected string) ([]string, error) {
	var all []string
	for _, p := range parts {
		all = append(all, p.name)
	}
	if selected == "" {
		return all, nil
	}
	names := strings.FieldsFunc(selected, func(r rune) bool { return r == ',' || r == ' ' })
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("no part '%s': there are %s", name, strings.Join(all, ", "))
		}
	}
	return names, nil
}

// rig is a laboratory with the program and the recipe on its router.
type rig struct {
	*netlab.Lab
	program *netlab.Program
	recipe  recipe
	backend string
	dir     string
}

// newRig builds a laboratory and configures the program with all uplinks.
func (b *bench) newRig(options netlab.Options) (*rig, error) {
	lab, err := netlab.New(options)
	if err != nil {
		return nil, err
	}
	r := &rig{Lab: lab, backend: options.Backend}
	if err := r.install(b); err != nil {
		lab.Close()
		return nil, err
	}
	return r, nil
}

func (r *rig) install(b *bench) error {
	var err error
	if r.dir, err = os.MkdirTemp(b.dir, "rig-"); err != nil {
		return err
	}
	if r.program, err = r.Install(b.program, r.dir); err != nil {
		return err
	}
	if err := r.program.Configure(r.members()); err != nil {
		return err
	}
	r.recipe = recipe{load: filepath.Join(r.dir, "load.sh"), again: filepath.Join(r.dir, "again.sh"), clear: filepath.Join(r.dir, "clear.sh")}
	load, clearing := recipeLoad(r.Lab, r.backend, r.Uplinks()), recipeClear(r.Lab, r.backend)
	return errors.Join(
		os.WriteFile(r.recipe.load, []byte(load), 0o644),
		os.WriteFile(r.recipe.clear, []byte(clearing), 0o644),
		os.WriteFile(r.recipe.again, []byte(clearing+load), 0o644))
}

// members is a configuration with all uplinks.
func (r *rig) members() string {
	var config strings.Builder
	for i := 1; i <= r.Uplinks(); i++ {
		fmt.Fprintf(&config, "config member '%s'\n", r.UplinkDevice(i))
	}
	return config.String()
}

// timed runs a command on the router and returns how long it took.
func (r *rig) timed(command []string) (time.Duration, error) {
	start := time.Now()
	_, err := r.Router.Run(command[0], command[1:]...)
	return time.Since(start), err
}
