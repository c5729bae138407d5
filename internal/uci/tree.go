package uci

import (
	"fmt"
	"strconv"

	goUCI "github.com/digineo/go-uci/v2"
)

// noDirectory is where go-uci looks for a file whenever it meets a configuration
// for the first time. It must find none: nobody can make an entry for process 0.
// (Any failure but "not exist" makes AddSection dereference nil.)
const noDirectory = "/proc/0"

// throughTree puts the sections into a new Tree and replaces every value by the
// one that the Tree returns. Each section is the only one of a configuration:
// go-uci finds a section by comparing names from the first on, merges sections
// with an empty name, and takes names that begin with '@' for selectors.
func throughTree(file string, sections []Section) error {
	tree := goUCI.NewTree(noDirectory)
	for i, section := range sections {
		config := strconv.Itoa(i)
		err := tree.AddSection(config, only, section.Type)
		for _, option := range section.Options {
			if err == nil {
				err = option.throughTree(tree, config)
			}
		}
		if err != nil {
			return fmt.Errorf("%s:%d: section %s: %w", file, section.Line, quote(section.Label()), err)
		}
	}
	return nil
}

// only is the name of the only section.
const only = "section"

func (o Option) throughTree(tree goUCI.Tree, config string) error {
	texts := make([]string, len(o.Values))
	for i, value := range o.Values {
		texts[i] = value.Text
	}
	if err := tree.SetType(config, only, o.Name, goUCI.TypeList, texts...); err != nil {
		return err
	}
	texts, _ = tree.Get(config, only, o.Name)
	if len(texts) != len(o.Values) {
		return fmt.Errorf("go-uci returned %d values of %d", len(texts), len(o.Values))
	}
	for i, text := range texts {
		o.Values[i].Text = text
	}
	return nil
}
