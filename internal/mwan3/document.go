package mwan3

import (
	"fmt"
	"strconv"
	"strings"

	"loadbalance/internal/config"
	"loadbalance/internal/uci"
)

// noteMark begins every comment about a difference.
const noteMark = "NOTE:"

// document is the configuration that is being made.
type document struct {
	header   []string
	trailing []string // notes that belong to no section
	sections []*section
}

// section is a section of the result.
type section struct {
	kind, name string // name "" is an anonymous section
	remarks    []string
	notes      []string
	entries    []*entry
	// leftOut is why the section is commented out; "" if it is not.
	leftOut string
	line    int // where it stood when last written
}

// entry is an option, or an item of a list.
type entry struct {
	list        bool
	name, value string
	leftOut     string // likewise
	line        int
}

func (d *document) add(kind, name string) *section {
	s := &section{kind: kind, name: name}
	d.sections = append(d.sections, s)
	return s
}

// note adds a note that belongs to no section.
func (d *document) note(format string, args ...any) {
	d.trailing = append(d.trailing, fmt.Sprintf(format, args...))
}

// remark adds an explanation that is not about a difference.
func (s *section) remark(format string, args ...any) {
	s.remarks = append(s.remarks, fmt.Sprintf(format, args...))
}

// note adds a note about a difference in the section.
func (s *section) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// leaveOut comments the section out. The first reason stays.
func (s *section) leaveOut(format string, args ...any) {
	if s.leftOut == "" {
		s.leftOut = fmt.Sprintf(format, args...)
	}
}

func (s *section) option(name, value string) *entry {
	e := &entry{name: name, value: value}
	s.entries = append(s.entries, e)
	return e
}

func (s *section) list(name, value string) *entry {
	e := s.option(name, value)
	e.list = true
	return e
}

// inForce reports whether the section has an entry with a name that is not
// commented out.
func (s *section) inForce(name string) bool {
	for _, e := range s.entries {
		if e.name == name && e.leftOut == "" {
			return true
		}
	}
	return false
}

// value returns the value of an option, or "".
func (s *section) value(name string) string {
	for _, e := range s.entries {
		if e.name == name {
			return e.value
		}
	}
	return ""
}

// notes returns the number of comments about differences.
func (d *document) notes() int {
	return strings.Count(d.String(), "# "+noteMark)
}

// settle comments out what package config refuses, until it refuses nothing.
// Whatever mwan3's file holds, the result can be applied.
func (d *document) settle() error {
	for {
		problems, err := check(d.String())
		if err != nil {
			return err
		}
		if !problems.HasErrors() {
			return nil
		}
		for _, p := range problems {
			if p.Severity == config.Error && !d.takeOut(p) {
				return fmt.Errorf("the converted configuration has an error that stands on no line of its own: %s", p)
			}
		}
	}
}

// check reads a configuration as the program does.
func check(text string) (config.Problems, error) {
	file, err := uci.Parse("loadbalance", []byte(text))
	if err != nil {
		return nil, fmt.Errorf("the converted configuration cannot be read: %w", err)
	}
	_, problems := config.Read(file)
	return problems, nil
}

// takeOut comments out what a problem is about. It returns false if nothing is
// on the problem's line; what an earlier problem has commented out is still
// there.
func (d *document) takeOut(p config.Problem) bool {
	for _, s := range d.sections {
		if s.line == p.Pos.Line {
			d.takeOutSection(s, p.Text)
			return true
		}
		for _, e := range s.entries {
			if e.line == p.Pos.Line {
				d.takeOutEntry(s, e, p.Text)
				return true
			}
		}
	}
	return false
}

// takeOutEntry comments out one line, or its whole section: a rule, since
// without one of its conditions (all but the timeout) it would match more; a
// member without its interface; a policy without members, since it would then
// have all.
func (d *document) takeOutEntry(s *section, e *entry, reason string) {
	if s.kind == "rule" && e.name != "timeout" || e.name == "interface" {
		d.takeOutSection(s, reason)
		return
	}
	e.leftOut = reason
	if e.name == "use_member" && !s.inForce("use_member") {
		d.takeOutSection(s, "it has no members left")
	}
}

// takeOutSection comments out a section, and with a policy the rules that use
// it: another policy of the same name ('balanced' is built in) must not replace
// it.
func (d *document) takeOutSection(s *section, reason string) {
	s.leaveOut("%s", reason)
	if s.kind != "policy" {
		return
	}
	for _, rule := range d.sections {
		if rule.kind == "rule" && rule.value("use_policy") == s.name {
			rule.leaveOut("policy %s is left out", quote(s.name))
		}
	}
}

// String returns the text of the configuration, and records the line of each
// section and entry.
func (d *document) String() string {
	w := &writer{}
	for _, text := range d.header {
		w.comment(text)
	}
	for _, text := range d.trailing {
		w.comment(noteMark + " " + text)
	}
	for _, s := range d.sections {
		w.write("")
		s.write(w)
	}
	return w.text.String()
}

func (s *section) write(w *writer) {
	for _, text := range s.remarks {
		w.comment(text)
	}
	for _, text := range s.notes {
		w.comment(noteMark + " " + text)
	}
	prefix := ""
	if s.leftOut != "" {
		w.comment(noteMark + " left out: " + s.leftOut)
		prefix = "#"
	}
	title := "config " + s.kind
	if s.name != "" {
		title += " " + quoteUCI(s.name)
	}
	s.line = w.write(prefix + title)
	for _, e := range s.entries {
		e.write(w, prefix)
	}
}

func (e *entry) write(w *writer, prefix string) {
	keyword := "option"
	if e.list {
		keyword = "list"
	}
	if e.leftOut != "" {
		w.write(prefix + "\t# " + noteMark + " left out: " + e.leftOut)
		prefix = "#"
	}
	text := keyword + " " + e.name + " " + quoteUCI(e.value)
	if prefix != "" {
		// A comment ends with its line; a value may have several.
		text = keyword + " " + e.name + " " + quote(e.value)
	}
	e.line = w.write(prefix + "\t" + text)
}

// writer counts the lines that it writes.
type writer struct {
	text  strings.Builder
	lines int
}

// write writes a text as a line, or as several where it has line breaks, and
// returns the number of the first.
func (w *writer) write(text string) int {
	first := w.lines + 1
	w.lines += strings.Count(text, "\n") + 1
	w.text.WriteString(text + "\n")
	return first
}

func (w *writer) comment(text string) { w.write("# " + text) }

// quoteUCI writes a value as libuci does.
func quoteUCI(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// quote writes a value for a comment, on one line and without control
// characters.
func quote(value string) string {
	escaped := strconv.Quote(value)
	return "'" + strings.ReplaceAll(escaped[1:len(escaped)-1], `\"`, `"`) + "'"
}
