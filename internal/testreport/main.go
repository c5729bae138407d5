// Command testreport runs `go test` and prints one line per package, and all
// output of what failed. A skipped test is a failure: what a test needs is
// installed by `make deps`, so a skip would only hide that something was not
// tested.
//
// Usage: testreport [arguments of go test]
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
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
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	report := newReport(out)
	readErr := report.read(events)
	waitErr := cmd.Wait()
	if readErr != nil {
		return false, readErr
	}
	return report.end() && waitErr == nil, nil
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
	out     io.Writer
	output  map[test][]string // of the tests that run
	passed  int
	failed  []test
	skipped []test
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[test][]string{}}
}

func (r *report) read(events io.Reader) error {
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20) // a line of output each; a panic's can be long
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(r.out, lines.Text()) // the compiler's messages
			continue
		}
		r.add(e)
	}
	return lines.Err()
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

// isResult says whether a line is the result of a package as go test prints it.
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

// end prints the sum and says whether all tests ran and passed.
func (r *report) end() bool {
	for _, t := range r.failed {
		fmt.Fprintf(r.out, "FAILED  %s %s\n", t.Package, t.Test)
	}
	for _, t := range r.skipped {
		fmt.Fprintf(r.out, "SKIPPED %s %s (counts as a failure)\n", t.Package, t.Test)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, len(r.failed), len(r.skipped))
	return r.passed > 0 && len(r.failed) == 0 && len(r.skipped) == 0
}
