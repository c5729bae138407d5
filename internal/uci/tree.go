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
func treeName(section Section, i int) string {
	if section.Name == "" {
		return "anonymous " + strconv.Itoa(i)
	}
	return section.Name
}

// throughTree puts the sections into a new Tree and replaces every value by the
// one that the Tree returns.
func throughTree(file *File) error {
	tree := goUCI.NewTree(noDirectory)
	for i, section := range file.Sections {
		config, key := shard(file.Name, i), treeName(section, i)
		if err := tree.AddSection(config, key, section.Type); err != nil {
			return fmt.Errorf("%s:%d: section %s: %w", file.Name, section.Line, quote(key), err)
		}
		for _, option := range section.Options {
			if err := option.throughTree(tree, config, key); err != nil {
				return fmt.Errorf("%s:%d: option %s: %w", file.Name, option.Line, quote(option.Name), err)
			}
		}
	}
	return nil
}

func (o Option) throughTree(tree goUCI.Tree, config, section string) error {
	kind := goUCI.TypeOption
	if o.List {
		kind = goUCI.TypeList
	}
	texts := make([]string, len(o.Values))
	for i, value := range o.Values {
		texts[i] = value.Text
	}
	if err := tree.SetType(config, section, o.Name, kind, texts...); err != nil {
		return err
	}
	texts, _ = tree.Get(config, section, o.Name)
	if len(texts) != len(o.Values) {
		return fmt.Errorf("go-uci returned %d values of %d", len(texts), len(o.Values))
	}
	for i, text := range texts {
		o.Values[i].Text = text
	}
	return nil
}
