package uci

import (
	"fmt"
	"strconv"

	goUCI "github.com/digineo/go-uci/v2"
)

// noDirectory is the directory of the Tree. go-uci looks there for a file
// whenever it meets a configuration for the first time, and must find none:
// process 0 has no entry in /proc, and nobody can make one. (A path that fails
// with anything but "not exist" makes AddSection dereference nil.)
const noDirectory = "/proc/0"

// shardSize is how many sections go into one configuration of the Tree. go-uci
// finds a section by comparing names from the first on, so with all of them in
// one configuration 10 000 sections would take 10 000² comparisons.
const shardSize = 64

// shard is the Tree's name for the configuration that holds section i.
func shard(name string, i int) string {
	return name + "." + strconv.Itoa(i/shardSize)
}

// treeName is the Tree's name for section i: its own, or for an anonymous one a
// text with a blank, which no name can have. go-uci would merge sections with
// an empty name, and it takes names that begin with '@' for selectors.
func treeName(section *outline, i int) string {
	if section.name == "" {
		return "anonymous " + strconv.Itoa(i)
	}
	return section.name
}

// fill puts the sections into a new Tree.
func fill(name string, sections []*outline) (goUCI.Tree, error) {
	tree := goUCI.NewTree(noDirectory)
	for i, section := range sections {
		config, key := shard(name, i), treeName(section, i)
		if err := tree.AddSection(config, key, section.typ); err != nil {
			return nil, fmt.Errorf("%s:%d: section %s: %w", name, section.line, quote(key), err)
		}
		for _, option := range section.options {
			if err := tree.SetType(config, key, option.name, option.treeType(), option.texts()...); err != nil {
				return nil, fmt.Errorf("%s:%d: option %s: %w", name, option.line, quote(option.name), err)
			}
		}
	}
	return tree, nil
}

func (o outlineOption) treeType() goUCI.OptionType {
	if o.list {
		return goUCI.TypeList
	}
	return goUCI.TypeOption
}

func (o outlineOption) texts() []string {
	texts := make([]string, len(o.values))
	for i, value := range o.values {
		texts[i] = value.text
	}
	return texts
}

// read makes the File: values from the Tree, lines from the parser.
func read(tree goUCI.Tree, name string, sections []*outline) (*File, error) {
	file := &File{Name: name}
	count := make(map[string]int) // sections so far, by type
	for i, section := range sections {
		s := Section{
			Type:      section.typ,
			Name:      section.name,
			Anonymous: section.name == "",
			Index:     count[section.typ],
			Line:      section.line,
		}
		count[section.typ]++
		for _, option := range section.options {
			texts, ok := tree.Get(shard(name, i), treeName(section, i), option.name)
			if !ok || len(texts) != len(option.values) {
				return nil, fmt.Errorf("%s:%d: option %s: go-uci returned %d values of %d",
					name, option.line, quote(option.name), len(texts), len(option.values))
			}
			s.Options = append(s.Options, option.with(texts))
		}
		file.Sections = append(file.Sections, s)
	}
	return file, nil
}

// with joins the texts from the Tree with the lines on which they stand.
func (o outlineOption) with(texts []string) Option {
	option := Option{Name: o.name, Line: o.line, List: o.list, Values: make([]Value, len(texts))}
	for i, text := range texts {
		option.Values[i] = Value{Text: text, Line: o.values[i].line}
	}
	return option
}
