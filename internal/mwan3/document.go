package mwan3

import (
	"fmt"
	"slices"
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
	general  section // has the notes that belong to no section
	sections []*section
}

// note is a difference between mwan3's file, or what mwan3 made of it, and the
// result.
type note struct {
	weight weight
	text   string
}

// weight is how much a difference matters.
type weight bool

const (
	minor   weight = false
	traffic weight = true // packets may go another way than with mwan3
)

// section is a section of the result.
type section struct {
	kind, name string // name "" is an anonymous section
	label      string // how notes call it
	remarks    []string
	notes      []note
	entries    []*entry
	// leftOut is why the section is commented out; nil if it is not.
	leftOut *note
	line    int // where it stood when last written
}

// entry is an option, or an item of a list.
type entry struct {
	list        bool
	name, value string
	leftOut     string // likewise, or ""
	line        int
}

func (d *document) add(kind, name string) *section {
	s := &section{kind: kind, name: name, label: name}
	d.sections = append(d.sections, s)
	return s
}

// remark adds an explanation that is not about a difference.
func (s *section) remark(text string) { s.remarks = append(s.remarks, text) }

// note adds a note about a difference in the section.
func (s *section) note(w weight, format string, args ...any) {
	s.notes = append(s.notes, note{w, fmt.Sprintf(format, args...)})
}

// noteAll adds a note with values for the format's %s, if there are any.
func (s *section) noteAll(w weight, format string, values []string) {
	if len(values) > 0 {
		s.note(w, format, quoteAll(values))
	}
}

// leaveOut comments the section out. The first reason stays.
func (s *section) leaveOut(w weight, format string, args ...any) {
	if s.leftOut == nil {
		s.leftOut = &note{w, fmt.Sprintf(format, args...)}
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

// value returns the value of an option, or "".
func (s *section) value(name string) string {
	for _, e := range s.entries {
		if e.name == name {
			return e.value
		}
	}
	return ""
}

// settle comments out what package config refuses, until it refuses nothing,
// and returns what it reads. Whatever mwan3's file holds, the result can be
// applied. What it warns of in a member has no effect, and goes as well.
func (d *document) settle() (*config.Config, error) {
	for {
		cfg, problems, err := read(d.String())
		if err != nil {
			return nil, err
		}
		changed := false
		for _, p := range problems {
			switch taken := d.takeOut(p); {
			case taken:
				changed = true
			case p.Severity == config.Error:
				return nil, fmt.Errorf("the converted configuration has an error that stands on no line of its own: %s", p)
			}
		}
		if !changed {
			return cfg, nil
		}
	}
}

// read reads a configuration as the program does.
func read(text string) (*config.Config, config.Problems, error) {
	file, err := uci.Parse("loadbalance", []byte(text))
	if err != nil {
		return nil, nil, fmt.Errorf("the converted configuration cannot be read: %w", err)
	}
	cfg, problems := config.Read(file)
	return cfg, problems, nil
}

// takeOut comments out what a problem is about. It returns false if nothing
// that can go is on the problem's line; what an earlier problem has commented
// out is still there.
func (d *document) takeOut(p config.Problem) bool {
	for _, s := range d.sections {
		isError := p.Severity == config.Error
		if isError && s.line == p.Pos.Line {
			d.takeOutSection(s, p.Text)
			return true
		}
		for _, e := range s.entries {
			if e.line == p.Pos.Line && (isError || s.kind == "member") {
				d.takeOutEntry(s, e, p.Text)
				return true
			}
		}
	}
	return false
}

// takeOutEntry comments out one line, or its whole section: a rule, since
// without one of its conditions (all but the timeout) it would match more; a
// member without its interface; a set without its family; a policy without
// members, since it would then have all.
func (d *document) takeOutEntry(s *section, e *entry, reason string) {
	if s.kind == "rule" && e.name != "timeout" || e.name == "interface" || e.name == "family" {
		d.takeOutSection(s, reason)
		return
	}
	e.leftOut = reason
	isInForce := func(e *entry) bool { return e.name == "use_member" && e.leftOut == "" }
	if e.name == "use_member" && !slices.ContainsFunc(s.entries, isInForce) {
		d.takeOutSection(s, "it has no members left")
	}
}

// takeOutSection comments out a section, and with a policy or a set the rules
// that use it: another of the same name ('balanced' is built in, another
// program may have such a set) must not replace it.
func (d *document) takeOutSection(s *section, reason string) {
	s.leaveOut(traffic, "%s", reason)
	for _, rule := range d.sections {
		if rule.kind == "rule" && (s.kind == "policy" && rule.value("use_policy") == s.name ||
			s.kind == "ipset" && (rule.value("ipset") == s.name || rule.value("ipset_src") == s.name)) {
			rule.leaveOut(traffic, "%s %s is left out", s.kind, quote(s.name))
		}
	}
}

// notes returns the notes of a weight. Equal ones of several sections of a kind
// are one.
func (d *document) notes(w weight) []string {
	type group struct{ kind, text string }
	var groups []group
	labels := make(map[group][]string)
	add := func(s *section, n note) {
		g := group{s.kind, n.text}
		if n.weight != w {
			return
		}
		if labels[g] == nil {
			groups = append(groups, g)
		}
		labels[g] = append(labels[g], s.label)
	}
	for _, s := range append([]*section{&d.general}, d.sections...) {
		if s.leftOut != nil {
			add(s, note{s.leftOut.weight, "left out: " + s.leftOut.text})
		}
		for _, n := range s.notes {
			add(s, n)
		}
		for _, e := range s.entries {
			if e.leftOut != "" && s.leftOut == nil {
				add(s, note{weight(e.name == "use_member" || e.name == "bypass" || s.kind == "ipset"), "left out: " + e.leftOut})
			}
		}
	}
	var texts []string
	for _, g := range groups {
		subject := ""
		if g.kind != "" {
			subject = g.kind + " " + quoteAll(labels[g]) + ": "
		}
		texts = append(texts, noteMark+" "+subject+g.text)
	}
	return texts
}

// String returns the text of the configuration, and records the line of each
// section and entry.
func (d *document) String() string {
	w := &writer{}
	w.comments(d.header...)
	first, others := d.notes(traffic), d.notes(minor)
	w.comments(first...)
	if len(first) > 0 && len(others) > 0 {
		w.comments("Smaller differences:")
	}
	w.comments(others...)
	for _, s := range d.sections {
		w.write("")
		s.write(w)
	}
	return w.text.String()
}

func (s *section) write(w *writer) {
	w.comments(s.remarks...)
	prefix := ""
	if s.leftOut != nil {
		w.comments("left out: " + s.leftOut.text)
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
		w.write(prefix + "\t# left out: " + e.leftOut)
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

func (w *writer) comments(texts ...string) {
	for _, text := range texts {
		w.write("# " + text)
	}
}

// quoteUCI writes a value as libuci does.
func quoteUCI(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// shortened writes a text of the file for a note, cut to 60 characters.
func shortened(text string) string {
	short := fmt.Sprintf("%.60s", text)
	if short != text {
		short += "…"
	}
	return quote(short)
}

// quote writes a value for a comment, on one line and without control
// characters.
func quote(value string) string {
	escaped := strconv.Quote(value)
	return "'" + strings.ReplaceAll(escaped[1:len(escaped)-1], `\"`, `"`) + "'"
}
