package mwan3

import (
	"fmt"
	"slices"
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
	lines    []line // as last written
}

// line is a line of the text, with the section or the entry that begins there.
type line struct {
	text    string
	section *section
	entry   *entry
}

// note is a difference between what mwan3 did and the result.
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

type section struct {
	kind, name string // name "" is an anonymous section
	label      string // how notes call it
	remarks    []string
	notes      []note
	entries    []*entry
	// leftOut is why the section is commented out; nil if it is not.
	leftOut *note
}

// entry is an option, or an item of a list.
type entry struct {
	list        bool
	name, value string
	leftOut     string // likewise, or ""
}

func (d *document) add(kind, name string) *section {
	s := &section{kind: kind, name: name, label: name}
	d.sections = append(d.sections, s)
	return s
}

func (s *section) remark(text string) { s.remarks = append(s.remarks, text) }

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

func (s *section) value(name string) string {
	for _, e := range s.entries {
		if e.name == name {
			return e.value
		}
	}
	return ""
}

// settle comments out what package config refuses, until it refuses nothing, and
// what it warns of in a member, since that has no effect.
func (d *document) settle() (*config.Config, error) {
	for {
		cfg, problems, err := read(d.String())
		if err != nil {
			return nil, err
		}
		changed := false
		for _, p := range problems {
			isError, at := p.Severity == config.Error, d.lines[max(p.Pos.Line, 1)-1]
			switch {
			case at.entry != nil && (isError || at.section.kind == "member"):
				d.takeOutEntry(at.section, at.entry, p.Text)
			case at.section != nil && isError:
				d.takeOutSection(at.section, p.Text)
			case isError:
				return nil, fmt.Errorf("the converted configuration has an error that stands on no line of its own: %s", p)
			default:
				continue
			}
			changed = true
		}
		if !changed {
			return cfg, nil
		}
	}
}

func read(text string) (*config.Config, config.Problems, error) {
	file, err := uci.Parse("loadbalance", []byte(text))
	if err != nil {
		return nil, nil, fmt.Errorf("the converted configuration cannot be read: %w", err)
	}
	cfg, problems := config.Read(file)
	return cfg, problems, nil
}

// takeOutEntry comments out one line, or its whole section: a rule, which would
// match more without a condition (all but the timeout); a member without its
// interface; a set without its family; a policy, which would have all members.
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

// notes returns the notes of a weight; equal ones of a kind's sections are one.
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

// String returns the text of the configuration, and records its lines.
func (d *document) String() string {
	d.lines = nil
	d.comments(d.header...)
	first, others := d.notes(traffic), d.notes(minor)
	d.comments(first...)
	if len(first) > 0 && len(others) > 0 {
		d.comments("Smaller differences:")
	}
	d.comments(others...)
	for _, s := range d.sections {
		d.write(line{})
		d.writeSection(s)
	}
	var text strings.Builder
	for _, l := range d.lines {
		text.WriteString(l.text + "\n")
	}
	return text.String()
}

func (d *document) writeSection(s *section) {
	d.comments(s.remarks...)
	prefix := ""
	if s.leftOut != nil {
		d.comments("left out: " + s.leftOut.text)
		prefix = "#"
	}
	title := "config " + s.kind
	if s.name != "" {
		title += " " + quoteUCI(s.name)
	}
	d.write(line{prefix + title, s, nil})
	for _, e := range s.entries {
		keyword, prefix, quoted := "option", prefix, quoteUCI
		if e.list {
			keyword = "list"
		}
		if e.leftOut != "" {
			d.write(line{text: prefix + "\t# left out: " + e.leftOut})
			prefix = "#"
		}
		if prefix != "" {
			quoted = quote // a comment ends with its line; a value may have several
		}
		d.write(line{prefix + "\t" + keyword + " " + e.name + " " + quoted(e.value), s, e})
	}
}

// write writes a line, or several where it has line breaks.
func (d *document) write(l line) {
	for _, text := range strings.Split(l.text, "\n") {
		d.lines = append(d.lines, line{text, l.section, l.entry})
	}
}

func (d *document) comments(texts ...string) {
	for _, text := range texts {
		d.write(line{text: "# " + text})
	}
}

// quoteUCI writes a value as libuci does.
func quoteUCI(value string) string { return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'" }

// quote writes a whole value for a comment.
func quote(value string) string { return uci.Quote(value, len(value)) }
