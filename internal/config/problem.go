package config

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"loadbalance/internal/uci"
)

// Severity is how bad a problem is. A higher value is worse.
type Severity int

const (
	// Warning: what is wrong is left out without harm.
	Warning Severity = iota
	// Error: traffic would be lost or misdirected. A running service stays as it is.
	Error
)

// String returns "warning" or "error".
func (s Severity) String() string {
	if s == Error {
		return "error"
	}
	return "warning"
}

// Problem is one thing that is wrong in the file.
type Problem struct {
	Pos      Pos
	Severity Severity
	Section  string // for example "member 'wan2'"
	Text     string
	Fatal    bool // nothing of the file may be applied, also not at boot
}

// String returns the problem as the user sees it, on a single line:
// "loadbalance:12: member 'wan2': option 'wieght' is unknown".
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", p.Pos.File, p.Pos.Line, p.Section, p.Text)
}

// Problems are all problems of a file, sorted by line.
type Problems []Problem

// HasErrors reports whether any problem is worse than a warning.
func (ps Problems) HasErrors() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Severity == Error })
}

// Fatal reports whether nothing of the file may be applied.
func (ps Problems) Fatal() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Fatal })
}

// maxProblems bounds the memory that a hostile file costs. Nobody reads more.
const maxProblems = 1000

// collector gathers problems. The last one stands for all beyond maxProblems.
type collector struct {
	problems Problems
	dropped  int
}

func (c *collector) add(p Problem) {
	if len(c.problems) <= maxProblems {
		c.problems = append(c.problems, p)
	}
	if len(c.problems) > maxProblems {
		c.dropped++
		rest := &c.problems[maxProblems]
		rest.Severity, rest.Fatal = max(rest.Severity, p.Severity), rest.Fatal || p.Fatal
	}
}

// sorted returns the problems by line.
func (c *collector) sorted() Problems {
	first := c.problems[:min(len(c.problems), maxProblems)]
	if c.dropped > 0 {
		c.problems[maxProblems].Text = fmt.Sprintf("%d more problems here or elsewhere", c.dropped)
	}
	sort.SliceStable(first, func(i, j int) bool { return first[i].Pos.Line < first[j].Pos.Line })
	return c.problems
}

// maxQuoted is how many characters of a value a message shows: enough to
// recognise it, and short enough for one line of a log.
const maxQuoted = 60

func quote(value string) string { return uci.Quote(value, maxQuoted) }

// invalid returns why a value is refused: "'VALUE' WHY".
func invalid(value, why string) error { return errors.New(quote(value) + " " + why) }
