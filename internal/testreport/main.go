// Command testreport runs `go test` and prints one line per package, and all
// output of what failed. A skipped test is a failure: what a test needs is
// installed by `make deps`, so a skip would only hide that something was not
// tested.
//
// Laboratories run one package at a time: two with thousands of connections each
// would compete for the processors, and some measure time. All other packages run
// beside them with the lowest priority; they wait or compile, while a laboratory
// waits too.
//
// Usage: testreport [-flag=value of go test ...] packages
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

func main() {
	ok, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) (ok bool, err error) {
	isFlag := func(arg string) bool { return strings.HasPrefix(arg, "-") }
	flags := slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return !isFlag(arg) })
	laboratories, others, err := list(slices.DeleteFunc(slices.Clone(args), isFlag))
	if err != nil {
		return false, err
	}
	report := newReport(out)
	beside := make(chan error)
	go func() { beside <- report.test([]string{"nice", "-n", "19"}, flags, others) }()
	err = errors.Join(report.test(nil, flags, laboratories), <-beside)
	return err == nil && report.end(), err
}

// netlab is the package whose users build laboratories.
const netlab = "loadbalance/internal/netlab"

// list finds packages and parts those with laboratories from the others.
func list(patterns []string) (laboratories, others []string, err error) {
	const imports = `{{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}`
	cmd := exec.Command("go", append([]string{"list", "-f", "{{.ImportPath}} " + imports}, patterns...)...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list: %w", err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		fields := strings.Fields(line)
		if slices.Contains(fields, netlab) {
			laboratories = append(laboratories, fields[0])
		} else {
			others = append(others, fields[0])
		}
	}
	return laboratories, others, nil
}

// test runs the tests of some packages, one package at a time, by a command that
// starts another one.
func (r *report) test(by, flags, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	command := slices.Concat(by, []string{"go", "test", "-json", "-p=1"}, flags, packages)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := r.read(events)
	waitErr := cmd.Wait()
	if readErr != nil {
		return readErr
	}
	if waitErr != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.broken = true // what failed has been told
	}
	return nil
}

// event is a line of `go test -json` (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// test names a test, or with an empty Test, a package.
type test struct{ Package, Test string }

// report collects the results of a run.
type report struct {
	mu      sync.Mutex // for all below
	out     io.Writer
	output  map[test][]string // of the tests that run
	passed  int
	failed  []test
	skipped []test
	broken  bool // go test has failed, perhaps outside of a test
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[test][]string{}}
}

func (r *report) read(events io.Reader) error {
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20) // a line of output each; a panic's can be long
	for lines.Scan() {
		r.addLine(lines.Bytes())
	}
	return lines.Err()
}

func (r *report) addLine(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var e event
	if json.Unmarshal(line, &e) != nil {
		fmt.Fprintf(r.out, "%s\n", line) // the compiler's messages
		return
	}
	r.add(e)
}

func (r *report) add(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "output":
		if t.Test == "" && isResult(e.Output) {
			fmt.Fprint(r.out, e.Output)
			return
		}
		r.output[t] = append(r.output[t], e.Output)
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "pass":
		if t.Test != "" {
			r.passed++
		}
		delete(r.output, t)
	case "fail":
		if t.Test != "" {
			r.failed = append(r.failed, t)
		}
		r.print(t)
	case "skip":
		// A package without tests is "skipped" as well.
		if t.Test != "" {
			r.skipped = append(r.skipped, t)
			r.print(t)
		}
	}
}

// isResult reports whether a line is the result of a package as go test prints it.
func isResult(line string) bool {
	for _, start := range []string{"ok  \t", "FAIL\t", "?   \t"} {
		if strings.HasPrefix(line, start) {
			return true
		}
	}
	return false
}

func (r *report) print(t test) {
	fmt.Fprint(r.out, strings.Join(r.output[t], ""))
	delete(r.output, t)
}

// end prints the sum and reports whether all tests ran and passed.
func (r *report) end() bool {
	for _, t := range r.failed {
		fmt.Fprintf(r.out, "FAILED  %s %s\n", t.Package, t.Test)
	}
	for _, t := range r.skipped {
		fmt.Fprintf(r.out, "SKIPPED %s %s (counts as a failure)\n", t.Package, t.Test)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, len(r.failed), len(r.skipped))
	return r.passed > 0 && !r.broken && len(r.failed) == 0 && len(r.skipped) == 0
}
