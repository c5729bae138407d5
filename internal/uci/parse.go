package uci

import (
	"bytes"
	"slices"
	"strings"
)

// Limits of time and memory: 10 000 sections of nine options each are read.
const (
	maxCommands = 100_000 // in a file
	maxOptions  = 1_000   // names in one section: go-uci searches them one by one
)

type parser struct {
	scanner
	tooMuch  bool // a limit is exceeded
	sections []Section
	byName   map[string]int // places in sections
	byType   map[string]int // how many sections have the type
	current  int            // the section that options go to; -1 before the first
	commands int
}

// parse reads a whole file. If it is tolerant, it skips the lines with mistakes, as
// libuci without its strict flag (uci_import), and returns these.
func parse(name string, text []byte, tolerant bool) (file *File, skipped []*SyntaxError, err error) {
	p := &parser{
		scanner: scanner{file: name, text: text},
		byName:  make(map[string]int),
		byType:  make(map[string]int),
		current: -1,
	}
	p.checkText()
	for p.err == nil && p.fetchLine() {
		p.parseLine()
		if tolerant && p.err != nil && !p.tooMuch {
			skipped = append(skipped, p.err)
			p.err = nil
			p.dropLine()
		}
	}
	if p.err != nil {
		return nil, nil, p.err
	}
	if err := throughTree(name, p.sections); err != nil {
		return nil, nil, err
	}
	return &File{Name: name, Sections: p.sections}, skipped, nil
}

// checkText refuses a file that is too large or has a NUL byte.
func (p *parser) checkText() {
	lineOf := func(pos int) int { return 1 + bytes.Count(p.text[:pos], []byte{'\n'}) }
	if nul := bytes.IndexByte(p.text, 0); nul >= 0 {
		p.fail(lineOf(nul), "this line contains a NUL byte")
	}
	if len(p.text) > maxSize {
		p.fail(lineOf(maxSize), "the file is larger than %d bytes", maxSize)
	}
}

// parseLine carries out the commands of the line just fetched, and of the lines
// that quotes and backslashes join to it (uci_parse_line).
func (p *parser) parseLine() {
	p.skipSpace()
	for p.err == nil {
		p.skipBlanks()
		line := p.line()
		word, ended := p.command()
		if word == "" {
			return
		}
		p.parseCommand(word, ended, line)
	}
}

func (p *parser) parseCommand(word string, ended bool, line int) {
	command := strings.TrimSpace(word)
	run := commands[command]
	p.commands++
	switch {
	case command == "":
		p.fail(line, "there is no command after ';'")
	case run == nil:
		p.fail(line, "unknown command %s", quote(command))
	case ended || command != word:
		// Only a blank or tab ends a command word; a line break is a part of it.
		p.fail(line, "%s without arguments", quote(command))
	case p.commands > maxCommands:
		p.tooMuch = true
		p.fail(line, "the file has more than %d commands", maxCommands)
	default:
		run(p, line)
	}
}

var commands = map[string]func(p *parser, line int){
	"package": (*parser).parsePackage, "p": (*parser).parsePackage,
	"config": (*parser).parseConfig, "c": (*parser).parseConfig,
	"option": (*parser).parseOption, "o": (*parser).parseOption,
	"list": (*parser).parseList, "l": (*parser).parseList,
}

// parsePackage checks a `package` command, which has no effect.
func (p *parser) parsePackage(line int) {
	name := p.next()
	if name.Text == "" {
		p.fail(line, "'package' without a name")
	}
	if !validName(name.Text, "-") {
		p.fail(name.Line, "package name %s: only letters, digits, '_' and '-' are allowed", quote(name.Text))
	}
	p.expectEnd()
}

// parseConfig opens a section, or goes on with the one of the same name.
func (p *parser) parseConfig(line int) {
	typ := p.next()
	if typ.Text == "" {
		p.fail(line, "'config' without a section type")
	}
	if !validType(typ.Text) {
		p.fail(typ.Line, "section type %s: spaces, control characters and characters beyond ASCII are not allowed", quote(typ.Text))
	}
	name := p.next()
	if name.Text != "" && !validName(name.Text, "") {
		p.fail(name.Line, "section name %s: only letters, digits and '_' are allowed", quote(name.Text))
	}
	p.expectEnd()
	if p.err == nil {
		p.openSection(line, typ.Text, name.Text)
	}
}

func (p *parser) openSection(line int, typ, name string) {
	if i, known := p.byName[name]; known {
		if first := p.sections[i]; first.Type != typ {
			p.fail(line, "section %s has type %s here and type %s in line %d",
				quote(name), quote(typ), quote(first.Type), first.Line)
			p.sections[i].Type = typ // what libuci does that is not strict
		}
		p.current = i
		return
	}
	p.current = len(p.sections)
	p.sections = append(p.sections, Section{Type: typ, Name: name, Index: p.byType[typ], Line: line})
	p.byType[typ]++
	if name != "" {
		p.byName[name] = p.current
	}
}

func (p *parser) parseOption(line int) { p.setOption(line, false) }

func (p *parser) parseList(line int) { p.setOption(line, true) }

func (p *parser) setOption(line int, list bool) {
	if p.current < 0 {
		p.fail(line, "option or list before the first 'config'")
		return
	}
	name := p.next()
	if name.Text == "" {
		p.fail(line, "option or list without a name")
	}
	if !validName(name.Text, "") {
		p.fail(name.Line, "option name %s: only letters, digits and '_' are allowed", quote(name.Text))
	}
	value := p.next()
	p.expectEnd()
	if p.err != nil {
		return
	}
	section := &p.sections[p.current]
	if list || value.Text != "" {
		section.set(Option{Name: name.Text, Line: line, List: list, Values: []Value{value}})
	}
	if len(section.Options) > maxOptions {
		p.tooMuch = true
		p.fail(line, "the section has more than %d options", maxOptions)
	}
}

// expectEnd requires that the command ends here (assert_eol).
func (p *parser) expectEnd() {
	if extra := p.next(); extra.Text != "" {
		p.fail(extra.Line, "unexpected %s: a value with spaces needs quotes", quote(extra.Text))
	}
}

// set is uci_set or, with a list, uci_add_list. An option that is there already
// stays in its place, as in libuci since 2022.
func (s *Section) set(o Option) {
	i := slices.IndexFunc(s.Options, func(old Option) bool { return old.Name == o.Name })
	if i < 0 {
		s.Options = append(s.Options, o)
		return
	}
	if o.List {
		o.Values = append(s.Options[i].Values, o.Values...)
	}
	s.Options[i] = o
}

// validName reports whether libuci takes text as the name of a section or an
// option. further is what it may have beside: '-' in a configuration's name.
func validName(text, further string) bool { return text != "" && ConsistsOf(text, "_"+further) }

// ConsistsOf reports whether a text has only ASCII letters, digits and further ones.
func ConsistsOf(text, further string) bool {
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"+further) == ""
}

// validType reports whether libuci takes text as a type: ASCII without blanks.
func validType(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r < 33 || r > 126 })
}
