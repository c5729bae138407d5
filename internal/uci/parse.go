package uci

import (
	"bytes"
	"slices"
	"strings"
)

// Limits that keep time and memory bounded. A file with 10 000 sections of
// nine options each is still read.
const (
	maxCommands = 100_000 // in a file
	maxOptions  = 1_000   // names in one section: go-uci searches them one by one
)

// outline is what the parser found: the sections in order, each option with its
// values and lines. The values go into the Tree; see fill and read.
type outline struct {
	typ, name string // name is empty for an anonymous section
	line      int
	options   []outlineOption
}

type outlineOption struct {
	name   string
	line   int
	list   bool
	values []argument
}

type parser struct {
	scanner
	sections []*outline
	byName   map[string]*outline
	section  *outline // the one that options go to; nil before the first
	commands int
}

// parse splits a whole file into its sections.
func parse(file string, text []byte) ([]*outline, error) {
	p := &parser{
		scanner: scanner{file: file, text: text},
		byName:  make(map[string]*outline),
	}
	if err := p.checkText(); err != nil {
		return nil, err
	}
	for p.fetchLine() {
		if err := p.parseLine(); err != nil {
			return nil, err
		}
	}
	return p.sections, nil
}

// checkText refuses a file that is too large or has a NUL byte.
func (p *parser) checkText() error {
	lineOf := func(pos int) int { return 1 + bytes.Count(p.text[:pos], []byte{'\n'}) }
	if nul := bytes.IndexByte(p.text, 0); nul >= 0 {
		return p.fail(lineOf(nul), "this line contains a NUL byte")
	}
	if len(p.text) > maxSize {
		return p.fail(lineOf(maxSize), "the file is larger than %d bytes", maxSize)
	}
	return nil
}

// parseLine carries out the commands of the line just fetched, and of the lines
// that quotes and backslashes join to it (uci_parse_line).
func (p *parser) parseLine() error {
	p.skipSpace()
	for {
		p.skipBlanks()
		line := p.line()
		word, ended := p.command()
		if word == "" {
			return nil
		}
		if err := p.parseCommand(word, ended, line); err != nil {
			return err
		}
	}
}

func (p *parser) parseCommand(word string, ended bool, line int) error {
	command := strings.TrimSpace(word)
	var run func(int) error
	switch command {
	case "package", "p":
		run = p.parsePackage
	case "config", "c":
		run = p.parseConfig
	case "option", "o":
		run = func(line int) error { return p.parseOption(line, false) }
	case "list", "l":
		run = func(line int) error { return p.parseOption(line, true) }
	case "":
		return p.fail(line, "there is no command after ';'")
	default:
		return p.fail(line, "unknown command %s", quote(command))
	}
	// Only a blank or tab ends a command word; a line break is a part of it.
	if ended || command != word {
		return p.fail(line, "%s without arguments", quote(command))
	}
	if p.commands++; p.commands > maxCommands {
		return p.fail(line, "the file has more than %d commands", maxCommands)
	}
	return run(line)
}

// parsePackage checks a `package` command, which has no effect: a file is one
// configuration, whatever it calls itself.
func (p *parser) parsePackage(line int) error {
	name, err := p.next()
	if err != nil {
		return err
	}
	if name.text == "" {
		return p.fail(line, "'package' without a name")
	}
	if !validName(name.text, true) {
		return p.fail(name.line, "package name %s: only letters, digits, '_' and '-' are allowed", quote(name.text))
	}
	return p.expectEnd()
}

// parseConfig opens a section, or goes on with the one of the same name.
func (p *parser) parseConfig(line int) error {
	typ, err := p.next()
	if err != nil {
		return err
	}
	if typ.text == "" {
		return p.fail(line, "'config' without a section type")
	}
	if !validType(typ.text) {
		return p.fail(typ.line, "section type %s: spaces, control characters and characters beyond ASCII are not allowed", quote(typ.text))
	}
	name, err := p.next()
	if err != nil {
		return err
	}
	if name.text != "" && !validName(name.text, false) {
		return p.fail(name.line, "section name %s: only letters, digits and '_' are allowed", quote(name.text))
	}
	if err := p.expectEnd(); err != nil {
		return err
	}
	return p.openSection(line, typ.text, name.text)
}

func (p *parser) openSection(line int, typ, name string) error {
	known := p.byName[name]
	if known == nil {
		p.section = &outline{typ: typ, name: name, line: line}
		p.sections = append(p.sections, p.section)
		if name != "" {
			p.byName[name] = p.section
		}
		return nil
	}
	if known.typ != typ {
		return p.fail(line, "section %s has type %s here and type %s in line %d",
			quote(name), quote(typ), quote(known.typ), known.line)
	}
	p.section = known
	return nil
}

// parseOption sets an option or appends to a list.
func (p *parser) parseOption(line int, list bool) error {
	if p.section == nil {
		return p.fail(line, "option or list before the first 'config'")
	}
	name, err := p.next()
	if err != nil {
		return err
	}
	if name.text == "" {
		return p.fail(line, "option or list without a name")
	}
	if !validName(name.text, false) {
		return p.fail(name.line, "option name %s: only letters, digits and '_' are allowed", quote(name.text))
	}
	value, err := p.next()
	if err != nil {
		return err
	}
	if err := p.expectEnd(); err != nil {
		return err
	}
	if list {
		p.section.append(name.text, line, value)
	} else if value.text != "" {
		p.section.set(name.text, line, value)
	}
	if len(p.section.options) > maxOptions {
		return p.fail(line, "the section has more than %d options", maxOptions)
	}
	return nil
}

// expectEnd requires that the command ends here (assert_eol).
func (p *parser) expectEnd() error {
	extra, err := p.next()
	if err != nil {
		return err
	}
	if extra.text != "" {
		return p.fail(extra.line, "unexpected %s: a value with spaces needs quotes", quote(extra.text))
	}
	return nil
}

func (o *outline) find(name string) int {
	return slices.IndexFunc(o.options, func(opt outlineOption) bool { return opt.name == name })
}

// set gives an option one value (uci_set).
func (o *outline) set(name string, line int, value argument) {
	values := []argument{value}
	i := o.find(name)
	if i >= 0 && !o.options[i].list && o.options[i].values[0].text == value.text {
		o.options[i].line, o.options[i].values = line, values
		return
	}
	if i >= 0 {
		o.options = slices.Delete(o.options, i, i+1)
	}
	o.options = append(o.options, outlineOption{name: name, line: line, values: values})
}

// append adds an item to a list (uci_add_list).
func (o *outline) append(name string, line int, value argument) {
	var before []argument
	if i := o.find(name); i >= 0 {
		if o.options[i].list {
			o.options[i].line = line
			o.options[i].values = append(o.options[i].values, value)
			return
		}
		before = o.options[i].values
		o.options = slices.Delete(o.options, i, i+1)
	}
	o.options = append(o.options, outlineOption{name: name, line: line, list: true, values: append(before, value)})
}

// validName reports whether libuci takes text as the name of a section or an
// option; a configuration's name may also have '-'.
func validName(text string, configuration bool) bool {
	for i := range len(text) {
		c := text[i]
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		if !word && !(configuration && c == '-') {
			return false
		}
	}
	return text != ""
}

// validType reports whether libuci takes text as a section type: any printable
// ASCII character but the blank.
func validType(text string) bool {
	for i := range len(text) {
		if text[i] < 33 || text[i] > 126 {
			return false
		}
	}
	return text != ""
}
