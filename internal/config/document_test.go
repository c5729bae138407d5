package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"loadbalance/internal/uci"
)

// documentedOption is a row of a table in the users' document.
type documentedOption struct {
	section string // type of the section
	name    string
	list    bool
	deflt   string // as it would stand in the file; "" where the table has words
	example string
}

var (
	sectionHeading = regexp.MustCompile("^##.*`config ([a-z]+)")
	optionCell     = regexp.MustCompile("^(list )?`([a-z0-9_]+)`$")
	codeCell       = regexp.MustCompile("^`([^`]*)`$")
)

// documentedOptions reads the tables of openwrt/docs/configuration.md. Each
// stands below a heading that names the section's type, and has the columns
// option, values, default, example, meaning.
func documentedOptions(t *testing.T) []documentedOption {
	t.Helper()
	text, err := os.ReadFile("../../openwrt/docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var options []documentedOption
	section := ""
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "#") {
			section = ""
			if m := sectionHeading.FindStringSubmatch(line); m != nil {
				section = m[1]
			}
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if section == "" || !strings.HasPrefix(line, "|") || cells[0] == "option" || strings.HasPrefix(line, "| ---") {
			continue
		}
		name := optionCell.FindStringSubmatch(cells[0])
		if name == nil || len(cells) != 5 {
			t.Errorf("not a row with option, values, default, example and meaning: %s", line)
			continue
		}
		o := documentedOption{section: section, name: name[2], list: name[1] != ""}
		if m := codeCell.FindStringSubmatch(cells[2]); m != nil {
			o.deflt = m[1]
		}
		if m := codeCell.FindStringSubmatch(cells[3]); m != nil {
			o.example = m[1]
		}
		options = append(options, o)
	}
	return options
}

// optionsOf returns the options that the program reads in a section of a type.
func optionsOf(t *testing.T, kind string) []string {
	t.Helper()
	r := &reader{config: &Config{}, file: &uci.File{}}
	s := r.section(uci.Section{Type: kind, Name: "x"})
	switch kind {
	case "globals":
		readGlobals(s)
	case "member":
		readMember(s)
	case "policy":
		r.readPolicy(s)
	case "rule":
		r.readRule(s)
	case "ipset":
		readIPSet(s)
	default:
		t.Fatalf("how are sections of type '%s' read?", kind)
	}
	return s.known
}

// TestOptionsAreDocumented holds the document and the program together: every
// option of one is in the other.
func TestOptionsAreDocumented(t *testing.T) {
	documented := map[string][]string{}
	for _, o := range documentedOptions(t) {
		if slices.Contains(documented[o.section], o.name) {
			t.Errorf("config %s: option '%s' is documented twice", o.section, o.name)
		}
		documented[o.section] = append(documented[o.section], o.name)
	}
	for _, kind := range sectionTypes {
		known := optionsOf(t, kind)
		for _, name := range known {
			if !slices.Contains(documented[kind], name) {
				t.Errorf("config %s: option '%s' is not in configuration.md", kind, name)
			}
		}
		for _, name := range documented[kind] {
			if !slices.Contains(known, name) {
				t.Errorf("config %s: configuration.md has an option '%s' that the program does not read", kind, name)
			}
		}
		delete(documented, kind)
	}
	for kind := range documented {
		t.Errorf("configuration.md has a section type '%s' that the program does not know", kind)
	}
}

// fileWith is a file in which an option of a section has a value; "" is none.
// What most options need beside them is there.
func fileWith(o documentedOption, value string) string {
	text := "config member 'wanb'\nconfig " + o.section + " 'tried'\n"
	if o.section == "member" && o.name != "track_ip" {
		text += "\tlist track_ip '192.0.2.8'\n\tlist track_ip '192.0.2.9'\n"
	}
	if value == "" {
		return text
	}
	kind := "option"
	if o.list {
		kind = "list"
	}
	return text + "\t" + kind + " " + o.name + " '" + value + "'\n"
}

// TestDocumentedDefaults writes each default that the document names into a file,
// where it must change nothing.
func TestDocumentedDefaults(t *testing.T) {
	tried := 0
	for _, o := range documentedOptions(t) {
		if o.deflt == "" {
			continue
		}
		tried++
		without, _ := Read(parse(t, fileWith(o, "")))
		with, _ := Read(parse(t, fileWith(o, o.deflt)))
		if !reflect.DeepEqual(without, with) {
			t.Errorf("config %s: '%s' is not the default of option '%s'", o.section, o.deflt, o.name)
		}
	}
	if tried < 30 {
		t.Errorf("only %d defaults were found", tried)
	}
}

// TestDocumentedExamples reads each example, which has no mistake but may need
// another option beside it.
func TestDocumentedExamples(t *testing.T) {
	for _, o := range documentedOptions(t) {
		if o.example == "" {
			t.Errorf("config %s: option '%s' has no example", o.section, o.name)
			continue
		}
		_, problems := Read(parse(t, fileWith(o, o.example)))
		for _, p := range problems {
			needsOther := strings.Contains(p.Text, "needs option") || strings.Contains(p.Text, "has no effect with")
			if !needsOther {
				t.Errorf("config %s: example '%s' of option '%s': %s", o.section, o.example, o.name, p.Text)
			}
		}
		if o.example == o.deflt {
			t.Errorf("config %s: the example of option '%s' is its default", o.section, o.name)
		}
	}
}
